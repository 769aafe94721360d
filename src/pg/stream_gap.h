/*
 * stream_gap.h
 *	  In the walreceiver: a stream must not begin behind WAL that is not here.
 */
#ifndef PGQ_STREAM_GAP_H
#define PGQ_STREAM_GAP_H

#include "timeline.h"

/*
 * Where a stream of tli that recovery wants from `start` on has to begin, by the history of
 * its leader; to be asked before each start of a stream.
 */
extern XLogRecPtr pgq_stream_gap_start(const PgqHistory *history, TimeLineID tli, XLogRecPtr start);

/*
 * To be asked before `flush` is acknowledged.  Does not return when what came is of no use before
 * recovery begins anew: then a restart in place has been asked for.
 */
extern void pgq_stream_gap_check(XLogRecPtr flush);

/* Is all that is before the stream whole, so that what came may be acknowledged?  Cheap. */
extern bool pgq_stream_gap_closed(void);

#endif							/* PGQ_STREAM_GAP_H */
