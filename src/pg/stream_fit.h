/*
 * stream_fit.h
 *	  In the walreceiver: does the log of this node fit the log of its leader?
 */
#ifndef PGQ_STREAM_FIT_H
#define PGQ_STREAM_FIT_H

#include "../core/quorum_types.h"
#include "timeline.h"

/*
 * Why no stream may begin, by the history of the leader of a term; NULL when it may.  What has to
 * be done first is on its way then: the report of the stream says that this node has diverged, or
 * a restart in place has been asked for.
 */
extern const char *pgq_stream_misfit(const PgqHistory *history, QuorumTerm term);

#endif							/* PGQ_STREAM_FIT_H */
