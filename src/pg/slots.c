/*
 * slots.c
 *	  One physical slot per member, on every node: it keeps WAL for the member, and has one owner.
 *
 * All but the owner of a slot is the worker's doing.  Not here: what the owners say about who
 * holds which WAL (ledger.c), how long the WAL will be there (slots_wal.c).
 *
 * Rules: V2, R7 (a slot has one owner, however many connections use its name), K3, H57.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "replication/walsender_private.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "proof.h"
#include "slots.h"

#define SLOT_PREFIX			"quorum_"
#define LOOK_INTERVAL_US	(3 * UINT64CONST(1000000))	/* between two looks at the slots */
#define COMPLAIN_INTERVAL_US	(60 * UINT64CONST(1000000))

/* One step on one slot; may throw. */
typedef void (*SlotStep) (const char *name, XLogRecPtr lsn);

typedef struct SlotFacts
{
	bool		exists;
	bool		physical;
	bool		active;
	bool		lost;			/* reserves nothing: new, or invalidated */
	XLogRecPtr	restart_lsn;	/* invalid when lost */
} SlotFacts;

static bool slots_are_restored(const QuorumView *view);
static void keep_member_slot(const QuorumView *view, const QuorumMemberView *member);
static void end_impostors(const QuorumView *view);
static bool proved_to_be_any(const QuorumView *view, pid_t pid);
static bool owns_member_slot(const QuorumView *view, pid_t pid);
static void drop_foreign_slots(const QuorumView *view);
static bool needs_slot(const QuorumView *view, QuorumNodeId id);
static XLogRecPtr safe_restart_lsn(const QuorumView *view, const QuorumMemberView *member);
static SlotFacts look_at_slot(const char *name);
static bool try_step(SlotStep step, const char *name, XLogRecPtr lsn);
static void recover_from_error(const char *name, MemoryContext context);
static void create_slot(const char *name, XLogRecPtr lsn);
static void advance_slot(const char *name, XLogRecPtr lsn);
static void drop_slot(const char *name, XLogRecPtr lsn);

void
pgq_slot_name(QuorumNodeId id, char *name)
{
	snprintf(name, NAMEDATALEN, SLOT_PREFIX "%u", id);
}

void
pgq_slots_keep(const QuorumView *view)
{
	static uint64 next_look = 0;
	static QuorumSetId seen_set = {0, 0};
	uint64		now = pgq_now_mono();
	bool		new_set = seen_set.term != view->set_id.term ||
		seen_set.version != view->set_id.version;

	if (!new_set && now < next_look)
		return;
	if (!slots_are_restored(view))
		return;
	next_look = now + LOOK_INTERVAL_US;
	seen_set = view->set_id;
	end_impostors(view);

	for (int i = 0; i < view->member_count; i++)
	{
		if (needs_slot(view, view->members[i].member.id))
			keep_member_slot(view, &view->members[i]);
	}
	drop_foreign_slots(view);
}

/*
 * The startup process reads the slots from disk and sets the redo pointer afterwards;
 * nothing may be created or dropped before.  A node that is no member keeps its hands off.
 */
static bool
slots_are_restored(const QuorumView *view)
{
	return view->node_id != QUORUM_NO_NODE &&
		view->member_count > 0 &&
		view->phase != QUORUM_PHASE_STARTING &&
		max_replication_slots > 0 &&
		!XLogRecPtrIsInvalid(GetRedoRecPtr());
}

/*
 * K3: the slot of a member that is down can be taken by anybody who may connect for
 * replication, and a name can be taken after the connection was made.  Neither counts
 * (held_by), but the one keeps the member out, and the other ends PostgreSQL's own wait.
 */
static void
end_impostors(const QuorumView *view)
{
	for (int i = 0; i < max_wal_senders; i++)
	{
		WalSnd	   *walsnd = &WalSndCtl->walsnds[i];
		pid_t		pid;
		bool		is_sync;

		SpinLockAcquire(&walsnd->mutex);
		pid = walsnd->pid;
		is_sync = walsnd->sync_standby_priority > 0;
		SpinLockRelease(&walsnd->mutex);
		if (pid == 0 || proved_to_be_any(view, pid) ||
			!(is_sync || owns_member_slot(view, pid)))
			continue;
		ereport(LOG,
				(errmsg("ending walsender %d: it streams in the name of a member and did not prove to be it",
						(int) pid)));
		(void) kill(pid, SIGTERM);
	}
}

static bool
proved_to_be_any(const QuorumView *view, pid_t pid)
{
	int			hint = 0;

	for (int i = 0; i < view->member_count; i++)
		if (pgq_proof_is_owner(view->members[i].member.id, pid, &hint))
			return true;
	return false;
}

static bool
owns_member_slot(const QuorumView *view, pid_t pid)
{
	bool		owns = false;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < view->member_count && !owns; i++)
	{
		char		name[NAMEDATALEN];
		ReplicationSlot *slot;

		pgq_slot_name(view->members[i].member.id, name);
		slot = SearchNamedReplicationSlot(name, false);
		owns = slot != NULL && pgq_member_slot_owner(slot, name) == pid;
	}
	LWLockRelease(ReplicationSlotControlLock);
	return owns;
}

bool
pgq_slots_in_wrong_hands(QuorumNodeId id)
{
	char		name[NAMEDATALEN];
	ReplicationSlot *slot;
	pid_t		owner = 0;
	int			hint = 0;

	pgq_slot_name(id, name);
	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	slot = SearchNamedReplicationSlot(name, false);
	if (slot != NULL)
		owner = pgq_member_slot_owner(slot, name);
	LWLockRelease(ReplicationSlotControlLock);
	return owner != 0 && !pgq_proof_is_owner(id, owner, &hint);
}

/* Create it, or move what an idle one reserves; an active one moves by itself. */
static void
keep_member_slot(const QuorumView *view, const QuorumMemberView *member)
{
	char		name[NAMEDATALEN];
	SlotFacts	slot;
	XLogRecPtr	lsn;
	XLogSegNo	has;
	XLogSegNo	may;

	pgq_slot_name(member->member.id, name);
	slot = look_at_slot(name);

	if (slot.exists && slot.physical && slot.active && slot.lost)
		pgq_slot_revalidate(name);
	if (slot.exists && slot.physical && !slot.active && slot.lost)
	{
		/*
		 * It protects nothing any more, and a newer server refuses to stream from it.  For
		 * a member that is away it stays as it is: new WAL would be kept in vain, and
		 * everybody shall see what is wrong.
		 */
		if (!member->heard || !try_step(drop_slot, name, InvalidXLogRecPtr))
			return;
		slot.exists = false;
	}
	if (!slot.exists)
	{
		(void) try_step(create_slot, name, InvalidXLogRecPtr);
		return;
	}
	if (slot.active || !slot.physical)
		return;

	/* only whole segments are ever removed: smaller steps are not worth a write */
	lsn = safe_restart_lsn(view, member);
	XLByteToSeg(slot.restart_lsn, has, wal_segment_size);
	XLByteToSeg(lsn, may, wal_segment_size);
	if (may > has)
		(void) try_step(advance_slot, name, lsn);
}

/*
 * WAL that an idle member needs no more, or 0.  It must be known to hold it on our
 * timeline: the end of a diverged log says nothing.  Never beyond our own redo pointer:
 * newer WAL is kept anyway, and a member that has to be rewound needs the WAL since the
 * last common checkpoint, which is not older than that redo pointer.
 */
static XLogRecPtr
safe_restart_lsn(const QuorumView *view, const QuorumMemberView *member)
{
	QuorumTerm	own_tli = 0;

	for (int i = 0; i < view->member_count; i++)
	{
		if (view->members[i].is_self)
			own_tli = view->members[i].position.tli;
	}
	if (own_tli == 0 || member->position.tli != own_tli ||
		!member->heard || member->diverged || member->recovering)
		return InvalidXLogRecPtr;

	/*
	 * Not its flush position: that may lie inside a record that began in an earlier
	 * segment, and streaming starts again where the record began.
	 */
	return Min(member->replay_lsn, GetRedoRecPtr());
}

/* Slots of our naming for nodes that are no (data) members, as far as nobody uses them. */
static void
drop_foreign_slots(const QuorumView *view)
{
	for (int i = 0; i < max_replication_slots; i++)
	{
		NameData	name;
		char		canonical[NAMEDATALEN];
		QuorumNodeId id;
		SlotFacts	slot;

		if (!ReplicationSlotName(i, &name) ||
			strncmp(NameStr(name), SLOT_PREFIX, strlen(SLOT_PREFIX)) != 0)
			continue;
		id = strtoul(NameStr(name) + strlen(SLOT_PREFIX), NULL, 10);
		pgq_slot_name(id, canonical);
		if (strcmp(canonical, NameStr(name)) != 0 || needs_slot(view, id))
			continue;
		slot = look_at_slot(canonical);
		if (slot.exists && slot.physical && !slot.active)
			(void) try_step(drop_slot, canonical, InvalidXLogRecPtr);
	}
}

static bool
needs_slot(const QuorumView *view, QuorumNodeId id)
{
	for (int i = 0; i < view->member_count; i++)
	{
		const QuorumMember *member = &view->members[i].member;

		if (member->id == id)
			return id != view->node_id && member->kind != QUORUM_WITNESS;
	}
	return false;
}

static SlotFacts
look_at_slot(const char *name)
{
	SlotFacts	facts = {0};
	ReplicationSlot *slot;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	slot = SearchNamedReplicationSlot(name, false);
	if (slot != NULL)
	{
		facts.exists = true;
		SpinLockAcquire(&slot->mutex);
		facts.physical = SlotIsPhysical(slot);
		facts.active = pgq_slot_owner(slot) != 0;
		facts.lost = pgq_slot_is_invalidated(slot) ||
			XLogRecPtrIsInvalid(slot->data.restart_lsn);
		facts.restart_lsn = facts.lost ? InvalidXLogRecPtr : slot->data.restart_lsn;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(ReplicationSlotControlLock);
	return facts;
}

/* The functions of slot.c report by ERROR, which must not end the worker. */
static bool
try_step(SlotStep step, const char *name, XLogRecPtr lsn)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool done = false;

	PG_TRY();
	{
		step(name, lsn);
		done = true;
	}
	PG_CATCH();
	{
		recover_from_error(name, context);
	}
	PG_END_TRY();
	return done;
}

/* There is no transaction to abort: give back by hand what slot.c can hold at an error. */
static void
recover_from_error(const char *name, MemoryContext context)
{
	static uint64 next_complaint = 0;
	uint64		now = pgq_now_mono();
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();

	LWLockReleaseAll();
	ConditionVariableCancelSleep();
	if (MyReplicationSlot != NULL)
		ReplicationSlotRelease();

	if (now >= next_complaint)
	{
		next_complaint = now + COMPLAIN_INTERVAL_US;
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("could not keep replication slot \"%s\": %s", name, error->message),
				 error->hint ? errhint("%s", error->hint) : 0));
	}
	FreeErrorData(error);
}

static void
create_slot(const char *name, XLogRecPtr lsn pg_attribute_unused())
{
	pgq_slot_create_physical(name);
	ReplicationSlotReserveWal();
	ReplicationSlotMarkDirty();
	ReplicationSlotSave();
	ReplicationSlotRelease();
}

/*
 * Not saved here: the next checkpoint does that.  After a crash the slot reserves more
 * than it must, never less.
 */
static void
advance_slot(const char *name, XLogRecPtr lsn)
{
	pgq_slot_acquire_nowait(name);
	SpinLockAcquire(&MyReplicationSlot->mutex);
	MyReplicationSlot->data.restart_lsn = lsn;
	SpinLockRelease(&MyReplicationSlot->mutex);
	ReplicationSlotMarkDirty();
	ReplicationSlotsComputeRequiredLSN();
	ReplicationSlotRelease();
}

static void
drop_slot(const char *name, XLogRecPtr lsn pg_attribute_unused())
{
	ReplicationSlotDrop(name, true);
}

bool
pgq_slots_drop(const char *name)
{
	return try_step(drop_slot, name, InvalidXLogRecPtr);
}

pid_t
pgq_member_slot_owner(ReplicationSlot *slot, const char *name)
{
	pid_t		owner;

	if (!slot->in_use || !SlotIsPhysical(slot) || strcmp(NameStr(slot->data.name), name) != 0)
		return 0;
	SpinLockAcquire(&slot->mutex);
	owner = pgq_slot_owner(slot);
	SpinLockRelease(&slot->mutex);
	return owner;
}
