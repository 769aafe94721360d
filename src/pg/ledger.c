/*
 * ledger.c
 *	  The ledger of commits: which members hold which WAL, and whether they are enough.
 *
 * It does not decide which members a commit needs (the core) and does not wait for
 * anything (fence.c).
 *
 * Rules:
 *	V2, R7	what member m holds is told by the one walsender that owns slot quorum_<m>;
 *			a slot has one owner, however many connections use the name
 *	K1		and that walsender has proved to be the member's (proof.c)
 *	V11, R8	the rule switches for all backends with one change of rule_version, whatever
 *			the walsenders think of synchronous_standby_names
 *	S9		no slot, no walsender, no rule yet: not held
 */
#include "postgres.h"

#include "access/xlog.h"
#include "replication/slot.h"
#include "replication/walsender_private.h"
#include "storage/lwlock.h"
#include "storage/spin.h"

#include "compat.h"
#include "ledger.h"
#include "proof.h"
#include "slots.h"

/* A backend's copy of the rule; valid while version is the published one. */
typedef struct RuleCopy
{
	uint64		version;		/* 0 = none */
	QuorumSyncRule rule;
	int			slot[QUORUM_MAX_NODES];
	int			walsnd[QUORUM_MAX_NODES];	/* where the owner was found last */
	int			proof[QUORUM_MAX_NODES];	/* likewise that it proved to be the member's */
	char		name[QUORUM_MAX_NODES][NAMEDATALEN];
} RuleCopy;

static RuleCopy copy;

static void refresh_copy(void) pg_attribute_hot;
static XLogRecPtr held_by(int i) pg_attribute_hot;
static bool walsender_flush(int i, pid_t owner, XLogRecPtr *flush) pg_attribute_hot;

/* ---- in the worker: the rule ---------------------------------------------------- */

void
pgq_ledger_publish(const QuorumSyncRule *rule)
{
	int			index[QUORUM_MAX_NODES];
	bool		same;

	Assert(rule->count >= 0 && rule->count <= QUORUM_MAX_NODES);

	for (int i = 0; i < rule->count; i++)
	{
		char		name[NAMEDATALEN];
		ReplicationSlot *slot;

		pgq_slot_name(rule->ids[i], name);
		slot = SearchNamedReplicationSlot(name, true);
		index[i] = slot ? ReplicationSlotIndex(slot) : -1;
	}

	/* only the worker writes these, so it may compare without the lock */
	same = pg_atomic_read_u64(&pgq_shared->rule_version) != 0 &&
		rule->need == pgq_shared->sync_rule.need &&
		rule->count == pgq_shared->sync_rule.count;
	for (int i = 0; same && i < rule->count; i++)
		same = rule->ids[i] == pgq_shared->sync_rule.ids[i] &&
			index[i] == pgq_shared->sync_slot[i];
	if (same)
		return;

	LWLockAcquire(pgq_shared->lock, LW_EXCLUSIVE);
	pgq_shared->sync_rule = *rule;
	for (int i = 0; i < rule->count; i++)
		pgq_shared->sync_slot[i] = index[i];
	pg_atomic_fetch_add_u64(&pgq_shared->rule_version, 1);
	LWLockRelease(pgq_shared->lock);
}

/* ---- in the backends ---------------------------------------------- */

bool
pgq_ledger_satisfied(XLogRecPtr lsn)
{
	int			held = 0;

	/*
	 * The caller's commit record is flushed.  With this barrier, whoever publishes a
	 * stricter rule and then reads the flush position either sees our record below it
	 * or has us see the new rule (M3).
	 */
	pg_memory_barrier();
	refresh_copy();

	if (copy.version == 0)
		return false;			/* nobody has said yet what a commit needs */
	if (copy.rule.need == 0)
		return true;

	/* keeps slots from being dropped and their places from being reused meanwhile */
	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < copy.rule.count && held < copy.rule.need; i++)
	{
		if (held_by(i) >= lsn)
			held++;
	}
	LWLockRelease(ReplicationSlotControlLock);

	return held >= copy.rule.need;
}

static void
refresh_copy(void)
{
	if (pg_atomic_read_u64(&pgq_shared->rule_version) == copy.version)
		return;

	LWLockAcquire(pgq_shared->lock, LW_SHARED);
	copy.version = pg_atomic_read_u64(&pgq_shared->rule_version);
	copy.rule = pgq_shared->sync_rule;
	memcpy(copy.slot, pgq_shared->sync_slot, sizeof(copy.slot));
	LWLockRelease(pgq_shared->lock);

	for (int i = 0; i < copy.rule.count; i++)
	{
		pgq_slot_name(copy.rule.ids[i], copy.name[i]);
		copy.walsnd[i] = copy.proof[i] = 0;
	}
}

/*
 * How far member i of the rule has flushed, as its walsender was told; 0 = not known.
 *
 * Slot and walsender are two places, tied by a pid.  That is safe: pid and flush of a
 * walsender are read together under its mutex, and a new walsender in that place starts
 * with flush 0.  Between reading the slot and reading the walsender the owner may exit
 * and its pid may come back as another walsender; then the slot, looked at again, has
 * no owner or another one, unless the newcomer owns the slot now, and then it speaks
 * for the member as well.
 */
static XLogRecPtr
held_by(int i)
{
	ReplicationSlot *slot;
	XLogRecPtr	flush;
	pid_t		owner;

	if (copy.slot[i] < 0 || copy.slot[i] >= max_replication_slots)
		return InvalidXLogRecPtr;
	slot = &ReplicationSlotCtl->replication_slots[copy.slot[i]];

	owner = pgq_member_slot_owner(slot, copy.name[i]);
	if (owner == 0 ||
		!pgq_proof_is_owner(copy.rule.ids[i], owner, &copy.proof[i]) ||
		!walsender_flush(i, owner, &flush) ||
		pgq_member_slot_owner(slot, copy.name[i]) != owner)
		return InvalidXLogRecPtr;
	return flush;
}

/* The place where the owner was found last is tried first. */
static bool
walsender_flush(int i, pid_t owner, XLogRecPtr *flush)
{
	for (int tried = 0; tried < max_wal_senders; tried++)
	{
		int			place = (copy.walsnd[i] + tried) % max_wal_senders;
		WalSnd	   *walsnd = &WalSndCtl->walsnds[place];
		pid_t		pid;

		SpinLockAcquire(&walsnd->mutex);
		pid = walsnd->pid;
		*flush = walsnd->flush;
		SpinLockRelease(&walsnd->mutex);
		if (pid == owner)
		{
			copy.walsnd[i] = place;
			return true;
		}
	}
	return false;
}
