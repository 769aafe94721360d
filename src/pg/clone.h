/*
 * clone.h
 *	  A new copy of the leader's data, where a rewind cannot bring them back.
 */
#ifndef PGQ_CLONE_H
#define PGQ_CLONE_H

#include "journal.h"

/* From the worker: could this node be cloned?  why (QUORUM_REASON_SIZE bytes): why not. */
extern bool pgq_clone_possible(char *why);

/*
 * In the postmaster, at boot: fill PGQ_PARKED_DATA with a verified copy, from whoever leads;
 * the journal then names it as the source.  What was there is kept beside it as long as
 * there is room.  Goes on until it has one, or a shutdown is asked for.  False when it is
 * of no use to try again; the journal says why.
 */
extern bool pgq_clone(PgqJournal *journal, const QuorumHardState *hard);

#endif							/* PGQ_CLONE_H */
