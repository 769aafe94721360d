/*
 * rewind_request.c
 *	  In the worker: how a rewind is asked for, and how it is known to have helped.
 *
 * It does not carry it out: the next boot does (rewind.c).  A rewind that failed is tried
 * again, later and later; when it has failed too often in one term, or cannot help, a clone
 * is asked for.  Where none may be made the server stays up as it is: every attempt is a
 * restart, so there is no more than one an hour then.
 *
 * Rules: R11, R14, H65 (streaming and consistent data prove it, not pg_rewind's word), H68.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "utils/timestamp.h"

#include "clone.h"
#include "history.h"
#include "journal.h"
#include "parking.h"
#include "program.h"
#include "rewind.h"
#include "rollback.h"

#define ATTEMPTS_MAX	3		/* rewinds in a term; then a clone */
#define RETRY_MS		2000	/* after the first attempt that failed; doubled each time */
#define CLONE_MS		20000	/* after the last rewind, before a clone */
#define HOPELESS_MS		3600000 /* between two attempts where no clone may be made */

static bool begun = false;
static bool requested = false;

static bool wal_is_missing(void);
static bool clone_instead(PgqJournal *journal, const PgqJournal *last, QuorumTerm term,
						  char *why);
static bool attempt_again(PgqJournal *journal, const PgqJournal *last, char *why);
static void tell(const PgqJournal *journal, QuorumTerm term, double ms);

bool
pgq_rewind_request(const QuorumMember *source, QuorumTerm term, char *why)
{
	PgqJournal	journal;
	PgqJournal	last;
	char		path[MAXPGPATH];

	if (requested)
		return true;
	why[0] = '\0';
	if (!RecoveryInProgress())
		strlcpy(why, "it is no standby yet", QUORUM_REASON_SIZE);
	else if (source->id == pgq_shared->boot_node_id || source->pg_port == 0)
		strlcpy(why, "no leader to rewind from is known", QUORUM_REASON_SIZE);
	else if (term < pg_atomic_read_u64(&pgq_shared->fence_term))
		strlcpy(why, "a newer term than that of the leader was promised", QUORUM_REASON_SIZE);
	else if (!XLogHintBitIsNeeded())
		strlcpy(why, "neither wal_log_hints nor data checksums are on", QUORUM_REASON_SIZE);
	else if (!pgq_program_find("pg_rewind", path) || !pgq_program_find("psql", path))
		snprintf(why, QUORUM_REASON_SIZE, "there is no program \"%.100s\"", path);
	else if (!pgq_journal_read(&last))
		strlcpy(why, "the journal of the last rewind cannot be read", QUORUM_REASON_SIZE);
	if (why[0] != '\0')
		return false;

	memset(&journal, 0, sizeof(journal));
	journal.phase = PGQ_REWIND_REQUESTED;
	journal.attempts = 1;
	journal.asked_at = GetCurrentTimestamp();
	if (wal_is_missing() ? !clone_instead(&journal, &last, term, why) :
		(last.phase != PGQ_REWIND_NONE && last.term == term &&
		 !attempt_again(&journal, &last, why)))
		return false;
	journal.term = term;
	journal.source = source->id;
	strlcpy(journal.source_name, source->name, sizeof(journal.source_name));
	strlcpy(journal.source_host, source->host, sizeof(journal.source_host));
	journal.source_port = source->pg_port;
	journal.end.lsn = GetXLogReplayRecPtr(&journal.end.tli);
	begun = true;				/* half a write may be found by the next boot all the same */
	if (!pgq_journal_write(&journal))
	{
		strlcpy(why, "its journal could not be written", QUORUM_REASON_SIZE);
		return false;
	}
	requested = true;
	pgq_request_restart(PGQ_RESTART_FAST, "its log is not part of the leader's, it has to be rewound");
	return true;
}

bool
pgq_rewind_begun(void)
{
	return begun;
}

/* H57: has the walreceiver been told that what comes next is gone? */
static bool
wal_is_missing(void)
{
	bool		missing;

	SpinLockAcquire(&pgq_shared->stream_mutex);
	missing = pgq_shared->stream.wal_missing;
	SpinLockRelease(&pgq_shared->stream_mutex);
	return missing;
}

/* Its log is right, only too short for this leader: no rewind would help. */
static bool
clone_instead(PgqJournal *journal, const PgqJournal *last, QuorumTerm term, char *why)
{
	if (!pgq_clone_possible(why))
		return false;
	if (last->phase != PGQ_REWIND_NONE && last->term == term &&
		!TimestampDifferenceExceeds(last->asked_at, journal->asked_at, CLONE_MS))
	{
		strlcpy(why, last->reason, QUORUM_REASON_SIZE);
		return false;
	}
	journal->phase = PGQ_REWIND_NEEDS_CLONE;
	strlcpy(journal->reason, "its leader has removed the WAL that comes next",
			sizeof(journal->reason));
	return true;
}

/* After one that failed in this term: is it time for another one, or for a clone? */
static bool
attempt_again(PgqJournal *journal, const PgqJournal *last, char *why)
{
	bool		hopeless = last->phase == PGQ_REWIND_HOPELESS;
	bool		clone = hopeless || last->attempts >= ATTEMPTS_MAX;
	char		no_clone[QUORUM_REASON_SIZE] = "";
	int			wait_ms = RETRY_MS << Min(last->attempts - 1, ATTEMPTS_MAX);

	if (clone && !pgq_clone_possible(no_clone))
		wait_ms = HOPELESS_MS;
	else if (clone)
		wait_ms = hopeless ? 0 : CLONE_MS;
	if (wait_ms > 0 && !TimestampDifferenceExceeds(last->asked_at, journal->asked_at, wait_ms))
	{
		const char *reason = last->phase == PGQ_REWIND_FAILED || hopeless ? last->reason :
			"the last rewind did not help";

		if (no_clone[0] != '\0')
			snprintf(why, QUORUM_REASON_SIZE, "needs a clone: %.110s; %.60s", reason, no_clone);
		else
			strlcpy(why, reason, QUORUM_REASON_SIZE);
		return false;
	}
	journal->attempts = last->attempts + 1;
	if (clone && no_clone[0] == '\0')
	{
		journal->phase = PGQ_REWIND_NEEDS_CLONE;
		snprintf(journal->reason, sizeof(journal->reason), "%d rewind%s failed: %.100s",
				 last->attempts, last->attempts == 1 ? "" : "s", last->reason);
	}
	return true;
}

bool
pgq_rewind_unverified(void)
{
	static int	known = -1;
	PgqJournal	journal;

	/* only the worker of the same boot changes it */
	if (known < 0)
		known = pgq_journal_read(&journal) && journal.phase == PGQ_REWIND_PLACED;
	if (known > 0 && !pgq_journal_read(&journal))
		known = 0;
	if (known > 0 && journal.phase != PGQ_REWIND_PLACED)
		known = 0;
	return known > 0;
}

void
pgq_rewind_verified(QuorumTerm term)
{
	PgqJournal	journal;
	long		seconds;
	int			microseconds;

	if (!pgq_rewind_unverified() || !pgq_journal_read(&journal))
		return;
	TimestampDifference(journal.asked_at, GetCurrentTimestamp(), &seconds, &microseconds);
	pgq_parking_clean();
	(void) unlink(PGQ_REWIND_LOCK);
	pgq_journal_remove();
	tell(&journal, term, seconds * 1000.0 + microseconds / 1000.0);
}

/* What it cost: the log of this node between the fork and its end. */
static void
tell(const PgqJournal *journal, QuorumTerm term, double ms)
{
	static PgqRollback rollback;
	const char *event = journal->cloned ? "cloned" : "rewound";
	char		lost[PGQ_HISTORY_DETAIL_SIZE];
	char		id[PGQ_ROLLBACK_ID_SIZE];

	pgq_rollback_id(journal, id);
	if (journal->fork.tli == 0)
		strlcpy(lost, "where its log had left the leader's is not known", sizeof(lost));
	else if (journal->fork.tli == journal->end.tli && journal->end.lsn <= journal->fork.lsn)
		strlcpy(lost, "nothing of its log was lost", sizeof(lost));
	else if (pgq_rollback_read(id, &rollback) && rollback.commits >= 0)
		snprintf(lost, sizeof(lost),
				 "lost " INT64_FORMAT " commits, " UINT64_FORMAT " bytes from %X/%X to %X/%X, kept as %s",
				 rollback.commits, journal->end.lsn - journal->fork.lsn,
				 LSN_FORMAT_ARGS(journal->fork.lsn), LSN_FORMAT_ARGS(journal->end.lsn), id);
	else
		snprintf(lost, sizeof(lost), "lost " UINT64_FORMAT " bytes from %X/%X to %X/%X, not kept",
				 journal->end.lsn - journal->fork.lsn,
				 LSN_FORMAT_ARGS(journal->fork.lsn), LSN_FORMAT_ARGS(journal->end.lsn));
	ereport(LOG,
			(errmsg("quorum: %s and following in term %u, %.0f ms", event, term, ms),
			 errdetail("Against %s (%u): %s.", journal->source_name, journal->source, lost)));
	pgq_history_tell(event, term, journal->source_name, lost, ms);
}
