/*
 * state.h
 *	  The durable state of this node: pg_quorum/state in its directory.
 */
#ifndef PGQ_STATE_H
#define PGQ_STATE_H

#include "host.h"

/* Why this node is (not) taking part; shown in quorum.status. */
typedef enum PgqMembership
{
	PGQ_NO_MEMBER,				/* no state file: an ordinary server until it joins a cluster */
	PGQ_MEMBER,
	PGQ_STATE_FOREIGN,			/* a copy of another node's directory: does not vote */
	PGQ_STATE_UNREADABLE,		/* damaged state file: does not vote */
	PGQ_MISCONFIGURED			/* settings refuse to take part */
} PgqMembership;

/*
 * Read the state file relative to the current directory (that of the data, or of the witness).
 * PGQ_NO_MEMBER: there is none.  PGQ_STATE_FOREIGN: it was written for another
 * instance (directory inode, device, path or machine differ).  PGQ_STATE_UNREADABLE:
 * both generations are damaged.  why (QUORUM_REASON_SIZE bytes) says what was found.
 * Usable in the postmaster: no shared memory, no ERROR.
 */
extern PgqMembership pgq_state_read(QuorumHardState *hard, char *why);

/*
 * Make it durable: temp file, fsync, rename, fsync of the directory; the previous
 * generation stays beside it.  False when anything failed: the caller takes the node out.
 */
extern bool pgq_state_write(const QuorumHardState *hard);

#endif							/* PGQ_STATE_H */
