/*
 * returns.c
 *	  A server that was removed and is invited again, under a new id (M8).
 *
 * A node of the model is an id; the server that had the earlier one moves into it, with
 * disk, log and clock.  What it said under that id binds it still, so the oracle moves
 * what it remembers, too.  The rules are those of src/net/invitation.c; it need not know
 * that it was removed.
 */
#include <string.h>

#include "quorum_members.h"
#include "sim.h"

static bool
answers(const Sim *sim, const SimNode *server)
{
	return server->worker && !server->retired && server->phase != QUORUM_PHASE_PRIMARY &&
		!sim_frozen(sim, server) && sim->now >= server->busy_until;
}

/* Somebody who was removed, and runs; NULL = nobody. */
SimNode *
sim_removed_server(Sim *sim, bool witness)
{
	int			first = sim_below(sim, sim->options.nodes);

	for (int i = 0; i < sim->options.nodes; i++)
	{
		SimNode    *server = &sim->nodes[(first + i) % sim->options.nodes];

		if (sim->oracle.gone[server->index] && server->witness == witness &&
			answers(sim, server))
			return server;
	}
	return NULL;
}

static void
move_disk(SimNode *node, const SimNode *before)
{
	node->clock = before->clock;
	if (node->witness)
		return;
	node->log.count = 0;
	node->log.write = node->log.flush = 0;
	sim_log_copy(&node->log, &before->log, before->log.write);
	node->log.flush = before->log.flush;
	memcpy(node->histories, before->histories, sizeof(node->histories));
	node->history_count = before->history_count;
	node->tail_tli = before->tail_tli;
	node->was_primary = before->was_primary;
	node->forget_above = before->forget_above;
}

static void
move_memory(SimOracle *oracle, const SimNode *node, const SimNode *before,
			const QuorumHardState *hard)
{
	oracle->granted[node->index] = oracle->granted[before->index];
	oracle->acked_top[node->index] = oracle->acked_top[before->index];
	oracle->vote[hard->term][node->index] = oracle->vote[hard->term][before->index];
}

/* Does the invitation prove to this member that it was removed? */
static bool
concerns(const QuorumMessage *invite, const QuorumHardState *hard)
{
	return quorum_members_find(&invite->members, hard->node_id) < 0 &&
		quorum_set_id_compare(invite->members.id, hard->members.id) > 0;
}

/* False: nobody is there to answer.  Else hard is what its disk said, and it is this node now. */
bool
sim_returns(Sim *sim, SimNode *node, const QuorumMessage *invite, QuorumHardState *hard)
{
	SimNode    *before = &sim->nodes[node->returns_from - 1];

	if (!answers(sim, before))
		return false;
	sim_disk_read(sim, before, hard);
	if (!concerns(invite, hard))
		return false;
	sim_trace(sim, before, "is invited again, as node %u", node->id);
	before->retired = true;
	sim_node_dies(sim, before, false);
	move_disk(node, before);
	move_memory(&sim->oracle, node, before, hard);
	before->state_size = 0;
	return true;
}
