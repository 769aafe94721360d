/*
 * quorum_peer.c
 *	  What this node knows of the other members.
 */
#include <string.h>

#include "quorum_internal.h"

QuorumPeer *
quorum_peer_find(QuorumNode *node, QuorumNodeId id)
{
	int			index = quorum_members_find(&node->hard.members, id);

	if (index < 0 || id == node->hard.node_id)
		return NULL;
	quorum_assert(node->peers[index].id == id);
	return &node->peers[index];
}

bool
quorum_is_voter(const QuorumNode *node)
{
	return quorum_members_votes(&node->hard.members, node->hard.node_id);
}

bool
quorum_is_witness(const QuorumNode *node)
{
	int			index = quorum_members_find(&node->hard.members, node->hard.node_id);

	return index >= 0 && node->hard.members.members[index].kind == QUORUM_WITNESS;
}

void
quorum_peers_adopt_set(QuorumNode *node, const QuorumMemberSet *set)
{
	QuorumPeer	old[QUORUM_MAX_NODES];

	memcpy(old, node->peers, sizeof(old));
	memset(node->peers, 0, sizeof(node->peers));
	if (set != &node->hard.members)
		node->hard.members = *set;
	for (int i = 0; i < set->count; i++)
	{
		node->peers[i].id = set->members[i].id;
		for (int j = 0; j < QUORUM_MAX_NODES; j++)
		{
			if (old[j].id == set->members[i].id)
				node->peers[i] = old[j];
		}
	}
}

void
quorum_peer_heard(QuorumNode *node, const QuorumMessage *message)
{
	QuorumPeer *peer = quorum_peer_find(node, message->from);

	if (peer == NULL)
		return;
	peer->heard_at = node->now.mono;
	peer->gone = false;
	peer->returns = false;
	peer->silent = false;
	peer->doubt_at = 0;
	peer->term = message->term;
	if (message->term <= node->hard.term)
		peer->later_term_since = 0;
	else if (peer->later_term_since == 0)
		peer->later_term_since = node->now.mono;
	peer->set_id = message->set_id;
	if (quorum_walpos_known(message->position))
		peer->position = message->position;

	/*
	 * Whoever does not lead in a term has lost it for good: a follower of term T
	 * never becomes the leader of T, a candidate of T may.
	 */
	if (message->term >= node->boot_term &&
		(message->role == QUORUM_ROLE_FOLLOWER || message->role == QUORUM_ROLE_PRE_CANDIDATE))
		peer->denies_leading = true;

	if (message->type == QUORUM_MSG_HEARTBEAT_ACK || message->type == QUORUM_MSG_STATUS)
	{
		peer->replay_lsn = message->replay_lsn;
		peer->priority = message->priority;
		peer->pg_port = message->pg_port;
		peer->recovering = message->recovering;
		peer->diverged = message->diverged;
		peer->space_low = message->space_low;
		peer->stream_term = message->stream_term;
		peer->stream_flush = message->stream_flush;
	}
}
