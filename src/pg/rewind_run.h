/*
 * rewind_run.h
 *	  Runs pg_rewind on the data that were moved aside, and understands what it says.
 */
#ifndef PGQ_REWIND_RUN_H
#define PGQ_REWIND_RUN_H

#include "journal.h"

/* What pg_rewind has said so far. */
typedef struct PgqRewindTold
{
	bool		nothing_to_do;
	bool		writing;		/* from here on the target is changed */
	bool		hopeless;		/* it would say the same the next time */
	char		error[QUORUM_REASON_SIZE];	/* empty: it has not even complained */
} PgqRewindTold;

/* Durable when it returns true. */
extern bool pgq_rewind_run(const PgqJournal *journal, PgqRewindTold *told);

#endif							/* PGQ_REWIND_RUN_H */
