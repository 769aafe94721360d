/*
 * local.h
 *	  Programs and servers on this host.
 */
#ifndef PGQ_LOCAL_H
#define PGQ_LOCAL_H

#include "connect.h"

/* A server of this host. */
typedef struct LocalServer
{
	const char *directory;		/* data directory */
	const char *config_directory;	/* /etc/postgresql/VER/NAME; NULL = in the data directory */
	const char *log;			/* what pg_ctl redirects to; NULL = server.log there */
} LocalServer;

/* Path of a program of this PostgreSQL: beside ours. */
extern char *program(const char *name);

/*
 * Runs a program and waits for it.  Its output is shown when it fails; on_line, if not
 * NULL, sees each line meanwhile, and those it returns true for are not kept.  True
 * when it ended with status 0.
 */
extern bool run_program(const char *const *arguments, bool (*on_line) (const char *line, void *arg),
						void *arg);

extern bool server_start(const LocalServer *server);
extern bool server_restart(const LocalServer *server);

/* From postmaster.pid: a connection option for it; false when none runs there. */
extern bool server_address(const char *directory, char **host, char **port);

/* Does the server of this connection have its data directory here? */
extern bool server_is_local(PGconn *conn, const char *directory);

extern bool port_is_free(int port);

#endif							/* PGQ_LOCAL_H */
