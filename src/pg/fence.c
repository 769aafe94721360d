/*
 * fence.c
 *	  In every backend: no commit without gate and lease, no acknowledgement without the quorum.
 *
 * It does not decide who leads or when the gate opens (the core, through the worker),
 * does not count who holds what (ledger.c) and does not judge reads (fence_reads.c).
 *
 * Rules:
 *	S5, V2, V9	a commit is acknowledged only when the ledger (ledger.c) agrees, whatever
 *				released PostgreSQL's own wait
 *	S6, S7, R21	a transaction that wrote needs an open gate, a valid lease and a
 *				living postmaster right before its commit record
 *	R22			after the commit record nothing may throw: an unknown outcome cuts the
 *				connection before a byte of the acknowledgement leaves
 *	R23			cancel and terminate wait until the transaction is over, so that they
 *				do not end PostgreSQL's wait and show the row to others too early
 */
#include "postgres.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/syncrep.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "commit_level.h"
#include "compat.h"
#include "fence.h"
#include "guc.h"
#include "ledger.h"

/* Port keeps its layout without the GSSAPI headers, which a build need not have. */
#undef ENABLE_GSS
#include "libpq/libpq-be.h"

#define WATCH_INTERVAL_MS		200 /* between two looks at the lease during PostgreSQL's wait */
#define TERMINATE_LIMIT_US		(10 * INT64CONST(1000000))	/* R23 */
#define WAIT_MS_MAX				20	/* longest nap in our own wait */

/* What the callbacks of one transaction tell each other; all zero between transactions. */
typedef struct CommitFence
{
	bool		armed;			/* the rules of a member apply to this commit */
	bool		local_commit;	/* the session chose it and the administrator allows it */
	bool		two_phase;		/* COMMIT PREPARED or ROLLBACK PREPARED wrote for another xact */
	char		gid[GIDSIZE];	/* when two_phase: which */
	bool		async;			/* the quorum only has to be near */
	bool		level_set;		/* synchronous_commit is ours for this commit */
	int			session_level;	/* when level_set: what it was */
	bool		shielded;		/* SIGINT and SIGTERM are blocked, the watch runs */
	sigset_t	old_mask;		/* when shielded */
	uint64		fence_term;		/* in force before the commit record */
	uint64		terminate_seen; /* boot clock when a blocked SIGTERM was first seen; 0 = none */
} CommitFence;

static CommitFence commit_fence;
static TimeoutId watch_timeout = MAX_TIMEOUTS;
static ProcessUtility_hook_type previous_utility = NULL;

static void on_xact_event(XactEvent event, void *arg) pg_attribute_hot;
static void on_utility(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
					   ProcessUtilityContext context, ParamListInfo params,
					   QueryEnvironment *query_env, DestReceiver *dest,
					   QueryCompletion *completion) pg_attribute_hot;
static void before_commit(void) pg_attribute_hot;
static void after_commit(XLogRecPtr lsn) pg_attribute_hot;
static void commit_over(void) pg_attribute_hot;
static void arm(void) pg_attribute_hot;
static void refuse_commit(bool prepared);
static void set_level(int level);
static void shield(void) pg_attribute_hot;
static void held_signals(sigset_t *held) pg_attribute_hot;
static void watch_commit(void);
static void say_unknown(void);
static bool terminate_pending(void);
static void wait_for_quorum(XLogRecPtr lsn);
static void cut_connection(const char *reason);

void
pgq_fence_init(void)
{
	RegisterXactCallback(on_xact_event, NULL);
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = on_utility;
	pgq_fence_reads_init();
}

bool
pgq_fence_may_serve(void)
{
	if (!pgq_is_member())
		return true;
	return pg_atomic_read_u32(&pgq_shared->gate_open) != 0 &&
		pgq_now_boot() < pg_atomic_read_u64(&pgq_shared->lease_until) &&
		PostmasterIsAlive();
}

const char *
pgq_fence_reason(void)
{
	if (!PostmasterIsAlive())
		return "The postmaster of this node is gone.";
	if (pgq_is_member() && pg_atomic_read_u32(&pgq_shared->gate_open) == 0)
		return "Its gate is closed: it is not, or not yet, the leader of the current term.";
	return "Its lease lapsed: it has not heard from a majority of the voters in time.";
}

/*
 * Every top-level commit, prepare and abort comes here, those inside procedures and
 * utilities included.  Subtransactions are no promise to anybody; parallel workers
 * leave the commit to their leader.
 */
static void
on_xact_event(XactEvent event, void *arg pg_attribute_unused())
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			before_commit();
			break;

		case XACT_EVENT_COMMIT:

			/*
			 * RecordTransactionCommit has set XactLastCommitEnd after its own wait; it
			 * keeps the value of an older transaction when this one wrote nothing, so
			 * it means something only with an xid or after a two-phase command.  An xid
			 * may have been assigned after PRE_COMMIT (NOTIFY): ask again.
			 */
			if (TransactionIdIsValid(GetTopTransactionIdIfAny()) || commit_fence.two_phase)
				after_commit(XactLastCommitEnd);
			commit_over();
			break;

		case XACT_EVENT_PREPARE:

			/*
			 * PREPARE leaves XactLastCommitEnd alone, but EndPrepare has flushed its
			 * record: whatever is flushed now covers it.
			 */
			after_commit(GetFlushRecPtr(NULL));
			commit_over();
			break;

		case XACT_EVENT_ABORT:
			commit_over();
			break;

		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			break;
	}
}

/*
 * The prepared transaction of COMMIT PREPARED has no PRE_COMMIT of its own (H9): check
 * before the command, and let the COMMIT of the transaction around it wait again.
 */
static void
on_utility(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
		   ProcessUtilityContext context, ParamListInfo params,
		   QueryEnvironment *query_env, DestReceiver *dest, QueryCompletion *completion)
{
	Node	   *stmt = pstmt->utilityStmt;
	bool		unseen = (IsA(stmt, CopyStmt) && !((CopyStmt *) stmt)->is_from) ||
		IsA(stmt, DoStmt) || IsA(stmt, CallStmt);
	bool		reads = unseen || IsA(stmt, FetchStmt) || IsA(stmt, NotifyStmt);

	if (IsA(stmt, TransactionStmt))
	{
		TransactionStmtKind kind = ((TransactionStmt *) stmt)->kind;

		if ((kind == TRANS_STMT_COMMIT_PREPARED || kind == TRANS_STMT_ROLLBACK_PREPARED) &&
			pgq_is_member() && !RecoveryInProgress())
		{
			if (!pgq_fence_may_serve())
				refuse_commit(true);
			arm();
			commit_fence.two_phase = true;
			strlcpy(commit_fence.gid, ((TransactionStmt *) stmt)->gid, GIDSIZE);
			shield();
		}
	}

	if (reads)
		pgq_fence_check_read();

	if (previous_utility)
		previous_utility(pstmt, query_string, read_only_tree, context, params, query_env, dest,
						 completion);
	else
		standard_ProcessUtility(pstmt, query_string, read_only_tree, context, params, query_env,
								dest, completion);

	/*
	 * COPY of a table, FETCH from a cursor WITH HOLD, and expressions of DO and CALL read
	 * without the executor; after reading counts (S7).  What the executor read for a cursor
	 * was confirmed then.  NOTIFY gets its xid after PRE_COMMIT, and one that reaches nobody
	 * had better fail.
	 */
	if (unseen)
		pgq_fence_confirm_read();
	else if (reads)
		pgq_fence_check_read();
}

/* The last moment at which an error is still possible. */
static void
before_commit(void)
{
	if (!pgq_is_member())
		return;

	/* a two-phase command has been checked, and its work is done: it cannot be refused now */
	if (commit_fence.two_phase)
		return;

	pgq_fence_confirm_calls();
	if (RecoveryInProgress())
		return;
	arm();
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	if (!pgq_fence_may_serve())
		refuse_commit(false);
	shield();
}

/* The transaction is committed here.  Nothing from here on may throw (R22). */
static void
after_commit(XLogRecPtr lsn)
{
	XLogRecPtr	flushed = GetFlushRecPtr(NULL);

	if (!commit_fence.armed || commit_fence.local_commit || XLogRecPtrIsInvalid(lsn))
		return;

	/*
	 * With synchronous_commit raised, a commit record that is not flushed belongs to a
	 * transaction that wrote no other WAL (temporary or unlogged tables, NOTIFY).
	 * PostgreSQL does not wait for those, as nothing of them could be lost.  The record of
	 * a two-phase command is flushed, only what came after it need not be.
	 */
	if (lsn > flushed)
	{
		if (!commit_fence.two_phase)
			return;
		lsn = flushed;
	}

	if (commit_fence.async)
		lsn = pgq_commit_level_floor(lsn);
	if (!pgq_ledger_satisfied(lsn))
		wait_for_quorum(lsn);
}

/* Put everything back.  Idempotent; signals that were held back arrive in here. */
static void
commit_over(void)
{
	CommitFence ended = commit_fence;

	memset(&commit_fence, 0, sizeof(commit_fence));
	pgq_fence_forget_calls();
	if (ended.level_set)
	{
		synchronous_commit = ended.session_level;
		assign_synchronous_commit(synchronous_commit, NULL);
	}
	if (ended.shielded)
	{
		disable_timeout(watch_timeout, false);
		sigprocmask(SIG_SETMASK, &ended.old_mask, NULL);
	}
}

static void
arm(void)
{
	commit_fence.armed = true;
	commit_fence.fence_term = pg_atomic_read_u64(&pgq_shared->fence_term);
	if (pgq_commit_level_is_async())
	{
		/* PostgreSQL flushes and does not wait; how near the quorum is, after_commit sees. */
		commit_fence.async = true;
		set_level(SYNCHRONOUS_COMMIT_LOCAL_FLUSH);
		return;
	}
	if (synchronous_commit >= SYNCHRONOUS_COMMIT_ON)
		return;

	/* remote_write: a crash of the other host could take away what was acknowledged (H7) */
	if (pgq_allow_local_commit && synchronous_commit != SYNCHRONOUS_COMMIT_REMOTE_WRITE)
		commit_fence.local_commit = true;
	else
		set_level(SYNCHRONOUS_COMMIT_ON);
}

static void
refuse_commit(bool prepared)
{
	ereport(ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("this node does not lead its cluster: commit refused"),
			 errdetail_internal("%s", pgq_fence_reason()),
			 prepared ?
			 errhint("Reconnect with a connection string that names all nodes and target_session_attrs=read-write; the transaction stays prepared.") :
			 errhint("Reconnect with a connection string that names all nodes and target_session_attrs=read-write; the transaction was rolled back.")));
}

/*
 * synchronous_commit for this commit only.
 *
 * The variable is set directly: no allocation, no entry on the GUC stack whose level
 * would have to fit procedures and SET LOCAL, and the session's own value cannot be
 * lost, since every transaction ends in commit_over before AtEOXact_GUC looks at it.
 * The assign hook must run as well: SyncRepWaitForLSN takes its queue from what the
 * hook derives.
 */
static void
set_level(int level)
{
	if (commit_fence.level_set || synchronous_commit == level)
		return;
	commit_fence.level_set = true;
	commit_fence.session_level = synchronous_commit;
	synchronous_commit = level;
	assign_synchronous_commit(synchronous_commit, NULL);
}

/*
 * R23: hold back cancel and terminate until the transaction is over.  They would end
 * PostgreSQL's wait, and the row would be visible before the quorum has it.  Blocked
 * signals stay pending in the kernel, so nothing is lost and no handler is replaced.
 * A timer keeps an eye on the lease meanwhile, for that wait has no other way out.
 */
static void
shield(void)
{
	sigset_t	held;

	if (commit_fence.shielded)
		return;
	if (watch_timeout == MAX_TIMEOUTS)
		watch_timeout = RegisterTimeout(USER_TIMEOUT, watch_commit);

	commit_fence.shielded = true;
	held_signals(&held);
	sigprocmask(SIG_BLOCK, &held, &commit_fence.old_mask);
	enable_timeout_every(watch_timeout,
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WATCH_INTERVAL_MS),
						 WATCH_INTERVAL_MS);
}

static void
held_signals(sigset_t *held)
{
	sigemptyset(held);
	sigaddset(held, SIGINT);
	sigaddset(held, SIGTERM);
}

/*
 * Timer, in signal context.  Without lease the wait ends as a terminated one does: no
 * acknowledgement, connection cut; the row is visible here, but nobody may read it.
 * A terminate that could not be obeyed for long ends as a crash does (R23): the row
 * must not be shown, and a fast shutdown must not hang.  Before the commit record a
 * wait for a heavyweight lock (NOTIFY takes one) may end as ever.
 */
static void
watch_commit(void)
{
	if (!commit_fence.shielded)
		return;
	if (MyProc->waitStatus == PROC_WAIT_STATUS_WAITING)
	{
		sigset_t	held;

		/* what is pending arrives here and now; our return blocks them again */
		held_signals(&held);
		sigprocmask(SIG_UNBLOCK, &held, NULL);
		return;
	}
	if (!pgq_fence_may_serve())
	{
		InterruptPending = true;
		ProcDiePending = true;
		return;
	}
	if (!terminate_pending())
		return;
	if (commit_fence.terminate_seen == 0)
		commit_fence.terminate_seen = pgq_now_boot();
	else if (pgq_now_boot() - commit_fence.terminate_seen > TERMINATE_LIMIT_US)
	{
		say_unknown();
		_exit(2);
	}
}

/* In signal context: nothing of the server's log can be used. */
static void
say_unknown(void)
{
	char		text[128 + GIDSIZE];
	TransactionId xid = GetTopTransactionIdIfAny();
	int			length;

	if (TransactionIdIsValid(xid))
		length = snprintf(text, sizeof(text),
						  "quorum: terminated while it waited, outcome of transaction %u unknown\n",
						  xid);
	else
		length = snprintf(text, sizeof(text),
						  "quorum: terminated while it waited, outcome of prepared transaction \"%s\" unknown\n",
						  commit_fence.gid);
	if (write(STDERR_FILENO, text, length) != length)
		return;
}

static bool
terminate_pending(void)
{
	sigset_t	pending;

	return sigpending(&pending) == 0 && sigismember(&pending, SIGTERM) == 1;
}

/*
 * PostgreSQL's wait is over, but the ledger does not agree: the names in force are not
 * ours, or a connection counts that is no member.  Wait for the members themselves.
 */
static void
wait_for_quorum(XLogRecPtr lsn)
{
	long		nap_ms = 1;

	if (commit_fence.shielded)
		disable_timeout(watch_timeout, false);

	while (!pgq_ledger_satisfied(lsn))
	{
		if (!pgq_fence_may_serve())
		{
			cut_connection(pgq_fence_reason());
			break;
		}
		if (pg_atomic_read_u64(&pgq_shared->fence_term) != commit_fence.fence_term)
		{
			cut_connection("The cluster has moved on to a newer term.");
			break;
		}

		/* the row is visible by now: nothing is gained by holding a terminate back longer */
		if (ProcDiePending || terminate_pending())
		{
			cut_connection("The session was terminated while it waited.");
			break;
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_POSTMASTER_DEATH, nap_ms,
						 WAIT_EVENT_SYNC_REP);
		ResetLatch(MyLatch);
		nap_ms = Min(nap_ms * 2, WAIT_MS_MAX);
	}

	/* whoever set the latch meanwhile meant somebody after us */
	SetLatch(MyLatch);
}

/*
 * Neither "committed" nor "failed" would be true.  The command tag is put into the send
 * buffer after this, whatever whereToSendOutput says, so the socket is shut: not a byte
 * can leave.  (Without a destination the session would go on as an interactive one and
 * read the server's standard input.)  It ends at its next check for interrupts.
 */
static void
cut_connection(const char *reason)
{
	TransactionId xid = GetTopTransactionIdIfAny();

	if (MyProcPort != NULL)
		(void) shutdown(MyProcPort->sock, SHUT_RDWR);
	ereport(LOG,
			(TransactionIdIsValid(xid) ?
			 errmsg("connection cut, outcome of transaction %u unknown", xid) :
			 errmsg("connection cut, outcome of prepared transaction \"%s\" unknown",
					commit_fence.gid),
			 errdetail_internal("It is committed here, but the quorum is not known to hold it. %s",
								reason)));
	InterruptPending = true;
	ProcDiePending = true;
}
