/*
 * sets.c
 *	  The oracle on member sets: what must be true of every set a leader makes.
 *
 *	M1	the gate is open and a majority of the voters store the set before
 *	M2	at most one voter more or less than in the set before; none at a restamp
 *	M3	a majority of the new voters hold every acknowledged commit
 *	M4	a change is over when a majority of the new voters store it and no majority of
 *		the old ones is without it; what was reported as done is never undone
 *	M5	who becomes a voter holds what the quorum held one heartbeat ago
 *	T2	the gate is shut and the target holds what was flushed before a hand-over
 *	W1	a rewind leaves a majority of voters that do not recover, or is the only one
 *	W2	it is durable that the node recovers before its log is cut
 *	and two sets whose majorities may be disjoint are never both able to elect
 *
 * Nodes are bits: 1 << index.
 */
#include <string.h>

#include "quorum_members.h"
#include "sim.h"

int
sim_bits(uint32_t mask)
{
	return __builtin_popcount(mask);
}

uint32_t
sim_voters(const QuorumMemberSet *set)
{
	uint32_t	mask = 0;

	for (int i = 0; i < set->count; i++)
	{
		if (set->members[i].kind == QUORUM_VOTER)
			mask |= UINT32_C(1) << (set->members[i].id - 1);
	}
	return mask;
}

uint32_t
sim_members(const QuorumMemberSet *set)
{
	uint32_t	mask = 0;

	for (int i = 0; i < set->count; i++)
		mask |= UINT32_C(1) << (set->members[i].id - 1);
	return mask;
}

static int
majority(uint32_t voters)
{
	return sim_bits(voters) / 2 + 1;
}

/* Who of these has, on disk, a set that is at least (or at most) as new? */
static uint32_t
storing(Sim *sim, uint32_t who, QuorumSetId id, bool newer)
{
	uint32_t	mask = 0;

	for (int i = 0; i < sim->options.nodes; i++)
	{
		QuorumHardState disk;
		int			order;

		if ((who >> i & 1) == 0 || sim->nodes[i].state_size == 0)
			continue;
		sim_disk_read(sim, &sim->nodes[i], &disk);
		order = quorum_set_id_compare(disk.members.id, id);
		if (order == 0 || (order > 0) == newer)
			mask |= UINT32_C(1) << i;
	}
	return mask;
}

static bool
may_be_disjoint(uint32_t a, uint32_t b)
{
	int			from_common = majority(a) - sim_bits(a & ~b);
	int			other = majority(b) - sim_bits(b & ~a);

	return (from_common > 0 ? from_common : 0) + (other > 0 ? other : 0) <= sim_bits(a & b);
}

static bool
can_elect(Sim *sim, uint32_t voters, QuorumSetId id)
{
	return sim_bits(storing(sim, voters, id, false)) >= majority(voters);
}

static void
remember_set(Sim *sim, const SimNode *node, QuorumSetId id, uint32_t voters)
{
	SimOracle  *oracle = &sim->oracle;
	int			own = -1;

	for (int i = 0; i < oracle->set_count; i++)
	{
		if (oracle->sets[i].voters == voters)
			own = i;
		else if (may_be_disjoint(voters, oracle->sets[i].voters) &&
				 can_elect(sim, voters, id) &&
				 can_elect(sim, oracle->sets[i].voters, oracle->sets[i].id))
			sim_fail(sim, SIM_SAFETY,
					 "M1: node %u makes set %u.%u of voters %x while voters %x of set %u.%u "
					 "can elect too", node->id, id.term, id.version, voters,
					 oracle->sets[i].voters, oracle->sets[i].id.term,
					 oracle->sets[i].id.version);
	}
	if (own < 0 && oracle->set_count == SIM_SETS_MAX)
		return;
	if (own < 0)
		own = oracle->set_count++;
	oracle->sets[own].voters = voters;
	oracle->sets[own].id = id;
}

/* Counted as if a node that rewound itself still held what it lost. */
static void
check_held(Sim *sim, const SimNode *node, uint32_t voters)
{
	int			held = 0;

	for (int i = 0; i < sim->options.nodes; i++)
	{
		const SimNode *other = &sim->nodes[i];
		QuorumHardState disk;

		if ((voters >> i & 1) == 0 || other->state_size == 0)
			continue;
		sim_disk_read(sim, other, &disk);
		if (disk.recovering || sim_log_holds(&other->log, other->log.flush, &sim->oracle.tip))
			held++;
	}
	if (held < majority(voters))
		sim_fail(sim, SIM_SAFETY, "M3: node %u makes a set of voters %x, of whom %d hold the "
				 "commit acknowledged at %llX", node->id, voters, held,
				 (unsigned long long) sim->oracle.tip.end);
}

static void
check_undone(Sim *sim, const SimNode *node, uint32_t members)
{
	for (int i = 0; i < sim->options.nodes; i++)
	{
		if (sim->oracle.gone[i] && (members >> i & 1) != 0)
			sim_fail(sim, SIM_SAFETY, "M4: node %u has node %d in its set, whose removal was "
					 "reported as done", node->id, i + 1);
		if (sim->oracle.added[i] && (members >> i & 1) == 0)
			sim_fail(sim, SIM_SAFETY, "M4: node %u lacks node %d in its set, whose joining was "
					 "reported as done", node->id, i + 1);
	}
}

static void
check_new_set(Sim *sim, const SimNode *node, const QuorumView *view, uint32_t voters)
{
	const SimShared *before = &node->shared;
	uint32_t	members = sim_members(&node->core.hard.members);
	bool		led = before->role == QUORUM_ROLE_LEADER && before->term == view->term;
	uint32_t	changed = before->voters ^ voters;

	if (before->set_id.term != 0 && sim_bits(changed) > (led ? 1 : 0))
		sim_fail(sim, SIM_SAFETY, "M2: node %u makes voters %x of voters %x", node->id, voters,
				 before->voters);
	if (led && changed != 0 && !before->gate_open)
		sim_fail(sim, SIM_SAFETY, "M1: node %u changes the voters with its gate shut", node->id);
	if (led && changed != 0 && sim_bits(storing(sim, before->voters, before->set_id, true)) <
		majority(before->voters))
		sim_fail(sim, SIM_SAFETY, "M1: node %u changes set %u.%u, which no majority stores",
				 node->id, before->set_id.term, before->set_id.version);
	if (changed != 0)
		check_held(sim, node, voters);
	if (view->term >= sim->oracle.newest_term)
	{
		sim->oracle.newest_term = view->term;
		sim->oracle.newest_members = members;
		check_undone(sim, node, members);
	}
	if (changed != 0 || !led)
		remember_set(sim, node, view->set_id, voters);
}

/*
 * M5: at the moment when the leader decides.  When a heartbeat left in the same step,
 * caught_up_lsn is the next one's already, which is not what was decided by.
 */
static void
check_new_voter(Sim *sim, const SimNode *node)
{
	uint32_t	fresh = sim_voters(&node->core.change.next) & ~sim_voters(&node->core.hard.members);

	if (node->core.heartbeat_at == node->core.now.mono + node->core.config.heartbeat_us)
		return;
	for (int i = 0; i < sim->options.nodes; i++)
	{
		const SimNode *other = &sim->nodes[i];

		if ((fresh >> i & 1) != 0 &&
			other->stream.state == SIM_STREAM_LIVE && other->stream.source == node->index &&
			(other->log.flush < node->core.caught_up_lsn || node->core.caught_up_lsn == 0))
			sim_fail(sim, SIM_SAFETY, "M5: node %u lets node %u vote, which holds %llX of %llX",
					 node->id, other->id, (unsigned long long) other->log.flush,
					 (unsigned long long) node->core.caught_up_lsn);
	}
}

/* Before the view is published; node->shared is what was published last. */
void
sim_check_set(Sim *sim, SimNode *node, const QuorumView *view)
{
	SimShared  *shared = &node->shared;
	int			step = (int) node->core.change.step;
	bool		same_id = quorum_set_id_compare(view->set_id, shared->set_id) == 0;
	uint32_t	voters;

	if (same_id && step == shared->change_step && view->set_committed == shared->set_committed)
		return;
	voters = sim_voters(&node->core.hard.members);
	if (view->role == QUORUM_ROLE_LEADER)
	{
		if (!same_id)
			check_new_set(sim, node, view, voters);
		if (step == QUORUM_CHANGE_WAIT_LSN && shared->change_step != step)
			check_new_voter(sim, node);
		if (same_id && step == QUORUM_CHANGE_NONE &&
			shared->change_step == QUORUM_CHANGE_WAIT_SET &&
			(sim_bits(storing(sim, voters, view->set_id, true)) < majority(voters) ||
			 sim_bits(storing(sim, shared->also, view->set_id, true)) <=
			 sim_bits(shared->also) - majority(shared->also)))
			sim_fail(sim, SIM_SAFETY, "M4: node %u ends the change to set %u.%u, of voters %x "
					 "and %x only %x store it", node->id, view->set_id.term,
					 view->set_id.version, voters, shared->also,
					 storing(sim, voters | shared->also, view->set_id, true));
	}
	shared->set_id = view->set_id;
	shared->set_committed = view->set_committed;
	shared->voters = voters;
	shared->also = step == QUORUM_CHANGE_WAIT_SET ? sim_voters(&node->core.change.old) : voters;
	shared->change_step = step;
}

/* What a client of the operator is told is true from then on. */
void
sim_check_outcome(Sim *sim, QuorumNodeId id, QuorumAdminType type)
{
	bool		in = (sim->oracle.newest_members >> (id - 1) & 1) != 0;

	if (type == QUORUM_ADMIN_REMOVE_MEMBER)
		sim->oracle.gone[id - 1] = true;
	else if (type == QUORUM_ADMIN_ADD_MEMBER)
		sim->oracle.added[id - 1] = true;
	else
		return;
	if (in != (type == QUORUM_ADMIN_ADD_MEMBER))
		sim_fail(sim, SIM_SAFETY, "M4: a change of node %u is reported as done, the leader of "
				 "term %u knows nothing of it", id, sim->oracle.newest_term);
}

/* T2: when the server is asked to stop, the target holds all that was flushed. */
void
sim_check_hand_over(Sim *sim, SimNode *node, const QuorumAction *action)
{
	const SimNode *target = &sim->nodes[action->peer - 1];

	if (node->stopping || node->doomed)
		return;
	if (node->shared.gate_open)
		sim_fail(sim, SIM_SAFETY, "T2: node %u hands over with its gate open", node->id);

	/* A target that lost power since has lost the unfinished record at its end, no more. */
	if (target->stream.state == SIM_STREAM_LIVE && target->stream.source == node->index &&
		target->log.flush < node->core.transfer.lsn)
		sim_fail(sim, SIM_SAFETY, "T2: node %u hands over at %llX to node %u, which holds %llX",
				 node->id, (unsigned long long) node->core.transfer.lsn, target->id,
				 (unsigned long long) target->log.flush);
	if (node->core.transfer.lsn == 0)
		sim_fail(sim, SIM_SAFETY, "T2: node %u hands over to node %u, which confirmed nothing",
				 node->id, target->id);
}

/* ---- rewinds ------------------------------------------------------------ */

void
sim_check_rewind(Sim *sim, SimNode *node, const QuorumAction *action)
{
	const SimNode *leader = &sim->nodes[action->peer - 1];
	QuorumHardState disk;
	uint32_t	voters;
	int			recovering = 0;

	sim_disk_read(sim, node, &disk);
	if (!disk.recovering)
		sim_fail(sim, SIM_SAFETY, "W2: node %u rewinds itself and may vote", node->id);
	voters = sim_voters(&disk.members);
	for (int i = 0; i < sim->options.nodes; i++)
	{
		int			peer = quorum_members_find(&leader->core.hard.members, sim->nodes[i].id);

		if ((voters >> i & 1) == 0 || sim->nodes[i].state_size == 0)
			continue;
		sim_disk_read(sim, &sim->nodes[i], &disk);

		/* What its leader has not heard yet is forgiven it. */
		if (disk.recovering && (i == node->index ||
								(peer >= 0 && leader->core.peers[peer].recovering)))
			recovering++;
	}
	if (recovering > 1 && (voters >> node->index & 1) != 0 &&
		sim_bits(voters) - recovering < majority(voters))
		sim_fail(sim, SIM_LIVENESS, "W1: node %u rewinds itself, %d of %d voters recover",
				 node->id, recovering, sim_bits(voters));
}

/*
 * Who recovers does not vote, who is dead for good neither.  When no majority of the newest
 * set is left, nobody can be elected: what W1 and the operator avoid, as far as they know.
 */
bool
sim_no_majority_is_whole(Sim *sim)
{
	QuorumHardState newest;
	QuorumHardState disk;
	int			whole = 0;

	memset(&newest, 0, sizeof(newest));
	for (int i = 0; i < sim->options.nodes; i++)
	{
		if (sim->nodes[i].state_size == 0 || sim->nodes[i].retired)
			continue;
		sim_disk_read(sim, &sim->nodes[i], &disk);
		if (quorum_set_id_compare(disk.members.id, newest.members.id) > 0)
			newest = disk;
	}
	for (int i = 0; i < sim->options.nodes; i++)
	{
		if (!quorum_members_votes(&newest.members, sim->nodes[i].id) || sim->nodes[i].retired)
			continue;
		sim_disk_read(sim, &sim->nodes[i], &disk);
		if (!disk.recovering)
			whole++;
	}
	return whole < quorum_members_majority(&newest.members);
}

/* ---- at the end --------------------------------------------------------- */

void
sim_check_converged(Sim *sim)
{
	const SimNode *leader = sim_leader(sim);
	const QuorumMemberSet *set;

	if (leader == NULL)
		return;
	set = &leader->core.hard.members;
	if (leader->core.change.step != QUORUM_CHANGE_NONE)
		sim_fail(sim, SIM_LIVENESS, "set %u.%u of node %u is not stored by a majority at the end",
				 set->id.term, set->id.version, leader->id);
	for (int i = 0; i < set->count; i++)
	{
		const SimNode *node = &sim->nodes[set->members[i].id - 1];

		if (!node->worker || node->retired)
			continue;
		if (quorum_set_id_compare(node->core.hard.members.id, set->id) != 0)
			sim_fail(sim, SIM_LIVENESS, "node %u has set %u.%u at the end, its leader %u.%u",
					 node->id, node->core.hard.members.id.term,
					 node->core.hard.members.id.version, set->id.term, set->id.version);
	}
}
