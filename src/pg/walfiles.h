/*
 * walfiles.h
 *	  The files in pg_wal that name a timeline: which are there, which may go.
 */
#ifndef PGQ_WALFILES_H
#define PGQ_WALFILES_H

#include "postgres.h"

#include "access/xlogdefs.h"

/* Highest timeline with a history file in pg_wal, at least 1; real_only: no placeholders. */
extern TimeLineID pgq_walfiles_newest(bool real_only);

/* R15: a history file without a parent, made by a leader for a term that had none. */
extern bool pgq_walfiles_is_placeholder(TimeLineID tli);

/*
 * H41: a history file for every timeline from 2 to last: a placeholder where none is.
 * Durable when it returns true.  A failure is logged.
 */
extern bool pgq_walfiles_fill(TimeLineID last);

/* R16: log_tli is the timeline that pg_control says our log has reached. */
extern void pgq_walfiles_clean(TimeLineID log_tli);

/* Durably, with what the archiver has noted about it.  A failure is logged. */
extern bool pgq_walfiles_remove_segment(TimeLineID tli, XLogSegNo segno);

/*
 * Durably make the segment that end is in a file of another timeline: the same up to end, then
 * zeroes.  The archiver need not have it: the next timeline begins with the same.
 */
extern bool pgq_walfiles_copy_segment(TimeLineID from, TimeLineID to, XLogRecPtr end);

/* V6 ii: remove history files and segments of every timeline above keep. */
extern void pgq_walfiles_forget_above(TimeLineID keep);

#endif							/* PGQ_WALFILES_H */
