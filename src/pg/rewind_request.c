/*
 * rewind_request.c
 *	  In the worker: how a rewind is asked for, and how it is known to have helped.
 *
 * It does not carry it out: the next boot does (rewind.c).  A rewind that failed is tried
 * again, later and later; when it has failed too often in one term a clone is asked for.
 *
 * Rules: R11, R14, H65 (streaming proves it, not pg_rewind's word), H68.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "utils/timestamp.h"

#include "clone.h"
#include "journal.h"
#include "parking.h"
#include "program.h"
#include "rewind.h"

#define ATTEMPTS_MAX	3		/* in a term at once; then one a minute */
#define RETRY_MS		2000	/* after the first attempt that failed; doubled each time */
#define RETRY_MS_MAX	60000

bool
pgq_rewind_request(const QuorumMember *source, QuorumTerm term, char *why)
{
	static bool requested = false;
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
	journal.attempts = 1;
	journal.asked_at = GetCurrentTimestamp();
	if (last.phase != PGQ_REWIND_NONE && last.term == term)
	{
		int			wait_ms = Min(RETRY_MS << Min(last.attempts - 1, 10), RETRY_MS_MAX);

		if (last.attempts >= ATTEMPTS_MAX)
			wait_ms = RETRY_MS_MAX;
		if (!TimestampDifferenceExceeds(last.asked_at, journal.asked_at, wait_ms))
		{
			strlcpy(why, last.phase == PGQ_REWIND_FAILED ? last.reason :
					"the last rewind did not help", QUORUM_REASON_SIZE);
			return false;
		}
		journal.attempts = last.attempts + 1;
	}
	journal.phase = PGQ_REWIND_REQUESTED;
	if (journal.attempts > ATTEMPTS_MAX && pgq_clone_possible(why))
	{
		journal.phase = PGQ_REWIND_NEEDS_CLONE;
		snprintf(journal.reason, sizeof(journal.reason), "%d rewinds failed: %.100s",
				 last.attempts, last.reason);
	}
	journal.term = term;
	journal.source = source->id;
	strlcpy(journal.source_name, source->name, sizeof(journal.source_name));
	strlcpy(journal.source_host, source->host, sizeof(journal.source_host));
	journal.source_port = source->pg_port;
	journal.end.lsn = GetXLogReplayRecPtr(&journal.end.tli);
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

double
pgq_rewind_verified(QuorumTerm term)
{
	PgqJournal	journal;
	long		seconds;
	int			microseconds;
	double		elapsed_ms;

	(void) term;
	if (!pgq_rewind_unverified() || !pgq_journal_read(&journal))
		return -1;
	TimestampDifference(journal.asked_at, GetCurrentTimestamp(), &seconds, &microseconds);
	elapsed_ms = seconds * 1000.0 + microseconds / 1000.0;
	pgq_parking_clean();
	(void) unlink(PGQ_REWIND_LOCK);
	pgq_journal_remove();
	return elapsed_ms;
}
