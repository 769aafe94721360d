/*
 * sqlreason.h
 *	  The texts of the views that say what is wrong, and why something is not so.
 */
#ifndef PGQ_SQLREASON_H
#define PGQ_SQLREASON_H

#include "shmem.h"

/* Column reason of quorum.status; empty: nothing is wrong.  buffer: QUORUM_REASON_SIZE bytes. */
extern const char *pgq_reason_of_node(const QuorumView *view, char *buffer);

/* Why a member could not become leader, as far as known here; NULL: it could. */
extern const char *pgq_reason_not_electable(const QuorumView *view,
											const QuorumMemberView *member, char *buffer);

/* Why its acknowledgements do not count; the most basic reason first; NULL: they do. */
extern const char *pgq_reason_not_counted(const QuorumView *view, const QuorumMemberView *member,
										  const char *state);

#endif							/* PGQ_SQLREASON_H */
