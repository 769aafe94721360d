/*
 * rewind.h
 *	  Brings a member whose log has left the cluster's back: by pg_rewind, at boot.
 */
#ifndef PGQ_REWIND_H
#define PGQ_REWIND_H

#include "shmem.h"

/*
 * From the worker, after "recovering" was made durable: write the journal and restart
 * in place; the rewind itself happens in the next boot.  False when there will be none
 * now, and why (QUORUM_REASON_SIZE bytes) says for what reason; asking again is cheap,
 * and right: after a failure there is another attempt, later and later.
 */
extern bool pgq_rewind_request(const QuorumMember *source, QuorumTerm term, char *why);

/* From the worker: may the next boot cut the log, because this one asked for it? */
extern bool pgq_rewind_begun(void);

/* Does a rewind wait for pgq_rewind_verified()?  Cheap. */
extern bool pgq_rewind_unverified(void);

/*
 * From the worker, when this node acknowledges WAL of the accepted term, which it does not
 * before recovery is consistent: the rewind is over, the journal goes, log and history tell
 * of it.
 */
extern void pgq_rewind_verified(QuorumTerm term);

/*
 * From _PG_init of the postmaster, before anything reads the data directory: carry out
 * what the journal says.  Does not return when the data directory must not be started.
 */
extern void pgq_rewind_boot(void);

#endif							/* PGQ_REWIND_H */
