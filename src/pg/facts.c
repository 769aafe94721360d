/*
 * facts.c
 *	  Reads the truth about the local PostgreSQL from shared memory.
 *
 * No database connection, no waiting: it runs in the worker while recovery runs.
 * What the worker itself knows (promotion_failed, sync_ready) it fills in later.
 *
 * Rules: S2 (the fence first, then the positions), V4 (a position is what was
 * replayed or acknowledged; a timeline of which no byte arrived is never claimed),
 * R5 (STARTING until the local log has been read to its end), S9.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogrecovery.h"
#include "miscadmin.h"

#include "facts.h"
#include "health.h"
#include "promote.h"

static TimeLineID facts_newest_timeline(const QuorumFacts *facts, const PgqStreamReport *report);
static bool facts_promotable(const QuorumFacts *facts);

static bool
position_is_later(QuorumWalPos a, QuorumWalPos b)
{
	return a.tli != b.tli ? a.tli > b.tli : a.lsn > b.lsn;
}

void
pgq_facts_read(QuorumFacts *facts)
{
	PgqStreamReport report;

	memset(facts, 0, sizeof(*facts));

	/* S2: what was acknowledged before the fence is seen by the reads below */
	pg_memory_barrier();
	facts->fence_term = pg_atomic_read_u64(&pgq_shared->fence_term);

	SpinLockAcquire(&pgq_shared->stream_mutex);
	report = pgq_shared->stream;
	SpinLockRelease(&pgq_shared->stream_mutex);

	if (RecoveryInProgress())
	{
		TimeLineID	tli = 0;

		facts->phase = pg_atomic_read_u32(&pgq_shared->local_wal_read) ?
			QUORUM_PHASE_STANDBY : QUORUM_PHASE_STARTING;
		facts->replay_lsn = GetXLogReplayRecPtr(&tli);
		if (facts->replay_lsn != InvalidXLogRecPtr)
		{
			facts->replay_tli = tli;
			facts->position.tli = tli;
			facts->position.lsn = facts->replay_lsn;
		}
		if (position_is_later(report.log_end, facts->position))
			facts->position = report.log_end;
	}
	else
	{
		facts->phase = QUORUM_PHASE_PRIMARY;
		facts->position.tli = GetWALInsertionTimeLine();
		facts->position.lsn = GetFlushRecPtr(NULL);
		facts->replay_lsn = facts->position.lsn;
	}

	/* a stream that was told to go counts no more, even while its process ends */
	facts->streaming = report.connected && !report.leave && report.term == facts->fence_term;
	if (facts->streaming && report.acking_term == report.term)
	{
		facts->stream_term = report.acking_term;
		facts->stream_flush = report.acked_flush;
	}
	facts->log_damaged = pg_atomic_read_u32(&pgq_shared->log_damaged) != 0;
	facts->diverged = report.diverged && report.diverged_term == facts->fence_term;

	facts->newest_tli = facts_newest_timeline(facts, &report);
	facts->promotable = facts_promotable(facts);
	facts->fsync_off = !enableFsync || !fullPageWrites;
	if (!enableFsync)
		pg_atomic_write_u32(&pgq_shared->unsynced, 1);	/* A4: without a stream, too */
	facts->wal_stalled = facts->phase == QUORUM_PHASE_PRIMARY && pgq_health_wal_stalled();
	facts->space_low = pgq_health_space_low();
	facts->sync_ready = true;
}

/*
 * History files come and go with the walreceiver's doings and with promotions, so the
 * directory is read again when one of those moved, or when it changed and the last
 * look is a second old.
 */
static TimeLineID
facts_newest_timeline(const QuorumFacts *facts, const PgqStreamReport *report)
{
	static struct
	{
		TimeLineID	newest;		/* 0 = never looked */
		QuorumPhase phase;
		TimeLineID	position_tli;
		pid_t		pid;
		QuorumTerm	term;
		TimeLineID	tli;
		struct timespec changed;	/* of pg_wal */
		uint64		looked_at;
	}			seen;
	struct stat st;
	bool		moved;
	uint64		now = pgq_now_mono();

	memset(&st, 0, sizeof(st));
	(void) stat(XLOGDIR, &st);

	moved = seen.newest == 0 || seen.phase != facts->phase ||
		seen.position_tli != facts->position.tli || seen.pid != report->pid ||
		seen.term != report->term || seen.tli != report->tli;
	if (!moved && (now - seen.looked_at < USECS_PER_SEC ||
				   (seen.changed.tv_sec == st.st_mtim.tv_sec &&
					seen.changed.tv_nsec == st.st_mtim.tv_nsec)))
		return Max(seen.newest, facts->position.tli);

	seen.newest = pgq_newest_timeline();
	seen.phase = facts->phase;
	seen.position_tli = facts->position.tli;
	seen.pid = report->pid;
	seen.term = report->term;
	seen.tli = report->tli;
	seen.changed = st.st_mtim;
	seen.looked_at = now;
	return Max(seen.newest, facts->position.tli);
}

/* R17; the answer depends on nothing but these three. */
static bool
facts_promotable(const QuorumFacts *facts)
{
	static QuorumWalPos asked;
	static TimeLineID asked_newest = 0;
	static bool answer;
	char		why[QUORUM_REASON_SIZE];

	if (facts->phase != QUORUM_PHASE_STANDBY)
		return false;
	if (facts->newest_tli == facts->position.tli)
		return true;

	if (asked_newest != facts->newest_tli || asked.tli != facts->position.tli ||
		asked.lsn != facts->position.lsn)
	{
		asked_newest = facts->newest_tli;
		asked = facts->position;
		answer = pgq_promote_possible(facts->position, why);
	}
	return answer;
}
