/*
 * quorum_resign.c
 *	  When a leader that has its lease gives its term up all the same.
 *
 * Heartbeats only say that the workers reach each other.  Whoever cannot make commits
 * durable, or cannot get its WAL to the others, must not keep those from leading who can.
 *
 * Rules (docs/protocol.md):
 *	A4	who does not write durably does not count itself as a holder: it resigns at once
 *	E7	a member that promised a later term is not left behind for ever
 *	G1	its own WAL flush makes no progress for a lease: it resigns
 *	G2	its members hear it, but too few stream from it, for some leases: it resigns
 *	G3	its disk is nearly full and a follower has room: it hands its term over
 */
#include <string.h>

#include "quorum_internal.h"

/* How long a member that cannot follow this term is left behind. */
#define QUORUM_LEFT_BEHIND_LEASES	5

/* How long members that hear this leader may fail to stream from it. */
#define QUORUM_UNFOLLOWED_LEASES	3

/* A hand-over for want of space: how long it may take, and when it is tried again. */
#define QUORUM_SPACE_LIMIT_US		5000000
#define QUORUM_SPACE_AGAIN_LEASES	10

/*
 * E7: the term to go beyond when a member has been left behind for some leases; else 0.  A
 * learner counts, too: it may have promised that as a voter, or under an earlier id.
 */
static QuorumTerm
left_behind(const QuorumNode *node)
{
	QuorumTerm	later = 0;

	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumPeer *peer = &node->peers[i];

		if (peer->recovering || peer->later_term_since == 0 ||
			peer->term >= node->facts.position.tli + QUORUM_TERM_GAP_MAX ||
			node->now.mono - peer->heard_at > node->config.lease_us ||
			node->now.mono - peer->later_term_since < QUORUM_LEFT_BEHIND_LEASES *
			node->config.lease_us)
			continue;
		if (peer->term > later)
			later = peer->term;
	}
	return later;
}

/*
 * G2: commits wait for members that are there and hear us, and still do not stream.
 * Those that recover or have diverged have reasons of their own, and without a majority
 * beside this node nobody else could lead.
 */
static bool
is_unfollowed(const QuorumNode *node)
{
	QuorumSyncRule rule;
	int			streaming = 0;
	int			waiting = 0;
	int			others = 0;

	quorum_current_rule(node, &rule);
	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumPeer *peer = &node->peers[i];
		bool		heard = peer->heard_at != 0 &&
			node->now.mono - peer->heard_at <= node->config.lease_us;

		if (peer->id == node->hard.node_id || !heard ||
			!quorum_members_votes(&node->hard.members, peer->id))
			continue;
		others++;
		if (!quorum_members_is_in(&node->hard.members, peer->id))
			continue;
		if (peer->stream_term == node->hard.term)
			streaming++;
		else if (!peer->recovering && !peer->diverged && peer->term == node->hard.term)
			waiting++;
	}
	return streaming < rule.need && waiting > 0 &&
		others >= quorum_members_majority(&node->hard.members);
}

/* G2, over time. */
static bool
is_unfollowed_for_long(QuorumNode *node)
{
	if (!is_unfollowed(node))
		node->unfollowed_since = 0;
	else if (node->unfollowed_since == 0)
		node->unfollowed_since = node->now.mono;
	return node->unfollowed_since != 0 && node->now.mono - node->unfollowed_since >
		QUORUM_UNFOLLOWED_LEASES * node->config.lease_us;
}

/* G3: as an operator would, to whoever is best; not ready is no reason to stop serving. */
static void
hand_over_for_space(QuorumNode *node, QuorumUpdate *update)
{
	QuorumAdmin admin;

	if (!node->facts.space_low || node->transfer.target != QUORUM_NO_NODE ||
		node->change.step != QUORUM_CHANGE_NONE || node->now.mono < node->space_again_at ||
		(node->outcome.request_id != 0 && !node->outcome.done))
		return;
	node->space_again_at = node->now.mono + QUORUM_SPACE_AGAIN_LEASES * node->config.lease_us;
	memset(&admin, 0, sizeof(admin));
	admin.type = QUORUM_ADMIN_SWITCHOVER;
	admin.limit_us = QUORUM_SPACE_LIMIT_US;
	(void) quorum_transfer_start(node, update, &admin);
}

bool
quorum_resign_tick(QuorumNode *node, QuorumUpdate *update)
{
	QuorumTerm	later;

	quorum_assert(node->role == QUORUM_ROLE_LEADER);
	if (!node->gate_open || quorum_paused(node))
	{
		node->unfollowed_since = 0;
		return false;
	}
	later = left_behind(node);
	if (later > node->hard.term)
	{
		quorum_step_down(node, update, QUORUM_LOSS_HIGHER_TERM, QUORUM_RESIGN_LATER_TERM);
		quorum_become_follower(node, later);
		return true;
	}
	if (node->facts.wal_stalled)
	{
		quorum_step_down(node, update, QUORUM_LOSS_FACTS, QUORUM_RESIGN_WAL_STALLED);
		return true;
	}
	if (is_unfollowed_for_long(node))
	{
		quorum_step_down(node, update, QUORUM_LOSS_FACTS, QUORUM_RESIGN_UNFOLLOWED);
		return true;
	}
	hand_over_for_space(node, update);
	return false;
}
