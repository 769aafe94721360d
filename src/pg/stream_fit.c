/*
 * stream_fit.c
 *	  In the walreceiver: does the log of this node fit the log of its leader?
 *
 * A log that ends beside the leader's has diverged: it needs a rewind, which the core asks for
 * when it reads so in the report of the stream.  So do data that need a log which the leader has
 * not got.  One that fits may still have a history of a leader of which no WAL has come: recovery
 * aims at that timeline, and never turns back.
 *
 * Rules: S3, V1, W4, V6 (ii), H40.
 */
#include "postgres.h"

#include "access/xlogrecovery.h"

#include "consistent.h"
#include "promote.h"
#include "shmem.h"
#include "stream_fit.h"

static const char *diverged(QuorumTerm term, const char *what, TimeLineID tli, XLogRecPtr lsn);
static TimeLineID adopted_timeline(TimeLineID tli, XLogRecPtr lsn);

const char *
pgq_stream_misfit(const PgqHistory *history, QuorumTerm term)
{
	static const char lost[] =
		"a timeline known here has no part in the log of the accepted leader";
	TimeLineID	tli;
	XLogRecPtr	lsn = GetXLogReplayRecPtr(&tli);
	QuorumWalPos needed = pgq_data_needed_log();
	TimeLineID	adopted;

	/* nothing replayed yet: the startup process only looks for its first checkpoint */
	if (lsn == InvalidXLogRecPtr)
		return NULL;
	if (!pgq_history_contains(history, tli, lsn))
		return diverged(term, "its log ends at", tli, lsn);
	if (needed.lsn != InvalidXLogRecPtr &&
		!pgq_history_contains(history, needed.tli, needed.lsn))
		return diverged(term, "its data need the log to", needed.tli, needed.lsn);

	adopted = adopted_timeline(tli, lsn);
	if (adopted == 0 || pgq_history_has(history, adopted))
		return NULL;

	/* H40: a boot without its files turns back */
	pgq_request_forget_above(tli, lost);
	return lost;
}

static const char *
diverged(QuorumTerm term, const char *what, TimeLineID tli, XLogRecPtr lsn)
{
	PgqStreamReport *report = &pgq_shared->stream;
	char		reason[QUORUM_REASON_SIZE];

	snprintf(reason, sizeof(reason),
			 "needs a rewind: %s %X/%X of timeline %u, which is not in the log of term %u",
			 what, LSN_FORMAT_ARGS(lsn), tli, term);

	SpinLockAcquire(&pgq_shared->stream_mutex);
	report->diverged = true;
	report->diverged_term = term;
	strlcpy(report->reason, reason, QUORUM_REASON_SIZE);
	SpinLockRelease(&pgq_shared->stream_mutex);

	return "this node needs a rewind";
}

/*
 * V6 (ii): the timeline that recovery is aiming at, when it is one of which no record
 * has arrived: the newest whose history our log fits into.  0 = none.
 */
static TimeLineID
adopted_timeline(TimeLineID tli, XLogRecPtr lsn)
{
	static PgqHistory history;

	for (TimeLineID newest = pgq_newest_timeline(); newest > tli; newest--)
	{
		if (pgq_history_load(&history, newest) && pgq_history_has_parent(&history) &&
			pgq_history_contains(&history, tli, lsn))
			return newest;
	}
	return 0;
}
