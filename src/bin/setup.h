/*
 * setup.h
 *	  What a server needs to be the first node of a cluster.
 */
#ifndef PGQ_SETUP_H
#define PGQ_SETUP_H

#include "files.h"
#include "local.h"

#define STREAM_ROLE "quorum_replicator"

typedef struct Setup
{
	LocalServer server;			/* directory NULL: not known, or not on this host */
	const char *name;			/* of the node; NULL = keep, or the host's */
	const char *host;			/* of the address; NULL = keep */
	int			quorum_port;	/* 0 = default */
	const char *dbname;			/* where the extension goes */
	const char *networks[16];	/* hosts and networks to be let in */
	int			network_count;
	Settings	extra;			/* --set */
	bool		yes;
	bool		restart;		/* may restart the server */
	const char *token_file;		/* NULL = print */
} Setup;

/* The changes that a running server needs; false when something cannot be mended. */
extern bool setup_plan(Setup *setup, PGconn *conn, Settings *changes);

/* ALTER SYSTEM; false when the server refuses. */
extern bool setup_apply(PGconn *conn, const Settings *changes);

/* The settings of a new data directory. */
extern void setup_new_directory(Setup *setup, int pg_port);

/* Secret and password file, if they are not there yet. */
extern void setup_secrets(const Setup *setup);

/* Role, extension, bootstrap; false with a message. */
extern bool setup_finish(const Setup *setup, PGconn *conn);

extern char *default_node_name(void);

/* cmd_token.c: false with a message. */
extern bool print_join_line(PGconn *conn, const char *directory, const char *token_file);

#endif							/* PGQ_SETUP_H */
