/*
 * quorum_rewind.c
 *	  Which diverged member a leader lets go to rewind itself, and when (W1).
 */
#include "quorum_internal.h"

/* How long one that rewinds itself may be silent before others may, too. */
#define QUORUM_REWIND_LEASES	30

/* How long a voter that has not spoken to a new leader may be away for a rewind. */
#define QUORUM_AWAY_LEASES	5

/* A voter that has not spoken to this leader yet may be away for a rewind of its own. */
static bool
may_be_rewinding(const QuorumNode *node, const QuorumPeer *peer)
{
	return peer->heard_at == 0 &&
		node->now.mono - node->elected_at < QUORUM_AWAY_LEASES * node->config.lease_us;
}

static bool
gone_for_long(const QuorumNode *node, const QuorumPeer *peer)
{
	QuorumTime	since = peer->heard_at > peer->recovering_since ?
		peer->heard_at : peer->recovering_since;

	return node->now.mono - since > QUORUM_REWIND_LEASES * node->config.lease_us;
}

/*
 * Would this leader still have its lease if that voter said nothing more?  Not asked where
 * there is no majority without it anyway.
 */
static bool
leads_without(const QuorumNode *node, QuorumNodeId id)
{
	int			needed = quorum_members_majority(&node->hard.members);
	int			heard = 0;

	if (!quorum_members_votes(&node->hard.members, id) ||
		quorum_members_vote_count(&node->hard.members) - 1 < needed)
		return true;
	for (int i = 0; i < node->hard.members.count; i++)
	{
		QuorumNodeId other = node->hard.members.members[i].id;

		if (other != id && quorum_members_votes(&node->hard.members, other) &&
			(other == node->hard.node_id || node->peers[i].acked_until > node->now.boot))
			heard++;
	}
	return heard >= needed;
}

/*
 * W1, S8: who rewinds itself neither votes nor stands until it is whole again.  So that
 * the cluster survives the loss of this leader meanwhile, a majority must stay whole;
 * when it is not anyway, one at a time.  A gate that cannot open because those that
 * should hold its first record have diverged lets one of them go, but not the one whose
 * word its lease stands on: nobody would lead while that one copies.
 */
bool
quorum_rewind_may_begin(const QuorumNode *node, QuorumNodeId id)
{
	int			others = 0;

	if (!node->promoted || !quorum_lease_valid(node) || !leads_without(node, id))
		return false;
	if (node->rewinding != QUORUM_NO_NODE && node->rewinding != id &&
		node->now.mono < node->rewinding_until)
		return false;
	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumPeer *peer = &node->peers[i];

		/*
		 * Of two that wait, the lower id goes first.  One that went away recovering and does
		 * not come back holds up the others for some leases only.
		 */
		if (peer->id != id && peer->id != node->hard.node_id &&
			((peer->recovering && !gone_for_long(node, peer)) ||
			 may_be_rewinding(node, peer) || (peer->diverged && peer->id < id)) &&
			quorum_members_votes(&node->hard.members, peer->id))
			others++;
	}
	if (others == 0 || !quorum_members_votes(&node->hard.members, id))
		return true;

	/* Which set the others would elect by is open then. */
	if (node->change.step != QUORUM_CHANGE_NONE)
		return false;
	return node->gate_open && quorum_members_vote_count(&node->hard.members) - others - 1 >=
		quorum_members_majority(&node->hard.members);
}

bool
quorum_rewind_grant(QuorumNode *node, QuorumNodeId id)
{
	const QuorumPeer *peer = quorum_peer_find(node, id);

	if (peer == NULL || !peer->diverged || !quorum_rewind_may_begin(node, id))
		return false;
	node->rewinding = id;
	node->rewinding_until = node->now.mono + 2 * node->config.lease_us;
	return true;
}
