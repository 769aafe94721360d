/*
 * stream.c
 *	  Keeps a member's walreceiver on the accepted leader's log.
 *
 * libpqwalreceiver exports a table of functions, and the walreceiver reaches the network through
 * it only.  The postmaster replaces it by a copy with our wrappers, so that the rules below hold.
 *
 * Not here: who the leader is (the core), which one may be followed (follow.c), what the position
 * of this node is (facts.c), whether its log fits (stream_fit.c), where a stream begins
 * (stream_gap.c), the deletion of histories that lead nowhere (restart.c).
 *
 * Rules:
 * S2	no ack leaves for a term below the fence.  log_end first, then a barrier,
 *		then the fence is read, then the reply is sent: a voter that raises the
 *		fence either stops the ack or finds it in log_end.
 * S3	an ack has real positions only while the stream's timeline is the accepted term, and
 *		only behind the check of the leader's history (V1).  A fenced stream is cut, not
 *		zeroed: zeroes would make the old leader's shutdown wait (V16).
 * A4	no ack without fsync (walsync.c).
 * W4	no ack before recovery is consistent, nor a stream with which it never can be
 *		(consistent.c).
 * P5	no ack across what may be torn (stream_gap.c).
 * R5	the first connect since boot says that the local log has been read, and is on the disk.
 *
 * A walreceiver that must go leaves by proc_exit(0).  The startup process notices at once, reads
 * what had been flushed and asks for the next one, which waits in connect for a leader; so the
 * wait for a leader is never a retry interval.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "access/xlog_internal.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_bswap.h"
#include "postmaster/interrupt.h"
#include "replication/walreceiver.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/timeout.h"

#include "compat.h"
#include "consistent.h"
#include "follow.h"
#include "slots.h"
#include "stream.h"
#include "stream_fit.h"
#include "stream_gap.h"
#include "timeline.h"
#include "walsync.h"

#define LEADER_WAIT_MS		60000	/* then let the startup process ask again */
#define CONNECT_LIMIT_MS	5000	/* libpq's own limit does not apply to polled connections */
#define COMMAND_LIMIT_MS	10000	/* for IDENTIFY_SYSTEM, TIMELINE_HISTORY, START_REPLICATION */
#define CONNECT_RETRY_MS	10		/* first pause, doubled each time */
#define CONNECT_RETRY_MS_MAX	500
#define PROMOTION_WAIT_MS	10000	/* for the leader to reach its timeline */
#define PROMOTION_POLL_MS	2		/* a tenth as often once it takes longer than usual */
#define PROMOTION_USUAL_MS	500
#define START_RETRIES		5
#define START_RETRY_MS		25		/* first pause, doubled each time */
#define EAGER_ACKS			4		/* acks of a stream the leader shall hear of at once */

#define REPLY_FLUSH_OFFSET	9		/* 'r', write, flush, apply: int64 each, then the rest */
#define REPLY_POSITIONS_END 25
#define REPLY_SIZE_MAX		128

/* The stream of this process; untouched unless it is the walreceiver of a member. */
static struct
{
	bool		active;
	QuorumNodeId source;		/* accepted leader it was pointed at */
	QuorumTerm	term;			/* of that leader */
	TimeLineID	tli;			/* of the current START_REPLICATION */
	bool		checked;		/* history holds the leader's, and our log fits into it */
	PgqHistory	history;
	int			acks;			/* real acks of new positions on this stream so far */
	bool		init_zero;		/* configured wal_init_zero while it is switched off; see below */
	TimeoutId	limit;
	volatile sig_atomic_t limit_hit;
}			stream;

static const WalReceiverFunctionsType *real_functions;

static WalReceiverConn *stream_connect(PGQ_WALRCV_CONNECT_PARAMS);
static char *stream_identify_system(PGQ_WALRCV_IDENTIFY_PARAMS);
static bool stream_startstreaming(WalReceiverConn *conn, const WalRcvStreamOptions *options);
static int	stream_receive(WalReceiverConn *conn, char **buffer, pgsocket *wait_fd);
static void stream_send(WalReceiverConn *conn, const char *buffer, int nbytes);
static void stream_endstreaming(WalReceiverConn *conn, TimeLineID *next_tli);

static void stream_begin(void);
static void stream_note_local_wal(void);
static void stream_exit(int code, Datum arg);
static bool stream_wait_for_leader(QuorumMember *leader, uint64 deadline);
static void stream_check_history(WalReceiverConn *conn);
static bool stream_start_once(WalReceiverConn *conn, const WalRcvStreamOptions *options,
							  bool last, bool *failed);
static void stream_record_ack(XLogRecPtr flush);
static void stream_leave_if_told(void);
pg_noreturn static void stream_leave(const char *why);
static void stream_pause(long timeout_ms);
static void stream_limit(int limit_ms);
static void stream_limit_handler(void);

void
pgq_stream_init(void)
{
	static WalReceiverFunctionsType wrapped;

	/* the walreceiver's own load_file() finds the library loaded, so it does nothing */
	load_file("libpqwalreceiver", false);
	if (WalReceiverFunctions == NULL)
		elog(ERROR, "libpqwalreceiver did not initialize correctly");

	pgq_follow_init();
	real_functions = WalReceiverFunctions;
	wrapped = *real_functions;
	wrapped.walrcv_connect = stream_connect;
	wrapped.walrcv_identify_system = stream_identify_system;
	wrapped.walrcv_startstreaming = stream_startstreaming;
	wrapped.walrcv_receive = stream_receive;
	wrapped.walrcv_send = stream_send;
	wrapped.walrcv_endstreaming = stream_endstreaming;
	WalReceiverFunctions = &wrapped;
}

/* ---- wrappers ----------------------------------------------------------- */

static WalReceiverConn *
stream_connect(PGQ_WALRCV_CONNECT_PARAMS)
{
	WalReceiverConn *conn;
	uint64		deadline;
	long		pause_ms = CONNECT_RETRY_MS;

	if (!AmWalReceiverProcess() && pgq_is_member() && conninfo == PrimaryConnInfo)
	{
		/* 17: the copying of logical slots means the leader when it says primary */
		char	   *to_leader = pgq_follow_database_conninfo(appname);

		if (to_leader != NULL)
			return (real_functions->walrcv_connect) (PGQ_WALRCV_CONNECT_ARGS(to_leader));
		*err = pstrdup("no leader is known that this node could follow");
		return NULL;
	}
	if (!AmWalReceiverProcess() || !pgq_is_member())
		return (real_functions->walrcv_connect) (PGQ_WALRCV_CONNECT_ARGS(conninfo));

	stream_begin();
	deadline = pgq_now_mono() + LEADER_WAIT_MS * UINT64CONST(1000);
	for (;;)
	{
		QuorumMember leader;
		char	   *text;

		if (!stream_wait_for_leader(&leader, deadline))
		{
			*err = pstrdup("no leader is known that this node could follow");
			return NULL;
		}

		text = pgq_follow_stream_conninfo(&leader, err);
		if (text == NULL)
			return NULL;

		stream_limit(CONNECT_LIMIT_MS);
		conn = (real_functions->walrcv_connect) (PGQ_WALRCV_CONNECT_ARGS(text));
		stream_limit(0);
		pfree(text);
		if (conn != NULL)
			return conn;

		pgq_follow_report_failure(*err);

		/* a leader that restarts refuses for a moment: no process need die for that */
		if (pgq_now_mono() >= deadline)
			return NULL;
		pfree(*err);
		stream_pause(pause_ms);
		pause_ms = Min(2 * pause_ms, CONNECT_RETRY_MS_MAX);
	}
}

/* An elected leader serves its old timeline until it is promoted: ask until it is. */
static char *
stream_identify_system(PGQ_WALRCV_IDENTIFY_PARAMS)
{
	uint64		start = pgq_now_mono();
	uint64		usual = start + PROMOTION_USUAL_MS * UINT64CONST(1000);
	uint64		deadline = start + PROMOTION_WAIT_MS * UINT64CONST(1000);
	char		own_sysid[32];
	char	   *sysid;

	if (!stream.active)
		return (real_functions->walrcv_identify_system) (PGQ_WALRCV_IDENTIFY_ARGS());

	snprintf(own_sysid, sizeof(own_sysid), UINT64_FORMAT, GetSystemIdentifier());
	for (;;)
	{
		stream_leave_if_told();

		stream_limit(COMMAND_LIMIT_MS);
		sysid = (real_functions->walrcv_identify_system) (PGQ_WALRCV_IDENTIFY_ARGS());
		stream_limit(0);

		/* the caller says what is wrong with a foreign system */
		if (strcmp(sysid, own_sysid) != 0)
			return sysid;
		if (*primary_tli == stream.term)
			break;
		if (pgq_now_mono() >= deadline)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("leader of term %u is on timeline %u", stream.term, *primary_tli)));
		pfree(sysid);
		stream_pause(pgq_now_mono() < usual ? PROMOTION_POLL_MS : 10 * PROMOTION_POLL_MS);
	}

	if (!stream.checked)
	{
		stream_limit(COMMAND_LIMIT_MS);
		stream_check_history(conn);
		stream_limit(0);
		stream.checked = true;
	}

	/* the caller fetches missing history files next, which may hang as well */
	stream_limit(COMMAND_LIMIT_MS);
	return sysid;
}

static bool
stream_startstreaming(WalReceiverConn *conn, const WalRcvStreamOptions *options)
{
	WalRcvStreamOptions own;
	char		slotname[NAMEDATALEN];
	bool		started = false;
	bool		failed = true;

	if (!stream.active)
		return (real_functions->walrcv_startstreaming) (conn, options);

	pgq_slot_name(pgq_shared->boot_node_id, slotname);
	own = *options;
	own.slotname = slotname;
	stream.tli = options->proto.physical.startpointTLI;
	own.startpoint = pgq_stream_gap_start(&stream.history, stream.tli, options->startpoint);

	for (int i = 0; failed; i++)
	{
		if (i > 0)
			stream_pause(START_RETRY_MS << (i - 1));
		stream_leave_if_told();
		started = stream_start_once(conn, &own, i == START_RETRIES, &failed);
	}

	SpinLockAcquire(&pgq_shared->stream_mutex);
	pgq_shared->stream.tli = stream.tli;
	pgq_shared->stream.connected = true;
	pgq_shared->stream.busy = !started;
	pgq_shared->stream.acking_term = 0; /* until the first real ack */
	pgq_shared->stream.acked_flush = InvalidXLogRecPtr;
	pgq_shared->stream.reason[0] = '\0';
	SpinLockRelease(&pgq_shared->stream_mutex);

	/*
	 * The leader's gate waits for the first record of its timeline to reach our disk, in a file
	 * that does not exist yet.  Filling it with zeroes would be the longest part of a failover.
	 */
	if (stream.tli == stream.term && wal_init_zero)
	{
		stream.init_zero = true;
		wal_init_zero = false;
	}

	stream.acks = 0;
	if (stream.tli == stream.term)
		pgq_shmem_wake_worker();
	return started;
}

static int
stream_receive(WalReceiverConn *conn, char **buffer, pgsocket *wait_fd)
{
	if (stream.active)
		stream_leave_if_told();
	return (real_functions->walrcv_receive) (conn, buffer, wait_fd);
}

static void
stream_send(WalReceiverConn *conn, const char *buffer, int nbytes)
{
	char		reply[REPLY_SIZE_MAX];
	uint64		flush;
	bool		durable;

	if (!stream.active || nbytes < 1 || buffer[0] != 'r')
	{
		(real_functions->walrcv_send) (conn, buffer, nbytes);
		return;
	}
	durable = pgq_walsync_durable();	/* WAL of an earlier timeline counts later */
	if (nbytes < REPLY_POSITIONS_END || nbytes > REPLY_SIZE_MAX)
		elog(FATAL, "unexpected size %d of a standby status update", nbytes);
	memcpy(reply, buffer, nbytes);
	memcpy(&flush, reply + REPLY_FLUSH_OFFSET, sizeof(flush));
	flush = pg_ntoh64(flush);
	pgq_stream_gap_check(flush);

	if (stream.tli == stream.term && durable && pgq_data_consistent() &&
		pgq_stream_gap_closed() &&
		pg_atomic_read_u64(&pgq_shared->fence_term) == stream.term)
		stream_record_ack(flush);
	else
		memset(reply + 1, 0, REPLY_POSITIONS_END - 1);

	/* S2: what is promised above must be visible before the fence is looked at */
	pg_memory_barrier();
	stream_leave_if_told();
	(real_functions->walrcv_send) (conn, reply, nbytes);
}

static void
stream_endstreaming(WalReceiverConn *conn, TimeLineID *next_tli)
{
	if (!stream.active)
	{
		(real_functions->walrcv_endstreaming) (conn, next_tli);
		return;
	}

	/*
	 * On the leader's own timeline only a planned stop ends the stream, and everything
	 * it sent has been flushed and acknowledged: the election may begin.
	 */
	if (stream.tli == stream.term)
		stream_leave("the leader has ended it");

	SpinLockAcquire(&pgq_shared->stream_mutex);
	pgq_shared->stream.busy = true;
	SpinLockRelease(&pgq_shared->stream_mutex);
	stream_limit(COMMAND_LIMIT_MS);
	(real_functions->walrcv_endstreaming) (conn, next_tli);
	stream_limit(0);
}

/* ---- before the stream -------------------------------------------------- */

static void
stream_begin(void)
{
	if (!stream.active)
	{
		InitializeTimeouts();
		stream.limit = RegisterTimeout(USER_TIMEOUT, stream_limit_handler);
		before_shmem_exit(stream_exit, (Datum) 0);
		stream.active = true;
	}

	pgq_follow_report_process(MyProcPid, MyLatch);
	stream_note_local_wal();
}

/* R5.  Without a replay position the startup process looks for its first checkpoint. */
static void
stream_note_local_wal(void)
{
	if (pg_atomic_read_u32(&pgq_shared->local_wal_read) == 0 &&
		GetXLogReplayRecPtr(NULL) != InvalidXLogRecPtr)
	{
		pgq_walsync_make_durable();
		pg_atomic_write_u32(&pgq_shared->local_wal_read, 1);
		pgq_shmem_wake_worker();
	}
}

static void
stream_exit(int code, Datum arg)
{
	(void) code;
	(void) arg;

	pgq_follow_report_process(0, NULL);

	if (stream.limit_hit)
		ereport(LOG,
				(errmsg("gave up on node %u, which did not answer in time", stream.source)));
	pgq_shmem_wake_worker();
}

static bool
stream_wait_for_leader(QuorumMember *leader, uint64 deadline)
{
	while (!pgq_follow_take_leader(leader, &stream.term))
	{
		if (pgq_now_mono() >= deadline)
			return false;
		pgq_follow_want_worker();

		/* the worker sets our latch; the limit is for a worker that is gone */
		stream_pause(1000);
	}
	stream.source = leader->id;
	return true;
}

/* Ends this process when our log does not fit the leader's: then something else has to be done. */
static void
stream_check_history(WalReceiverConn *conn)
{
	char	   *filename;
	char	   *content = NULL;
	int			length = 0;
	const char *misfit;

	if (stream.term > 1)
		(real_functions->walrcv_readtimelinehistoryfile) (conn, stream.term, &filename,
													   &content, &length);
	if (!pgq_history_parse(&stream.history, stream.term, content ? content : "", length))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("history of timeline %u on the leader is damaged", stream.term)));
	if (content != NULL)
	{
		pfree(filename);
		pfree(content);
	}

	misfit = pgq_stream_misfit(&stream.history, stream.term);
	if (misfit != NULL)
		stream_leave(misfit);
}

/* ---- streaming ---------------------------------------------------------- */

/*
 * A slot that is still held by our previous connection, or not made yet, is worth a
 * second try while the connection is good; anything else goes on as the error it is.
 */
static bool
stream_start_once(WalReceiverConn *conn, const WalRcvStreamOptions *options,
				  bool last, bool *failed)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool started = false;
	volatile bool caught = false;

	stream_limit(COMMAND_LIMIT_MS);
	PG_TRY();
	{
		started = (real_functions->walrcv_startstreaming) (conn, options);
	}
	PG_CATCH();
	{
		if (last || (real_functions->walrcv_server_version) (conn) == 0)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		caught = true;
	}
	PG_END_TRY();
	stream_limit(0);

	*failed = caught;
	return started;
}

/* Visible to a voter on this node before the ack leaves. */
static void
stream_record_ack(XLogRecPtr flush)
{
	PgqStreamReport *report = &pgq_shared->stream;
	QuorumWalPos end;
	bool		news;

	stream_note_local_wal();
	end.tli = pgq_history_timeline_of(&stream.history, flush);
	end.lsn = flush;

	SpinLockAcquire(&pgq_shared->stream_mutex);
	news = report->acking_term != stream.term || report->acked_flush < flush;
	report->acking_term = stream.term;
	report->acked_flush = flush;
	if (end.tli > report->log_end.tli ||
		(end.tli == report->log_end.tli && end.lsn > report->log_end.lsn))
		report->log_end = end;
	SpinLockRelease(&pgq_shared->stream_mutex);

	/* the leader's gate waits for the first of them; later ones travel with heartbeats */
	if (news && stream.acks < EAGER_ACKS)
	{
		stream.acks++;
		pgq_shmem_wake_worker();
	}

	if (stream.init_zero && end.tli == stream.term)
	{
		wal_init_zero = true;
		stream.init_zero = false;
	}
}

static void
stream_leave_if_told(void)
{
	bool		leave;

	if (pg_atomic_read_u64(&pgq_shared->fence_term) > stream.term)
		stream_leave("a newer term has been promised");

	SpinLockAcquire(&pgq_shared->stream_mutex);
	leave = pgq_shared->stream.leave;
	SpinLockRelease(&pgq_shared->stream_mutex);
	if (leave)
		stream_leave("it is not the accepted leader any more");
}

static void
stream_leave(const char *why)
{
	ereport(LOG,
			(errmsg("leaving the stream of node %u in term %u: %s",
					stream.source, stream.term, why)));
	proc_exit(0);
}

/* ---- waiting ------------------------------------------------------------ */

static void
stream_pause(long timeout_ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 timeout_ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ShutdownRequestPending) /* up to 16; from 17 on the line above sees to it */
		proc_exit(0);

	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* End this process unless the limit is changed in time; 0 = no limit. */
static void
stream_limit(int limit_ms)
{
	if (limit_ms > 0)
		enable_timeout_after(stream.limit, limit_ms);
	else
		disable_timeout(stream.limit, false);
}

static void
stream_limit_handler(void)
{
	stream.limit_hit = true;
	(void) kill(MyProcPid, SIGTERM);
}
