/*
 * sqllag.c
 *	  Says how far each standby is behind, on members of a cluster as well as on any
 *	  ordinary primary or standby, with or without the library preloaded.
 *
 * Lag is counted to what is replayed.  What is not known is NULL: nothing here
 * guesses (S9).  Time is what PostgreSQL itself measured: the replay lag of a
 * walsender, the age of the WAL that waits for replay.
 *
 * Not here: whether a stream counts in the quorum (sqlfuncs.c).
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "replication/walreceiver.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "utils/backend_status.h"

#include "compat.h"
#include "slots.h"
#include "sqllag.h"
#include "sqlrow.h"

PG_FUNCTION_INFO_V1(pgq_lag);
PG_FUNCTION_INFO_V1(pgq_lag_interval);

/* One physical stream that leaves this server. */
typedef struct Stream
{
	pid_t		pid;
	XLogRecPtr	replay;			/* 0 = the other side has not said, or does not replay */
	TimeOffset	replay_lag_us;	/* < 0 = not measured */
	char		name[NAMEDATALEN];	/* application_name */
	char		slot[NAMEDATALEN];	/* empty = none */
} Stream;

static void find_lag(FunctionCallInfo fcinfo, PgqLag *lag);
static void lag_largest(const QuorumView *view, PgqLag *lag);
static void lag_of_name(const char *name, const QuorumView *view, PgqLag *lag);
static void lag_of_stream(const Stream *stream, PgqLag *lag);
static void keep_larger(PgqLag *largest, const PgqLag *lag);
static Stream *collect_streams(int *count);
pg_noreturn static void unknown_name(const char *name, const QuorumView *view,
									 const Stream *streams, int count);

Datum
pgq_lag(PG_FUNCTION_ARGS)
{
	PgqLag		lag;

	find_lag(fcinfo, &lag);
	if (!lag.bytes_known)
		PG_RETURN_NULL();
	PG_RETURN_INT64(lag.bytes);
}

Datum
pgq_lag_interval(PG_FUNCTION_ARGS)
{
	PgqLag		lag;

	find_lag(fcinfo, &lag);
	if (!lag.us_known)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(pgq_interval_us(lag.us));
}

bool
pgq_sql_view(QuorumView *view)
{
	return pgq_is_member() && pgq_shmem_copy_view(view) && view->node_id != QUORUM_NO_NODE;
}

const QuorumMemberView *
pgq_sql_find_member(const QuorumView *view, QuorumNodeId id)
{
	for (int i = 0; i < view->member_count; i++)
		if (view->members[i].member.id == id)
			return &view->members[i];
	return NULL;
}

static void
find_lag(FunctionCallInfo fcinfo, PgqLag *lag)
{
	QuorumView *view = palloc(sizeof(QuorumView));

	if (!pgq_sql_view(view))
		view = NULL;
	if (!PG_ARGISNULL(0))
		lag_of_name(text_to_cstring(PG_GETARG_TEXT_PP(0)), view, lag);
	else if (RecoveryInProgress())
		pgq_lag_of_self(lag);
	else
		lag_largest(view, lag);
}

/* On a primary: of all voters (they are what a failover needs), or of all standbys. */
static void
lag_largest(const QuorumView *view, PgqLag *lag)
{
	PgqLag		one;

	memset(lag, 0, sizeof(*lag));
	if (view != NULL)
	{
		bool		first = true;

		for (int i = 0; i < view->member_count; i++)
		{
			if (view->members[i].is_self || view->members[i].member.kind != QUORUM_VOTER)
				continue;
			pgq_lag_of_member(view, &view->members[i], &one);
			if (first)
				*lag = one;
			else
				keep_larger(lag, &one);
			first = false;
		}
	}
	else
	{
		int			count;
		Stream	   *streams = collect_streams(&count);
		bool		first = true;

		for (int i = 0; i < count; i++)
		{
			if (XLogRecPtrIsInvalid(streams[i].replay))
				continue;		/* receives, but never replays: no standby */
			lag_of_stream(&streams[i], &one);
			if (first)
				*lag = one;
			else
				keep_larger(lag, &one);
			first = false;
		}
	}
}

/* A largest lag is known only if every lag is. */
static void
keep_larger(PgqLag *largest, const PgqLag *lag)
{
	largest->bytes_known = largest->bytes_known && lag->bytes_known;
	largest->bytes = Max(largest->bytes, lag->bytes);
	largest->us_known = largest->us_known && lag->us_known;
	largest->us = Max(largest->us, lag->us);
}

static void
lag_of_name(const char *name, const QuorumView *view, PgqLag *lag)
{
	int			count;
	Stream	   *streams = collect_streams(&count);
	bool		found = false;
	PgqLag		one;

	for (int i = 0; view != NULL && i < view->member_count; i++)
	{
		if (strcmp(view->members[i].member.name, name) == 0)
		{
			pgq_lag_of_member(view, &view->members[i], lag);
			return;
		}
	}
	for (int i = 0; i < count; i++)
	{
		if (strcmp(streams[i].name, name) != 0)
			continue;
		lag_of_stream(&streams[i], &one);
		if (!found)
			*lag = one;
		else
			keep_larger(lag, &one);
		found = true;
	}
	if (!found)
		unknown_name(name, view, streams, count);
}

static void
unknown_name(const char *name, const QuorumView *view, const Stream *streams, int count)
{
	StringInfoData names;
	char		separator[] = ", ";

	initStringInfo(&names);
	for (int i = 0; view != NULL && i < view->member_count; i++)
		appendStringInfo(&names, "%s\"%s\"", names.len > 0 ? separator : "",
						 view->members[i].member.name);
	for (int i = 0; i < count; i++)
	{
		bool		said = false;

		for (int j = 0; j < i; j++)
			said = said || strcmp(streams[i].name, streams[j].name) == 0;
		if (!said)
			appendStringInfo(&names, "%s\"%s\"", names.len > 0 ? separator : "",
							 streams[i].name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("no member or standby is named \"%s\"", name),
			 names.len > 0 ? errhint("Known here: %s.", names.data) :
			 errhint("This server has no members, and no standby streams from it.")));
}

void
pgq_lag_of_member(const QuorumView *view, const QuorumMemberView *member, PgqLag *lag)
{
	XLogRecPtr	end = InvalidXLogRecPtr;
	XLogRecPtr	replay = member->replay_lsn;
	const QuorumMemberView *leader = pgq_sql_find_member(view, view->leader);

	memset(lag, 0, sizeof(*lag));
	if (member->member.kind == QUORUM_WITNESS || member->diverged)
		return;					/* has no data, or data that cannot be compared */
	if (member->is_leader || (member->is_self && !RecoveryInProgress()))
	{
		lag->bytes_known = lag->us_known = true;
		return;
	}
	if (member->is_self)
	{
		pgq_lag_of_self(lag);
		return;
	}
	if (!RecoveryInProgress())
	{
		/* Its own stream knows more, and sooner, than the messages of the worker. */
		int			count;
		Stream	   *streams = collect_streams(&count);
		char		slot[NAMEDATALEN];

		pgq_slot_name(member->member.id, slot);
		for (int i = 0; i < count; i++)
		{
			if (strcmp(streams[i].slot, slot) == 0 && !XLogRecPtrIsInvalid(streams[i].replay))
			{
				lag_of_stream(&streams[i], lag);
				return;
			}
		}
		end = pgq_sql_end_of_wal();
	}
	else if (leader != NULL)
		end = Max((XLogRecPtr) leader->position.lsn, pgq_sql_end_of_wal());
	if (XLogRecPtrIsInvalid(end) || XLogRecPtrIsInvalid(replay))
		return;
	lag->bytes_known = true;
	lag->bytes = end > replay ? (int64) (end - replay) : 0;
	lag->us_known = lag->bytes == 0;
}

/* A standby behind what it knows of its upstream; nothing is known without a stream. */
void
pgq_lag_of_self(PgqLag *lag)
{
	XLogRecPtr	replay = GetXLogReplayRecPtr(NULL);
	XLogRecPtr	end;
	TimestampTz end_at;
	bool		streaming;
	int			waiting_ms;

	memset(lag, 0, sizeof(*lag));
	SpinLockAcquire(&WalRcv->mutex);
	streaming = WalRcv->pid != 0 && WalRcv->walRcvState == WALRCV_STREAMING;
	end = WalRcv->latestWalEnd;
	end_at = WalRcv->latestWalEndTime;
	SpinLockRelease(&WalRcv->mutex);

	if (!streaming || XLogRecPtrIsInvalid(end) || XLogRecPtrIsInvalid(replay))
		return;
	lag->bytes_known = lag->us_known = true;
	if (replay >= end)
		return;
	lag->bytes = end - replay;
	waiting_ms = GetReplicationApplyDelay();
	if (waiting_ms > 0)
		lag->us = (int64) waiting_ms * 1000;	/* received, waits for replay since then */
	else if (waiting_ms == 0)
		lag->us = Max(GetCurrentTimestamp() - end_at, 0);	/* on its way since then */
	else
		lag->us_known = false;
}

static void
lag_of_stream(const Stream *stream, PgqLag *lag)
{
	XLogRecPtr	end = pgq_sql_end_of_wal();

	memset(lag, 0, sizeof(*lag));
	if (XLogRecPtrIsInvalid(stream->replay) || XLogRecPtrIsInvalid(end))
		return;
	lag->bytes_known = true;
	lag->bytes = end > stream->replay ? (int64) (end - stream->replay) : 0;
	lag->us_known = lag->bytes == 0 || stream->replay_lag_us >= 0;
	lag->us = lag->bytes == 0 ? 0 : Max(stream->replay_lag_us, 0);
}

XLogRecPtr
pgq_sql_end_of_wal(void)
{
	XLogRecPtr	received;

	if (!RecoveryInProgress())
		return GetFlushRecPtr(NULL);
	received = GetWalRcvFlushRecPtr(NULL, NULL);
	return Max(received, GetXLogReplayRecPtr(NULL));
}

/* Slot of a walsender; empty if none.  False for a logical one: it is no standby. */
static bool
find_slot(pid_t pid, char *name)
{
	bool		physical = true;

	name[0] = '\0';
	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		SpinLockAcquire(&slot->mutex);
		if (slot->in_use && pgq_slot_owner(slot) == pid)
		{
			physical = !SlotIsLogical(slot);
			memcpy(name, NameStr(slot->data.name), NAMEDATALEN);
		}
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(ReplicationSlotControlLock);
	return physical;
}

static Stream *
collect_streams(int *count)
{
	Stream	   *streams = palloc0(sizeof(Stream) * Max(max_wal_senders, 1));
	int			backends = pgstat_fetch_stat_numbackends();

	*count = 0;
	for (int i = 0; i < max_wal_senders; i++)
	{
		WalSnd	   *walsnd = &WalSndCtl->walsnds[i];
		Stream	   *stream = &streams[*count];
		WalSndState state;

		SpinLockAcquire(&walsnd->mutex);
		stream->pid = walsnd->pid;
		stream->replay = walsnd->apply;
		stream->replay_lag_us = walsnd->applyLag;
		state = walsnd->state;
		SpinLockRelease(&walsnd->mutex);

		if (stream->pid == 0 || state == WALSNDSTATE_BACKUP)
			continue;
		if (!find_slot(stream->pid, stream->slot))
			continue;
		stream->name[0] = '\0';
		for (int j = 1; j <= backends; j++)
		{
			LocalPgBackendStatus *backend = pgq_backend_status(j);

			if (backend != NULL && backend->backendStatus.st_procpid == stream->pid &&
				backend->backendStatus.st_appname != NULL)
				strlcpy(stream->name, backend->backendStatus.st_appname, NAMEDATALEN);
		}
		(*count)++;
	}
	return streams;
}
