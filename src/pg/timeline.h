/*
 * timeline.h
 *	  A timeline's history: which timeline each part of its log was written on.
 */
#ifndef PGQ_TIMELINE_H
#define PGQ_TIMELINE_H

#include "postgres.h"

#include "access/xlogdefs.h"

/* One part of the log, from begin to end; the last part has no end (InvalidXLogRecPtr). */
typedef struct PgqTimelinePart
{
	TimeLineID	tli;
	XLogRecPtr	begin;
	XLogRecPtr	end;
} PgqTimelinePart;

/* Zeroed = empty.  Owns its memory (malloc: it must survive contexts and never throws). */
typedef struct PgqHistory
{
	int			count;			/* parts, oldest first; 0 = not loaded */
	int			room;
	PgqTimelinePart *parts;
} PgqHistory;

/* Parse the text of tli's history file.  False when damaged or out of memory. */
extern bool pgq_history_parse(PgqHistory *history, TimeLineID tli, const char *text, size_t length);

/* Read it from pg_wal; timeline 1 needs no file.  False when missing or damaged. */
extern bool pgq_history_load(PgqHistory *history, TimeLineID tli);

/* Does the log that ends at (tli, lsn) lie wholly inside this history? */
extern bool pgq_history_contains(const PgqHistory *history, TimeLineID tli, XLogRecPtr lsn);

/* Is tli this timeline or an ancestor of it? */
extern bool pgq_history_has(const PgqHistory *history, TimeLineID tli);

/* The timeline byte lsn - 1 belongs to; 0 when history is empty. */
extern TimeLineID pgq_history_timeline_of(const PgqHistory *history, XLogRecPtr lsn);

/* Placeholders (R15) name no parent. */
static inline bool
pgq_history_has_parent(const PgqHistory *history)
{
	return history->count > 1;
}

#endif							/* PGQ_TIMELINE_H */
