/*
 * disk.c
 *	  The state file of a node: durable, torn or failed writes.
 *
 * A write goes to a temporary file that is synced and renamed, so a crash leaves the
 * old or the new state, never a mixture.  What a node reads back went through the
 * same encoding as in the server.
 */
#include "sim.h"

#include <string.h>

SimTime
sim_fsync_time(Sim *sim, const SimNode *node)
{
	SimTime		time = sim_draw(sim, sim->options.fsync);

	return node->disk_slow ? time * 20 + sim->options.lease / 4 : time;
}

void
sim_disk_format(SimNode *node, const QuorumHardState *hard)
{
	node->state_size = quorum_hard_state_encode(hard, node->state, sizeof(node->state));
	node->disk_set = sim_set_of(&hard->members);
	node->disk_recovering = hard->recovering;
	node->by_hand = node->by_hand && hard->recovering;
}

/* False: the write failed, or the node crashed on the way; the state may be either. */
bool
sim_disk_write(Sim *sim, SimNode *node, const QuorumHardState *hard)
{
	bool		crash = sim_chance(sim, sim->options.crash_ppm);
	bool		arrives = !crash || sim_chance(sim, 500000);

	node->busy += sim_fsync_time(sim, node);
	if (sim->options.broken == SIM_BREAK_PERSIST && sim_chance(sim, 200000))
	{
		arrives = false;
		crash = false;
	}
	if (arrives)
		sim_disk_format(node, hard);
	if (crash)
		sim_trace(sim, node, "crash in persist, %s state kept", arrives ? "new" : "old");
	return !crash;
}

void
sim_disk_read(Sim *sim, const SimNode *node, QuorumHardState *hard)
{
	if (!quorum_hard_state_decode(hard, node->state, node->state_size))
		sim_fail(sim, SIM_CRASH, "node %u cannot read its own state", node->id);
}
