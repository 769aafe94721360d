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
 *	Y1	at most as many are left out as there are witnesses, never the leader
 *	Y6	nobody is when commits are to be strict
 *	T2	the gate is shut and the target holds what was flushed before a hand-over
 *	W1	a rewind leaves a majority of voters of whom its leader has not heard that they
 *		recover, or is the only one
 *	W2	it is durable that the node recovers before its log is cut
 *	and two sets whose majorities may be disjoint are never both able to elect
 *
 * Nodes are bits: 1 << index.
 */
#include <string.h>

#include "quorum_members.h"
#include "sim.h"

/* As QUORUM_REWIND_LEASES, less what clocks and messages take. */
#define PATIENCE_LEASES	29

int
sim_bits(uint32_t mask)
{
	return __builtin_popcount(mask);
}

SimSet
sim_set_of(const QuorumMemberSet *set)
{
	SimSet		mine = {.id = set->id};

	for (int i = 0; i < set->count; i++)
	{
		const QuorumMember *member = &set->members[i];
		uint32_t	bit = UINT32_C(1) << (member->id - 1);

		mine.members |= bit;
		if (member->kind == QUORUM_VOTER || member->kind == QUORUM_WITNESS)
			mine.votes |= bit;
		if (member->kind == QUORUM_VOTER)
			mine.data |= bit;
		if (member->kind == QUORUM_VOTER && !member->left_out)
			mine.in |= bit;
	}
	return mine;
}

int
sim_set_need(const SimSet *set)
{
	int			need = sim_bits(set->votes) / 2 - sim_bits(set->data & ~set->in);

	if (need > sim_bits(set->in) - 1)
		need = sim_bits(set->in) - 1;
	return need > 0 ? need : 0;
}

int
sim_set_majority(const SimSet *set)
{
	return sim_bits(set->votes) / 2 + 1;
}

static int
majority(uint32_t votes)
{
	return sim_bits(votes) / 2 + 1;
}

/*
 * Who of these has, on disk, a set that is at least (or at most) as new?  A witness that
 * lost its state stored what it did and votes for nobody any more.
 */
static uint32_t
storing(const Sim *sim, uint32_t who, QuorumSetId id, bool newer)
{
	uint32_t	mask = 0;

	for (int i = 0; i < sim->options.nodes; i++)
	{
		int			order;

		if ((who >> i & 1) == 0 || (sim->nodes[i].state_size == 0 && !newer))
			continue;
		order = quorum_set_id_compare(sim->nodes[i].disk_set.id, id);
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
can_elect(const Sim *sim, const SimSet *set)
{
	return sim_bits(storing(sim, set->votes, set->id, false)) >= sim_set_majority(set);
}

static void
remember_set(Sim *sim, const SimNode *node, const SimSet *set)
{
	SimOracle  *oracle = &sim->oracle;
	int			own = -1;

	for (int i = 0; i < oracle->set_count; i++)
	{
		const SimSet *other = &oracle->sets[i];

		if (other->votes == set->votes)
			own = i;
		else if (may_be_disjoint(set->votes, other->votes) && can_elect(sim, set) &&
				 can_elect(sim, other))
			sim_fail(sim, SIM_SAFETY,
					 "M1: node %u makes set %u.%u of voters %x while voters %x of set %u.%u "
					 "can elect too", node->id, set->id.term, set->id.version, set->votes,
					 other->votes, other->id.term, other->id.version);
	}
	if (own < 0 && oracle->set_count == SIM_SETS_MAX)
		return;
	if (own < 0)
		own = oracle->set_count++;
	oracle->sets[own] = *set;
}

/*
 * Counted as if a node that rewound itself still held what it lost.  What a later leader told
 * is none of its business: a leader that was frozen makes a set that nobody stores.
 */
static void
check_held(Sim *sim, const SimNode *node, const SimSet *set)
{
	const SimCommit *told = sim_told_by(&sim->oracle, set->id.term);
	uint32_t	held = 0;

	for (int i = 0; i < sim->options.nodes; i++)
	{
		const SimNode *other = &sim->nodes[i];

		if (other->state_size > 0 &&
			(other->disk_recovering ||
			 sim_log_holds(&other->log, other->log.flush, told)))
			held |= UINT32_C(1) << i;
	}
	if (sim_bits(held & set->in) <= sim_set_need(set))
		sim_fail(sim, SIM_SAFETY, "M3: node %u makes a set of voters %x, in %x, of whom %x hold "
				 "the commit acknowledged at %llX", node->id, set->votes, set->in, held,
				 (unsigned long long) told->end);
}

static void
check_undone(Sim *sim, const SimNode *node, uint32_t members)
{
	const QuorumMemberSet *set = &node->core.hard.members;

	for (int i = 0; i < set->count; i++)
	{
		uint16_t	port = sim->oracle.moved[set->members[i].id - 1];

		if (port != 0 && set->members[i].quorum_port != port)
			sim_fail(sim, SIM_SAFETY, "M4: node %u has node %u at port %d in its set, whose move "
					 "to %d was reported as done", node->id, set->members[i].id,
					 set->members[i].quorum_port, port);
	}
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

/* Data voters that `set` leaves out and `before` does not, if nothing else differs; else 0. */
static uint32_t
left_out(const SimSet *before, const SimSet *set)
{
	if (before->votes != set->votes || before->data != set->data || (set->in & ~before->in) != 0)
		return 0;
	return before->in & ~set->in;
}

/* One is left out, another one taken in, and nothing else differs (Y7). */
static bool
exchanged(const SimSet *before, const SimSet *set)
{
	return before->votes == set->votes && before->data == set->data &&
		sim_bits(before->in & ~set->in) == 1 && sim_bits(set->in & ~before->in) == 1;
}

static void
check_new_set(Sim *sim, const SimNode *node, const QuorumView *view, const SimSet *set)
{
	const SimShared *shared = &node->shared;
	const SimSet *before = &shared->set;
	bool		led = shared->role == QUORUM_ROLE_LEADER && shared->term == view->term;
	uint32_t	changed = (before->votes ^ set->votes) | (before->in ^ set->in);

	if (sim->forced && !led)
		return;					/* F2: whoever was forced to lead is the only voter */
	if (before->id.term != 0 && sim_bits(changed) > (led ? 1 : 0) &&
		!(led && exchanged(before, set)))
		sim_fail(sim, SIM_SAFETY, "M2: node %u makes voters %x, in %x, of voters %x, in %x",
				 node->id, set->votes, set->in, before->votes, before->in);
	if (led && changed != 0 && !shared->gate_open && left_out(before, set) == 0 &&
		!exchanged(before, set))
		sim_fail(sim, SIM_SAFETY, "M1: node %u changes the voters with its gate shut", node->id);
	if (led && changed != 0 &&
		sim_bits(storing(sim, before->votes, before->id, true)) < sim_set_majority(before))
		sim_fail(sim, SIM_SAFETY, "M1: node %u changes set %u.%u, which no majority stores",
				 node->id, before->id.term, before->id.version);
	if (sim_bits(set->data & ~set->in) > sim_bits(set->votes & ~set->data))
		sim_fail(sim, SIM_SAFETY, "Y1: node %u leaves out %x of %x, of votes %x", node->id,
				 set->data & ~set->in, set->data, set->votes);
	if ((set->in >> node->index & 1) == 0)
		sim_fail(sim, SIM_SAFETY, "Y1: node %u leads and is left out", node->id);
	if (sim->options.strict && led && left_out(before, set) != 0)
		sim_fail(sim, SIM_SAFETY, "Y6: node %u leaves out %x", node->id, left_out(before, set));
	if (changed != 0)
		check_held(sim, node, set);
	if (view->term >= sim->oracle.newest_term)
	{
		sim->oracle.newest_term = view->term;
		sim->oracle.newest_members = set->members;
		check_undone(sim, node, set->members);
	}
	if (changed != 0 || !led)
		remember_set(sim, node, set);
}

/*
 * M5, Y5: at the moment when the leader decides.  A heartbeat at the end of that step moves
 * on what is decided by; one that opens the gate comes before.  Who takes the place of
 * another one holds all there is (Y7).
 */
static void
check_new_voter(Sim *sim, const SimNode *node)
{
	SimSet		now = sim_set_of(&node->core.hard.members);
	SimSet		next = sim_set_of(&node->core.change.next);
	uint32_t	fresh = next.in & ~now.in;
	QuorumLsn	held = node->shared.gate_open ? sim->caught_up : node->core.caught_up_lsn;

	if (exchanged(&now, &next))
		held = node->core.facts.position.lsn;
	for (int i = 0; i < sim->options.nodes; i++)
	{
		const SimNode *other = &sim->nodes[i];

		/* Who lost power since has lost the unfinished record at its end, no more. */
		if ((fresh >> i & 1) != 0 &&
			(held == 0 || sim_log_complete(&other->log, other->log.flush) <
			 sim_log_complete(&node->log, held)))
			sim_fail(sim, SIM_SAFETY, "M5: node %u lets node %u vote, which holds %llX of %llX",
					 node->id, other->id, (unsigned long long) other->log.flush,
					 (unsigned long long) held);
	}
}

/* Before the view is published; node->shared is what was published last. */
void
sim_check_set(Sim *sim, SimNode *node, const QuorumView *view)
{
	SimShared  *shared = &node->shared;
	int			step = (int) node->core.change.step;
	bool		same_id = quorum_set_id_compare(view->set_id, shared->set.id) == 0;
	SimSet		set;

	if (same_id && step == shared->change_step && view->set_committed == shared->set_committed)
		return;
	set = sim_set_of(&node->core.hard.members);
	if (view->role == QUORUM_ROLE_LEADER)
	{
		if (!same_id)
			check_new_set(sim, node, view, &set);
		if (step == QUORUM_CHANGE_WAIT_LSN && shared->change_step != step)
			check_new_voter(sim, node);
		if (same_id && step == QUORUM_CHANGE_NONE &&
			shared->change_step == QUORUM_CHANGE_WAIT_SET &&
			(sim_bits(storing(sim, set.votes, set.id, true)) < sim_set_majority(&set) ||
			 sim_bits(storing(sim, shared->also.votes, set.id, true)) <=
			 sim_bits(shared->also.votes) - sim_set_majority(&shared->also)))
			sim_fail(sim, SIM_SAFETY, "M4: node %u ends the change to set %u.%u, of voters %x "
					 "and %x only %x store it", node->id, set.id.term, set.id.version,
					 set.votes, shared->also.votes,
					 storing(sim, set.votes | shared->also.votes, set.id, true));
	}
	if (!same_id)
		shared->set_at = sim->now;
	shared->set_committed = view->set_committed;
	shared->set = set;
	shared->also = step == QUORUM_CHANGE_WAIT_SET ? sim_set_of(&node->core.change.old) : set;
	shared->change_step = step;
}

static QuorumTerm
newest_term(const Sim *sim)
{
	QuorumTerm	term = SIM_TERM_MAX - 1;

	while (term > 1 && sim->oracle.leader[term] == QUORUM_NO_NODE)
		term--;
	return term;
}

/* What a client of the operator is told is true from then on. */
void
sim_check_outcome(Sim *sim, QuorumNodeId id, const QuorumAdmin *asked)
{
	bool		in = (sim->oracle.newest_members >> (id - 1) & 1) != 0;

	if (asked->type == QUORUM_ADMIN_REMOVE_MEMBER)
		sim->oracle.gone[id - 1] = newest_term(sim);
	else if (asked->type == QUORUM_ADMIN_ADD_MEMBER)
		sim->oracle.added[id - 1] = true;
	else if (asked->type == QUORUM_ADMIN_CHANGE_ADDRESS)
		sim->oracle.moved[id - 1] = asked->quorum_port;
	else
		return;
	if (in != (asked->type != QUORUM_ADMIN_REMOVE_MEMBER))
		sim_fail(sim, SIM_SAFETY, "M4: a change of node %u is reported as done, the leader of "
				 "term %u knows nothing of it", id, sim->oracle.newest_term);
}

/* T2: when a term is handed over, the successor holds all there will ever be of it. */
void
sim_check_hand_over(Sim *sim, SimNode *node, const QuorumMessage *resign)
{
	const SimNode *target;

	if (resign->type != QUORUM_MSG_RESIGN || resign->resign != QUORUM_RESIGN_HANDED_OVER)
		return;
	target = &sim->nodes[resign->node_id - 1];
	if (node->shared.gate_open)
		sim_fail(sim, SIM_SAFETY, "T2: node %u hands over with its gate open", node->id);
	if (!node->shared.hold_wal || node->flushing)
		sim_fail(sim, SIM_SAFETY, "T2: node %u hands over and its log may grow", node->id);

	/* A target that lost power since has lost the unfinished record at its end, no more. */
	if (sim_log_complete(&target->log, target->log.flush) <
		sim_log_complete(&node->log, node->log.flush))
		sim_fail(sim, SIM_SAFETY, "T2: node %u hands over at %llX to node %u, which holds %llX",
				 node->id, (unsigned long long) node->log.flush, target->id,
				 (unsigned long long) target->log.flush);
}

/* ---- rewinds ------------------------------------------------------------ */

/* By which sets a leader lets somebody rewind itself: while a change is under way, by two. */
void
sim_check_allows(Sim *sim, const SimNode *node, const QuorumMessage *message)
{
	uint32_t   *allowed = sim->oracle.allowed[node->index][message->to - 1];
	bool		changes = node->core.change.step == QUORUM_CHANGE_WAIT_SET;

	if (message->type != QUORUM_MSG_HEARTBEAT || !message->rewind_granted)
		return;
	allowed[0] = sim_set_of(&node->core.hard.members).votes;
	allowed[1] = changes ? sim_set_of(&node->core.change.old).votes : allowed[0];
}

/* What a node hears of who recovers, from itself or by gossip. */
void
sim_check_told(Sim *sim, const SimNode *node, const QuorumMessage *message)
{
	SimTime    *told_at = sim->oracle.told_at[node->index];

	if (message->type == QUORUM_MSG_HEARTBEAT_ACK || message->type == QUORUM_MSG_STATUS)
		told_at[message->from - 1] = message->recovering ? sim->now : 0;
	for (int i = 0; message->type == QUORUM_MSG_HEARTBEAT && i < message->gossip_count; i++)
	{
		if (message->gossip[i].recovering)
			told_at[message->gossip[i].id - 1] = sim->now;
	}
}

/* Its leader allows it by what it has heard, and does not wait for ever for who is away. */
static bool
is_known_to_recover(const Sim *sim, const SimNode *leader, int index)
{
	SimTime		told_at = sim->oracle.told_at[leader->index][index];

	return sim->nodes[index].state_size > 0 && sim->nodes[index].disk_recovering &&
		!sim->nodes[index].by_hand && told_at != 0 && sim->now - told_at <= PATIENCE_LEASES * sim->options.lease;
}

/* W1: with this one gone a majority of these voters is whole, or no other one is not. */
static void
check_whole(Sim *sim, const SimNode *node, const SimNode *leader, uint32_t voters)
{
	int			recovering = 1;		/* itself */

	for (int i = 0; i < sim->options.nodes; i++)
	{
		if ((voters >> i & 1) != 0 && i != node->index && is_known_to_recover(sim, leader, i))
			recovering++;
	}
	if (recovering > 1 && (voters >> node->index & 1) != 0 &&
		sim_bits(voters) - recovering < majority(voters))
		sim_fail(sim, SIM_LIVENESS, "W1: node %u rewinds itself, %d of %d voters recover",
				 node->id, recovering, sim_bits(voters));
}

void
sim_check_rewind(Sim *sim, SimNode *node, const SimNode *leader)
{
	const uint32_t *allowed = sim->oracle.allowed[leader->index][node->index];

	if (!node->disk_recovering)
		sim_fail(sim, SIM_SAFETY, "W2: node %u rewinds itself and may vote", node->id);
	check_whole(sim, node, leader, allowed[0]);
	check_whole(sim, node, leader, allowed[1]);
}

/* ---- at the end --------------------------------------------------------- */

void
sim_check_converged(Sim *sim)
{
	const SimNode *leader = sim_leader(sim);
	const QuorumMemberSet *set;

	/* A set that it has just taken is on its way to the others. */
	if (leader == NULL || sim->now - leader->shared.set_at < sim->options.lease)
		return;
	set = &leader->core.hard.members;
	if (leader->core.change.step != QUORUM_CHANGE_NONE)
		sim_fail(sim, SIM_LIVENESS, "set %u.%u of node %u is not stored by a majority at the end",
				 set->id.term, set->id.version, leader->id);
	for (int i = 0; i < set->count; i++)
	{
		const SimNode *node = &sim->nodes[set->members[i].id - 1];

		if (!node->worker || node->retired || sim_cannot_be_spared(sim, leader, node))
			continue;

		/* Who promised a later term cannot follow before the next election (E7). */
		if (set->members[i].left_out && node->core.hard.term <= leader->core.hard.term)
			sim_fail(sim, SIM_LIVENESS, "node %u is left out at the end, by node %u", node->id,
					 leader->id);
		if (quorum_set_id_compare(node->core.hard.members.id, set->id) != 0)
			sim_fail(sim, SIM_LIVENESS, "node %u has set %u.%u at the end, its leader %u.%u",
					 node->id, node->core.hard.members.id.term,
					 node->core.hard.members.id.version, set->id.term, set->id.version);
	}
}
