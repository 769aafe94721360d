/*
 * follow.c
 *	  Decides which leader this node's walreceiver may follow.
 *
 * Not the connection itself (stream.c, follow_conninfo.c), nor who the leader is (the core): this
 * is the meeting of what the worker publishes with what the disk of this node allows.
 *
 * Rules: S3 (only the accepted leader, whatever the configuration says), V4 (a newer
 * timeline's empty segment must not hide acknowledged WAL).
 */
#include "postgres.h"

#include <signal.h>

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "miscadmin.h"
#include "storage/pmsignal.h"

#include "clone.h"
#include "follow.h"
#include "guc.h"
#include "stream.h"

#define MISSING_RETRY_US	(10 * UINT64CONST(1000000))

/* Looks, a second apart at most, that find no worker before the server starts anew. */
#define WORKER_MISSING_MAX	3

static emit_log_hook_type previous_log_hook = NULL;

static void follow_log_hook(ErrorData *edata);
static bool names_segment(const char *text);
static void follow_report_missing_wal(void);

void
pgq_follow_init(void)
{
	previous_log_hook = emit_log_hook;
	emit_log_hook = follow_log_hook;
}

void
pgq_stream_follow_changed(void)
{
	PgqStreamReport *report = &pgq_shared->stream;
	uint64		fence = pg_atomic_read_u64(&pgq_shared->fence_term);
	QuorumNodeId leader;
	QuorumTerm	term;
	Latch	   *latch;
	pid_t		kill_pid = 0;

	LWLockAcquire(pgq_shared->lock, LW_SHARED);
	leader = pgq_shared->view.leader;
	term = pgq_shared->view.term;
	LWLockRelease(pgq_shared->lock);

	SpinLockAcquire(&pgq_shared->stream_mutex);
	latch = report->latch;

	/* a leader that is merely silent may go on sending until somebody else is accepted */
	if (report->pid != 0 && report->term != 0 &&
		(fence > report->term || term > report->term ||
		 (leader != QUORUM_NO_NODE && leader != report->source)))
	{
		report->leave = true;
		if (report->busy)
			kill_pid = report->pid;
	}
	SpinLockRelease(&pgq_shared->stream_mutex);

	if (kill_pid != 0)
		(void) kill(kill_pid, SIGTERM);
	else if (latch != NULL)
		SetLatch(latch);

	/* the startup process may be sleeping through wal_retrieve_retry_interval */
	if (RecoveryInProgress())
		WakeupRecovery();
}

/*
 * After a crash of all its children the postmaster starts background workers again when
 * hot standby opens.  A standby that needs WAL to become consistent would wait for that
 * for ever: nobody but the worker knows where the WAL is (V12).  While not even the first
 * record could be read, the postmaster starts none when asked, either: then it starts anew.
 */
void
pgq_follow_want_worker(void)
{
	static int	missing = 0;
	bool		runs;

	LWLockAcquire(pgq_shared->lock, LW_SHARED);
	runs = pgq_shared->worker_pid != 0;
	LWLockRelease(pgq_shared->lock);
	missing = runs ? 0 : missing + 1;
	if (missing > WORKER_MISSING_MAX)
		pgq_request_restart(PGQ_RESTART_IMMEDIATE, "its worker is gone and is not started again");
	else if (missing > 0)
		SendPostmasterSignal(PMSIGNAL_BACKGROUND_WORKER_CHANGE);
}

/* Point this process at the accepted leader, if there is one and our log fits its log. */
bool
pgq_follow_take_leader(QuorumMember *leader, QuorumTerm *term)
{
	static QuorumView view;		/* too large for the stack's taste */
	PgqStreamReport *report = &pgq_shared->stream;
	bool		taken = true;

	if (!pgq_shmem_copy_view(&view) || !pgq_follow_find_leader(&view, leader))
		return false;

	SpinLockAcquire(&pgq_shared->stream_mutex);
	if ((report->diverged && report->diverged_term == view.term) ||
		(report->wal_missing && report->missing_term == view.term &&
		 pgq_now_mono() < report->missing_until))
		taken = false;
	else
	{
		report->diverged = false;
		report->wal_missing = false;
		report->source = view.leader;
		report->term = view.term;
		report->leave = false;
		report->busy = true;
	}
	SpinLockRelease(&pgq_shared->stream_mutex);
	if (!taken)
		return false;

	*term = view.term;

	/* a leader published before our choice was visible did not find us: look again */
	if (pgq_shmem_copy_view(&view) && view.leader == leader->id && view.term == *term)
		return true;

	SpinLockAcquire(&pgq_shared->stream_mutex);
	report->busy = false;
	SpinLockRelease(&pgq_shared->stream_mutex);
	SetLatch(MyLatch);
	return false;
}

void
pgq_follow_report_process(pid_t pid, Latch *latch)
{
	PgqStreamReport *report = &pgq_shared->stream;

	SpinLockAcquire(&pgq_shared->stream_mutex);
	report->pid = pid;
	report->latch = latch;
	report->source = QUORUM_NO_NODE;
	report->term = 0;
	report->tli = 0;
	report->acking_term = 0;
	report->connected = false;
	report->busy = false;
	report->leave = false;
	SpinLockRelease(&pgq_shared->stream_mutex);
}

void
pgq_follow_report_failure(const char *err)
{
	PgqStreamReport *report = &pgq_shared->stream;
	size_t		first_line = Min(strcspn(err, "\n") + 1, QUORUM_REASON_SIZE);

	SpinLockAcquire(&pgq_shared->stream_mutex);
	report->busy = false;
	strlcpy(report->reason, err, first_line);
	SpinLockRelease(&pgq_shared->stream_mutex);
}

bool
pgq_follow_find_leader(const QuorumView *view, QuorumMember *leader)
{
	if (view->leader == QUORUM_NO_NODE || view->leader == view->node_id || view->closed ||
		view->term < pg_atomic_read_u64(&pgq_shared->fence_term))
		return false;

	for (int i = 0; i < view->member_count; i++)
	{
		*leader = view->members[i].member;
		if (leader->id == view->leader)
			return leader->pg_port != 0;
	}
	return false;
}

/*
 * Recovery reads a segment from the newest timeline that has it.  A crash right after
 * the stream changed timeline leaves that file empty or short, while the same segment
 * of the older timeline holds WAL that this node acknowledged; recovery then dies of
 * it at every boot.  No record of the newer timeline was replayed, so nothing is lost
 * by reading the older file instead (V4, V12).
 */
static void
follow_log_hook(ErrorData *edata)
{
	static const char ended[] = "could not receive data from WAL stream";
	static const char hidden[] = "according to history file, WAL location";

	if (edata->elevel >= ERROR && AmStartupProcess() && pgq_is_member() &&
		edata->message_id != NULL &&
		strncmp(edata->message_id, hidden, sizeof(hidden) - 1) == 0)
	{
		TimeLineID	tli = 0;

		if (GetXLogReplayRecPtr(&tli) != InvalidXLogRecPtr && tli != 0)
			pgq_request_forget_above(tli, "a newer timeline without records hides a part of the log");
	}

	if (edata->elevel >= ERROR && AmWalReceiverProcess() && pgq_is_member() &&
		edata->message_id != NULL &&
		strncmp(edata->message_id, ended, sizeof(ended) - 1) == 0 && names_segment(edata->message))
		follow_report_missing_wal();

	if (previous_log_hook)
		previous_log_hook(edata);
}

/*
 * "requested WAL segment 000000010000000000000003 has already been removed", in whatever
 * language the leader says it; its other complaints name a file by its path.  A wrong guess
 * does no harm: the boot looks before it clones (rewind.c).
 */
static bool
names_segment(const char *text)
{
	for (const char *c = text; *c != '\0'; c++)
	{
		size_t		digits = strspn(c, "0123456789ABCDEF");

		if (digits == 24 && (c == text || c[-1] != '/'))
			return true;
		if (digits > 0)
			c += digits - 1;
	}
	return false;
}

/*
 * H57: the leader has removed what comes next.  Where a clone is possible this node counts
 * as one that cannot follow; where it is not, it keeps its vote, and asks now and then.
 */
static void
follow_report_missing_wal(void)
{
	PgqStreamReport *report = &pgq_shared->stream;
	char		why[QUORUM_REASON_SIZE] = "";
	bool		possible = pgq_auto_rewind && pgq_clone_possible(why);

	if (!pgq_auto_rewind)
		strlcpy(why, "quorum.auto_rewind is off", sizeof(why));
	SpinLockAcquire(&pgq_shared->stream_mutex);
	report->wal_missing = true;
	report->missing_term = report->term;
	report->missing_until = pgq_now_mono() + MISSING_RETRY_US;
	if (possible)
	{
		report->diverged = true;
		report->diverged_term = report->term;
	}
	snprintf(report->reason, QUORUM_REASON_SIZE,
			 "needs a clone: its leader has removed the WAL that comes next%s%.80s",
			 possible ? "" : "; ", possible ? "" : why);
	SpinLockRelease(&pgq_shared->stream_mutex);
}
