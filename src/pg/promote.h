/*
 * promote.h
 *	  Turn this standby into the primary of timeline T == elected term, and of no other.
 */
#ifndef PGQ_PROMOTE_H
#define PGQ_PROMOTE_H

#include "shmem.h"

/* From _PG_init: the guard that stops an unelected promotion before it takes a timeline (V8). */
extern void pgq_promote_init(void);

/*
 * From shmem_startup_hook of a member: the guard hears of a promotion through the
 * server log, so log_min_messages may not be fatal or panic, also not after a reload.
 */
extern void pgq_promote_keep_log_level(void);

/*
 * From the worker.  Idempotent: placeholders for the skipped terms (R15), then the
 * promote signal, once per term.  Sets pgq_shared->elected_term first.  False when
 * the promotion of this term can never succeed; why says the reason.
 */
extern bool pgq_promote(QuorumTerm term, char *why);

/* R17: does the newest history on disk fit the end of our log?  why when not. */
extern bool pgq_promote_possible(QuorumWalPos log_end, char *why);

/* Highest timeline with a history file in pg_wal (placeholders included), at least 1. */
extern TimeLineID pgq_newest_timeline(void);

#endif							/* PGQ_PROMOTE_H */
