/*
 * history.h
 *	  The story of this node in a small file that survives restarts: quorum.history.
 */
#ifndef PGQ_HISTORY_H
#define PGQ_HISTORY_H

#include "shmem.h"

/* From the worker: append one event and say it in the server log.  Never throws. */
extern void pgq_history_note(const QuorumNote *note, const QuorumMemberSet *members);

#endif							/* PGQ_HISTORY_H */
