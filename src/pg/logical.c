/*
 * logical.c
 *	  What logical replication slots need to survive a change of the leader.
 *
 * A logical walsender sends what is committed here, whether or not a quorum holds it; its
 * subscriber would then be ahead of the next leader (H96).  From 17 on it waits for the
 * physical slots in synchronized_standby_slots, but for ALL of them, so that one dead member
 * would stop every subscriber.  So the setting follows who is there: a leader names the
 * members that stream from it, as long as they are as many as a commit needs; else, and on
 * every follower, which may lead next, it names all of them, and nothing is sent.  What all
 * of the named hold, a quorum holds.
 *
 * Copying the slots is PostgreSQL's business (sync_replication_slots, H98).
 */
#include "postgres.h"

#include <signal.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "storage/lwlock.h"
#include "utils/guc.h"

#include "autoconf.h"
#include "compat.h"
#include "logical.h"
#include "slots.h"

#define SLOTS_SETTING		"synchronized_standby_slots"
#define SLOTS_SIZE			(QUORUM_MAX_NODES * 24)
#define RETRY_INTERVAL_US	(500 * UINT64CONST(1000))	/* between two writes or reloads */
#define IDLE_RELOADS		4	/* reloads without effect; then once a minute */
#define IDLE_INTERVAL_US	(60 * UINT64CONST(1000000))

static void wanted_slots(const QuorumView *view, char *names);
static bool streams(const QuorumView *view, QuorumNodeId id);
static void append_slot(char *names, QuorumNodeId id);
static void say_what_is_lost(void);
static void drop_left_over(void);

void
pgq_logical_keep(const QuorumView *view)
{
	static uint64 next_try = 0;
	static int	vain_reloads = 0;
	char		wanted[SLOTS_SIZE];
	const char *now_set = GetConfigOption(SLOTS_SETTING, true, false);
	uint64		now = pgq_now_mono();

	if (max_replication_slots == 0)
		return;
	if (view->role == QUORUM_ROLE_LEADER && view->gate_open)
		say_what_is_lost();
	if (view->role == QUORUM_ROLE_FOLLOWER && view->phase == QUORUM_PHASE_STANDBY &&
		view->leader != QUORUM_NO_NODE)
		drop_left_over();

	/* before 17 there is no such setting */
	if (now_set == NULL || wal_level < WAL_LEVEL_LOGICAL || view->member_count == 0)
		return;
	wanted_slots(view, wanted);
	if (strcmp(wanted, now_set) == 0)
	{
		vain_reloads = 0;
		next_try = 0;
		return;
	}
	if (now < next_try || !pgq_autoconf_keep(SLOTS_SETTING, wanted))
		return;
	next_try = now + (++vain_reloads > IDLE_RELOADS ? IDLE_INTERVAL_US : RETRY_INTERVAL_US);
	kill(PostmasterPid, SIGHUP);
}

static void
wanted_slots(const QuorumView *view, char *names)
{
	bool		leads = view->role == QUORUM_ROLE_LEADER;
	int			streaming = 0;

	names[0] = '\0';
	for (int i = 0; leads && i < view->sync.count; i++)
	{
		if (streams(view, view->sync.ids[i]))
		{
			append_slot(names, view->sync.ids[i]);
			streaming++;
		}
	}
	if (leads && streaming >= view->sync.need)
		return;

	names[0] = '\0';
	for (int i = 0; i < view->member_count; i++)
	{
		const QuorumMemberView *member = &view->members[i];

		if (!member->is_self && member->member.kind == QUORUM_VOTER)
			append_slot(names, member->member.id);
	}
}

static bool
streams(const QuorumView *view, QuorumNodeId id)
{
	for (int i = 0; i < view->member_count; i++)
	{
		const QuorumMemberView *member = &view->members[i];

		if (member->member.id == id)
			return member->heard && !member->diverged && member->stream_term == view->term;
	}
	return false;
}

/* Names of our own only: nothing to quote. */
static void
append_slot(char *names, QuorumNodeId id)
{
	char		name[NAMEDATALEN];

	pgq_slot_name(id, name);
	if (names[0] != '\0')
		strlcat(names, ", ", SLOTS_SIZE);
	strlcat(names, name, SLOTS_SIZE);
}

typedef bool (*SlotTest) (ReplicationSlot *slot);

static bool
is_doomed(ReplicationSlot *slot)
{
	return !pgq_slot_fails_over(slot);
}

static bool
is_left_over(ReplicationSlot *slot)
{
	return pgq_slot_is_left_over(slot) && pgq_slot_owner(slot) == 0;
}

/* The first persistent logical slot of this kind; name has NAMEDATALEN bytes. */
static bool
find_slot(SlotTest test, char *name)
{
	bool		found = false;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots && !found; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		found = slot->in_use && SlotIsLogical(slot) &&
			slot->data.persistency == RS_PERSISTENT && test(slot);
		if (found)
			strlcpy(name, NameStr(slot->data.name), NAMEDATALEN);
	}
	LWLockRelease(ReplicationSlotControlLock);
	return found;
}

/* Once in the life of this process, for the first slot that is found. */
static void
say_what_is_lost(void)
{
	static bool said = false;
	char		name[NAMEDATALEN];

	if (said || !find_slot(is_doomed, name))
		return;
	said = true;
	ereport(WARNING,
			(errmsg("quorum: logical replication slot \"%s\" does not survive a change of the leader",
					name),
			 errdetail("Its subscriber may also be sent commits that the next leader does not have."),
			 errhint("%s", PGQ_SLOTS_HINT)));
}

/*
 * A former leader has the slots that it served itself: of the same names as those that it
 * shall copy now, which PostgreSQL refuses to touch.  A standby cannot have made them.
 */
static void
drop_left_over(void)
{
	const char *copies = GetConfigOption("sync_replication_slots", true, false);
	char		name[NAMEDATALEN];

	if (copies != NULL && strcmp(copies, "on") == 0 && find_slot(is_left_over, name) &&
		pgq_slots_drop(name))
		ereport(LOG,
				(errmsg("quorum: dropped logical replication slot \"%s\" of the time when this node led",
						name),
				 errdetail("It is copied anew from the leader.")));
}
