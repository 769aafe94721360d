/*
 * slots_wal.c
 *	  How long the WAL that a member needs will still be there, and a warning before it goes.
 *
 * A slot keeps WAL for its member as long as max_slot_wal_keep_size allows; the checkpointer
 * removes it without asking.  A member that comes back later needs a clone.
 *
 * Rules: H57 (a member too far behind is named before its WAL is lost).
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogrecovery.h"
#include "replication/slot.h"
#include "replication/walreceiver.h"
#include "storage/lwlock.h"
#include "storage/spin.h"

#include "compat.h"
#include "history.h"
#include "slots.h"

#define LOW_SEGMENTS	2		/* left: warn, whatever the limit is */
#define LOW_FRACTION	4		/* or when less than this part of the limit is left */

/* What was said of a member last; of the worker. */
typedef struct Said
{
	QuorumNodeId id;
	bool		low;
	bool		lost;
} Said;

static int64 segments_of(int megabytes);
static void say_low(const QuorumMember *member, const PgqSlotWal *wal, QuorumTerm term);
static void say_lost(const QuorumMember *member, const PgqSlotWal *wal, QuorumTerm term);

void
pgq_slots_wal(const QuorumMemberView *member, PgqSlotWal *wal)
{
	char		name[NAMEDATALEN];
	ReplicationSlot *slot;
	bool		active = false;
	bool		invalid = false;
	XLogSegNo	from;
	XLogSegNo	needed = 0;
	XLogRecPtr	end = RecoveryInProgress() ?
		Max(GetWalRcvFlushRecPtr(NULL, NULL), GetXLogReplayRecPtr(NULL)) : GetXLogWriteRecPtr();

	memset(wal, 0, sizeof(*wal));
	pgq_slot_name(member->member.id, name);
	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	slot = SearchNamedReplicationSlot(name, false);
	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		active = pgq_slot_owner(slot) != 0;
		invalid = pgq_slot_is_invalidated(slot);
		wal->from = slot->data.restart_lsn;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(ReplicationSlotControlLock);
	if (slot == NULL)
		return;

	/* where it would begin to stream: the slot of one that has come back is a new one */
	if (member->heard && !active && member->position.tli != 0 && !member->diverged)
		XLByteToSeg(member->position.lsn, needed, wal_segment_size);
	if ((invalid && !active) || (needed > 0 && needed <= XLogGetLastRemovedSegno()))
	{
		wal->state = PGQ_WAL_LOST;
		return;
	}
	if (XLogRecPtrIsInvalid(wal->from))
		return;
	wal->state = PGQ_WAL_RESERVED;
	if (max_slot_wal_keep_size_mb < 0)
		return;

	/* as KeepLogSeg() counts */
	XLByteToSeg(wal->from, from, wal_segment_size);
	from += Max(segments_of(max_slot_wal_keep_size_mb), segments_of(wal_keep_size_mb)) + 1;
	wal->limited = true;
	wal->left = (int64) (from * wal_segment_size) - (int64) end;
	if (wal->left <= 0)
		wal->state = PGQ_WAL_UNRESERVED;
	wal->low = wal->left < Max((int64) LOW_SEGMENTS * wal_segment_size,
							   (int64) max_slot_wal_keep_size_mb * 1024 * 1024 / LOW_FRACTION);
}

static int64
segments_of(int megabytes)
{
	return (int64) megabytes / (wal_segment_size / (1024 * 1024));
}

const char *
pgq_slots_wal_name(PgqWalState state)
{
	switch (state)
	{
		case PGQ_WAL_UNKNOWN:
			return NULL;
		case PGQ_WAL_RESERVED:
			return "reserved";
		case PGQ_WAL_UNRESERVED:
			return "unreserved";
		case PGQ_WAL_LOST:
			return "lost";
	}
	return NULL;
}

/* On the leader: others keep WAL too, but nobody streams it from them. */
void
pgq_slots_warn(const QuorumView *view)
{
	static Said said[QUORUM_MAX_NODES];

	for (int i = 0; i < view->member_count; i++)
	{
		const QuorumMemberView *member = &view->members[i];
		PgqSlotWal	wal;

		if (said[i].id != member->member.id)
		{
			memset(&said[i], 0, sizeof(said[i]));
			said[i].id = member->member.id;
		}
		if (max_replication_slots == 0 || view->role != QUORUM_ROLE_LEADER || !view->gate_open ||
			member->is_self || member->member.kind == QUORUM_WITNESS)
			continue;
		pgq_slots_wal(member, &wal);
		if (wal.state == PGQ_WAL_LOST && !said[i].lost)
			say_lost(&member->member, &wal, view->term);
		else if (wal.state != PGQ_WAL_LOST && wal.low && !said[i].low)
			say_low(&member->member, &wal, view->term);
		said[i].lost = wal.state == PGQ_WAL_LOST;
		said[i].low = wal.low || said[i].lost;
	}
}

static void
say_low(const QuorumMember *member, const PgqSlotWal *wal, QuorumTerm term)
{
	char		detail[PGQ_HISTORY_DETAIL_SIZE];
	int64		left = Max(wal->left, 0) / (1024 * 1024);

	ereport(WARNING,
			(errmsg("quorum: member %s is far behind: the WAL it needs goes when " INT64_FORMAT " MB more are written",
					member->name, left),
			 errdetail("It needs WAL from %X/%X on; max_slot_wal_keep_size is %d MB.",
					   LSN_FORMAT_ARGS(wal->from), max_slot_wal_keep_size_mb),
			 errhint("Bring it back, or raise max_slot_wal_keep_size; later it needs a new copy of the leader's data.")));
	snprintf(detail, sizeof(detail), "needs WAL from %X/%X on, " INT64_FORMAT " MB before it goes",
			 LSN_FORMAT_ARGS(wal->from), left);
	pgq_history_tell("wal_low", term, member->name, detail, -1);
}

static void
say_lost(const QuorumMember *member, const PgqSlotWal *wal, QuorumTerm term)
{
	(void) wal;
	ereport(WARNING,
			(errmsg("quorum: the WAL that member %s needs is gone: it needs a new copy of the leader's data",
					member->name),
			 errdetail("max_slot_wal_keep_size is %d MB.", max_slot_wal_keep_size_mb),
			 errhint("With quorum.auto_clone = on it makes one when it is back.")));
	pgq_history_tell("wal_lost", term, member->name, "needs a clone", -1);
}
