/*
 * quorum_syncset.c
 *	  Which data nodes commits wait for: leave out who is lost, take in who caught up.
 *
 * With a witness a majority of votes can outlive the data node that commits wait for.
 * Then the leader publishes a set in which that node is left out: it counts no more, and
 * can lead no more, until it holds everything again.
 *
 * Rules (docs/protocol.md):
 *	Y1	Who is left out votes, but neither counts for commits nor stands.  At most as
 *		many are left out as there are witnesses.
 *	Y4	Leaving out is published at once: sync set and need shrink by one together, so
 *		whoever could be elected by the old set still meets every commit.  The old rule
 *		holds until the set is stored (M4).  A new leader does it before its gate opens.
 *	Y5	Taking in goes by way of the rule of both sets (M3).
 *	Y7	When as many are left out as may be and another one is lost, whoever has come back
 *		and holds everything takes its place, in one change by way of M3.  Nothing can be
 *		acknowledged then, so a new leader may do it before its gate opens, too.
 *	Y6	A strict node leaves nobody out.
 */
#include "quorum_internal.h"

/* How long a member that answers may take to stream, in parts of a lease. */
#define QUORUM_UNABLE_PART	2

/* A broken connection: how often to look whether both ports of the member refuse. */
#define QUORUM_DOUBT_INTERVAL_US	20000

static bool
applies(const QuorumNode *node)
{
	return node->role == QUORUM_ROLE_LEADER && !node->config.strict &&
		quorum_members_witness_count(&node->hard.members) > 0;
}

/* It answers and acknowledges WAL of this term. */
static bool
is_able(const QuorumNode *node, const QuorumPeer *peer)
{
	return !peer->gone && peer->heard_at != 0 && peer->term == node->hard.term &&
		peer->stream_term == node->hard.term &&
		node->now.mono - peer->heard_at <= node->config.lease_us;
}

/* Not able, and not worth waiting for. */
static bool
is_lost(const QuorumNode *node, const QuorumPeer *peer)
{
	/* Followers hardly ever hear each other: what one did not say before it led means nothing. */
	QuorumTime	heard_at = peer->heard_at > node->elected_at ? peer->heard_at : node->elected_at;

	if (is_able(node, peer))
		return false;
	if ((peer->gone && !peer->returns) || peer->silent)
		return true;
	return node->now.mono - heard_at > node->config.lease_us ||
		(peer->unable_since != 0 && node->now.mono - peer->unable_since >
		 node->config.lease_us / QUORUM_UNABLE_PART);
}

/* The member of the rule that is lost when too few of the others are left; -1 = none. */
static int
whom_to_leave_out(const QuorumNode *node, const QuorumSyncRule *rule)
{
	int			lost = -1;
	int			hopeful = 0;

	for (int i = 0; i < rule->count; i++)
	{
		int			index = quorum_members_find(&node->hard.members, rule->ids[i]);

		quorum_assert(index >= 0);
		if (is_lost(node, &node->peers[index]))
			lost = index;
		else
			hopeful++;
	}
	return hopeful < rule->need ? lost : -1;
}

/* Time passes for those that may be left out; doubts about them are looked into. */
static void
watch_members(QuorumNode *node, QuorumUpdate *update)
{
	bool		probed = false;

	for (int i = 0; i < node->hard.members.count; i++)
	{
		QuorumPeer *peer = &node->peers[i];

		if (peer->id == node->hard.node_id ||
			!quorum_members_is_in(&node->hard.members, peer->id))
			continue;
		if (is_able(node, peer))
			peer->unable_since = 0;
		else if (peer->unable_since == 0 || peer->unable_since < node->elected_at)
			peer->unable_since = node->now.mono;

		/* One a step; the deadline brings us back at once for the next. */
		if (peer->doubt_at != 0 && node->now.mono >= peer->doubt_at && !peer->gone && !probed)
		{
			probed = true;
			quorum_emit_action(update, QUORUM_ACTION_PROBE, node->hard.term, peer->id);
			peer->doubt_at = node->now.mono + QUORUM_DOUBT_INTERVAL_US;
		}
	}
}

static bool
has_room(const QuorumNode *node)
{
	return quorum_members_left_out(&node->hard.members) <
		quorum_members_witness_count(&node->hard.members);
}

/*
 * As many are left out as there are witnesses, and one more is lost: somebody who has come
 * back and holds all that was flushed takes its place.  Nothing is acknowledged meanwhile,
 * as the rule of both sets names the lost one, so what the new rule holds is all there is.
 */
static void
exchange(QuorumNode *node, int lost)
{
	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumPeer *peer = &node->peers[i];

		if (!node->hard.members.members[i].left_out || !is_able(node, peer) ||
			peer->recovering || peer->stream_flush < node->facts.position.lsn)
			continue;
		node->change.next = node->hard.members;
		node->change.next.members[lost].left_out = true;
		node->change.next.members[i].left_out = false;
		quorum_change_start(node);
		return;
	}
}

void
quorum_syncset_tick(QuorumNode *node, QuorumUpdate *update)
{
	QuorumMemberSet next;
	QuorumSyncRule rule;
	int			index;

	if (!applies(node))
		return;
	watch_members(node, update);
	if (node->change.step != QUORUM_CHANGE_NONE || node->transfer.target != QUORUM_NO_NODE)
		return;
	quorum_current_rule(node, &rule);
	index = whom_to_leave_out(node, &rule);
	if (index < 0)
		return;
	if (!has_room(node))
	{
		exchange(node, index);
		return;
	}
	next = node->hard.members;
	next.members[index].left_out = true;
	quorum_set_publish(node, update, &next);
}

/* The change under way waits for somebody who is lost, or keeps that one from being left out. */
bool
quorum_syncset_hopeless(const QuorumNode *node)
{
	QuorumSyncRule rule;

	if (!applies(node))
		return false;
	if (has_room(node))
	{
		quorum_current_rule(node, &rule);
		if (whom_to_leave_out(node, &rule) >= 0)
			return true;
	}
	quorum_members_sync_rule(&node->change.next, node->hard.node_id, &rule);
	return whom_to_leave_out(node, &rule) >= 0;
}

/* A connection with it broke: nobody is waited for that is proved dead. */
void
quorum_syncset_doubt(QuorumNode *node, QuorumPeer *peer)
{
	if (applies(node))
		peer->doubt_at = node->now.mono;
}

QuorumTime
quorum_syncset_deadline(const QuorumNode *node)
{
	QuorumTime	deadline = QUORUM_NEVER;

	for (int i = 0; applies(node) && i < node->hard.members.count; i++)
	{
		const QuorumPeer *peer = &node->peers[i];

		if (peer->doubt_at != 0 && !peer->gone && peer->doubt_at < deadline &&
			quorum_members_is_in(&node->hard.members, peer->id))
			deadline = peer->doubt_at;
	}
	return deadline;
}

bool
quorum_syncset_may_take_in(const QuorumNode *node, int index)
{
	const QuorumPeer *peer = &node->peers[index];

	return node->hard.members.members[index].left_out && is_able(node, peer) &&
		!peer->recovering && node->caught_up_lsn != 0 &&
		peer->stream_flush >= node->caught_up_lsn;
}

void
quorum_syncset_note(const QuorumNode *node, QuorumUpdate *update, const QuorumMemberSet *old)
{
	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumMember *member = &node->hard.members.members[i];
		int			before = quorum_members_find(old, member->id);

		if (before >= 0 && old->members[before].left_out != member->left_out)
			quorum_emit_note(update, member->left_out ? QUORUM_NOTE_LEFT_OUT :
							 QUORUM_NOTE_TAKEN_IN, node->hard.term, member->id, 0);
	}
}
