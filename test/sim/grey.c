/*
 * grey.c
 *	  Faults that leave a node half alive: what works badly instead of not at all.
 *
 * One process of the server that is stopped, links that lose or delay, a disk that hangs,
 * fails or fills up.  What heals them is in faults.c and network.c.
 */
#include "sim.h"

/* PostgreSQL does not try again: what it wrote may be gone (PANIC). */
static void
wal_error(Sim *sim, SimNode *node)
{
	if (!node->postmaster || !node->pg || node->doomed || node->witness ||
		!(node->flushing || node->stream.flushing))
		return;
	sim_trace(sim, node, "cannot flush its WAL and panics");
	node->stopping = node->stop_written = false;
	sim_worker_dies(sim, node);
	sim_pg_dies(sim, node, true);
	sim_children_start(sim, node);
}

static SimTime
length(Sim *sim)
{
	return sim_draw(sim, (SimRange) {sim->options.lease / 10, 3 * sim->options.lease});
}

/* What of a disk is well again. */
enum
{
	DISK_FAST,
	DISK_ROOM,
	DISK_WAS_FULL
};

/* A primary without room panics when it has to write; somebody makes room then. */
void
sim_disk_ok(Sim *sim, SimNode *node, int what)
{
	if (what == DISK_FAST)
	{
		node->disk_slow = false;
		return;
	}
	if (what == DISK_WAS_FULL && node->space_low && node->phase == QUORUM_PHASE_PRIMARY)
	{
		sim_trace(sim, node, "has no room for WAL");
		sim_backend_crash(sim, node);
	}
	node->space_low = false;
}

static void
space_low(Sim *sim, SimNode *node)
{
	if (node->space_low)
		return;
	sim_trace(sim, node, "its disk is nearly full");
	node->space_low = true;
	sim_after(sim, 3 * length(sim), SIM_EV_DISK_OK, node)->number =
		sim_chance(sim, 300000) ? DISK_WAS_FULL : DISK_ROOM;
}

/* The walsender of this node to one of those that stream from it. */
static void
freeze_sender(Sim *sim, const SimNode *node)
{
	SimTime		until = sim->now + length(sim);

	for (int i = 0; i < sim->options.nodes; i++)
	{
		SimStream  *stream = &sim->nodes[i].stream;

		if (stream->state != SIM_STREAM_LIVE || stream->source != node->index)
			continue;
		sim_trace(sim, node, "its walsender to %d is stopped", i + 1);
		if (stream->arrives_at < until)
			stream->arrives_at = until;
		if (stream->acked_at < until)
			stream->acked_at = until;
		return;
	}
}

static void
bad_links(Sim *sim, SimNode *node, int loss_ppm, SimTime farther)
{
	sim_trace(sim, node, "its links lose %.1f %%, %lld ms more", loss_ppm / 1e4,
			  (long long) (farther / SIM_MS));
	node->loss_ppm = loss_ppm;
	node->farther = farther;
	sim_after(sim, 2 * length(sim), SIM_EV_LINKS_UP, NULL);
}

void
sim_grey_fault(Sim *sim, SimFault kind, SimNode *node)
{
	switch (kind)
	{
		case SIM_FAULT_RECEIVER_FREEZE:
			sim_trace(sim, node, "its walreceiver is stopped");
			node->receiver_until = sim->now + length(sim);
			break;
		case SIM_FAULT_SENDER_FREEZE:
			freeze_sender(sim, node);
			break;
		case SIM_FAULT_LOSSY:
			bad_links(sim, node, (int) sim_draw(sim, (SimRange) {10000, 300000}), 0);
			break;
		case SIM_FAULT_FAR:
			bad_links(sim, node, 0, sim_draw(sim, (SimRange) {5 * SIM_MS, 500 * SIM_MS}));
			break;
		case SIM_FAULT_WAL_STALL:
			sim_trace(sim, node, "its disk hangs");
			node->stall_until = sim->now + length(sim);
			break;
		case SIM_FAULT_WAL_ERROR:
			wal_error(sim, node);
			break;
		case SIM_FAULT_SPACE:
			space_low(sim, node);
			break;
		default:
			break;
	}
}
