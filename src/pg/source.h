/*
 * source.h
 *	  The leader as client programs reach it: connection string, and whether it leads.
 */
#ifndef PGQ_SOURCE_H
#define PGQ_SOURCE_H

#include "journal.h"

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

/* False when quorum.conninfo cannot be used. */
extern bool pgq_source_make(PgqSource *source, const char *host, uint16 port);

/*
 * In the postmaster, at boot.  A leader without a lease gives no answer (fence_reads.c),
 * so who answers is not deposed (H70).  term: of which it says that it is the leader.
 * why (QUORUM_REASON_SIZE bytes): what it said instead.
 */
extern PgqSourceAnswer pgq_source_ask(const PgqSource *source, QuorumTerm *term, char *why);

/* The text of a timeline's history file on it, PGQ_SOURCE_HISTORY_SIZE bytes. */
extern bool pgq_source_read_history(const PgqSource *source, TimeLineID tli, char *text,
									char *why);

#endif							/* PGQ_SOURCE_H */
