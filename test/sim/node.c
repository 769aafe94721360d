/*
 * node.c
 *	  The processes of a node: its worker, which drives the core, and its postmaster.
 *
 * The worker of the model does what src/pg/worker.c does: it turns what happens into
 * events, and the calls of quorum_drive into effects.  A crash may come between any
 * two of those calls.  It knows nothing of WAL (pgmodel.c, stream.c).
 */
#include <string.h>

#include "sim.h"

typedef struct Driver
{
	Sim		   *sim;
	SimNode    *node;
} Driver;

QuorumInstant
sim_clock(const Sim *sim, const SimNode *node)
{
	const SimClock *clock = &node->clock;
	SimTime		passed = sim->now - clock->base_at;
	QuorumInstant now;

	now.mono = clock->base_mono + passed + passed * clock->ppm / 1000000;
	now.boot = now.mono + clock->suspended;
	now.wall = SIM_WALL_START + sim->now + clock->wall_ahead;
	return now;
}

bool
sim_frozen(const Sim *sim, const SimNode *node)
{
	return node->frozen_until > sim->now;
}

/* A crash at this call of drive, before or after its effect. */
static bool
crash_now(Driver *driver)
{
	if (!sim_chance(driver->sim, driver->sim->options.crash_ppm))
		return false;
	sim_trace(driver->sim, driver->node, "crash between two calls of drive");
	return true;
}

/* ---- the calls of drive ------------------------------------------------- */

static bool
do_fence(void *arg, const QuorumFence *fence)
{
	Driver	   *driver = arg;
	Sim		   *sim = driver->sim;
	SimNode    *node = driver->node;

	if (crash_now(driver))
		return false;

	/* The walreceiver is another process: it goes on until the fence is up. */
	sim_stream_hurry(sim, node);
	if (fence->term < node->shared.fence_term)
		sim_fail(sim, SIM_SAFETY, "node %u lowers its fence from %u to %u", node->id,
				 node->shared.fence_term, fence->term);
	node->shared.fence_term = fence->term;
	if (!fence->gate_may_stay_open)
		node->shared.gate_open = false;
	if (fence->hold_wal)
		sim_pg_hold(sim, node, true);
	if (node->stream.state != SIM_STREAM_NONE && node->stream.term < fence->term)
	{
		SimEvent   *event = sim_after(sim, sim_draw(sim, (SimRange) {0, 5 * SIM_MS}),
									  SIM_EV_STREAM_END, node);

		event->life = node->pg_life;
		event->id = node->stream.id;
	}
	sim_stream_hurry(sim, node);
	return !crash_now(driver);
}

static bool
do_read_facts(void *arg, QuorumEvent *event)
{
	Driver	   *driver = arg;

	if (crash_now(driver))
		return false;
	sim_stream_hurry(driver->sim, driver->node);
	event->type = QUORUM_EVENT_FACTS;
	event->now = sim_clock(driver->sim, driver->node);
	sim_facts(driver->sim, driver->node, &event->u.facts);
	sim_stream_hurry(driver->sim, driver->node);
	return true;
}

static bool
do_persist(void *arg, const QuorumHardState *hard)
{
	Driver	   *driver = arg;
	bool		written;

	sim_check_persist(driver->sim, driver->node, hard);
	sim_stream_hurry(driver->sim, driver->node);
	written = sim_disk_write(driver->sim, driver->node, hard);
	sim_check_outvoted(driver->sim, &driver->sim->oracle.tip);
	return written;
}

static bool
do_send(void *arg, const QuorumMessage *message)
{
	Driver	   *driver = arg;

	if (crash_now(driver))
		return false;
	sim_check_send(driver->sim, driver->node, message);
	sim_check_hand_over(driver->sim, driver->node, message);
	sim_check_allows(driver->sim, driver->node, message);
	sim_send(driver->sim, driver->node, message);
	return true;
}

static bool
do_act(void *arg, const QuorumAction *action)
{
	Driver	   *driver = arg;
	Sim		   *sim = driver->sim;
	SimNode    *node = driver->node;

	if (crash_now(driver))
		return false;
	switch (action->type)
	{
		case QUORUM_ACTION_PROMOTE:
			sim_pg_promote(sim, node, action->term);
			break;
		case QUORUM_ACTION_DEMOTE:
			sim_restart_in_place(sim, node, sim_draw(sim, (SimRange) {0, 10 * SIM_MS}));
			break;
		case QUORUM_ACTION_PROBE:
			sim_probe(sim, node, &sim->nodes[action->peer - 1]);
			break;
		case QUORUM_ACTION_HAND_OVER:
			sim_restart_in_place(sim, node, sim_draw(sim, (SimRange) {0, 150 * SIM_MS}));
			break;
		case QUORUM_ACTION_REWIND:
			sim_rewind_itself(sim, node, action);
			break;
	}
	return !crash_now(driver);
}

static bool
do_note(void *arg, const QuorumNote *note)
{
	Driver	   *driver = arg;

	sim_trace_note(driver->sim, driver->node, note);
	return true;
}

static bool
do_publish(void *arg, const QuorumView *view)
{
	Driver	   *driver = arg;
	Sim		   *sim = driver->sim;
	SimNode    *node = driver->node;

	if (crash_now(driver))
		return false;
	sim_check_publish(sim, node, view);
	sim_check_set(sim, node, view);
	node->shared.term = view->term;
	node->shared.role = view->role;
	node->shared.leader = view->leader;
	if (!view->hold_wal)
		sim_pg_hold(sim, node, false);
	node->shared.gate_open = view->gate_open;
	node->shared.lease_until = view->lease_until_boot;

	/* A rule for commits is a leader's: what another one makes of its set holds nothing. */
	node->shared.sync = view->sync;
	if (view->role != QUORUM_ROLE_LEADER && sim->options.broken != SIM_BREAK_ANY_RULE)
		node->shared.sync = (QuorumSyncRule) {.need = QUORUM_MAX_NODES + 1};
	memcpy(node->not_electable, view->not_electable, sizeof(node->not_electable));
	sim_stream_follow(sim, node);
	sim_pg_release(sim, node);
	sim_outcome(sim, node, &view->outcome);
	return true;
}

static const QuorumDriverOps ops = {
	do_fence, do_read_facts, do_persist, do_send, do_act, do_note, do_publish
};

static void
plan_tick(Sim *sim, SimNode *node)
{
	QuorumTime	deadline = quorum_next_deadline(&node->core);
	QuorumInstant now = sim_clock(sim, node);
	SimTime		at;
	SimEvent   *event;

	if (deadline == QUORUM_NEVER)
	{
		node->tick_at = 0;
		return;
	}
	at = sim->now;
	if (deadline > now.mono)
		at += (deadline - now.mono) * 1000000 / (1000000 + node->clock.ppm) + 1;
	if (at == node->tick_at)
		return;
	node->tick_at = at;
	event = sim_at(sim, at, SIM_EV_TICK, node);
	event->life = node->life;
}

static void
drive(Sim *sim, SimNode *node, QuorumEvent *event)
{
	Driver		driver = {sim, node};

	node->busy = 0;
	sim->caught_up = node->core.caught_up_lsn;
	event->now = sim_clock(sim, node);
	sim_hash(sim, (uint64_t) sim->now << 8 | (uint64_t) node->id << 4 | (uint64_t) event->type);
	if (!quorum_drive(&node->core, event, sim->scratch, &ops, &driver))
	{
		sim_node_dies(sim, node, sim_chance(sim, 300000));
		return;
	}
	if (node->busy > 0)
		node->busy_until = sim->now + node->busy;
	plan_tick(sim, node);
}

/* sim->event through the core of this node. */
void
sim_drive(Sim *sim, SimNode *node)
{
	drive(sim, node, &sim->event);
}

/* ---- facts -------------------------------------------------------------- */

void
sim_facts(const Sim *sim, const SimNode *node, QuorumFacts *facts)
{
	QuorumWalPos end = sim_log_end(&node->log);

	memset(facts, 0, sizeof(*facts));
	facts->phase = node->phase;
	facts->fence_term = node->shared.fence_term;
	if (node->witness)
		return;
	facts->space_low = node->space_low;
	facts->wal_stalled = node->phase == QUORUM_PHASE_PRIMARY && node->flushing &&
		sim->now - node->flush_began > sim->options.lease;
	facts->newest_tli = sim_history_newest(sim, node);
	facts->promotable = node->phase == QUORUM_PHASE_STANDBY && sim_promotable(sim, node);
	facts->promotion_failed = node->promotion_failed;
	facts->sync_ready = true;
	if (node->phase == QUORUM_PHASE_PRIMARY)
	{
		facts->wal_held = node->shared.hold_wal && !node->flushing;
		facts->position = sim_log_raw(&node->log, node->log.flush);
		facts->replay_lsn = node->log.flush;
	}
	else
	{
		if (node->phase == QUORUM_PHASE_STARTING ||
			(sim->options.broken == SIM_BREAK_LOG_START && node->log_end.lsn == 0))
		{
			const SimRecord *record = &node->log.records[node->log.count / 2];

			end.tli = record->tli;
			end.lsn = record->end;
		}
		facts->position = end;
		facts->replay_tli = end.tli;
		facts->replay_lsn = end.lsn;
		if (node->log_end.tli > end.tli ||
			(node->log_end.tli == end.tli && node->log_end.lsn > end.lsn))
			facts->position = node->log_end;
	}
	if (facts->newest_tli < facts->position.tli)
		facts->newest_tli = facts->position.tli;
	facts->streaming = node->stream.state == SIM_STREAM_LIVE &&
		node->stream.term == node->shared.fence_term;
	if (facts->streaming && node->stream.acks > 0)
	{
		facts->stream_term = node->stream.term;
		facts->stream_flush = node->stream.acked;
	}
	facts->diverged = node->diverged && node->diverged_term == node->shared.fence_term;
	facts->rewind_begun = node->rewinding > 0;
}

/* The worker's latch is set. */
void
sim_facts_changed(Sim *sim, SimNode *node)
{
	SimEvent   *event;

	if (!node->worker || node->facts_at > sim->now)
		return;
	event = sim_after(sim, sim_draw(sim, (SimRange) {50, SIM_MS}), SIM_EV_FACTS, node);
	event->life = node->life;
	node->facts_at = event->at;
}

static void
drive_facts(Sim *sim, SimNode *node)
{
	QuorumFacts facts;

	sim_facts(sim, node, &facts);
	if (memcmp(&facts, &node->facts_told, sizeof(facts)) == 0 && !facts.diverged)
		return;
	node->facts_told = facts;
	sim->event.type = QUORUM_EVENT_FACTS;
	sim->event.u.facts = facts;
	sim_drive(sim, node);
}

/* What a heartbeat is answered with must be of now, not of the last tick. */
static void
drive_message(Sim *sim, SimNode *node)
{
	QuorumMessageType type = sim->message.u.message.type;
	uint32_t	life = node->life;

	if (type == QUORUM_MSG_HEARTBEAT || type == QUORUM_MSG_HEARTBEAT_ACK)
	{
		drive_facts(sim, node);
		if (!node->worker || node->life != life)
			return;
	}
	drive(sim, node, &sim->message);
}

/* ---- what reaches the worker -------------------------------------------- */

void
sim_worker_event(Sim *sim, SimNode *node, SimEvent *event)
{
	if (!node->worker || event->life != node->life)
		return;
	if (sim->now < node->busy_until)
	{
		sim_again(sim, event, node->busy_until);
		event->data = NULL;		/* the copy owns it */
		if (event->type == SIM_EV_TICK && node->tick_at == event->at)
			node->tick_at = node->busy_until;
		return;
	}
	switch ((SimEventType) event->type)
	{
		case SIM_EV_MESSAGE:
			sim->message.type = QUORUM_EVENT_MESSAGE;
			if (!quorum_message_decode(&sim->message.u.message, event->data->bytes,
									   event->data->size))
				sim_fail(sim, SIM_CRASH, "a message of node %d cannot be decoded",
						 event->peer + 1);
			sim_trace_message(sim, node, &sim->message.u.message, "recv");
			sim_check_told(sim, node, &sim->message.u.message);
			drive_message(sim, node);
			break;
		case SIM_EV_TICK:
			if (event->at != node->tick_at)
				break;
			node->tick_at = 0;
			sim->event.type = QUORUM_EVENT_TICK;
			sim_drive(sim, node);
			break;
		case SIM_EV_FACTS:
			drive_facts(sim, node);
			break;
		case SIM_EV_PERIODIC:
			sim_after(sim, node->config.heartbeat_us, SIM_EV_PERIODIC, node)->life = node->life;
			drive_facts(sim, node);
			break;
		case SIM_EV_PEER:
			sim->event.type = (QuorumEventType) event->number;
			sim->event.peer = (QuorumNodeId) event->peer + 1;
			sim_drive(sim, node);
			break;
		case SIM_EV_CLOSING:
			sim->event.type = QUORUM_EVENT_CLOSING;
			sim->event.closing = (QuorumClosing) event->number;
			sim_drive(sim, node);
			break;
		default:
			break;
	}
}

/* ---- life and death ----------------------------------------------------- */

void
sim_worker_start(Sim *sim, SimNode *node)
{
	QuorumHardState hard;

	if (!node->postmaster || !node->pg || node->worker)
		return;
	sim_disk_read(sim, node, &hard);
	node->worker = true;
	node->life++;
	node->tick_at = 0;
	node->facts_at = 0;
	node->busy_until = 0;
	memset(node->nonce, 0, sizeof(node->nonce));
	memset(sim->oracle.told_at[node->index], 0, sizeof(sim->oracle.told_at[0]));
	memset(&node->facts_told, 0, sizeof(node->facts_told));
	quorum_init(&node->core, &node->config, &hard, quorum_random_next(&sim->random),
				sim_clock(sim, node));
	sim_trace(sim, node, "worker starts");
	sim_connect_all(sim, node);
	sim_after(sim, 0, SIM_EV_FACTS, node)->life = node->life;
	sim_after(sim, node->config.heartbeat_us, SIM_EV_PERIODIC, node)->life = node->life;
}

void
sim_worker_dies(Sim *sim, SimNode *node)
{
	if (!node->worker)
		return;
	node->worker = false;
	node->life++;
	sim_connections_break(sim, node);
}

/* Postmaster: everything but itself starts, in shared memory that is as new. */
void
sim_children_start(Sim *sim, SimNode *node)
{
	QuorumHardState hard;

	sim_disk_read(sim, node, &hard);
	node->pg = true;
	node->pg_life++;
	memset(&node->shared, 0, sizeof(node->shared));
	node->shared.fence_term = hard.term;
	sim_pg_boot(sim, node);
	sim_after(sim, sim_draw(sim, (SimRange) {0, 20 * SIM_MS}), SIM_EV_WORKER_START, node)->life =
		node->pg_life;
}

void
sim_boot(Sim *sim, SimNode *node)
{
	if (node->postmaster || node->pg || node->worker || node->retired || node->state_size == 0)
		return;
	if (sim->now < node->down_until)
	{
		sim_at(sim, node->down_until, SIM_EV_BOOT, node);
		return;
	}
	if (!node->host_up)
	{
		node->host_up = true;
		node->clock.base_at = sim->now;
		node->clock.base_mono = sim_draw(sim, (SimRange) {SIM_SECOND, 20 * SIM_SECOND});
		node->clock.suspended = 0;
	}
	node->postmaster = true;
	sim_trace(sim, node, "server starts");
	sim_children_start(sim, node);
}

/* Every process of the node at once; with power, its host too. */
void
sim_node_dies(Sim *sim, SimNode *node, bool power)
{
	if (!node->postmaster && !node->pg && !node->worker)
		return;
	sim_trace(sim, node, "%s", power ? "loses power" : "every process is dead");
	if (power)
		node->host_up = false;
	node->postmaster = false;
	node->frozen_until = 0;
	node->stopping = node->stop_written = false;
	node->doomed = false;
	sim_worker_dies(sim, node);
	if (node->pg)
		sim_pg_dies(sim, node, power);
	if (node->rewinding > 0)
		sim_rewind_stopped(sim, node);
	if (sim->options.auto_restart)
		sim_after(sim, sim_draw(sim, sim->options.restart), SIM_EV_BOOT, node);
}

/* The server stops at once and starts again by itself. */
void
sim_restart_in_place(Sim *sim, SimNode *node, SimTime delay)
{
	if (node->doomed)
		return;
	node->doomed = true;
	sim_trace(sim, node, "restarts in place");
	sim_after(sim, delay, SIM_EV_KILL, node)->life = node->pg_life;
	sim_after(sim, delay + sim_draw(sim, (SimRange) {SIM_MS, 20 * SIM_MS}), SIM_EV_BOOT, node);
}
