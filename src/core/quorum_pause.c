/*
 * quorum_pause.c
 *	  A pause: for a while nobody takes over by itself, as an operator decided.
 *
 * The end of a pause is an instant of the wall clock in the member set, so every node
 * knows it and it ends by itself.  Nothing that is promised rests on it: voters vote as
 * ever, only whoever would stand stays seated.
 *
 * Rules (docs/protocol.md):
 *	E10	While the cluster is paused only who led last stands, whom it named as its
 *		successor, or who has to refuse it a vote for a shorter log.
 */
#include "quorum_internal.h"

/* Clocks may differ by that much before a pause looks longer than one can be. */
#define QUORUM_PAUSE_SKEW_US	(INT64_C(3600) * 1000000)

/* How much of the pause is left; 0 = not paused. */
static QuorumTime
pause_left(const QuorumNode *node)
{
	QuorumTime	until = node->hard.members.paused_until;
	QuorumTime	left;

	if (until <= node->now.wall || node->resumed_until >= until)
		return 0;
	left = until - node->now.wall;

	/* A wrong clock, there or here, must not stop the cluster for ever. */
	return left > QUORUM_PAUSE_MAX_US + QUORUM_PAUSE_SKEW_US ? 0 : left;
}

bool
quorum_paused(const QuorumNode *node)
{
	return pause_left(node) > 0;
}

bool
quorum_pause_holds(const QuorumNode *node)
{
	return !node->chosen && quorum_paused(node);
}

QuorumTime
quorum_pause_deadline(const QuorumNode *node)
{
	QuorumTime	left = pause_left(node);

	return left > 0 ? node->now.mono + left : QUORUM_NEVER;
}

/* Who led the term that its member set is stamped with led last (M6). */
void
quorum_pause_start(QuorumNode *node)
{
	node->chosen = node->hard.vote == node->hard.node_id &&
		node->hard.members.id.term == node->hard.term;
	node->pause_noted = quorum_paused(node) ? node->hard.members.paused_until : 0;
}

void
quorum_pause_tick(QuorumNode *node, QuorumUpdate *update)
{
	QuorumTime	until = quorum_paused(node) ? node->hard.members.paused_until : 0;

	if (until == node->pause_noted)
		return;
	quorum_emit_note(update, until != 0 ? QUORUM_NOTE_PAUSED : QUORUM_NOTE_RESUMED,
					 node->hard.term, QUORUM_NO_NODE, 0);
	node->pause_noted = until;
}
