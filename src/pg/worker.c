/*
 * worker.c
 *	  The background worker: one loop that waits for peers, latch, postmaster and
 *	  clock, and feeds the core.
 *
 * It has shared memory and no database connection: it must run while recovery runs,
 * and when hot standby never opens (V12, H93).  There is no sleep in it.  What an
 * event leads to is the engine's business (engine.c).
 *
 * The worker outlives the postmaster for a moment: long enough to shut the gate and to
 * tell the others, which is why an election needs no timeout when a postmaster dies.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "postmaster/postmaster.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "engine.h"
#include "guc.h"
#include "join.h"
#include "proof.h"
#include "state.h"
#include "worker.h"

#define CHORES_INTERVAL_US	INT64CONST(1000000)
#define STATE_RETRY_MS		1000

static QuorumTime chores_at;

void
pgq_worker_register(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_PostmasterStart;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "pg_quorum", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "pgq_worker_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "pg_quorum", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "pg_quorum", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}

/* Whatever ends this process: nobody is served without it for longer than a lease. */
static void
on_exit_shut_gate(int code, Datum arg)
{
	(void) arg;
	pgq_engine_shut_gate();
	if (code != 0)
	{
		pgq_engine_closing(QUORUM_CLOSING_WORKER_EXIT);
		pgq_transport_flush();
	}
	LWLockAcquire(pgq_shared->lock, LW_EXCLUSIVE);
	pgq_shared->worker_pid = 0;
	pgq_shared->worker_latch = NULL;
	LWLockRelease(pgq_shared->lock);
}

/* Settings that forbid to take part are said once, in the log and in quorum.status. */
static bool
settings_fit(void)
{
	char		msg[QUORUM_REASON_SIZE];
	char		detail[QUORUM_REASON_SIZE];
	char		hint[QUORUM_REASON_SIZE];

	msg[0] = detail[0] = hint[0] = '\0';
	if (pgq_guc_check(msg, detail, hint))
		return true;
	ereport(LOG,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("quorum: this server takes no part: %s", msg),
			 detail[0] != '\0' ? errdetail("%s", detail) : 0,
			 hint[0] != '\0' ? errhint("%s", hint) : 0));
	pgq_engine_notice(msg);
	return false;
}

/* Nothing to do for a time (-1: for ever) but to end when the server does. */
static void
idle(long milliseconds)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), milliseconds);
	long		left = milliseconds;

	while (left != 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (left > 0 ? WL_TIMEOUT : 0),
						 left, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		if (ShutdownRequestPending)
			proc_exit(1);
		CHECK_FOR_INTERRUPTS();
		if (left > 0)
			left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
	}
}

/*
 * R1: a failed write may have left a state that is in the cache and not on the disk.  What was
 * read is written anew before anything is promised by it.  The fence may have been raised for a
 * term that could not be written, and it never comes down: such a node could follow nobody
 * below it, so that term counts as promised, to nobody.
 */
static void
settle_state(QuorumHardState *hard)
{
	uint64		fence = pg_atomic_read_u64(&pgq_shared->fence_term);

	if (fence > hard->term)
	{
		hard->term = (QuorumTerm) fence;
		hard->vote = QUORUM_NO_NODE;
		pgq_shared->state_in_doubt = true;
	}
	if (!pgq_shared->state_in_doubt)
		return;
	pgq_engine_notice("the state of this node could not be written");
	while (!pgq_state_write(hard))
		idle(STATE_RETRY_MS);
	pgq_shared->state_in_doubt = false;
	pgq_engine_notice("");
	ereport(LOG, (errmsg("quorum: the state of this node can be written again")));
}

static void
on_connected(QuorumNodeId peer)
{
	if (pgq_engine_running())
		pgq_engine_peer(QUORUM_EVENT_PEER_CONNECTED, peer);
	else
		pgq_join_connected(peer);
}

static void
on_lost(QuorumNodeId peer)
{
	pgq_engine_peer(QUORUM_EVENT_PEER_LOST, peer);
}

/* Before anything this incarnation says is believed: whom it then follows knows it. */
static void
on_incarnation(QuorumNodeId peer, uint64 boot_nonce)
{
	pgq_proof_note_incarnation(peer, boot_nonce);
}

static void
on_restarted(QuorumNodeId peer)
{
	pgq_engine_peer(QUORUM_EVENT_PEER_RESTARTED, peer);
}

static void
on_dead(QuorumNodeId peer)
{
	pgq_engine_peer(QUORUM_EVENT_PEER_DEAD, peer);
}

/* Only said: an old member set may be wrong about us, and nobody listens to us anyway. */
static void
on_disowned(QuorumNodeId peer)
{
	char		text[QUORUM_REASON_SIZE];

	snprintf(text, sizeof(text), "node %u says that this node was removed from the cluster", peer);
	pgq_engine_notice(text);
}

static void
on_message(const QuorumMessage *message)
{
	if (!pgq_engine_running() || message->to != pgq_engine_view()->node_id)
	{
		if (message->type == QUORUM_MSG_INVITE)
			pgq_join_invited(message);
		return;
	}

	/* What a heartbeat is answered with must be of now, not of the last tick. */
	if (message->type == QUORUM_MSG_HEARTBEAT || message->type == QUORUM_MSG_HEARTBEAT_ACK)
		pgq_engine_facts();
	pgq_engine_message(message);
}

static const PgqTransportHandler handler = {
	on_message, on_connected, on_lost, on_incarnation, on_restarted, on_dead, on_disowned
};

/* Read the state, open the port, start the core if this server is a member. */
static void
start(void)
{
	static QuorumHardState hard;
	PgqMembership membership;
	PgqIdentity identity;
	PgqReport	failure;
	char		why[QUORUM_REASON_SIZE];
	char		host[QUORUM_HOST_SIZE];
	uint16		port;

	if (!settings_fit())
		idle(-1);
	why[0] = '\0';
	membership = pgq_shared->boot_membership;
	if (membership != PGQ_STATE_UNREADABLE)
		membership = pgq_state_read(&hard, why);
	if (membership == PGQ_STATE_UNREADABLE || pgq_shared->boot_membership == PGQ_MISCONFIGURED)
	{
		ereport(LOG,
				(errmsg("quorum: this server takes no part: %s",
						why[0] != '\0' ? why : pgq_shared->notice)));
		if (why[0] != '\0')
			pgq_engine_notice(why);
		idle(-1);
	}

	if (membership == PGQ_MEMBER)
		settle_state(&hard);
	if (!pgq_guc_split_address(pgq_address, host, &port))
		elog(FATAL, "quorum.address became invalid");
	memset(&identity, 0, sizeof(identity));
	if (membership == PGQ_MEMBER)
		pgq_identity_set(&identity, &hard);
	identity.system_identifier = GetSystemIdentifier();
	identity.boot_nonce = pgq_shared->boot_nonce;
	if (!pgq_transport_start(&identity, host, port, pgq_secret_file, &handler, &failure))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("%s", failure.message),
				 failure.detail[0] != '\0' ? errdetail("%s", failure.detail) : 0,
				 failure.hint[0] != '\0' ? errhint("%s", failure.hint) : 0));
	pgq_proof_publish_secrets(pgq_transport_secrets());
	if (membership == PGQ_MEMBER)
		pgq_engine_start(&hard, false);
	else
		pgq_engine_notice(why);
}

static void
reload(void)
{
	PgqReport	failure;

	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	if (!pgq_transport_reload_secret(pgq_secret_file, &failure))
		pgq_host_log(&failure);
	pgq_proof_publish_secrets(pgq_transport_secrets());
	pgq_engine_reconfigure();
}

/* The postmaster is gone or wants us to go: shut the gate, tell the others, leave. */
static void
leave(QuorumClosing closing)
{
	pgq_engine_closing(closing);
	pgq_transport_flush();

	/* Not 0: if only this process was told to end, the postmaster starts it again. */
	proc_exit(1);
}

void
pgq_worker_main(Datum arg)
{
	(void) arg;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	before_shmem_exit(on_exit_shut_gate, (Datum) 0);
	LWLockAcquire(pgq_shared->lock, LW_EXCLUSIVE);
	pgq_shared->worker_pid = MyProcPid;
	pgq_shared->worker_latch = MyLatch;
	LWLockRelease(pgq_shared->lock);
	start();

	for (;;)
	{
		QuorumTime	deadline = Min(pgq_engine_deadline(), chores_at);
		int			events = pgq_transport_wait(deadline);

		if ((events & PGQ_WAIT_ORPHANED) || !PostmasterIsAlive())
			leave(QUORUM_CLOSING_POSTMASTER_DIED);
		if (events & PGQ_WAIT_WOKEN)
			ResetLatch(MyLatch);
		if (ShutdownRequestPending)
			leave(QUORUM_CLOSING_SHUTDOWN);
		if (ConfigReloadPending)
			reload();
		CHECK_FOR_INTERRUPTS();

		pgq_join_requests();
		if ((events & PGQ_WAIT_WOKEN) || (QuorumTime) pgq_now_mono() >= pgq_engine_deadline())
			pgq_engine_facts();
		pgq_engine_confirm();
		pgq_engine_tick();
		if ((QuorumTime) pgq_now_mono() >= chores_at)
		{
			pgq_engine_chores();
			chores_at = (QuorumTime) pgq_now_mono() + CHORES_INTERVAL_US;
		}
	}
}
