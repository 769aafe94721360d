/*
 * engine.c
 *	  The core inside the worker: its memory, what it is fed, what its driver calls.
 *
 * Data flows one way through quorum_drive: restrictions into shared memory, hard
 * state to the disk, messages to the transport, actions to PostgreSQL (engine_act.c), the
 * story to the log, permissions into shared memory (engine_publish.c).  A failed write ends
 * this node's part.
 */
#include "postgres.h"

#include "compat.h"
#include "engine.h"
#include "engine_parts.h"
#include "facts.h"
#include "guc.h"
#include "history.h"
#include "logical.h"
#include "read_level.h"
#include "replay.h"
#include "rewind.h"
#include "rollback.h"
#include "slots.h"
#include "state.h"
#include "stream.h"
#include "walhold.h"

#include "../core/quorum_assert.h"
#include "../core/quorum_members.h"

static QuorumNode node;
static QuorumScratch scratch;
static QuorumEvent event;
static bool running;
static bool hold_wanted;		/* by the fence: the log must not grow */

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
		pgq_engine_note_requester();
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
	static QuorumTerm tried;
	QuorumTime	now = (QuorumTime) pgq_now_mono();

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
	pgq_request_forget_above(facts->position.tli,
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
	facts->u.facts.sync_ready = pgq_engine_rule_in_force();
	facts->u.facts.wal_held = pgq_walhold_held();
	facts->u.facts.rewind_begun = pgq_rewind_begun();
	forget_useless_history(&facts->u.facts);
	pgq_replay_unblock(&facts->u.facts, node.role == QUORUM_ROLE_LEADER,
					   node.leader != QUORUM_NO_NODE);
	facts->u.facts.promotion_failed = pgq_engine_promotion_failed(node.hard.term);
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

static bool
driver_note(void *arg, const QuorumNote *note)
{
	(void) arg;
	pgq_history_note(note, &node.hard.members);
	return true;
}

static const QuorumDriverOps ops = {
	.fence = driver_fence,
	.read_facts = driver_read_facts,
	.persist = driver_persist,
	.send = driver_send,
	.act = pgq_engine_act,
	.note = driver_note,
	.publish = pgq_engine_publish,
};

/* ---- events ---------------------------------------------------------------- */

static void
drive(void)
{
	if (!running)
		return;
	if (quorum_drive(&node, &event, &scratch, &ops, &node))
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
	pgq_engine_publish_anew();
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
	pgq_engine_keep_names();
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
	pgq_engine_publish_ledger(&scratch.view);
	pgq_engine_keep_names();
	pgq_rollback_trim_step();
	pgq_engine_facts();
}
