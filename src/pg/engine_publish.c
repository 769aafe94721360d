/*
 * engine_publish.c
 *	  What the core allows, made visible to every other process: gate, lease, leader, rule.
 *
 * The last step of a drive: permissions take effect behind everything that they rest on (D1).
 * Restrictions are the first one (engine.c).
 */
#include "postgres.h"

#include "access/xlog.h"
#include "postmaster/bgwriter.h"

#include "compat.h"
#include "engine.h"
#include "engine_parts.h"
#include "ledger.h"
#include "read_level.h"
#include "restart.h"
#include "rewind.h"
#include "slots.h"
#include "stream.h"
#include "syncnames.h"
#include "walhold.h"

#include "../core/quorum_members.h"

static QuorumSyncRule published_rule;
static bool names_in_force;		/* synchronous_standby_names is that of the rule, and was read */
static bool ledger_serves;		/* backends were told the rule of a leader */
static QuorumSetId dialled_set;
static QuorumTerm marked_term;	/* standby.signal is back after the promotion to this term */
static QuorumTerm checkpointed_term;

static bool same_rule(const QuorumSyncRule *a, const QuorumSyncRule *b);
static bool has_diverged_member(const QuorumView *view);
static void after_promotion(const QuorumView *view);

void
pgq_engine_publish_anew(void)
{
	memset(&dialled_set, 0, sizeof(dialled_set));
	published_rule.need = -1;
}

bool
pgq_engine_publish(void *arg, const QuorumView *view)
{
	const QuorumNode *node = arg;
	char		addresses[PGQ_ADDRESSES_SIZE];
	int			address_count = pgq_transport_addresses(view->leader, addresses, sizeof(addresses));
	bool		moved;

	if (ledger_serves != (view->role == QUORUM_ROLE_LEADER))
		pgq_engine_publish_ledger(view);
	if (!same_rule(&view->sync, &published_rule))
	{
		published_rule = view->sync;
		pgq_engine_publish_ledger(view);
		pgq_engine_keep_names();
	}

	LWLockAcquire(pgq_shared->lock, LW_EXCLUSIVE);
	moved = pgq_shared->view.leader != view->leader || pgq_shared->view.term != view->term;
	pgq_shared->view = *view;
	pgq_shared->leader_address_count = address_count;
	strlcpy(pgq_shared->leader_addresses, addresses, sizeof(addresses));
	LWLockRelease(pgq_shared->lock);

	if (view->role != QUORUM_ROLE_LEADER)
		pg_atomic_write_u64(&pgq_shared->elected_term, 0);
	pg_atomic_write_u64(&pgq_shared->lease_until, (uint64) view->lease_until_boot);
	pg_memory_barrier();
	if (!view->hold_wal)
		pgq_walhold_release();
	pg_atomic_write_u32(&pgq_shared->gate_open, view->gate_open ? 1 : 0);
	if (view->gate_open)
		pg_atomic_write_u32(&pgq_shared->has_served, 1);

	pgq_read_level_publish(view->confirmed_at, view->held_lsn);
	if (moved)
		pgq_stream_follow_changed();
	if (quorum_set_id_compare(dialled_set, view->set_id) != 0)
	{
		PgqIdentity identity;

		dialled_set = view->set_id;
		pgq_engine_identity(&identity);
		pgq_transport_set_members(&identity, &node->hard.members);
		pgq_slots_keep(view);
		pgq_engine_publish_ledger(view);
	}
	after_promotion(view);
	if (view->role == QUORUM_ROLE_FOLLOWER && node->facts.stream_term == view->term &&
		pgq_rewind_unverified())
		pgq_rewind_verified(view->term);
	return true;
}

/*
 * The names in synchronous_standby_names are there before a promotion; that commits are
 * held by somebody is true of a leader only.  A deposed leader that learns a set which
 * needs fewer holders, or none, would otherwise acknowledge what is lost (S5).
 */
void
pgq_engine_publish_ledger(const QuorumView *view)
{
	static const QuorumSyncRule never = {.need = QUORUM_MAX_NODES + 1};

	pgq_ledger_publish(view->role == QUORUM_ROLE_LEADER ? &view->sync : &never);
	ledger_serves = view->role == QUORUM_ROLE_LEADER;
}

void
pgq_engine_keep_names(void)
{
	names_in_force = pgq_syncnames_keep(&published_rule);
}

/*
 * The names follow the rule as soon as the checkpointer has read them, of which nobody
 * tells.  A rule that needs nobody need not wait for that: whom PostgreSQL holds up
 * until then it lets go by itself.
 */
bool
pgq_engine_rule_in_force(void)
{
	if (!names_in_force && published_rule.need >= 0)
		pgq_engine_keep_names();
	return names_in_force || published_rule.need == 0;
}

static bool
same_rule(const QuorumSyncRule *a, const QuorumSyncRule *b)
{
	return a->need == b->need && a->count == b->count &&
		memcmp(a->ids, b->ids, sizeof(a->ids[0]) * (size_t) a->count) == 0;
}

static bool
has_diverged_member(const QuorumView *view)
{
	for (int i = 0; i < view->member_count; i++)
	{
		if (view->members[i].diverged)
			return true;
	}
	return false;
}

/* PostgreSQL is the primary of our term: what has to follow a promotion, once each. */
static void
after_promotion(const QuorumView *view)
{
	if (view->role != QUORUM_ROLE_LEADER || view->phase != QUORUM_PHASE_PRIMARY)
		return;
	if (marked_term != view->term)
	{
		pgq_restart_mark_standby();
		marked_term = view->term;
	}

	/*
	 * H46: pg_rewind trusts pg_control, which names the old timeline until then.  A gate that
	 * waits for a node which has to rewind itself first waits for this, too.
	 */
	if ((view->gate_open || has_diverged_member(view)) && checkpointed_term != view->term)
	{
		RequestCheckpoint(CHECKPOINT_FORCE | CHECKPOINT_FAST);
		checkpointed_term = view->term;
	}
}
