/*
 * quorum_drive.c
 *	  One event through the core and its consequences in the order that keeps promises.
 */
#include "quorum_drive.h"

#include "quorum_assert.h"

/* The consequences of one update.  The order is the contract; see the header. */
static bool
carry_out(QuorumNode *node, QuorumScratch *scratch, const QuorumDriverOps *ops, void *arg)
{
	const QuorumUpdate *update = &scratch->update;

	if (update->fence_changed)
	{
		if (!ops->fence(arg, &update->fence))
			return false;
		node->published = update->fence;
	}
	if (update->persist)
	{
		if (!ops->persist(arg, &node->hard))
			return false;
		node->hard_dirty = false;
	}
	for (int i = 0; i < update->message_count; i++)
	{
		if (!ops->send(arg, &update->messages[i]))
			return false;
	}
	for (int i = 0; i < update->action_count; i++)
	{
		if (!ops->act(arg, &update->actions[i]))
			return false;
	}
	for (int i = 0; i < update->note_count; i++)
	{
		if (!ops->note(arg, &update->notes[i]))
			return false;
	}
	return true;
}

bool
quorum_drive(QuorumNode *node, const QuorumEvent *event, QuorumScratch *scratch,
			 const QuorumDriverOps *ops, void *arg)
{
	quorum_step(node, event, &scratch->update);
	if (!carry_out(node, scratch, ops, arg))
		return false;

	/* S2: the position a vote is compared with is read behind the fence. */
	if (scratch->update.facts_wanted)
	{
		if (!ops->read_facts(arg, &scratch->again))
			return false;
		quorum_assert(scratch->again.type == QUORUM_EVENT_FACTS);
		quorum_step(node, &scratch->again, &scratch->update);
		quorum_assert(!scratch->update.facts_wanted);
		if (!carry_out(node, scratch, ops, arg))
			return false;
	}
	quorum_view(node, &scratch->view);
	return ops->publish(arg, &scratch->view);
}
