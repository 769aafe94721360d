/*
 * stream.h
 *	  Inside the walreceiver of a member: which leader to follow, which acks may leave.
 */
#ifndef PGQ_STREAM_H
#define PGQ_STREAM_H

#include "shmem.h"

/* From _PG_init, postmaster only: load libpqwalreceiver and wrap its functions. */
extern void pgq_stream_init(void);

/*
 * From the worker, after the fence or the accepted leader changed: end a stream that
 * must not go on, wake one that waits for a leader.
 */
extern void pgq_stream_follow_changed(void);

/*
 * The timeline that byte lsn - 1 belongs to in the history of tli; 0 when unknown.
 * Reads the history file; for the worker and the walreceiver.
 */
extern TimeLineID pgq_timeline_of(TimeLineID tli, XLogRecPtr lsn);

#endif							/* PGQ_STREAM_H */
