/*
 * operator.c
 *	  The person who rewinds a diverged node.
 *
 * Two ways.  An exact rewind cuts the log where it left the leader's: the node keeps
 * every record it shares with an elected leader, hence every committed one, and goes
 * on voting.  A deep rewind, like pg_rewind, goes back further, so the node is marked
 * recovering and votes again only when its log is whole (S8, R14).
 */
#include <string.h>

#include "quorum_members.h"
#include "sim.h"

/* Deep rewinds one at a time: a majority that recovers can elect nobody, by design. */
bool
sim_somebody_recovers(Sim *sim)
{
	for (int i = 0; i < sim->options.nodes; i++)
	{
		const SimNode *node = &sim->nodes[i];

		if (node->state_size > 0 && !node->retired && node->disk_recovering)
			return true;
	}
	return false;
}

/* How many records of the node's log lie in this history. */
static int
shared_records(const Sim *sim, const SimNode *node, int history)
{
	int			keep = 0;

	for (; keep < node->log.count; keep++)
	{
		const SimRecord *record = &node->log.records[keep];
		QuorumLsn	leaves;

		if (!sim_history_switch(sim, history, record->tli, &leaves) || record->end > leaves)
			break;
	}
	return keep;
}

static void
cut_back(Sim *sim, SimNode *node, int keep, bool deep, const char *who)
{
	QuorumHardState disk;
	QuorumWalPos end;

	if (deep)
		keep -= sim_below(sim, keep < 30 ? keep : 30);
	end.tli = node->log.records[keep - 1].tli;
	end.lsn = node->log.records[keep - 1].end;
	sim_trace(sim, node, "rewound to %u/%llX by %s%s", end.tli,
			  (unsigned long long) end.lsn, who, deep ? ", recovering" : "");
	sim_check_loses(sim, node, end.lsn);
	sim_log_cut(&node->log, end.lsn);
	memset(&node->log_end, 0, sizeof(node->log_end));
	node->tail_tli = 0;
	node->forget_above = end.tli;
	if (sim->oracle.acked_top[node->index].tli > end.tli ||
		sim->oracle.acked_top[node->index].lsn > end.lsn)
		sim->oracle.acked_top[node->index] = end;
	sim_disk_read(sim, node, &disk);
	disk.recovering = disk.recovering || deep;
	if (disk.ack_floor.tli > end.tli ||
		(disk.ack_floor.tli == end.tli && disk.ack_floor.lsn > end.lsn))
		disk.ack_floor = end;
	sim_disk_format(node, &disk);
}

/*
 * A leader whose gate is shut allows no rewind.  When too few can follow it, the gate
 * stays shut, and a person has to help.
 */
static bool
operator_is_needed(const Sim *sim, const SimNode *leader)
{
	return !sim->options.auto_rewind || !leader->shared.gate_open;
}

void
sim_rewind(Sim *sim, SimNode *node)
{
	SimNode    *leader;
	QuorumHardState disk;
	bool		deep;
	int			history;

	if (!node->diverged || node->doomed)
		return;
	leader = &sim->nodes[node->shared.leader == QUORUM_NO_NODE ? node->index :
						 (int) node->shared.leader - 1];
	history = sim_history_find(sim, leader, node->shared.term);
	if (leader == node || node->diverged_term != node->shared.term ||
		!leader->pg || leader->phase != QUORUM_PHASE_PRIMARY || history < 0 ||
		!sim_link_works(sim, node, leader) || !operator_is_needed(sim, leader))
	{
		sim_after(sim, sim_draw(sim, sim->options.rewind), SIM_EV_REWIND, node)->life =
			node->pg_life;
		return;
	}

	/* The server is stopped for it. */
	sim_node_dies(sim, node, false);
	sim_disk_read(sim, node, &disk);
	deep = quorum_members_vote_count(&disk.members) > 2 && !sim_somebody_recovers(sim) &&
		sim->operator.dead == QUORUM_NO_NODE &&
		sim_chance(sim, sim->options.deep_rewind_ppm);
	cut_back(sim, node, shared_records(sim, node, history), deep, "its operator");
	node->by_hand = node->disk_recovering;
	sim_after(sim, sim_draw(sim, (SimRange) {SIM_MS, 50 * SIM_MS}), SIM_EV_BOOT, node);
}

/*
 * Asked for by the core: the server goes down, pg_rewind takes what the leader has, the
 * server starts.  It may find that it cannot.
 */
void
sim_rewind_itself(Sim *sim, SimNode *node, const QuorumAction *action)
{
	const SimNode *leader = &sim->nodes[action->peer - 1];
	int			history = sim_history_find(sim, leader, action->term);
	bool		works = leader->pg && leader->phase == QUORUM_PHASE_PRIMARY && history >= 0 &&
		sim_link_works(sim, node, leader) && !sim_frozen(sim, leader);

	if (node->doomed || sim->now < node->rewind_again_at)
		return;
	sim_check_rewind(sim, node, leader);
	node->rewind_again_at = sim->now + sim_draw(sim, sim->options.rewind);
	if (sim_chance(sim, sim->options.rewind_fails_ppm))
		works = false;
	sim_trace(sim, node, "rewinds itself against %u%s", leader->id, works ? "" : ", and fails");
	node->rewinding = works ? history + 1 : 0;
	sim_restart_in_place(sim, node, sim_draw(sim, (SimRange) {0, 50 * SIM_MS}));
}

/* Between the end of one postmaster and the start of the next. */
void
sim_rewind_stopped(Sim *sim, SimNode *node)
{
	int			keep = shared_records(sim, node, node->rewinding - 1);

	if (!node->disk_recovering)
		sim_fail(sim, SIM_SAFETY, "W2: node %u is rewound and may vote", node->id);
	node->rewinding = 0;
	cut_back(sim, node, keep, sim_chance(sim, 800000), "itself");
}
