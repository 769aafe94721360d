/*
 * sqlfuncs.c
 *	  The functions behind the views of schema quorum: what this node knows, as rows.
 *
 * They read shared memory (or the history file) only, so they answer on every node at
 * any time, also without a leader; on a server that is no member, or that has not
 * preloaded the library, they answer with NULLs or without rows.
 *
 * Not here: lag (sqllag.c), what is wrong and why (sqlreason.c), functions that change
 * something (sqladmin.c).
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "replication/walreceiver.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "fence.h"
#include "guc.h"
#include "history.h"
#include "slots.h"
#include "sqllag.h"
#include "sqlreason.h"
#include "sqlrow.h"

PG_FUNCTION_INFO_V1(pgq_get_status);
PG_FUNCTION_INFO_V1(pgq_get_members);
PG_FUNCTION_INFO_V1(pgq_get_stream);
PG_FUNCTION_INFO_V1(pgq_get_upstream);
PG_FUNCTION_INFO_V1(pgq_get_history);
PG_FUNCTION_INFO_V1(pgq_get_transport);
PG_FUNCTION_INFO_V1(pgq_is_leader);
PG_FUNCTION_INFO_V1(pgq_leader);

static const char *membership_name(void);
static void row_of_status(PgqRow *row, const QuorumView *view);
static void row_of_lease(PgqRow *row, const QuorumView *view);
static void row_of_member_set(PgqRow *row, const QuorumView *view);
static void row_of_member(PgqRow *row, const QuorumView *view, const QuorumMemberView *member);
static void row_of_history(const PgqHistoryEntry *entry, void *arg);

static const char *
role_name(QuorumRole role)
{
	switch (role)
	{
		case QUORUM_ROLE_FOLLOWER:
			return "follower";
		case QUORUM_ROLE_PRE_CANDIDATE:
			return "pre_candidate";
		case QUORUM_ROLE_CANDIDATE:
			return "candidate";
		case QUORUM_ROLE_LEADER:
			return "leader";
	}
	return NULL;
}

static const char *
kind_name(QuorumMemberKind kind)
{
	switch (kind)
	{
		case QUORUM_VOTER:
			return "voter";
		case QUORUM_WITNESS:
			return "witness";
		case QUORUM_LEARNER:
			return "learner";
	}
	return NULL;
}

static const char *
phase_name(QuorumPhase phase)
{
	switch (phase)
	{
		case QUORUM_PHASE_STARTING:
			return "starting";
		case QUORUM_PHASE_STANDBY:
			return "standby";
		case QUORUM_PHASE_PRIMARY:
			return "primary";
	}
	return NULL;
}

static const char *
name_of(const QuorumView *view, QuorumNodeId id)
{
	const QuorumMemberView *member = pgq_sql_find_member(view, id);

	return member != NULL ? member->member.name : NULL;
}

/* ---- quorum.status -------------------------------------------------------------------- */

Datum
pgq_get_status(PG_FUNCTION_ARGS)
{
	PgqRow		row = {0};
	QuorumView *view = palloc(sizeof(QuorumView));

	InitMaterializedSRF(fcinfo, 0);
	if (!pgq_sql_view(view))
		view = NULL;
	row_of_status(&row, view);
	pgq_row_put(&row, fcinfo);
	return (Datum) 0;
}

static const char *
membership_name(void)
{
	if (pgq_shared == NULL)
		return "not preloaded";
	switch (pgq_shared->boot_membership)
	{
		case PGQ_NO_MEMBER:
			/* since then it may have become the leader of a cluster of one */
			return pgq_is_member() ? "member" : "none";
		case PGQ_MEMBER:
			return "member";
		case PGQ_STATE_FOREIGN:
			return "foreign copy";
		case PGQ_STATE_UNREADABLE:
			return "state unreadable";
		case PGQ_MISCONFIGURED:
			return "misconfigured";
	}
	return NULL;
}

static void
row_of_status(PgqRow *row, const QuorumView *view)
{
	char		reason[QUORUM_REASON_SIZE];
	TimeLineID	tli = 0;
	QuorumPhase phase = RecoveryInProgress() ? QUORUM_PHASE_STANDBY : QUORUM_PHASE_PRIMARY;
	pid_t		worker_pid = 0;

	if (!RecoveryInProgress())
		tli = GetWALInsertionTimeLine();
	else
		(void) GetXLogReplayRecPtr(&tli);
	if (pgq_shared != NULL)
	{
		LWLockAcquire(pgq_shared->lock, LW_SHARED);
		worker_pid = pgq_shared->worker_pid;
		LWLockRelease(pgq_shared->lock);
	}

	pgq_row_text(row, view != NULL ? name_of(view, view->node_id) : pgq_node_name);
	pgq_row_int4(row, view != NULL ? (int32) view->node_id : 0, view != NULL);
	pgq_row_text(row, membership_name());
	pgq_row_text(row, view != NULL ? role_name(view->role) : NULL);
	pgq_row_text(row, phase_name(view != NULL ? view->phase : phase));
	pgq_row_int8(row, view != NULL ? view->term : 0, view != NULL);
	pgq_row_text(row, view != NULL ? name_of(view, view->leader) : NULL);
	pgq_row_int4(row, view != NULL ? (int32) view->leader : 0,
				 view != NULL && view->leader != QUORUM_NO_NODE);
	pgq_row_int8(row, tli, tli != 0);
	row_of_lease(row, view);
	pgq_row_bool(row, view != NULL && view->electable, view != NULL);
	pgq_row_text(row, pgq_reason_of_node(view, reason));
	row_of_member_set(row, view);
	pgq_row_int4(row, (int32) worker_pid, worker_pid != 0);
	pgq_row_wall(row, view != NULL ? view->paused_until : 0);
}

/* lease_left, gate, sync_need, sync_members: what decides about commits on a leader */
static void
row_of_lease(PgqRow *row, const QuorumView *view)
{
	bool		leads = view != NULL && view->role == QUORUM_ROLE_LEADER;
	uint64		until = 0;
	uint64		now = 0;
	Datum		names[QUORUM_MAX_NODES];
	int			count = 0;

	if (leads)
	{
		until = pg_atomic_read_u64(&pgq_shared->lease_until);
		now = pgq_now_boot();
	}
	pgq_row_interval(row, until > now ? (int64) (until - now) : 0, leads);
	if (view == NULL)
		pgq_row_null(row);
	else
		pgq_row_text(row, pg_atomic_read_u32(&pgq_shared->gate_open) != 0 ? "open" : "closed");
	pgq_row_int4(row, leads ? view->sync.need : 0, leads);
	if (!leads)
	{
		pgq_row_null(row);
		return;
	}
	for (int i = 0; i < view->sync.count; i++)
	{
		const char *name = name_of(view, view->sync.ids[i]);

		if (name != NULL)
			names[count++] = CStringGetTextDatum(name);
	}
	pgq_row_add(row, PointerGetDatum(construct_array(names, count, TEXTOID, -1, false,
													 TYPALIGN_INT)), true);
}

/* voters, quorum, member_set, set_committed, needs_rewind */
static void
row_of_member_set(PgqRow *row, const QuorumView *view)
{
	const QuorumMemberView *self;
	char		set_id[32];
	int			voters = 0;
	bool		diverged;

	if (view == NULL)
	{
		for (int i = 0; i < 5; i++)
			pgq_row_null(row);
		return;
	}
	for (int i = 0; i < view->member_count; i++)
		voters += view->members[i].member.kind != QUORUM_LEARNER;
	snprintf(set_id, sizeof(set_id), "%u.%u", view->set_id.term, view->set_id.version);
	self = pgq_sql_find_member(view, view->node_id);
	SpinLockAcquire(&pgq_shared->stream_mutex);
	diverged = pgq_shared->stream.diverged;
	SpinLockRelease(&pgq_shared->stream_mutex);

	pgq_row_int4(row, voters, true);
	pgq_row_int4(row, voters / 2 + 1, voters > 0);
	pgq_row_text(row, set_id);
	pgq_row_bool(row, view->set_committed, view->role == QUORUM_ROLE_LEADER);
	pgq_row_bool(row, diverged || (self != NULL && self->diverged), true);
}

/* ---- quorum.members ------------------------------------------------------------------- */

/* wal_status, safe_wal_size: what the slot of another member keeps for it here */
static void
row_of_wal(PgqRow *row, const QuorumMemberView *member)
{
	PgqSlotWal	wal = {0};

	if (!member->is_self && member->member.kind != QUORUM_WITNESS && max_replication_slots > 0)
		pgq_slots_wal(member, &wal);
	pgq_row_text(row, pgq_slots_wal_name(wal.state));
	pgq_row_int8(row, wal.left, wal.limited);
}

Datum
pgq_get_members(PG_FUNCTION_ARGS)
{
	QuorumView *view = palloc(sizeof(QuorumView));

	InitMaterializedSRF(fcinfo, 0);
	if (!pgq_sql_view(view))
		return (Datum) 0;
	for (int i = 0; i < view->member_count; i++)
	{
		PgqRow		row = {0};

		row_of_member(&row, view, &view->members[i]);
		pgq_row_put(&row, fcinfo);
	}
	return (Datum) 0;
}

static void
row_of_member(PgqRow *row, const QuorumView *view, const QuorumMemberView *member)
{
	PgqLag		lag;
	bool		ever_heard = member->is_self || member->heard_ago_us != QUORUM_NEVER;
	const char *role = member->is_leader ? "leader" : "follower";
	const char *reason;
	char		buffer[QUORUM_REASON_SIZE];

	pgq_lag_of_member(view, member, &lag);
	if (member->is_self)
		role = role_name(view->role);
	else if (!member->heard && !member->is_leader)
		role = NULL;			/* nobody knows what it does now */

	pgq_row_int4(row, (int32) member->member.id, true);
	pgq_row_text(row, member->member.name);
	pgq_row_text(row, kind_name(member->member.kind));
	pgq_row_text(row, member->member.host);
	pgq_row_int4(row, member->member.quorum_port, true);
	pgq_row_int4(row, member->member.pg_port, member->member.pg_port != 0);
	pgq_row_text(row, role);
	pgq_row_bool(row, member->is_self, true);
	pgq_row_bool(row, member->is_self || member->heard, true);
	pgq_row_interval(row, member->heard_ago_us, ever_heard && !member->is_self);
	pgq_row_int4(row, member->priority, ever_heard);
	pgq_row_int8(row, member->position.tli, member->position.tli != 0);
	if (member->is_self)
	{
		pgq_row_lsn(row, pgq_sql_end_of_wal());
		pgq_row_lsn(row, RecoveryInProgress() ? GetXLogReplayRecPtr(NULL) : InvalidXLogRecPtr);
	}
	else
	{
		pgq_row_lsn(row, Max(member->position.lsn, member->stream_flush));
		pgq_row_lsn(row, member->is_leader ? InvalidXLogRecPtr : member->replay_lsn);
	}
	pgq_row_int8(row, lag.bytes, lag.bytes_known);
	pgq_row_interval(row, lag.us, lag.us_known);
	pgq_row_bool(row, member->in_sync_rule, view->role == QUORUM_ROLE_LEADER);
	pgq_row_bool(row, member->member.left_out, true);
	row_of_wal(row, member);
	reason = pgq_reason_not_electable(view, member, buffer);
	pgq_row_bool(row, reason == NULL, true);
	pgq_row_text(row, reason);
}

/* ---- quorum.replication ---------------------------------------------------------------- */

/* The member that a walsender serves: it owns the slot of that member (V2). */
static const QuorumMemberView *
member_of_slot(const QuorumView *view, const char *slot)
{
	char		name[NAMEDATALEN];

	for (int i = 0; i < view->member_count; i++)
	{
		pgq_slot_name(view->members[i].member.id, name);
		if (strcmp(name, slot) == 0)
			return &view->members[i];
	}
	return NULL;
}

/*
 * pgq_get_stream(application_name, slot, state): node, acked_term, counted, why_not
 * of one stream that leaves this server.
 */
Datum
pgq_get_stream(PG_FUNCTION_ARGS)
{
	PgqRow		row = {0};
	QuorumView *view = palloc(sizeof(QuorumView));
	const char *name = PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0));
	const char *slot = PG_ARGISNULL(1) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(1));
	const char *state = PG_ARGISNULL(2) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(2));
	const QuorumMemberView *member;
	const char *why_not;

	InitMaterializedSRF(fcinfo, 0);
	if (!pgq_sql_view(view))
	{
		pgq_row_null(&row);
		pgq_row_null(&row);
		pgq_row_bool(&row, false, true);
		pgq_row_text(&row, "this server takes no part in a cluster");
		pgq_row_put(&row, fcinfo);
		return (Datum) 0;
	}

	member = member_of_slot(view, slot);
	if (member != NULL && pgq_slots_in_wrong_hands(member->member.id))
		why_not = "did not prove to be this member";
	else if (member != NULL)
		why_not = pgq_reason_not_counted(view, member, state);
	else if (member_of_slot(view, name) != NULL)
		why_not = "uses the name of a member, but not its slot";
	else
		why_not = "no member";
	pgq_row_text(&row, member != NULL ? member->member.name : NULL);
	pgq_row_int8(&row, member != NULL ? member->stream_term : 0,
				 member != NULL && member->stream_term != 0);
	pgq_row_bool(&row, why_not == NULL, true);
	pgq_row_text(&row, why_not);
	pgq_row_put(&row, fcinfo);
	return (Datum) 0;
}

/*
 * node, acked_term, counted, why_not, replay_lag of the stream that comes in: one row
 * on a standby, no row elsewhere.  A member that does not stream has a row as well: it
 * says why.
 */
Datum
pgq_get_upstream(PG_FUNCTION_ARGS)
{
	PgqRow		row = {0};
	QuorumView *view = palloc(sizeof(QuorumView));
	PgqStreamReport stream;
	const QuorumMemberView *self;
	const char *why_not = NULL;
	PgqLag		lag;
	bool		receives;

	InitMaterializedSRF(fcinfo, 0);
	if (!RecoveryInProgress())
		return (Datum) 0;
	SpinLockAcquire(&WalRcv->mutex);
	receives = WalRcv->pid != 0 && WalRcv->ready_to_display;
	SpinLockRelease(&WalRcv->mutex);
	pgq_lag_of_self(&lag);
	if (!pgq_sql_view(view))
	{
		if (!receives)
			return (Datum) 0;
		pgq_row_null(&row);
		pgq_row_null(&row);
		pgq_row_bool(&row, false, true);
		pgq_row_text(&row, "this server takes no part in a cluster");
	}
	else
	{
		SpinLockAcquire(&pgq_shared->stream_mutex);
		stream = pgq_shared->stream;
		SpinLockRelease(&pgq_shared->stream_mutex);
		self = pgq_sql_find_member(view, view->node_id);
		if (stream.diverged)
			why_not = stream.reason[0] != '\0' ? stream.reason : "needs a rewind";
		else if (stream.acking_term == 0 || stream.acking_term != view->term)
			why_not = stream.reason[0] != '\0' && !stream.connected ? stream.reason :
				"acknowledges no WAL of this term";
		else if (self != NULL && self->member.kind != QUORUM_VOTER)
			why_not = "learner: does not vote";
		pgq_row_text(&row, stream.source != QUORUM_NO_NODE ? name_of(view, stream.source) : NULL);
		pgq_row_int8(&row, stream.acking_term, stream.acking_term != 0);
		pgq_row_bool(&row, why_not == NULL, true);
		pgq_row_text(&row, why_not);
	}
	pgq_row_interval(&row, lag.us, lag.us_known);
	pgq_row_put(&row, fcinfo);
	return (Datum) 0;
}

/* ---- quorum.history, quorum.transport -------------------------------------------------- */

Datum
pgq_get_history(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	pgq_history_read(row_of_history, fcinfo);
	return (Datum) 0;
}

static void
row_of_history(const PgqHistoryEntry *entry, void *arg)
{
	PgqRow		row = {0};

	pgq_row_add(&row, TimestampTzGetDatum(entry->at), true);
	pgq_row_text(&row, entry->event);
	pgq_row_int8(&row, entry->term, entry->term != 0);
	pgq_row_text(&row, entry->node);
	pgq_row_text(&row, entry->detail);
	pgq_row_add(&row, Float8GetDatum(entry->phase_ms), entry->phase_ms >= 0);
	pgq_row_put(&row, (FunctionCallInfo) arg);
}

Datum
pgq_get_transport(PG_FUNCTION_ARGS)
{
	PgqRow		row = {0};
	PgqTransportCounters *counters = pgq_shared != NULL ? &pgq_shared->transport : NULL;

#define COUNTER(field) \
	pgq_row_int8(&row, counters ? (int64) pg_atomic_read_u64(&counters->field) : 0, \
				 counters != NULL)

	InitMaterializedSRF(fcinfo, 0);
	COUNTER(frames_in);
	COUNTER(frames_out);
	COUNTER(rejected_auth);
	COUNTER(rejected_garbage);
	COUNTER(rejected_identity);
	COUNTER(dropped_slow);
	COUNTER(timeouts);
	pgq_row_put(&row, fcinfo);
	return (Datum) 0;
}

/* ---- who leads ------------------------------------------------------------------------- */

/* Leads and may serve: what a load balancer wants to know. */
Datum
pgq_is_leader(PG_FUNCTION_ARGS)
{
	QuorumView *view = palloc(sizeof(QuorumView));

	(void) fcinfo;
	PG_RETURN_BOOL(pgq_sql_view(view) && view->role == QUORUM_ROLE_LEADER &&
				   pgq_fence_may_serve());
}

Datum
pgq_leader(PG_FUNCTION_ARGS)
{
	QuorumView *view = palloc(sizeof(QuorumView));
	const char *name = NULL;

	if (pgq_sql_view(view))
		name = name_of(view, view->leader);
	if (name == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(name));
}
