/*
 * source.h
 *	  The leader as client programs reach it: connection string, and whether it leads.
 */
#ifndef PGQ_SOURCE_H
#define PGQ_SOURCE_H

#include "journal.h"
#include "program.h"

#define PGQ_CONNINFO_SIZE 4096

typedef struct PgqSource
{
	char		conninfo[PGQ_CONNINFO_SIZE];	/* without a password: others see it in ps */
	char		secret[256];	/* the password in quorum.conninfo; empty = none */
} PgqSource;

#define PGQ_SOURCE_HISTORY_SIZE 65536

typedef enum PgqSourceAnswer
{
	PGQ_SOURCE_SILENT,			/* no answer, or not one of a leader */
	PGQ_SOURCE_LEADS,			/* it leads, and its pg_control says so */
	PGQ_SOURCE_NOT_READY		/* it leads, but no checkpoint of its term is done yet (H46) */
} PgqSourceAnswer;

/* What a leader says of itself, all at once: every question costs a program and a connection. */
typedef struct PgqSourceFacts
{
	QuorumTerm	term;			/* of which it says that it is the leader */
	QuorumTerm	checkpoint_term;
	PgqProgramLine tablespace;	/* in: called with "<number> <path>" of each; NULL = not asked */
	void	   *tablespace_arg;
	char	   *history;		/* in: for the text of its timeline's history file; or NULL */
} PgqSourceFacts;

/* False when quorum.conninfo cannot be used. */
extern bool pgq_source_make(PgqSource *source, const char *host, uint16 port);

/*
 * In the postmaster, at boot.  A leader without a lease gives no answer (fence_reads.c),
 * so who answers is not deposed (H70).  facts->history: PGQ_SOURCE_HISTORY_SIZE bytes; only
 * with the grants for pg_rewind.  why (QUORUM_REASON_SIZE bytes): what it said instead.
 */
extern PgqSourceAnswer pgq_source_ask(const PgqSource *source, PgqSourceFacts *facts, char *why);

/*
 * Does it still have the segment of WAL that holds lsn, in a file of one of two timelines?
 * False when it could not be asked.
 */
extern bool pgq_source_has_wal(const PgqSource *source, TimeLineID tli, TimeLineID other_tli,
							   XLogRecPtr lsn);

/* Let its worker make the slot of this node anew, if that has lost its WAL. */
extern void pgq_source_renew_slot(const PgqSource *source, QuorumNodeId id);

#endif							/* PGQ_SOURCE_H */
