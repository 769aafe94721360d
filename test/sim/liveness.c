/*
 * liveness.c
 *	  How a run ends: everything is repaired, and what is demanded then.
 */
#include "quorum_members.h"
#include "sim.h"

/* How long after healing clients may have to wait, for good (docs/simulator.md). */
SimTime
sim_liveness_bound(const SimOptions *options)
{
	return options->boot.max + options->restart.max + 4 * options->lease +
		2 * options->promote.max + 2 * options->rewind.max + options->promotion_limit +
		2 * SIM_SECOND;
}

/*
 * A limit shorter than a server takes to boot, be rewound and boot again makes a leader resign
 * each time commits wait for such a server: an operator mends that, by a reload.
 */
static void
lengthen_promotions(Sim *sim)
{
	SimOptions *options = &sim->options;
	SimTime		needed = 2 * options->boot.max + options->rewind.max +
		options->promote.max + 2 * options->lease;

	if (options->promotion_limit >= needed)
		return;
	options->promotion_limit = needed;
	for (int i = 0; i < options->nodes; i++)
	{
		sim->nodes[i].config.promotion_limit_us = needed;
		sim->nodes[i].core.config.promotion_limit_us = needed;
	}
}

/* Everything that can be repaired is repaired; no more faults. */
void
sim_heal(Sim *sim)
{
	SimOptions *options = &sim->options;
	SimTime		bound;

	lengthen_promotions(sim);
	bound = sim_liveness_bound(options);
	if (sim->operator.paused_until > sim->now)
		bound += sim->operator.paused_until - sim->now;
	sim_trace(sim, NULL, "healed");
	sim->healed = true;
	options->loss_ppm = options->duplicate_ppm = options->slow_ppm = options->crash_ppm = 0;
	options->promotion_crash_ppm = options->stream_slow_ppm = 0;
	sim_links_up(sim);
	for (int i = 0; i < options->nodes; i++)
	{
		SimNode    *node = &sim->nodes[i];

		node->disk_slow = node->space_low = false;
		node->stall_until = node->receiver_until = 0;
		node->down_until = 0;
		if (node->frozen_until != 0)
			sim_thaw(sim, node);
		if (!node->postmaster && !node->pg)
			sim_boot(sim, node);
	}
	sim_after(sim, bound, SIM_EV_DEADLINE, NULL);
	if (options->change_every > 0 || options->weight[SIM_FAULT_SPACE] > 0 ||
		options->weight[SIM_FAULT_WAL_STALL] > 0)
		sim_after(sim, bound, SIM_EV_SWITCH_CHECK, NULL)->number = 1;
}

static void
why_pending(const Sim *sim, char *text, size_t size)
{
	size_t		used = 0;

	for (int i = 0; i < sim->options.nodes && used < size; i++)
	{
		const SimNode *node = &sim->nodes[i];
		QuorumWalPos end = sim_log_end(&node->log);
		static const char *const phases[] = {"starting", "standby", "primary"};

		used += (size_t) snprintf(text + used, size - used, "\n     %u: %s %s t%u leader %u, %s at "
								  "%u/%llX%s%s%s", node->id,
								  node->worker ? "up" : "down", sim_role_name(node->core.role),
								  node->core.hard.term, node->core.leader, phases[node->phase],
								  end.tli, (unsigned long long) end.lsn,
								  node->diverged ? ", diverged" : "",
								  node->not_electable[0] != '\0' ? ", " : "",
								  node->not_electable);
	}
}

/*
 * W1: it has to rewind itself, and without its voice its leader would lose its lease: so many
 * of the others are gone for good.
 */
bool
sim_cannot_be_spared(const Sim *sim, const SimNode *leader, const SimNode *node)
{
	const QuorumMemberSet *set = &leader->core.hard.members;
	int			needed = quorum_members_majority(set);
	int			others = 0;

	if (!node->diverged || !quorum_members_votes(set, node->id) ||
		quorum_members_vote_count(set) - 1 < needed)
		return false;
	for (int i = 0; i < sim->options.nodes; i++)
	{
		const SimNode *other = &sim->nodes[i];

		others += other != node && other->worker && quorum_members_votes(set, other->id) ? 1 : 0;
	}
	return others < needed;
}

/*
 * Those that have diverged rewind one after the other, and each may hold up the next one for
 * two leases (W1): how long those may take that had their turn under this leader.
 */
static SimTime
turns_of_others(const Sim *sim, const SimNode *node)
{
	const SimOptions *options = &sim->options;
	SimTime		turn = options->boot.max + 2 * options->rewind.max + 2 * options->lease;
	SimTime		turns = 0;

	for (int i = 0; i < options->nodes && node->diverged; i++)
	{
		if (i != node->index && sim->nodes[i].rewind_again_at > sim->oracle.elected_at)
			turns += turn;
	}
	return turns;
}

/*
 * Who can follow does: at the end nobody is left behind.  A member that promised a later
 * term waits for the next election, which its leader owes it after some leases.
 */
static void
check_followers(Sim *sim)
{
	const SimOptions *options = &sim->options;
	const SimNode *leader = sim_leader(sim);
	uint32_t	members = leader == NULL ? 0 : sim_set_of(&leader->core.hard.members).members;
	SimTime		calm = sim->now - sim->oracle.elected_at;
	char		why[400];

	for (int i = 0; i < options->nodes && leader != NULL && !sim_nobody_can_serve(sim); i++)
	{
		const SimNode *node = &sim->nodes[i];
		SimTime		bound = options->boot.max + 2 * options->rewind.max + 2 * options->lease +
			SIM_SECOND;

		if (node->core.hard.term > leader->core.hard.term)
			bound += 6 * options->lease;
		bound += turns_of_others(sim, node);
		if (sim_pg_serves(sim, node) || sim_stream_counts(sim, node) || calm < bound ||
			(members >> i & 1) == 0 || node->retired || node->state_size == 0 ||
			(node->witness && node->worker && node->core.leader == leader->id) ||
			sim_cannot_be_spared(sim, leader, node))
			continue;
		why_pending(sim, why, sizeof(why));
		sim_fail(sim, SIM_LIVENESS, "node %u does not follow, long after healing:%s", node->id,
				 why);
	}
}

/* With strict commits a gate may wait for a member of a later term, until its leader resigns (E7). */
SimTime
sim_election_bound(const SimOptions *options)
{
	SimTime		later_term = options->strict ? 6 * options->lease : 0;

	return options->boot.max + 2 * options->lease + 2 * options->promote.max +
		options->rewind.max + later_term + SIM_SECOND;
}

/*
 * A leader serves and commits succeed.  A leader may still give up its term to let a
 * node of a later one follow again, so a gap of one election is forgiven.
 */
void
sim_liveness_deadline(Sim *sim)
{
	const SimOptions *options = &sim->options;
	SimTime		election = sim_election_bound(options);
	SimTime		commit = 20 * options->commit_every + 200 * SIM_MS;
	char		why[400];

	if ((sim->now - sim->oracle.served_at > election ||
		 sim->now - sim->oracle.acked_at > election + commit) && !sim_nobody_can_serve(sim))
	{
		why_pending(sim, why, sizeof(why));
		sim_fail(sim, SIM_LIVENESS, "no leader %lld ms after healing:%s",
				 (long long) ((sim->now - options->heal_at) / SIM_MS), why);
	}
	if (sim->now + SIM_SECOND < options->duration)
		sim_after(sim, SIM_SECOND, SIM_EV_DEADLINE, NULL);
	else
	{
		check_followers(sim);
		if (sim->now - sim->oracle.elected_at > election)
			sim_check_converged(sim);
	}
}
