/*
 * sqladmin.c
 *	  SQL functions that change the cluster: each puts one request into the mailbox of
 *	  the worker, then waits for its outcome.
 *
 * What a caller can get wrong is refused here, with a hint; the worker decides about
 * everything else.  A request is no part of the transaction that makes it.  One that
 * the worker has taken goes on when the caller goes away; the same call made again
 * waits for it instead of starting another.
 *
 * Not here: how a member set changes (the core).
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgwriter.h"
#include "replication/slot.h"
#include "replication/walsender.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "guc.h"
#include "sqladmin.h"
#include "sqllag.h"

PG_FUNCTION_INFO_V1(pgq_bootstrap);
PG_FUNCTION_INFO_V1(pgq_add_member);
PG_FUNCTION_INFO_V1(pgq_remove_member);
PG_FUNCTION_INFO_V1(pgq_switchover);

#define POLL_MS		20

static void refuse_needed_witness(const QuorumView *view);
static void checkpoint_before(uint64 give_up_at);
static XLogRecPtr last_checkpoint(void);
static void check_new_member(const QuorumView *view, const PgqRequest *request);

int64
pgq_timeout_arg(FunctionCallInfo fcinfo, int arg)
{
	Interval   *timeout;
	int64		us;

	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("timeout must not be null")));
	timeout = PG_GETARG_INTERVAL_P(arg);
	if (timeout->time > 30 * USECS_PER_DAY || timeout->day > 30 || timeout->month > 1)
		us = 0;					/* refused below; infinity would overflow */
	else
		us = timeout->time + ((int64) timeout->day + (int64) timeout->month * 30) * USECS_PER_DAY;
	if (us <= 0 || us > 30 * USECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout must be greater than zero and at most 30 days")));
	return us;
}

char *
pgq_text_arg(FunctionCallInfo fcinfo, int arg, const char *what)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
	return text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

void
pgq_address_arg(const char *address, PgqRequest *request)
{
	if (!pgq_guc_split_address(address, request->host, &request->quorum_port))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a valid address", address),
				 errhint("Write host:port, or [address]:port for IPv6: quorum.address of that "
						 "server.")));
}

/* quorum.bootstrap(timeout interval) returns the node id */
Datum
pgq_bootstrap(PG_FUNCTION_ARGS)
{
	PgqRequest	request = {0};
	char		msg[QUORUM_REASON_SIZE];
	char		detail[QUORUM_REASON_SIZE];
	char		hint[QUORUM_REASON_SIZE];
	int64		timeout_us = pgq_timeout_arg(fcinfo, 0);

	pgq_require_worker();
	if (pgq_is_member() || pgq_shared->boot_membership == PGQ_MEMBER)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this server is a member of a cluster already"),
				 errdetail("quorum.bootstrap() starts a new cluster."),
				 errhint("See quorum.members; quorum.add_member() on the leader adds a server.")));
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a cluster cannot be started on a standby"),
				 errdetail("This server is in recovery."),
				 errhint("Call quorum.bootstrap() on the primary, then add this server with "
						 "quorum.add_member() there.")));
	if (pgq_shared->boot_membership == PGQ_STATE_FOREIGN ||
		pgq_shared->boot_membership == PGQ_STATE_UNREADABLE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this server has the state of a member that cannot be used"),
				 errdetail("See column reason of quorum.status."),
				 errhint("If it shall be the first node of a new cluster, stop it, remove the "
						 "directory pg_quorum from its data directory, and start it again.")));
	if (!pgq_guc_check(msg, detail, hint))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s", msg), errdetail("%s", detail), errhint("%s", hint)));

	request.type = PGQ_REQUEST_BOOTSTRAP;
	PG_RETURN_INT32((int32) pgq_ask_worker(&request, timeout_us));
}

/* quorum.add_member(name text, address text, kind text, timeout interval) returns the node id */
Datum
pgq_add_member(PG_FUNCTION_ARGS)
{
	PgqRequest	request = {0};
	QuorumView *view = palloc(sizeof(QuorumView));
	char	   *name = pgq_text_arg(fcinfo, 0, "name");
	char	   *address = pgq_text_arg(fcinfo, 1, "address");
	char	   *kind = pgq_text_arg(fcinfo, 2, "kind");
	int64		timeout_us = pgq_timeout_arg(fcinfo, 3);

	if (!pgq_guc_valid_name(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("\"%s\" is not a valid node name", name),
				 errhint("Use lower case letters, digits, _ and -, at most %d of them.",
						 QUORUM_NAME_SIZE - 1)));
	pgq_address_arg(address, &request);
	if (strcmp(kind, "voter") == 0)
		request.kind = QUORUM_VOTER;
	else if (strcmp(kind, "learner") == 0)
		request.kind = QUORUM_LEARNER;
	else if (strcmp(kind, "witness") == 0)
		request.kind = QUORUM_WITNESS;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a kind of member that can be added", kind),
				 errhint("Use voter, learner or witness.")));

	pgq_require_leader(view);
	strlcpy(request.name, name, sizeof(request.name));
	check_new_member(view, &request);
	request.type = PGQ_REQUEST_ADD_MEMBER;
	request.limit_us = timeout_us;
	PG_RETURN_INT32((int32) pgq_ask_worker(&request, timeout_us + USECS_PER_SEC));
}

/* The member of that name; an error with the names there are when there is none. */
const QuorumMemberView *
pgq_require_member(const QuorumView *view, const char *name)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < view->member_count; i++)
	{
		if (strcmp(view->members[i].member.name, name) == 0)
			return &view->members[i];
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", view->members[i].member.name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("no member is named \"%s\"", name),
			 errhint("The members are: %s.", names.data)));
}

/* Y1: commits go on without a member because of the witness. */
static void
refuse_needed_witness(const QuorumView *view)
{
	int			witnesses = 0;
	const QuorumMemberView *left_out = NULL;
	int			left_out_count = 0;

	for (int i = 0; i < view->member_count; i++)
	{
		witnesses += view->members[i].member.kind == QUORUM_WITNESS;
		if (!view->members[i].member.left_out)
			continue;
		left_out = &view->members[i];
		left_out_count++;
	}
	if (left_out_count < witnesses)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the witness is needed now"),
			 errdetail("Commits go on without member \"%s\" because of it.",
					   left_out->member.name),
			 errhint("Wait until that member has caught up, or remove that one first.")));
}

/* quorum.remove_member(name text, timeout interval) */
Datum
pgq_remove_member(PG_FUNCTION_ARGS)
{
	PgqRequest	request = {0};
	QuorumView *view = palloc(sizeof(QuorumView));
	char	   *name = pgq_text_arg(fcinfo, 0, "name");
	int64		timeout_us = pgq_timeout_arg(fcinfo, 1);
	const QuorumMemberView *member;

	pgq_require_leader(view);
	member = pgq_require_member(view, name);
	if (member->is_self)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("the leader cannot be removed"),
				 errhint("Hand its term over with quorum.switchover() first, then call this on "
						 "the new leader.")));
	if (member->member.kind == QUORUM_WITNESS)
		refuse_needed_witness(view);
	request.type = PGQ_REQUEST_REMOVE_MEMBER;
	strlcpy(request.name, name, sizeof(request.name));
	request.limit_us = timeout_us;
	(void) pgq_ask_worker(&request, timeout_us + USECS_PER_SEC);
	PG_RETURN_VOID();
}

/*
 * The restart of the old leader replays from its last checkpoint: that one shall be near, and
 * is written while everybody still works.  PostgreSQL's own wait for it knows no limit.
 */
static void
checkpoint_before(uint64 give_up_at)
{
	XLogRecPtr	wanted = GetXLogInsertRecPtr();

	RequestCheckpoint(CHECKPOINT_FAST | CHECKPOINT_FORCE);
	while (last_checkpoint() < wanted)
	{
		if (pgq_now_mono() >= give_up_at)
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("the checkpoint before the switchover is not done yet"),
					 errdetail("It goes on; nothing was handed over."),
					 errhint("Call quorum.switchover() again, then there is less to write, or "
							 "with a longer timeout.")));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, POLL_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* From where on recovery would read the log. */
static XLogRecPtr
last_checkpoint(void)
{
	ControlFileData *control;
	bool		crc_ok;
	XLogRecPtr	redo;

	LWLockAcquire(ControlFileLock, LW_SHARED);
	control = get_controlfile(DataDir, &crc_ok);
	LWLockRelease(ControlFileLock);
	redo = crc_ok ? control->checkPointCopy.redo : InvalidXLogRecPtr;
	pfree(control);
	return redo;
}

/* quorum.switchover(target text, timeout interval) returns the successor's name */
Datum
pgq_switchover(PG_FUNCTION_ARGS)
{
	PgqRequest	request = {0};
	QuorumView *view = palloc(sizeof(QuorumView));
	int64		timeout_us = pgq_timeout_arg(fcinfo, 1);
	uint64		give_up_at = pgq_now_mono() + timeout_us;
	const QuorumMemberView *successor;

	pgq_require_leader(view);
	if (!PG_ARGISNULL(0))
	{
		char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

		if (pgq_require_member(view, name)->is_self)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("member \"%s\" leads already", name)));
		strlcpy(request.name, name, sizeof(request.name));
	}

	checkpoint_before(give_up_at);
	timeout_us = Max((int64) (give_up_at - pgq_now_mono()), 1);
	request.type = PGQ_REQUEST_SWITCHOVER;
	request.limit_us = timeout_us;
	successor = pgq_sql_find_member(view, pgq_ask_worker(&request, timeout_us + USECS_PER_SEC));
	if (successor == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(successor->member.name));
}

void
pgq_require_worker(void)
{
	pid_t		worker_pid;

	if (pgq_shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_quorum is not preloaded"),
				 errdetail("Only a server with a running worker of pg_quorum can be part of a "
						   "cluster."),
				 errhint("Add pg_quorum to shared_preload_libraries, and restart.")));

	LWLockAcquire(pgq_shared->lock, LW_SHARED);
	worker_pid = pgq_shared->worker_pid;
	LWLockRelease(pgq_shared->lock);
	if (worker_pid == 0)
	{
		char		msg[QUORUM_REASON_SIZE];
		char		detail[QUORUM_REASON_SIZE];
		char		hint[QUORUM_REASON_SIZE];

		/* Settings that are not fit are the usual cause: say those. */
		if (!pgq_guc_check(msg, detail, hint))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("%s", msg), errdetail("%s", detail), errhint("%s", hint)));
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the worker of pg_quorum is not running"),
				 errhint("See the server log for the reason, and column reason of "
						 "quorum.status.")));
	}
}

void
pgq_require_part(QuorumView *view)
{
	if (pgq_shared != NULL && !pgq_is_member())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this server is no member of a cluster"),
				 errhint("Start a cluster on its primary with quorum.bootstrap().")));
	pgq_require_worker();
	if (!pgq_sql_view(view))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this server does not take part in its cluster"),
				 errhint("See column reason of quorum.status.")));
}

/* Fills view; an error that says whom to ask when this node does not lead. */
void
pgq_require_leader(QuorumView *view)
{
	const QuorumMemberView *leader;

	pgq_require_part(view);
	leader = pgq_sql_find_member(view, view->leader);
	if (view->role == QUORUM_ROLE_LEADER)
		return;
	if (leader == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("this node is not the leader"),
				 errdetail("No leader is known here at the moment."),
				 errhint("Try again when quorum.leader() names one, and there.")));
	ereport(ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("this node is not the leader"),
			 errdetail("The leader of term %u is \"%s\".", view->term, leader->member.name),
			 leader->member.pg_port != 0 ?
			 errhint("Connect to host=%s port=%u, or name all members in the connection string "
					 "and add target_session_attrs=read-write.", leader->member.host,
					 leader->member.pg_port) :
			 errhint("Connect to the server on host %s.", leader->member.host)));
}

void
pgq_refuse_same_address(const QuorumView *view, const PgqRequest *request, QuorumNodeId self)
{
	for (int i = 0; i < view->member_count; i++)
	{
		const QuorumMember *member = &view->members[i].member;

		if (member->id == self || member->quorum_port != request->quorum_port ||
			strcmp(member->host, request->host) != 0)
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("a member with the address %s:%u exists already", request->host,
						request->quorum_port),
				 errdetail("It is node %u, \"%s\".", member->id, member->name),
				 errhint("Use quorum.address of that server.")));
	}
}

void
pgq_refuse_witnesses(const QuorumView *view, int more_witnesses, int fewer_voters)
{
	int			witnesses = more_witnesses;
	int			voters = -fewer_voters;

	for (int i = 0; i < view->member_count; i++)
	{
		witnesses += view->members[i].member.kind == QUORUM_WITNESS ||
			view->members[i].member.becomes == QUORUM_WITNESS;
		voters += view->members[i].member.kind == QUORUM_VOTER;
	}
	if (witnesses == 0 || witnesses < voters)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("there must be fewer witnesses than voters with data"),
			 errdetail("It would be %d of %d.", witnesses, witnesses + voters),
			 errhint("Add another voter with data first.")));
}

/* The core checks the same for itself; here the texts can say what to do. */
static void
check_new_member(const QuorumView *view, const PgqRequest *request)
{
	for (int i = 0; i < view->member_count; i++)
	{
		const QuorumMember *member = &view->members[i].member;
		bool		same_address = strcmp(member->host, request->host) == 0 &&
			member->quorum_port == request->quorum_port;
		static const uint8 not_joined[QUORUM_UUID_SIZE] = {0};

		if (strcmp(member->name, request->name) == 0)
		{
			/* Invited before, with the same words, and not there yet: wait on. */
			if (same_address && memcmp(member->uuid, not_joined, QUORUM_UUID_SIZE) == 0)
				return;
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("a member named \"%s\" exists already", request->name),
					 errdetail("It is node %u at %s:%u.", member->id, member->host,
							   member->quorum_port),
					 errhint("Give the new server another quorum.node_name.")));
		}
	}
	pgq_refuse_same_address(view, request, QUORUM_NO_NODE);
	if (view->member_count >= QUORUM_MAX_NODES)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("a cluster has at most %d members", QUORUM_MAX_NODES)));
	if (request->kind == QUORUM_WITNESS)
	{
		pgq_refuse_witnesses(view, 1, 0);
		return;
	}
	if (view->member_count > Min(max_wal_senders, max_replication_slots))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("max_wal_senders or max_replication_slots is too small for another member"),
				 errdetail("They are %d and %d; every other member needs one of each.",
						   max_wal_senders, max_replication_slots),
				 errhint("Make both larger on every node, standbys first, and restart them.")));
}
