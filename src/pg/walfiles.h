/*
 * walfiles.h
 *	  The files in pg_wal that name a timeline: which are there, which may go.
 */
#ifndef PGQ_WALFILES_H
#define PGQ_WALFILES_H

#include "postgres.h"

#include "access/xlog_internal.h"

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

/* V6 ii: remove history files and segments of every timeline above keep. */
extern void pgq_walfiles_forget_above(TimeLineID keep);

/* Make durable which names are in pg_wal.  A failure is logged. */
extern bool pgq_walfiles_sync(void);

/* For a file that gets its name when it is whole; PostgreSQL removes such a one at its start. */
#define PGQ_WALFILES_TEMP	XLOGDIR "/xlogtemp.quorum"

#endif							/* PGQ_WALFILES_H */
