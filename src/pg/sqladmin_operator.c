/*
 * sqladmin_operator.c
 *	  SQL functions for the operator: pause, resume, another kind or address of a member,
 *	  and a leader without a majority.
 *
 * Not here: what they mean (quorum_operator.c, quorum_pause.c).
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "fence.h"
#include "sqladmin.h"
#include "sqllag.h"
#include "sqlrow.h"

#define REQUEST_LIMIT_US	(15 * USECS_PER_SEC)
#define SERVE_POLL_MS		20

PG_FUNCTION_INFO_V1(pgq_pause);
PG_FUNCTION_INFO_V1(pgq_resume);
PG_FUNCTION_INFO_V1(pgq_set_member_kind);
PG_FUNCTION_INFO_V1(pgq_set_member_address);
PG_FUNCTION_INFO_V1(pgq_force);

/* ---- pause and resume ------------------------------------------------------------------ */

/* quorum.pause(duration interval) returns when it ends */
Datum
pgq_pause(PG_FUNCTION_ARGS)
{
	PgqRequest	request = {.type = PGQ_REQUEST_PAUSE};
	QuorumView *view = palloc(sizeof(QuorumView));
	Interval   *duration;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("duration must not be null")));
	duration = PG_GETARG_INTERVAL_P(0);
	if (duration->month == 0 && duration->day >= -1 && duration->day <= 1 &&
		duration->time >= -USECS_PER_DAY && duration->time <= USECS_PER_DAY)
		request.limit_us = duration->time + duration->day * USECS_PER_DAY;
	if (request.limit_us <= 0 || request.limit_us > QUORUM_PAUSE_MAX_US)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("duration must be greater than zero and at most one day"),
				 errhint("A pause can be started again before it ends.")));

	pgq_require_leader(view);
	(void) pgq_ask_worker(&request, REQUEST_LIMIT_US);
	if (!pgq_sql_view(view) || view->paused_until == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(pgq_wall_timestamp(view->paused_until));
}

/* quorum.resume(): also where nobody leads, then for this node alone until it is elected */
Datum
pgq_resume(PG_FUNCTION_ARGS)
{
	PgqRequest	request = {.type = PGQ_REQUEST_PAUSE};
	QuorumView *view = palloc(sizeof(QuorumView));

	(void) fcinfo;
	pgq_require_part(view);
	if (view->leader != QUORUM_NO_NODE)
		pgq_require_leader(view);
	(void) pgq_ask_worker(&request, REQUEST_LIMIT_US);
	PG_RETURN_VOID();
}

/* ---- a member becomes something else --------------------------------------------------- */

/* The core gives up first, and says why. */
static void
change_member(PgqRequest *request, const char *name, int64 timeout_us)
{
	strlcpy(request->name, name, sizeof(request->name));
	request->limit_us = timeout_us;
	(void) pgq_ask_worker(request, timeout_us + USECS_PER_SEC);
}

/* quorum.set_member_kind(name text, kind text, timeout interval) */
Datum
pgq_set_member_kind(PG_FUNCTION_ARGS)
{
	PgqRequest	request = {.type = PGQ_REQUEST_CHANGE_KIND};
	QuorumView *view = palloc(sizeof(QuorumView));
	char	   *name = pgq_text_arg(fcinfo, 0, "name");
	char	   *kind = pgq_text_arg(fcinfo, 1, "kind");
	int64		timeout_us = pgq_timeout_arg(fcinfo, 2);
	const QuorumMemberView *member;

	if (strcmp(kind, "voter") == 0)
		request.kind = QUORUM_VOTER;
	else if (strcmp(kind, "learner") == 0)
		request.kind = QUORUM_LEARNER;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a kind that a member can become", kind),
				 errhint("Use voter or learner.")));
	pgq_require_leader(view);
	member = pgq_require_member(view, name);
	if (member->member.kind == QUORUM_WITNESS)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("member \"%s\" is a witness and has no data", name),
				 errhint("Remove it, and add a server instead.")));
	if (member->is_self && request.kind == QUORUM_LEARNER)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("the leader cannot become a learner"),
				 errhint("Hand its term over with quorum.switchover() first, then call this on "
						 "the new leader.")));
	if (member->member.kind == QUORUM_VOTER && request.kind == QUORUM_LEARNER)
		pgq_refuse_witnesses(view, 0, 1);

	change_member(&request, name, timeout_us);
	PG_RETURN_VOID();
}

/* quorum.set_member_address(name text, address text, timeout interval) */
Datum
pgq_set_member_address(PG_FUNCTION_ARGS)
{
	PgqRequest	request = {.type = PGQ_REQUEST_CHANGE_ADDRESS};
	QuorumView *view = palloc(sizeof(QuorumView));
	char	   *name = pgq_text_arg(fcinfo, 0, "name");
	char	   *address = pgq_text_arg(fcinfo, 1, "address");
	int64		timeout_us = pgq_timeout_arg(fcinfo, 2);
	const QuorumMemberView *member;

	pgq_address_arg(address, &request);
	pgq_require_leader(view);
	member = pgq_require_member(view, name);
	if (member->is_self)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("the address of the leader cannot change"),
				 errhint("Hand its term over with quorum.switchover() first, then call this on "
						 "the new leader.")));
	pgq_refuse_same_address(view, &request, member->member.id);

	change_member(&request, name, timeout_us);
	PG_RETURN_VOID();
}

/* ---- a leader without a majority ------------------------------------------------------- */

/* Where the log of a member is known to end, and when that was heard. */
static void
append_what_is_known(StringInfo text, const QuorumView *view, const QuorumMemberView *member)
{
	appendStringInfo(text, "%s\"%s\"", text->len > 0 ? "; " : "", member->member.name);
	if (member->member.kind == QUORUM_WITNESS)
		appendStringInfoString(text, " is a witness");
	else if (member->position.lsn == 0)
		appendStringInfoString(text, " has not told where its WAL ends");
	else
		appendStringInfo(text, " has WAL to %X/%X on timeline %u",
						 LSN_FORMAT_ARGS((XLogRecPtr) member->position.lsn),
						 member->position.tli);
	if (member->member.id == view->node_id)
		appendStringInfoString(text, " (this node)");
	else if (member->heard_ago_us == QUORUM_NEVER)
		appendStringInfoString(text, ", not heard since this node started");
	else
		appendStringInfo(text, ", heard " INT64_FORMAT " s ago",
						 (int64) (member->heard_ago_us / USECS_PER_SEC));
}

/* The typed confirmation is the name of this node: nobody forces the wrong one. */
static void
check_confirmation(const QuorumView *view, const char *confirm)
{
	const QuorumMemberView *self = pgq_sql_find_member(view, view->node_id);
	StringInfoData known;

	if (self != NULL && strcmp(confirm, self->member.name) == 0)
		return;
	initStringInfo(&known);
	if (self != NULL)
		append_what_is_known(&known, view, self);
	for (int i = 0; i < view->member_count; i++)
		if (!view->members[i].is_self)
			append_what_is_known(&known, view, &view->members[i]);
	if (view->quorum_lsn != 0)
		appendStringInfo(&known, "; a majority held WAL to %X/%X at least",
						 LSN_FORMAT_ARGS((XLogRecPtr) view->quorum_lsn));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("not confirmed: \"%s\" is not the name of this node", confirm),
			 errdetail("Known here: %s.", known.data),
			 errhint("Commits that only lost nodes hold are lost, also acknowledged ones, and if "
					 "one of them still runs there are two leaders. To go on, give the name of "
					 "this node, \"%s\".", self != NULL ? self->member.name : "")));
}

/* Elected in the same instant; it serves when PostgreSQL has been promoted. */
static void
wait_until_it_serves(int64 timeout_us)
{
	uint64		give_up_at = pgq_now_mono() + timeout_us;

	while (pg_atomic_read_u32(&pgq_shared->gate_open) == 0)
	{
		if (pgq_now_mono() >= give_up_at)
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("this node leads alone, but does not serve yet"),
					 errhint("See column reason of quorum.status, and the server log.")));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, SERVE_POLL_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* quorum.force(confirm text, timeout interval): writes nothing itself, so it works on a standby */
Datum
pgq_force(PG_FUNCTION_ARGS)
{
	PgqRequest	request = {.type = PGQ_REQUEST_FORCE};
	QuorumView *view = palloc(sizeof(QuorumView));
	char	   *confirm = pgq_text_arg(fcinfo, 0, "confirm");
	int64		timeout_us = pgq_timeout_arg(fcinfo, 1);

	pgq_require_part(view);
	if (view->role == QUORUM_ROLE_LEADER)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this node leads already")));
	if (view->leader != QUORUM_NO_NODE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this node follows a leader"),
				 errhint("Use quorum.switchover() on the leader.")));
	check_confirmation(view, confirm);
	(void) pgq_ask_worker(&request, REQUEST_LIMIT_US);
	wait_until_it_serves(timeout_us);
	PG_RETURN_VOID();
}
