/*
 * faults.c
 *	  What goes wrong, when, to whom.
 */
#include <string.h>

#include "sim.h"

/* How long a planned stop waits for standbys that do not confirm its last record. */
#define STOP_LIMIT	(10 * SIM_SECOND)

/* ---- processes ---------------------------------------------------------- */

/* Its worker lives a moment longer and says so; backends see it and serve nobody. */
void
sim_kill_postmaster(Sim *sim, SimNode *node)
{
	SimEvent   *event;

	if (!node->postmaster)
		return;
	if (node->witness)
	{
		/* One process: nobody is left to say so. */
		sim_node_dies(sim, node, false);
		return;
	}
	sim_trace(sim, node, "postmaster killed");
	node->postmaster = false;
	event = sim_after(sim, sim_draw(sim, (SimRange) {100, 3 * SIM_MS}), SIM_EV_CLOSING, node);
	event->life = node->life;
	event->number = QUORUM_CLOSING_POSTMASTER_DIED;
	sim_after(sim, sim_draw(sim, (SimRange) {4 * SIM_MS, 30 * SIM_MS}), SIM_EV_KILL, node)->life =
		node->pg_life;
}

void
sim_kill_all(Sim *sim, SimNode *node)
{
	sim_node_dies(sim, node, false);
}

void
sim_power_off(Sim *sim, SimNode *node)
{
	sim_node_dies(sim, node, true);
}

/* Away for long: its cluster has to go on without it. */
void
sim_long_loss(Sim *sim, SimNode *node)
{
	node->down_until = sim->now + sim_draw(sim, sim->options.long_loss);
	sim_trace(sim, node, "is lost for %lld ms",
			  (long long) ((node->down_until - sim->now) / SIM_MS));
	sim_node_dies(sim, node, sim_chance(sim, 500000));
}

/* Its state file is gone: it knows of no cluster, and is asked by none. */
void
sim_wipe(Sim *sim, SimNode *node)
{
	if (!node->witness || node->retired)
		return;
	sim_trace(sim, node, "loses its state");
	node->retired = true;
	sim_node_dies(sim, node, true);
	node->state_size = 0;
	if (sim->operator.dead == QUORUM_NO_NODE)
		sim->operator.dead = node->id;
}

/* A process dies; the postmaster ends all others and starts them again. */
void
sim_backend_crash(Sim *sim, SimNode *node)
{
	if (!node->postmaster || !node->pg || node->doomed || node->witness)
		return;
	sim_trace(sim, node, "a backend crashes");
	node->stopping = node->stop_written = false;
	sim_worker_dies(sim, node);
	sim_pg_dies(sim, node, false);
	sim_children_start(sim, node);
}

/* Killed hard: for a moment backends go on with what shared memory says. */
void
sim_worker_kill(Sim *sim, SimNode *node)
{
	if (!node->worker || !node->postmaster || node->doomed)
		return;
	sim_trace(sim, node, "worker killed");
	sim_worker_dies(sim, node);

	/* When all die at one instant, a lock that the worker held is given back to nobody. */
	sim_pg_hold(sim, node, false);
	node->doomed = true;
	sim_after(sim, sim_draw(sim, (SimRange) {0, 300 * SIM_MS}), SIM_EV_KILL, node)->life =
		node->pg_life;
	sim_after(sim, sim_draw(sim, (SimRange) {300 * SIM_MS, 600 * SIM_MS}), SIM_EV_BOOT, node);
}

/* It ends orderly: its exit callback closes the gate.  The server runs on without it. */
void
sim_worker_exit(Sim *sim, SimNode *node)
{
	uint32_t	life = node->life;

	if (!node->worker || !node->postmaster || node->doomed || sim_frozen(sim, node))
		return;
	sim_trace(sim, node, "worker exits");
	sim->event.type = QUORUM_EVENT_CLOSING;
	sim->event.closing = QUORUM_CLOSING_WORKER_EXIT;
	sim_drive(sim, node);
	if (!node->worker || node->life != life)
		return;
	sim_worker_dies(sim, node);
	sim_pg_hold(sim, node, false);
	sim_after(sim, sim_draw(sim, (SimRange) {SIM_MS, SIM_SECOND}), SIM_EV_WORKER_START,
			  node)->life = node->pg_life;
}

/* Only the worker is stopped: streams, backends and the lease in shared memory go on. */
void
sim_worker_freeze(Sim *sim, SimNode *node, SimTime length)
{
	if (!node->worker || sim->now < node->busy_until)
		return;
	sim_trace(sim, node, "worker frozen for %lld ms", (long long) (length / SIM_MS));
	node->busy_until = sim->now + length;
}

void
sim_freeze(Sim *sim, SimNode *node, SimTime length, bool suspend)
{
	if (!node->pg || sim_frozen(sim, node))
		return;
	sim_trace(sim, node, "%s for %lld ms", suspend ? "suspended" : "frozen",
			  (long long) (length / SIM_MS));
	node->suspended = suspend;
	node->frozen_until = sim->now + length + 1;
	node->frozen_at = sim->now;
	sim_after(sim, length, SIM_EV_THAW, node)->number = (uint64_t) node->frozen_until;
}

/* Its backends may be the first to run. */
void
sim_thaw(Sim *sim, SimNode *node)
{
	if (node->frozen_until == 0)
		return;
	node->frozen_until = 0;
	if (node->suspended)
	{
		/* The monotonic clock stood still, the boot clock went on. */
		SimTime		slept = sim->now - node->frozen_at;

		slept += slept * node->clock.ppm / 1000000;
		node->clock.suspended += slept;
		node->clock.base_mono -= slept;
		node->suspended = false;
	}
	sim_trace(sim, node, "thawed");
	sim_check_all(sim);
	sim_client(sim, node);
}

/* Planned stop: the gate closes, the last record is streamed, then it ends. */
void
sim_stop(Sim *sim, SimNode *node)
{
	SimEvent   *event;

	if (!node->postmaster || !node->pg || node->stopping || node->doomed)
		return;
	sim_trace(sim, node, "planned stop");
	node->stopping = true;
	event = sim_after(sim, sim_draw(sim, (SimRange) {100, 5 * SIM_MS}), SIM_EV_CLOSING, node);
	event->life = node->life;
	event->number = QUORUM_CLOSING_SHUTDOWN;
	sim_after(sim, sim_draw(sim, (SimRange) {10 * SIM_MS, 100 * SIM_MS}), SIM_EV_STOPPED,
			  node)->life = node->pg_life;
}

/* Walsenders wait until who is connected has flushed the shutdown checkpoint. */
static bool
last_wal_is_missing(const Sim *sim, const SimNode *source)
{
	for (int i = 0; i < sim->options.nodes; i++)
	{
		const SimNode *node = &sim->nodes[i];

		if (node->stream.state == SIM_STREAM_LIVE && node->stream.source == source->index &&
			node->stream.source_life == source->pg_life &&
			node->log.flush < source->log.flush)
			return true;
	}
	return false;
}

void
sim_stopped(Sim *sim, SimNode *node)
{
	if (!node->stopping)
		return;
	if (node->phase == QUORUM_PHASE_PRIMARY && !node->stop_written)
	{
		/* Shutdown checkpoint: the last record, sent before the streams end. */
		node->stop_written = true;
		node->stop_limit = sim->now + STOP_LIMIT;
		sim_pg_write(sim, node, false);
		sim_after(sim, sim_draw(sim, (SimRange) {20 * SIM_MS, 150 * SIM_MS}), SIM_EV_STOPPED,
				  node)->life = node->pg_life;
		return;
	}
	if (node->phase == QUORUM_PHASE_PRIMARY)
	{
		node->log.flush = node->log.write = node->log.records[node->log.count - 1].end;
		if (sim->now < node->stop_limit && last_wal_is_missing(sim, node))
		{
			sim_stream_send(sim, node);
			sim_after(sim, 10 * SIM_MS, SIM_EV_STOPPED, node)->life = node->pg_life;
			return;
		}
	}
	sim_node_dies(sim, node, false);
}

/* ---- the draw ----------------------------------------------------------- */

static SimNode *
pick(Sim *sim)
{
	SimNode    *leader = sim_leader(sim);

	if (leader != NULL && sim_below(sim, 100) < sim->options.leader_bias)
		return leader;
	return &sim->nodes[sim_below(sim, sim->options.nodes)];
}

/* One witness at a time: whoever lacks its vote cannot stand the loss of another. */
static void
wipe_witness(Sim *sim)
{
	SimNode    *node = pick(sim);
	SimNode    *leader = sim_leader(sim);

	if (node->witness && sim->operator.dead == QUORUM_NO_NODE && leader != NULL &&
		sim_bits(leader->disk_set.votes) > 2)
		sim_wipe(sim, node);
}

static void
isolate(Sim *sim, const SimNode *node, bool can_send, bool can_receive)
{
	sim_trace(sim, node, "link: %s", can_send ? "can only send" :
			  can_receive ? "can only receive" : "isolated");
	for (int i = 0; i < sim->options.nodes; i++)
	{
		if (!can_send)
			sim_cut(sim, node->index, i);
		if (!can_receive)
			sim_cut(sim, i, node->index);
	}
}

/* Quorum messages of the node to or from some others get lost, its streams live. */
static void
mute(Sim *sim, const SimNode *node)
{
	bool		sends = sim_chance(sim, 300000);
	bool		receives = !sends && sim_chance(sim, 300000);
	int			share = sim_chance(sim, 500000) ? 1000000 : 500000;

	sim_trace(sim, node, "quorum port: %s", sends ? "can only send" :
			  receives ? "can only receive" : "cut off");
	for (int i = 0; i < sim->options.nodes; i++)
	{
		bool		hit = sim_chance(sim, share);

		if (hit && !sends)
			sim_mute(sim, node->index, i);
		if (hit && !receives)
			sim_mute(sim, i, node->index);
	}
}

static void
split(Sim *sim)
{
	bool		side[SIM_NODES];

	for (int i = 0; i < sim->options.nodes; i++)
		side[i] = sim_chance(sim, 500000);
	sim_trace(sim, NULL, "partition into halves");
	for (int i = 0; i < sim->options.nodes; i++)
	{
		for (int j = 0; j < sim->options.nodes; j++)
		{
			if (side[i] != side[j])
				sim_cut(sim, i, j);
		}
	}
}

/* Each node sees only its two neighbours. */
static void
ring(Sim *sim)
{
	int			n = sim->options.nodes;

	sim_trace(sim, NULL, "partition into a ring");
	for (int i = 0; i < n; i++)
	{
		for (int j = 0; j < n; j++)
		{
			if ((i + 1) % n != j && (j + 1) % n != i)
				sim_cut(sim, i, j);
		}
	}
}

static void
links_up_later(Sim *sim)
{
	sim_after(sim, sim_draw(sim, (SimRange) {sim->options.lease / 10, 5 * sim->options.lease}),
			  SIM_EV_LINKS_UP, NULL);
}

static SimTime
freeze_length(Sim *sim)
{
	return sim_draw(sim, (SimRange) {sim->options.lease / 10, 3 * sim->options.lease});
}

static SimFault
draw_kind(Sim *sim)
{
	int			total = 0;
	int			at;

	for (int i = 0; i < SIM_FAULT_KINDS; i++)
		total += sim->options.weight[i];
	if (total == 0)
		return SIM_FAULT_KINDS;
	at = sim_below(sim, total);
	for (int i = 0; i < SIM_FAULT_KINDS; i++)
	{
		at -= sim->options.weight[i];
		if (at < 0)
			return (SimFault) i;
	}
	return SIM_FAULT_KINDS;
}

static void
link_fault(Sim *sim, SimFault kind, SimNode *node)
{
	int			other = sim_below(sim, sim->options.nodes);

	switch (kind)
	{
		case SIM_FAULT_ISOLATE:
			isolate(sim, node, false, false);
			break;
		case SIM_FAULT_SEND_ONLY:
			isolate(sim, node, true, false);
			break;
		case SIM_FAULT_RECEIVE_ONLY:
			isolate(sim, node, false, true);
			break;
		case SIM_FAULT_HALVES:
			split(sim);
			break;
		case SIM_FAULT_RING:
			ring(sim);
			break;
		case SIM_FAULT_ONE_LINK:
			sim_trace(sim, node, "link to %d cut", other + 1);
			sim_cut(sim, node->index, other);
			break;
		case SIM_FAULT_CONTROL_CUT:
			mute(sim, node);
			break;
		case SIM_FAULT_DATA_CUT:
			sim_trace(sim, node, "its stream is cut");
			node->stream_blocked = true;
			if (node->stream.state != SIM_STREAM_NONE)
				sim_stream_end(sim, node, node->stream.id);
			break;
		case SIM_FAULT_STREAM_CUT:
			if (node->stream.state != SIM_STREAM_NONE)
				sim_stream_end(sim, node, node->stream.id);
			return;
		default:
			return;
	}
	links_up_later(sim);
}

static void
node_fault(Sim *sim, SimFault kind, SimNode *node)
{
	switch (kind)
	{
		case SIM_FAULT_KILL_POSTMASTER:
			sim_kill_postmaster(sim, node);
			break;
		case SIM_FAULT_KILL_ALL:
			sim_kill_all(sim, node);
			break;
		case SIM_FAULT_POWER:
			sim_power_off(sim, node);
			break;
		case SIM_FAULT_BACKEND_CRASH:
			sim_backend_crash(sim, node);
			break;
		case SIM_FAULT_WORKER_KILL:
			sim_worker_kill(sim, node);
			break;
		case SIM_FAULT_WORKER_EXIT:
			sim_worker_exit(sim, node);
			break;
		case SIM_FAULT_FREEZE:
			sim_freeze(sim, node, freeze_length(sim), false);
			break;
		case SIM_FAULT_SUSPEND:
			sim_freeze(sim, node, freeze_length(sim), true);
			break;
		case SIM_FAULT_WORKER_FREEZE:
			sim_worker_freeze(sim, node, freeze_length(sim));
			break;
		case SIM_FAULT_STOP:
			sim_stop(sim, node);
			break;
		case SIM_FAULT_SLOW_DISK:
			node->disk_slow = true;
			sim_after(sim, freeze_length(sim), SIM_EV_DISK_OK, node);
			break;
		case SIM_FAULT_LONG_LOSS:
			sim_long_loss(sim, node);
			break;
		case SIM_FAULT_WIPE_WITNESS:
			wipe_witness(sim);
			break;
		case SIM_FAULT_ALL_DOWN:
			for (int i = 0; i < sim->options.nodes; i++)
				sim_node_dies(sim, &sim->nodes[i], sim_chance(sim, 500000));
			break;
		default:
			if (kind >= SIM_FAULT_GREY)
				sim_grey_fault(sim, kind, node);
			else
				link_fault(sim, kind, node);
			break;
	}
}

void
sim_fault_draw(Sim *sim)
{
	SimFault	kind;

	if (sim->healed)
		return;
	kind = draw_kind(sim);
	if (kind != SIM_FAULT_KINDS)
		node_fault(sim, kind, pick(sim));
	sim_after(sim, sim_draw(sim, (SimRange) {SIM_MS, 2 * sim->options.fault_every}),
			  SIM_EV_FAULT, NULL);
}
