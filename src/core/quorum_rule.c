/*
 * quorum_rule.c
 *	  Which members a leader's commits need now, and how far these hold its WAL.
 *
 * What a set asks for is arithmetic (quorum_members.c); here the change that is under
 * way decides which set, or that it is both (M3, M4).
 */
#include "quorum_internal.h"

void
quorum_current_rule(const QuorumNode *node, QuorumSyncRule *rule)
{
	switch (node->change.step)
	{
		case QUORUM_CHANGE_NONE:
			quorum_members_sync_rule(&node->hard.members, node->hard.node_id, rule);
			break;
		case QUORUM_CHANGE_WAIT_LSN:
			quorum_members_joint_rule(&node->hard.members, &node->change.next,
									  node->hard.node_id, rule);
			break;
		case QUORUM_CHANGE_WAIT_SET:
			quorum_members_joint_rule(&node->change.old, &node->hard.members,
									  node->hard.node_id, rule);
			break;
	}
}

/* What the quorum is known to hold of this leader's own WAL. */
QuorumLsn
quorum_held_by_rule(const QuorumNode *node, const QuorumSyncRule *rule)
{
	uint64_t	flushed[QUORUM_MAX_NODES];
	int			count = 0;
	QuorumLsn	held;

	if (rule->need == 0)
		return node->facts.position.lsn;
	for (int i = 0; i < rule->count; i++)
	{
		int			index = quorum_members_find(&node->hard.members, rule->ids[i]);
		const QuorumPeer *peer = index < 0 ? NULL : &node->peers[index];

		flushed[count++] = peer != NULL && peer->stream_term == node->hard.term &&
			peer->term == node->hard.term ? peer->stream_flush : 0;
	}
	held = quorum_nth_largest(flushed, count, rule->need);
	return held < node->facts.position.lsn ? held : node->facts.position.lsn;
}

bool
quorum_rule_held(const QuorumNode *node, const QuorumSyncRule *rule, QuorumLsn lsn)
{
	return quorum_held_by_rule(node, rule) >= lsn;
}
