/*
 * read_level.h
 *	  How sure a read is of being the newest: quorum.read_consistency, and waiting for it.
 */
#ifndef PGQ_READ_LEVEL_H
#define PGQ_READ_LEVEL_H

#include "shmem.h"

/* Defines the settings; from _PG_init in the postmaster. */
extern void pgq_read_level_init(void);

/* This session takes what is here, whoever leads. */
extern bool pgq_read_level_is_local(void) pg_attribute_hot;

/* The read waits for more than the lease. */
extern bool pgq_read_level_waits(void) pg_attribute_hot;

/*
 * After the last row: wait until what was read is confirmed as the session asked for;
 * ERROR when the time is over.  false: this node does not lead any more.
 */
extern bool pgq_read_level_confirm(bool (*may_serve) (void));

/* In the worker: does somebody wait?  Asks only once for all that do. */
extern bool pgq_read_level_wanted(void);

/*
 * In the worker: leader: a majority acknowledged a heartbeat sent at `confirmed_at` (boot
 * clock); follower: the quorum holds its leader's WAL up to `held`.
 */
extern void pgq_read_level_publish(QuorumTime confirmed_at, XLogRecPtr held);

#endif							/* PGQ_READ_LEVEL_H */
