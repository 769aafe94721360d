/*
 * journal.h
 *	  The durable note of a rewind under way: how far it has come.
 */
#ifndef PGQ_JOURNAL_H
#define PGQ_JOURNAL_H

#include "shmem.h"

/*
 * Everything of a rewind lies in one directory.  pg_basebackup and pg_rewind skip names
 * that begin like this, so no clone inherits it, and none pays for its size.
 */
#define PGQ_REWIND_DIR	"pg_quorum/pgsql_tmp.rewind"

/* Held by every program that works in it (program.h). */
#define PGQ_REWIND_LOCK	PGQ_REWIND_DIR "/lock"

/* In the order in which they are reached. */
typedef enum PgqRewindPhase
{
	PGQ_REWIND_NONE,
	PGQ_REWIND_FAILED,			/* the data directory is whole; reason says what went wrong */
	PGQ_REWIND_HOPELESS,		/* likewise, and another rewind would fail in the same way */
	PGQ_REWIND_REQUESTED,		/* the data directory is whole */
	PGQ_REWIND_PARKING,			/* the data are on their way aside, or aside; nothing changed */
	PGQ_REWIND_REWINDING,		/* the data aside may be half rewound */
	PGQ_REWIND_REWOUND,			/* the data aside are rewound, or on their way back */
	PGQ_REWIND_PLACED,			/* back in place, not yet proved by streaming */
	PGQ_REWIND_NEEDS_CLONE		/* the data are of no use; reason says why */
} PgqRewindPhase;

typedef struct PgqJournal
{
	PgqRewindPhase phase;
	QuorumTerm	term;			/* of the leader that is the source */
	QuorumNodeId source;
	char		source_name[QUORUM_NAME_SIZE];
	char		source_host[QUORUM_HOST_SIZE];
	uint16		source_port;
	int			attempts;		/* rewinds begun in this term */
	int64		asked_at;		/* TimestampTz */
	QuorumWalPos end;			/* own log when it was asked for */
	QuorumWalPos fork;			/* where it left the leader's; zero = not known yet */
	bool		cloned;			/* the data are a new copy of the source's */
	char		reason[QUORUM_REASON_SIZE];
} PgqJournal;

/*
 * False when there is one, but it cannot be understood; none: phase is PGQ_REWIND_NONE.
 * Works in the current directory, which is the data directory, and never throws.
 */
extern bool pgq_journal_read(PgqJournal *journal);

/* Durable when it returns true; a failure is logged. */
extern bool pgq_journal_write(const PgqJournal *journal);

/* Remove it, durably, after everything else of the rewind's directory is gone. */
extern void pgq_journal_remove(void);

/* For the log: "requested", "rewinding", ... */
extern const char *pgq_journal_phase_name(PgqRewindPhase phase);

#endif							/* PGQ_JOURNAL_H */
