/*
 * elect.c
 *	  The oracle on elections: who may win, and that nobody can win without what was
 *	  acknowledged.
 *
 *	Y3	a leader has the votes of a majority, and of so many data voters that are in (not
 *		left out), itself among them, that every commit set of its member set is met
 *	and when a client is told that its commit is safe, and whenever a state file changes:
 *	whoever lacks the commit finds no such votes among those that lack it
 */
#include <string.h>

#include "quorum_members.h"
#include "sim.h"

/* Are these votes enough in that set? */
static bool
wins(const SimSet *set, uint32_t votes)
{
	return sim_bits(votes & set->votes) >= sim_set_majority(set) &&
		sim_bits(votes & set->in) >= sim_bits(set->in) - sim_set_need(set);
}

/* Y3, at the moment when a node says for the first time that it leads the term. */
void
sim_check_winner(Sim *sim, const SimNode *node, const QuorumView *view)
{
	SimSet		set = sim_set_of(&node->core.hard.members);
	uint32_t	votes = 0;

	for (int i = 0; i < sim->options.nodes; i++)
	{
		if (sim->oracle.vote[view->term][i] == node->id)
			votes |= UINT32_C(1) << i;
	}

	/* Alone, it asks nobody. */
	votes |= UINT32_C(1) << node->index;
	if ((set.in >> node->index & 1) == 0 || !wins(&set, votes))
		sim_fail(sim, SIM_SAFETY, "Y3: node %u leads term %u with the votes of %x, in a set of "
				 "votes %x, in %x", node->id, view->term, votes, set.votes, set.in);
}

/*
 * Could anybody be elected who lacks this commit?  Judged by what is on the disks alone:
 * a vote goes to whoever has a set at least as new, and whoever holds the commit votes for
 * nobody who lacks it.  Promises and terms may still prevent it; they need not.
 */
void
sim_check_outvoted(Sim *sim, const SimCommit *commit)
{
	uint32_t	lacking = 0;

	if (commit->end == 0 || sim->forced)
		return;
	for (int i = 0; i < sim->options.nodes; i++)
	{
		const SimNode *node = &sim->nodes[i];

		if (node->state_size > 0 && !node->disk_recovering &&
			!sim_log_holds(&node->log, node->log.flush, commit))
			lacking |= UINT32_C(1) << i;
	}
	for (int i = 0; i < sim->options.nodes; i++)
	{
		const SimNode *node = &sim->nodes[i];
		const SimSet *set = &node->disk_set;
		uint32_t	votes = 0;

		if ((lacking & set->in & UINT32_C(1) << i) == 0)
			continue;
		for (int j = 0; j < sim->options.nodes; j++)
		{
			if ((lacking >> j & 1) != 0 &&
				quorum_set_id_compare(sim->nodes[j].disk_set.id, set->id) <= 0)
				votes |= UINT32_C(1) << j;
		}
		if (wins(set, votes))
			sim_fail(sim, SIM_SAFETY, "the commit at %llX is acknowledged; node %u lacks it and "
					 "can be elected in set %u.%u (votes %x, in %x) by %x",
					 (unsigned long long) commit->end, node->id, set->id.term, set->id.version,
					 set->votes, set->in, votes & set->votes);
	}
}

/*
 * Who recovers does not vote, who is dead for good neither, a witness without its state is
 * no witness.  Can somebody of the newest set be elected by the others, and be held up by
 * nobody who is gone?  Someone who is gone may be left out when there is a witness for it.
 * Who diverged and cannot be spared (W1) holds no commit.
 */
bool
sim_nobody_can_serve(Sim *sim)
{
	const SimNode *leader = sim_leader(sim);
	SimSet		newest;
	uint32_t	whole = 0;
	uint32_t	alive = 0;
	int			spare;

	memset(&newest, 0, sizeof(newest));
	for (int i = 0; i < sim->options.nodes; i++)
	{
		const SimNode *node = &sim->nodes[i];

		if (node->state_size == 0 || node->retired)
			continue;
		if (quorum_set_id_compare(node->disk_set.id, newest.id) > 0)
			newest = node->disk_set;
		if (leader == NULL || !sim_cannot_be_spared(sim, leader, node))
			alive |= UINT32_C(1) << i;
		if (!node->disk_recovering)
			whole |= UINT32_C(1) << i;
	}
	if (!wins(&newest, whole))
		return true;
	spare = sim->options.strict ? 0 :
		sim_bits(newest.votes & ~newest.data) - sim_bits(newest.data & ~newest.in);
	for (uint32_t gone = newest.in & ~alive; gone != 0 && spare > 0; gone &= gone - 1, spare--)
		newest.in &= ~(gone & -gone);
	return sim_bits(alive & newest.in) - 1 < sim_set_need(&newest);
}
