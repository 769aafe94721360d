/*
 * clone.h
 *	  A copy of the leader's data directory, made into a node of its own.
 */
#ifndef PGQ_CLONE_H
#define PGQ_CLONE_H

#include "files.h"
#include "local.h"
#include "token.h"

typedef struct Clone
{
	LocalServer server;
	const char *name;			/* of the new node */
	const char *address;		/* host:port of its quorum port */
	int			pg_port;
	const char *leader_host;	/* where the copy comes from */
	const char *leader_port;
	const char *const *networks;	/* for pg_hba.conf, when that is not in the copy */
	int			network_count;
	Settings	cluster;		/* settings of the leader that every node shares */
	Settings	extra;			/* --set */
} Clone;

/* A clone that was made by an earlier run for the same node, not finished. */
extern bool clone_is_there(const Clone *clone);

extern bool clone_make(const Clone *clone, const Token *token);
extern void clone_forget_mark(const Clone *clone);

/* The settings of the leader that every node must have: false with a message. */
extern bool clone_read_settings(PGconn *leader, Settings *settings);

#endif							/* PGQ_CLONE_H */
