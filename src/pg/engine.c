/*
 * engine.c
 *	  The core inside the worker: the driver's callbacks, what it is fed, what it says.
 *
 * Data flows one way through quorum_drive: restrictions into shared memory, hard
 * state to the disk, messages to the transport, actions to PostgreSQL, the story to the
 * log, permissions into shared memory.  A failed write ends this node's part.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/bgwriter.h"
#include "postmaster/postmaster.h"
#include "storage/proc.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "engine.h"
#include "facts.h"
#include "guc.h"
#include "history.h"
#include "logical.h"
#include "promote.h"
#include "read_level.h"
#include "replay.h"
#include "restart.h"
#include "rewind.h"
#include "rollback.h"
#include "slots.h"
#include "state.h"
#include "stream.h"
#include "syncnames.h"
#include "walhold.h"

#include "../core/quorum_assert.h"
#include "../core/quorum_members.h"

/* How often a rewind that could not be started is asked for again in one term, and said so. */
#define REWIND_RETRY_US		INT64CONST(1000000)
#define REWIND_SAY_US		INT64CONST(30000000)

/* How long the old leader stays up for whoever asked for a hand-over to get the answer. */
#define ANSWER_LIMIT_US		INT64CONST(200000)

static QuorumNode node;
static QuorumScratch scratch;
static QuorumEvent event;
static bool running;
static bool sync_ready;
static QuorumTerm promotion_failed_term;
static QuorumTerm marked_term;	/* standby.signal is back after the promotion to this term */
static QuorumTerm checkpointed_term;
static QuorumSyncRule published_rule;
static bool ledger_serves;		/* backends were told the rule of a leader */
static QuorumSetId dialled_set;
static bool hold_wanted;		/* by the fence: the log must not grow */
static int	requester_pid;		/* who asked for that */

void
quorum_assert_failed(const char *condition, const char *file, int line)
{
	running = false;
	pgq_engine_shut_gate();
	ereport(FATAL,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("quorum: broken invariant: %s", condition),
			 errdetail("%s:%d", file, line),
			 errhint("The worker ends and starts again; its lease is over.")));
	pg_unreachable();
}

bool
pgq_engine_running(void)
{
	return running;
}

const QuorumView *
pgq_engine_view(void)
{
	return &scratch.view;
}

void
pgq_engine_shut_gate(void)
{
	pg_atomic_write_u32(&pgq_shared->gate_open, 0);
	pg_atomic_write_u64(&pgq_shared->lease_until, 0);
	pg_memory_barrier();
}

void
pgq_engine_notice(const char *text)
{
	LWLockAcquire(pgq_shared->lock, LW_EXCLUSIVE);
	strlcpy(pgq_shared->notice, text, sizeof(pgq_shared->notice));
	LWLockRelease(pgq_shared->lock);
}

void
pgq_engine_identity(PgqIdentity *identity)
{
	memset(identity, 0, sizeof(*identity));
	pgq_identity_set(identity, &node.hard);
	identity->member = running;
	identity->boot_nonce = pgq_shared->boot_nonce;
}

/* ---- the driver's callbacks, in the order quorum_drive calls them --------- */

static bool
driver_fence(void *arg, const QuorumFence *fence)
{
	(void) arg;
	if (!fence->gate_may_stay_open)
		pg_atomic_write_u32(&pgq_shared->gate_open, 0);
	if (fence->hold_wal && !hold_wanted)
		requester_pid = ProcGlobal->allProcs[pgq_shared->request.requester].pid;
	hold_wanted = fence->hold_wal;
	if (fence->term > pg_atomic_read_u64(&pgq_shared->fence_term))
	{
		pg_atomic_write_u64(&pgq_shared->fence_term, fence->term);
		pg_memory_barrier();
		pgq_stream_follow_changed();
	}
	pg_memory_barrier();
	if (hold_wanted)
		(void) pgq_walhold_take();
	return true;
}

/*
 * R17: nobody leads, and a history of a timeline of which nothing arrived here forbids
 * to stand.  If nobody else has its WAL either, the cluster would wait for ever: forget
 * it.  If somebody has, that one wins and the history comes again.
 */
static void
forget_useless_history(const QuorumFacts *facts)
{
	static QuorumTime since;
	QuorumTime	now = (QuorumTime) pgq_now_mono();

	static QuorumTerm tried;

	if (facts->promotable || facts->phase != QUORUM_PHASE_STANDBY || facts->streaming ||
		facts->fsync_off || node.leader != QUORUM_NO_NODE || facts->position.tli == 0)
	{
		since = 0;
		return;
	}
	if (since == 0)
		since = now;
	if (now - since < node.config.lease_us || tried == node.hard.term)
		return;
	tried = node.hard.term;
	pg_atomic_write_u64(&pgq_shared->forget_above, facts->position.tli);
	pgq_request_restart(PGQ_RESTART_IMMEDIATE,
						"nobody leads, and the newest timeline history on its disk fits no WAL");
}

static bool
driver_read_facts(void *arg, QuorumEvent *facts)
{
	(void) arg;
	facts->type = QUORUM_EVENT_FACTS;
	facts->now = pgq_now();
	if (hold_wanted)
		(void) pgq_walhold_take();
	pgq_facts_read(&facts->u.facts);

	/*
	 * The names follow the rule as soon as the checkpointer has read them, of which nobody
	 * tells.  A rule that needs nobody need not wait for that: whom PostgreSQL holds up
	 * until then it lets go by itself.
	 */
	if (!sync_ready && published_rule.need >= 0)
		sync_ready = pgq_syncnames_keep(&published_rule);
	facts->u.facts.sync_ready = sync_ready || published_rule.need == 0;
	facts->u.facts.wal_held = pgq_walhold_held();
	facts->u.facts.rewind_begun = pgq_rewind_begun();
	forget_useless_history(&facts->u.facts);
	pgq_replay_unblock(&facts->u.facts, node.role == QUORUM_ROLE_LEADER,
					   node.leader != QUORUM_NO_NODE);
	facts->u.facts.promotion_failed = promotion_failed_term != 0 &&
		promotion_failed_term == node.hard.term;
	return true;
}

static bool
driver_persist(void *arg, const QuorumHardState *hard)
{
	(void) arg;
	return pgq_state_write(hard);
}

static bool
driver_send(void *arg, const QuorumMessage *message)
{
	(void) arg;
	pgq_transport_send(message);
	return true;
}

/*
 * Whoever asked for the hand-over has read its outcome, and sent it on: a session waits for
 * its client only when nothing is left to be sent.  Or it is gone.
 */
static bool
answer_sent(void)
{
	const volatile PGPROC *requester;
	bool		collected;

	LWLockAcquire(pgq_shared->lock, LW_SHARED);
	collected = pgq_shared->request.collected;
	requester = &ProcGlobal->allProcs[pgq_shared->request.requester];
	LWLockRelease(pgq_shared->lock);
	return requester->pid != requester_pid || kill(requester_pid, 0) != 0 ||
		(collected && requester->wait_event_info == WAIT_EVENT_CLIENT_READ);
}

/*
 * The successor does not wait for this, so the answer to quorum.switchover() may leave
 * first.  Asked again until the server stops.  At once, not as planned: a shutdown
 * checkpoint would be a record that the successor does not have.
 */
static void
hand_over(QuorumTerm term)
{
	static QuorumTerm asked;
	static QuorumTime stop_at;
	QuorumTime	now = (QuorumTime) pgq_now_mono();

	if (asked != term)
	{
		asked = term;
		stop_at = now + ANSWER_LIMIT_US;
	}
	if (now >= stop_at || answer_sent())
		pgq_request_restart(PGQ_RESTART_IMMEDIATE, "it has handed its term over");
}

/* Asked again as long as the node is diverged. */
static void
rewind_against(QuorumNodeId leader, QuorumTerm term)
{
	static QuorumTerm tried;
	static QuorumTime again_at;
	static QuorumTime say_at;
	static char said[QUORUM_REASON_SIZE];
	int			index = quorum_members_find(&node.hard.members, leader);
	char		why[QUORUM_REASON_SIZE];
	QuorumTime	now = (QuorumTime) pgq_now_mono();

	if (index < 0 || (tried == term && now < again_at))
		return;
	tried = term;
	again_at = now + REWIND_RETRY_US;
	if (pgq_rewind_request(&node.hard.members.members[index], term, why))
		return;
	pgq_engine_notice(why);
	if (now < say_at && strcmp(said, why) == 0)
		return;
	say_at = now + REWIND_SAY_US;
	strlcpy(said, why, sizeof(said));
	ereport(LOG, (errmsg("quorum: no rewind: %s", why)));
}

static bool
driver_act(void *arg, const QuorumAction *action)
{
	char		why[QUORUM_REASON_SIZE];

	(void) arg;
	switch (action->type)
	{
		case QUORUM_ACTION_PROMOTE:
			if (promotion_failed_term != action->term && !pgq_promote(action->term, why))
			{
				promotion_failed_term = action->term;
				ereport(LOG,
						(errmsg("quorum: cannot promote to timeline %u: %s", action->term, why)));
			}
			break;
		case QUORUM_ACTION_DEMOTE:
			pgq_request_restart(PGQ_RESTART_IMMEDIATE,
								"this node does not lead its cluster and must be a standby");
			break;
		case QUORUM_ACTION_PROBE:
			if (pgq_death_proof)
				pgq_transport_probe(action->peer);
			break;
		case QUORUM_ACTION_HAND_OVER:
			hand_over(action->term);
			break;
		case QUORUM_ACTION_REWIND:
			rewind_against(action->peer, action->term);
			break;
	}
	return true;
}

static bool
driver_note(void *arg, const QuorumNote *note)
{
	(void) arg;
	pgq_history_note(note, &node.hard.members);
	return true;
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

static bool
same_rule(const QuorumSyncRule *a, const QuorumSyncRule *b)
{
	return a->need == b->need && a->count == b->count &&
		memcmp(a->ids, b->ids, sizeof(a->ids[0]) * (size_t) a->count) == 0;
}

/*
 * The names in synchronous_standby_names are there before a promotion; that commits are
 * held by somebody is true of a leader only.  A deposed leader that learns a set which
 * needs fewer holders, or none, would otherwise acknowledge what is lost (S5).
 */
static void
publish_ledger(const QuorumView *view)
{
	static const QuorumSyncRule never = {.need = QUORUM_MAX_NODES + 1};

	pgq_slots_publish_rule(view->role == QUORUM_ROLE_LEADER ? &view->sync : &never);
	ledger_serves = view->role == QUORUM_ROLE_LEADER;
}

static bool
driver_publish(void *arg, const QuorumView *view)
{
	char		addresses[PGQ_ADDRESSES_SIZE];
	int			address_count = pgq_transport_addresses(view->leader, addresses, sizeof(addresses));
	bool		moved;

	(void) arg;
	if (ledger_serves != (view->role == QUORUM_ROLE_LEADER))
		publish_ledger(view);
	if (!same_rule(&view->sync, &published_rule))
	{
		published_rule = view->sync;
		publish_ledger(view);
		sync_ready = pgq_syncnames_keep(&published_rule);
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
		pgq_transport_set_members(&identity, &node.hard.members);
		pgq_slots_keep(view);
		publish_ledger(view);
	}
	after_promotion(view);
	if (view->role == QUORUM_ROLE_FOLLOWER && node.facts.stream_term == view->term &&
		pgq_rewind_unverified())
		pgq_rewind_verified(view->term);
	return true;
}

static const QuorumDriverOps ops = {
	.fence = driver_fence,
	.read_facts = driver_read_facts,
	.persist = driver_persist,
	.send = driver_send,
	.act = driver_act,
	.note = driver_note,
	.publish = driver_publish,
};

/* ---- events ---------------------------------------------------------------- */

static void
drive(void)
{
	if (!running)
		return;
	if (quorum_drive(&node, &event, &scratch, &ops, NULL))
	{
		if (node.facts.log_damaged)
			pg_atomic_write_u32(&pgq_shared->log_damage_kept, 1);
		return;
	}

	/* R1: a promise that may not be on disk is not made; the next worker begins with what is. */
	running = false;
	pgq_engine_shut_gate();
	pgq_shared->state_in_doubt = true;
	ereport(FATAL,
			(errcode(ERRCODE_IO_ERROR),
			 errmsg("quorum: the state of this node could not be written: it takes no part"),
			 errhint("Mend the file system of the data directory: it takes part again when "
					 "its state can be written.")));
}

void
pgq_engine_message(const QuorumMessage *message)
{
	event.type = QUORUM_EVENT_MESSAGE;
	event.now = pgq_now();
	event.u.message = *message;
	drive();
}

void
pgq_engine_peer(QuorumEventType type, QuorumNodeId peer)
{
	event.type = type;
	event.now = pgq_now();
	event.peer = peer;
	drive();
}

void
pgq_engine_facts(void)
{
	if (!running)
		return;
	driver_read_facts(NULL, &event);
	drive();
}

void
pgq_engine_closing(QuorumClosing closing)
{
	event.type = QUORUM_EVENT_CLOSING;
	event.now = pgq_now();
	event.closing = closing;
	drive();
	running = false;
}

void
pgq_engine_admin(const QuorumAdmin *admin)
{
	event.type = QUORUM_EVENT_ADMIN;
	event.now = pgq_now();
	event.u.admin = *admin;
	drive();
}

void
pgq_engine_tick(void)
{
	if (!running || (QuorumTime) pgq_now_mono() < quorum_next_deadline(&node))
		return;
	event.type = QUORUM_EVENT_TICK;
	event.now = pgq_now();
	drive();
}

void
pgq_engine_confirm(void)
{
	if (!running || !pgq_read_level_wanted())
		return;
	event.type = QUORUM_EVENT_CONFIRM;
	event.now = pgq_now();
	drive();
}

QuorumTime
pgq_engine_deadline(void)
{
	return running ? quorum_next_deadline(&node) : PG_INT64_MAX;
}

void
pgq_engine_start(const QuorumHardState *hard, bool bootstrapped)
{
	QuorumConfig config;
	uint64		seed;

	pgq_guc_core_config(&config);
	config.bootstrapped = bootstrapped;
	if (!pg_strong_random(&seed, sizeof(seed)))
		elog(FATAL, "could not get random numbers");
	quorum_init(&node, &config, hard, seed, pgq_now());
	memset(&dialled_set, 0, sizeof(dialled_set));
	published_rule.need = -1;
	running = true;
	pgq_engine_facts();
}

void
pgq_engine_reconfigure(void)
{
	QuorumConfig config;
	bool		bootstrapped = node.config.bootstrapped;

	if (!running)
		return;
	pgq_guc_core_config(&config);
	config.bootstrapped = bootstrapped;
	if (config.heartbeat_us > 0 && config.lease_us >= 3 * config.heartbeat_us)
		node.config = config;
	else
		ereport(LOG,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("quorum: new lease and heartbeat are not used"),
				 errdetail("The lease must be at least three heartbeats long.")));
	sync_ready = pgq_syncnames_keep(&published_rule);
}

void
pgq_engine_chores(void)
{
	if (!running)
		return;
	if (pgq_walhold_held())
	{
		/* Slots and settings can wait; nothing here may wait for somebody who writes WAL. */
		pgq_engine_facts();
		return;
	}
	pgq_slots_keep(&scratch.view);
	pgq_slots_warn(&scratch.view);
	pgq_logical_keep(&scratch.view);
	publish_ledger(&scratch.view);
	sync_ready = pgq_syncnames_keep(&published_rule);
	pgq_rollback_trim_step();
	pgq_engine_facts();
}
