/*
 * quorum_lease.c
 *	  Until when a leader may serve, until when a follower keeps its promise.
 *
 * This file only computes instants.  It does not decide roles (quorum_node.c) and
 * stops nobody from writing (the host's fence).
 *
 * Rules (docs/protocol.md):
 *	L1	A lease starts at the send time of the heartbeat that a majority of voters
 *		acknowledged, never at the time the acknowledgement came in, and has the
 *		length that this heartbeat asked for, whatever the setting says by now.
 *	L2	A follower's promise lasts the full lease from the time of receipt; the
 *		leader's lease is shorter by twice the clock drift and a margin.
 *	L3	A promise survives a restart: whoever boots waits out the longest lease it
 *		ever promised, unless every other voter has denied to lead since.
 */
#include "quorum_internal.h"

/* Clocks of two nodes may differ in rate by this many parts of a thousand. */
#define QUORUM_DRIFT_PERMILLE	10

/* What a check may lag behind the clock read: scheduling between check and effect. */
#define QUORUM_LEASE_MARGIN_US	1000

bool
quorum_promise_active(const QuorumNode *node)
{
	if (node->role == QUORUM_ROLE_LEADER)
		return true;

	/* A leader that stops as planned has shut its gate and given up its lease itself. */
	if (node->leader_closing)
		return false;
	return node->now.mono < node->promise_until;
}

QuorumTime
quorum_lease_end(QuorumTime sent_at, QuorumTime lease_us)
{
	return sent_at + lease_us - lease_us / 1000 * 2 * QUORUM_DRIFT_PERMILLE -
		QUORUM_LEASE_MARGIN_US;
}

void
quorum_lease_renew(QuorumNode *node)
{
	uint64_t	until[QUORUM_MAX_NODES];
	int			count = 0;
	QuorumTime	end;

	quorum_assert(node->role == QUORUM_ROLE_LEADER);
	for (int i = 0; i < node->hard.members.count; i++)
	{
		QuorumNodeId id = node->hard.members.members[i].id;

		if (!quorum_members_votes(&node->hard.members, id))
			continue;
		until[count++] = id == node->hard.node_id ?
			(uint64_t) quorum_lease_end(node->now.boot, node->config.lease_us) :
			(uint64_t) node->peers[i].acked_until;
	}
	end = (QuorumTime) quorum_nth_largest(until, count,
										  quorum_members_majority(&node->hard.members));
	if (end > node->lease_until)
		node->lease_until = end;
}

QuorumTime
quorum_lease_confirmed_at(const QuorumNode *node)
{
	uint64_t	sent[QUORUM_MAX_NODES];
	int			count = 0;

	if (node->role != QUORUM_ROLE_LEADER)
		return 0;
	for (int i = 0; i < node->hard.members.count; i++)
	{
		QuorumNodeId id = node->hard.members.members[i].id;

		if (quorum_members_votes(&node->hard.members, id))
			sent[count++] = id == node->hard.node_id ? (uint64_t) node->now.boot :
				(uint64_t) node->peers[i].acked_sent;
	}
	return (QuorumTime) quorum_nth_largest(sent, count,
										   quorum_members_majority(&node->hard.members));
}

bool
quorum_lease_valid(const QuorumNode *node)
{
	return node->role == QUORUM_ROLE_LEADER && node->now.boot < node->lease_until;
}

bool
quorum_lease_lapsed(const QuorumNode *node)
{
	quorum_assert(node->role == QUORUM_ROLE_LEADER);
	if (node->lease_until != 0)
		return node->now.boot >= node->lease_until;
	return node->now.mono >= node->elected_at + node->config.lease_us;
}

void
quorum_boot_hold_start(QuorumNode *node)
{
	/* Alone, there is nobody a promise can have been made to. */
	if (quorum_members_vote_count(&node->hard.members) <= 1 || node->hard.promise_us == 0)
		return;
	node->boot_hold = true;
	node->promise_until = node->now.mono + node->hard.promise_us +
		node->hard.promise_us / 1000 * QUORUM_DRIFT_PERMILLE;
}

void
quorum_boot_hold_check(QuorumNode *node)
{
	if (!node->boot_hold)
		return;
	for (int i = 0; i < node->hard.members.count; i++)
	{
		QuorumNodeId id = node->hard.members.members[i].id;

		if (id != node->hard.node_id && quorum_members_votes(&node->hard.members, id) &&
			!node->peers[i].denies_leading)
			return;
	}
	node->boot_hold = false;
	node->promise_until = 0;
}
