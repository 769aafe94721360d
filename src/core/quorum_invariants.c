/*
 * quorum_invariants.c
 *	  What must be true of a node after every step.
 *
 * The list at the head of quorum_node.c, as code.  Always compiled in: a broken
 * invariant takes the node out before it can harm the cluster.
 */
#include "quorum_invariants.h"

#include "quorum_assert.h"
#include "quorum_members.h"

void
quorum_remember(const QuorumNode *node, QuorumBefore *before)
{
	before->term = node->hard.term;
	before->vote = node->hard.vote;
	before->set_id = node->hard.members.id;
	before->role = node->role;
	before->leader = node->leader;
	before->closed = node->closed;
	before->lease_until = node->lease_until;
}

void
quorum_check_state(const QuorumNode *node)
{
	const QuorumHardState *hard = &node->hard;

	quorum_assert(hard->node_id != QUORUM_NO_NODE);
	quorum_assert(hard->members.count >= 1);
	quorum_assert(hard->members.count <= QUORUM_MAX_NODES);
	quorum_assert(quorum_members_find(&hard->members, hard->node_id) >= 0);
	quorum_assert(hard->members.id.term <= hard->term);
	quorum_assert(quorum_members_left_out(&hard->members) <=
				  quorum_members_witness_count(&hard->members));
	for (int i = 0; i < hard->members.count; i++)
		quorum_assert(node->peers[i].id == hard->members.members[i].id);

	switch (node->role)
	{
		case QUORUM_ROLE_FOLLOWER:
			quorum_assert(node->leader != hard->node_id);
			break;
		case QUORUM_ROLE_PRE_CANDIDATE:
			quorum_assert(node->leader == QUORUM_NO_NODE);
			break;
		case QUORUM_ROLE_CANDIDATE:
			quorum_assert(node->leader == QUORUM_NO_NODE);
			quorum_assert(hard->vote == hard->node_id);
			break;
		case QUORUM_ROLE_LEADER:
			quorum_assert(node->leader == hard->node_id);
			quorum_assert(hard->vote == hard->node_id);
			quorum_assert(!node->closed);
			break;
	}
	if (node->role != QUORUM_ROLE_FOLLOWER)
	{
		/* S8: who lost its log takes no part; only voters stand. */
		quorum_assert(!hard->recovering);
		quorum_assert(quorum_members_is_in(&hard->members, hard->node_id));
	}
	if (node->gate_open)
	{
		/* S6, S4. */
		quorum_assert(node->role == QUORUM_ROLE_LEADER);
		quorum_assert(node->promoted);
		quorum_assert(node->facts.position.tli == hard->term);
		quorum_assert(node->facts.phase == QUORUM_PHASE_PRIMARY);
	}
	if (node->change.step != QUORUM_CHANGE_NONE)
		quorum_assert(node->role == QUORUM_ROLE_LEADER);
}

void
quorum_check_delta(const QuorumBefore *before, const QuorumNode *node)
{
	quorum_assert(node->hard.term >= before->term);
	if (node->hard.term == before->term && before->vote != QUORUM_NO_NODE)
		quorum_assert(node->hard.vote == before->vote);
	quorum_assert(quorum_set_id_compare(node->hard.members.id, before->set_id) >= 0);
	if (before->closed)
		quorum_assert(node->closed);

	/* S4: once a term is given up, it is over. */
	if (before->role == QUORUM_ROLE_LEADER && node->role == QUORUM_ROLE_LEADER)
	{
		quorum_assert(node->hard.term == before->term);
		quorum_assert(node->lease_until >= before->lease_until);
	}
	if (before->role == QUORUM_ROLE_FOLLOWER && node->role == QUORUM_ROLE_LEADER)
	{
		/* The only way past candidate in one step: alone in the cluster. */
		quorum_assert(quorum_members_majority(&node->hard.members) == 1);
	}
	if (node->hard.term == before->term && before->leader != QUORUM_NO_NODE &&
		node->leader != QUORUM_NO_NODE)
		quorum_assert(node->leader == before->leader);
}

void
quorum_check_update(const QuorumNode *node, const QuorumUpdate *update)
{
	/* Nothing leaves before what it rests on is durable. */
	if (update->message_count > 0 || update->action_count > 0)
	{
		quorum_assert(update->persist || !node->hard_dirty);
		quorum_assert(!update->facts_wanted);
	}

	/* A fence never falls, and a granted vote names the term it was persisted with. */
	quorum_assert(update->fence.term >= node->published.term);
	for (int i = 0; i < update->message_count; i++)
	{
		const QuorumMessage *message = &update->messages[i];

		quorum_assert(message->to != node->hard.node_id);
		if (message->type == QUORUM_MSG_VOTE_REPLY && message->verdict == QUORUM_GRANTED)
		{
			quorum_assert(message->term == node->hard.term);
			quorum_assert(node->hard.vote == message->to);
		}
	}
}
