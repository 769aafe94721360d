/*
 * state.h
 *	  The durable state of this node: $PGDATA/pg_quorum/state.
 */
#ifndef PGQ_STATE_H
#define PGQ_STATE_H

#include "shmem.h"

/*
 * Read the state file relative to the current directory (the data directory).
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
