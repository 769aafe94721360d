/*
 * quorum_membership.c
 *	  How the member set changes: one change at a time, under the leader, never unsafe.
 *
 * The set is "logless": ordered by (term, version), stored beside term and vote,
 * spread by gossip.  This file decides when a change may go on.
 *
 * Rules (docs/protocol.md):
 *	M1	Only a leader with an open gate changes the set, and only when the current one
 *		is stored by a majority of its voters.
 *	M2	At most one voter comes or goes per change.
 *	M3	Before a set is published that makes commits need more or other holders, every
 *		commit already satisfies the rule of both sets, and everything up to then is
 *		held under the new one.
 *	M4	The old rule ends when a majority of the new voters store the new set, and so
 *		many of the old ones that no majority of them has not heard of it.
 *	M5	A learner becomes a voter only when it holds what the quorum held one
 *		heartbeat ago.
 */
#include <string.h>

#include "quorum_internal.h"

#define QUORUM_INVITE_INTERVAL_US	250000
#define QUORUM_INVITE_LIMIT_US		30000000

/* Commits wait for the rule of both sets: not longer than this for a node that is gone. */
#define QUORUM_CHANGE_LEASES		2

void
quorum_outcome_done(QuorumNode *node, QuorumNodeId id)
{
	if (node->outcome.request_id != 0 && !node->outcome.done && node->outcome.node_id == id)
		node->outcome.done = true;
}

void
quorum_outcome_failed(QuorumNode *node, uint64_t request_id, const char *reason)
{
	node->outcome.request_id = request_id;
	node->outcome.done = true;
	node->outcome.failed = true;
	quorum_text_copy(node->outcome.reason, reason, QUORUM_REASON_SIZE);
}

static void
send_members(QuorumNode *node, QuorumUpdate *update, QuorumNodeId to)
{
	quorum_emit_message(node, update, QUORUM_MSG_MEMBERS, to)->members = node->hard.members;
}

/* Make `next` the set of this leader; the old rule stays in force until M4. */
void
quorum_set_publish(QuorumNode *node, QuorumUpdate *update, const QuorumMemberSet *next)
{
	QuorumMemberSet stamped = *next;
	QuorumNodeId tell_removed = QUORUM_NO_NODE;

	quorum_assert(node->role == QUORUM_ROLE_LEADER);
	quorum_assert(node->change.step != QUORUM_CHANGE_WAIT_SET);
	node->change.old = node->hard.members;
	for (int i = 0; update != NULL && i < node->hard.members.count; i++)
	{
		QuorumNodeId id = node->hard.members.members[i].id;

		/* Who leaves is told; it may be away, then it hears it when it asks again. */
		if (quorum_members_find(next, id) < 0 && id != node->hard.node_id)
			tell_removed = id;
	}
	stamped.id.term = node->hard.term;
	stamped.id.version = node->hard.members.id.version + 1;
	quorum_peers_adopt_set(node, &stamped);
	node->hard_dirty = true;
	node->change.step = QUORUM_CHANGE_WAIT_SET;
	if (tell_removed != QUORUM_NO_NODE)
		send_members(node, update, tell_removed);
	for (int i = 0; update != NULL && i < stamped.count; i++)
	{
		if (stamped.members[i].id != node->hard.node_id && node->peers[i].heard_at != 0)
			send_members(node, update, stamped.members[i].id);
	}
}

void
quorum_membership_restamp(QuorumNode *node)
{
	QuorumMemberSet same = node->hard.members;
	int			self = quorum_members_find(&same, node->hard.node_id);

	/* Its own port may have changed while it was down, and all will stream from it now. */
	if (node->config.pg_port != 0)
		same.members[self].pg_port = node->config.pg_port;
	/* Whoever was told to go on although the cluster is paused ends the pause for all. */
	if (node->resumed_until >= same.paused_until)
		same.paused_until = 0;
	node->change.step = QUORUM_CHANGE_NONE;
	quorum_invite_now(node);
	quorum_set_publish(node, NULL, &same);
}

/*
 * M10: is the set that a new leader found in force?  Its predecessor may have published it
 * and reached nobody else: then the others still elect by the set before, which is unknown here.
 */
bool
quorum_membership_restamped(const QuorumNode *node)
{
	return node->change.step != QUORUM_CHANGE_WAIT_SET ||
		node->change.old.id.term == node->hard.term;
}

/* By how many of these voters is the current set stored? */
static int
stored_by(const QuorumNode *node, const QuorumMemberSet *voters)
{
	int			stored = 0;

	for (int i = 0; i < voters->count; i++)
	{
		QuorumNodeId id = voters->members[i].id;
		int			index = quorum_members_find(&node->hard.members, id);

		if (!quorum_members_votes(voters, id))
			continue;
		if (id == node->hard.node_id)
			stored++;
		else if (index >= 0 &&
				 quorum_set_id_compare(node->peers[index].set_id, node->hard.members.id) == 0)
			stored++;
	}
	return stored;
}

bool
quorum_member_joined(const QuorumMember *member)
{
	uint8_t		any = 0;

	for (int i = 0; i < QUORUM_UUID_SIZE; i++)
		any |= member->uuid[i];
	return any != 0;
}

/* change.next is the set to come: first the rule of both, then the set (M3). */
void
quorum_change_start(QuorumNode *node)
{
	quorum_assert(node->change.step == QUORUM_CHANGE_NONE);
	node->change.step = QUORUM_CHANGE_WAIT_LSN;
	node->change.lsn = 0;
	node->change.give_up_at = node->now.mono + QUORUM_CHANGE_LEASES * node->config.lease_us;
}

void
quorum_on_members(QuorumNode *node, QuorumUpdate *update, const QuorumMessage *message)
{
	const QuorumMemberSet *set = &message->members;
	bool		newer = quorum_set_id_compare(set->id, node->hard.members.id) > 0;

	if (newer && quorum_members_find(set, node->hard.node_id) < 0)
	{
		if (!node->removed)
			quorum_emit_note(update, QUORUM_NOTE_MEMBER_REMOVED, set->id.term,
							 node->hard.node_id, 0);
		node->removed = true;
		return;
	}
	if (newer && node->role != QUORUM_ROLE_LEADER)
	{
		node->removed = false;

		/* Whoever asks for votes by the old set asks anew by the new one, if it may. */
		if (node->role != QUORUM_ROLE_FOLLOWER)
		{
			quorum_become_follower(node, node->hard.term);
			node->election_at = QUORUM_NEVER;
		}
		if (set->id.term > node->hard.term)
			quorum_become_follower(node, set->id.term);
		quorum_peers_adopt_set(node, set);
		node->hard_dirty = true;
		quorum_emit_note(update, QUORUM_NOTE_MEMBERS_CHANGED, set->id.term, message->from, 0);
	}

	/*
	 * Tell what is stored now; it leaves after the write.  A leader whose time is over
	 * takes no set any more, and its answer would only bring the same one again.
	 */
	if (newer && node->role == QUORUM_ROLE_LEADER)
		return;
	if (quorum_peer_find(node, message->from) != NULL)
		quorum_emit_ack(node, update, QUORUM_MSG_STATUS, message->from, 0);
}

void
quorum_on_invite(QuorumNode *node, QuorumUpdate *update, const QuorumMessage *message)
{
	QuorumMessage *answer;

	/* A member answers only its own invitation, sent again because the answer was lost. */
	if (message->node_id != node->hard.node_id ||
		memcmp(message->cluster_id, node->hard.cluster_id, QUORUM_UUID_SIZE) != 0)
		return;
	answer = quorum_emit_message(node, update, QUORUM_MSG_INVITE_REPLY, message->from);
	answer->accepted = true;
	answer->pg_port = node->config.pg_port;
	memcpy(answer->uuid, node->hard.uuid, QUORUM_UUID_SIZE);
}

void
quorum_invite_now(QuorumNode *node)
{
	node->invite_at = node->now.mono;
	node->invite_until = node->now.mono + QUORUM_INVITE_LIMIT_US;
}

/* Who was invited and does not come leaves the set; it never had a vote. */
static void
take_back_invitation(QuorumNode *node, QuorumUpdate *update, int index, const char *reason)
{
	QuorumMemberSet next = node->hard.members;
	QuorumNodeId id = next.members[index].id;

	quorum_assert(next.members[index].kind == QUORUM_LEARNER);
	if (node->outcome.request_id != 0 && node->outcome.node_id == id && !node->outcome.done)
		quorum_outcome_failed(node, node->outcome.request_id, reason);
	for (int i = index; i + 1 < next.count; i++)
		next.members[i] = next.members[i + 1];
	next.count--;
	quorum_set_publish(node, update, &next);
}

void
quorum_on_invite_reply(QuorumNode *node, QuorumUpdate *update, const QuorumMessage *message)
{
	QuorumMemberSet next = node->hard.members;
	int			index = quorum_members_find(&next, message->from);

	if (node->role != QUORUM_ROLE_LEADER || node->change.step != QUORUM_CHANGE_NONE || index < 0 ||
		quorum_member_joined(&next.members[index]))
		return;
	if (message->accepted)
	{
		memcpy(next.members[index].uuid, message->uuid, QUORUM_UUID_SIZE);
		next.members[index].pg_port = message->pg_port;
		quorum_set_publish(node, update, &next);
		return;
	}
	take_back_invitation(node, update, index, message->reason);
}

static void
invite_missing(QuorumNode *node, QuorumUpdate *update)
{
	if (node->now.mono < node->invite_at)
		return;
	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumMember *member = &node->hard.members.members[i];
		QuorumMessage *invite;

		if (member->id == node->hard.node_id || quorum_member_joined(member))
			continue;
		if (node->now.mono >= node->invite_until)
		{
			take_back_invitation(node, update, i, "nobody answered at that address");
			return;
		}
		invite = quorum_emit_message(node, update, QUORUM_MSG_INVITE, member->id);
		memcpy(invite->cluster_id, node->hard.cluster_id, QUORUM_UUID_SIZE);
		invite->system_identifier = node->hard.system_identifier;
		invite->node_id = member->id;
		invite->members = node->hard.members;
	}
	node->invite_at = node->now.mono + QUORUM_INVITE_INTERVAL_US;
}

/*
 * Commits wait for the rule of both sets while a change is under way.  So that they need
 * not wait for somebody who is not there, it begins when enough that are here hold what the
 * quorum held: it would be tried for ever, and stand in an operator's way, for one that is gone.
 */
static bool
start_if_held(QuorumNode *node)
{
	QuorumSyncRule rule;
	int			held = 0;

	quorum_members_sync_rule(&node->change.next, node->hard.node_id, &rule);
	for (int i = 0; i < rule.count; i++)
	{
		const QuorumPeer *peer = quorum_peer_find(node, rule.ids[i]);

		if (peer != NULL && peer->term == node->hard.term &&
			peer->stream_term == node->hard.term &&
			peer->stream_flush >= node->caught_up_lsn &&
			node->now.mono - peer->heard_at < node->config.lease_us)
			held++;
	}
	if (node->caught_up_lsn == 0 || held < rule.need)
		return false;
	quorum_change_start(node);
	return true;
}

static void
propose_change(QuorumNode *node, QuorumUpdate *update)
{
	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumMember *member = &node->hard.members.members[i];
		const QuorumPeer *peer = &node->peers[i];

		if (member->id == node->hard.node_id || !quorum_member_joined(member) ||
			peer->heard_at == 0)
			continue;
		node->change.next = node->hard.members;

		/* A port that changed while the member was away. */
		if (peer->pg_port != 0 && peer->pg_port != member->pg_port)
		{
			node->change.next.members[i].pg_port = peer->pg_port;
			quorum_set_publish(node, update, &node->change.next);
			return;
		}
		if (member->kind == QUORUM_LEARNER && member->becomes == QUORUM_WITNESS &&
			quorum_members_room_for_witness(&node->hard.members) &&
			node->now.mono - peer->heard_at < node->config.lease_us)
		{
			node->change.next.members[i].kind = QUORUM_WITNESS;
			node->change.next.members[i].becomes = 0;
			if (start_if_held(node))
				return;
		}
		if (quorum_syncset_may_take_in(node, i) && node->now.mono >= node->take_in_at)
		{
			node->change.next.members[i].left_out = false;
			if (start_if_held(node))
				return;
		}
		if (member->kind == QUORUM_LEARNER && member->becomes == QUORUM_VOTER &&
			!peer->recovering && peer->stream_term == node->hard.term && node->caught_up_lsn != 0 &&
			peer->stream_flush >= node->caught_up_lsn &&
			node->now.mono - peer->heard_at < node->config.lease_us)
		{
			node->change.next.members[i].kind = QUORUM_VOTER;
			node->change.next.members[i].becomes = 0;
			if (start_if_held(node))
				return;
		}
	}
}

/* The joint rule is in force since the last publish: what is flushed now must be held under it. */
void
quorum_membership_facts(QuorumNode *node)
{
	if (node->role == QUORUM_ROLE_LEADER && node->change.step == QUORUM_CHANGE_WAIT_LSN &&
		node->change.lsn == 0)
		node->change.lsn = node->facts.position.lsn;
}

/* An address changes by request alone: that is done as soon as the set is stored. */
static bool
has_moved(const QuorumNode *node, const QuorumMember *member)
{
	const QuorumMemberSet *old = &node->change.old;
	int			before = quorum_members_find(old, member->id);

	return before >= 0 &&
		(member->quorum_port != old->members[before].quorum_port ||
		 !quorum_text_equal(member->host, old->members[before].host, QUORUM_HOST_SIZE));
}

/* A member that stays, but not as it was. */
static void
note_change_of(const QuorumNode *node, QuorumUpdate *update, const QuorumMember *member)
{
	if (quorum_members_votes(&node->change.old, member->id) && member->kind == QUORUM_LEARNER)
		quorum_emit_note(update, QUORUM_NOTE_MEMBER_LEARNER, node->hard.term, member->id, 0);
	if (has_moved(node, member))
		quorum_emit_note(update, QUORUM_NOTE_MEMBER_MOVED, node->hard.term, member->id, 0);
}

static void
conclude_change(QuorumNode *node, QuorumUpdate *update)
{
	/*
	 * M4.  Of the old voters, so many that no majority of them is left that has not
	 * heard of it: who was removed stores nothing, and is not waited for.
	 */
	if (stored_by(node, &node->hard.members) < quorum_members_majority(&node->hard.members) ||
		stored_by(node, &node->change.old) <= quorum_members_vote_count(&node->change.old) -
		quorum_members_majority(&node->change.old))
		return;
	node->change.step = QUORUM_CHANGE_NONE;
	quorum_syncset_note(node, update, &node->change.old);
	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumMember *member = &node->hard.members.members[i];

		if (!quorum_members_votes(&node->change.old, member->id) &&
			quorum_members_votes(&node->hard.members, member->id))
			quorum_emit_note(update, QUORUM_NOTE_MEMBER_VOTER, node->hard.term, member->id, 0);
		note_change_of(node, update, member);
		if ((quorum_member_joined(member) && member->becomes == 0) || has_moved(node, member))
			quorum_outcome_done(node, member->id);
	}
	for (int i = 0; i < node->change.old.count; i++)
	{
		QuorumNodeId id = node->change.old.members[i].id;

		if (quorum_members_find(&node->hard.members, id) < 0)
		{
			quorum_emit_note(update, QUORUM_NOTE_MEMBER_REMOVED, node->hard.term, id, 0);
			quorum_outcome_done(node, id);
		}
	}
}

/* Not published yet, so nothing has to be taken back but the rule. */
static void
give_up_change(QuorumNode *node)
{
	QuorumNodeId id = node->outcome.node_id;

	node->change.step = QUORUM_CHANGE_NONE;
	node->take_in_at = node->now.mono + node->config.lease_us;
	if (node->outcome.request_id != 0 && !node->outcome.done &&
		(quorum_members_find(&node->change.next, id) < 0 ||
		 (quorum_members_votes(&node->hard.members, id) &&
		  !quorum_members_votes(&node->change.next, id))))
		quorum_outcome_failed(node, node->outcome.request_id,
			 "the members that stay do not hold all WAL in time");
}

void
quorum_membership_tick(QuorumNode *node, QuorumUpdate *update)
{
	quorum_assert(node->role == QUORUM_ROLE_LEADER);
	if (node->outcome.request_id != 0 && !node->outcome.done &&
		node->transfer.target == QUORUM_NO_NODE && node->now.mono >= node->outcome_until)
		quorum_outcome_failed(node, node->outcome.request_id,
			 "it is not done yet and goes on; see quorum.members");
	if (!node->gate_open && node->change.step == QUORUM_CHANGE_NONE)
		return;
	switch (node->change.step)
	{
		case QUORUM_CHANGE_NONE:
			invite_missing(node, update);
			if (node->change.step == QUORUM_CHANGE_NONE)
				propose_change(node, update);
			break;
		case QUORUM_CHANGE_WAIT_LSN:
			if (node->now.mono >= node->change.give_up_at || quorum_syncset_hopeless(node))
				give_up_change(node);
			else if (node->change.lsn != 0)
			{
				QuorumSyncRule rule;

				/* What the old rule holds beyond that is held by both: the rule of now. */
				quorum_members_sync_rule(&node->change.next, node->hard.node_id, &rule);
				if (quorum_rule_held(node, &rule, node->change.lsn))
					quorum_set_publish(node, update, &node->change.next);
			}
			break;
		case QUORUM_CHANGE_WAIT_SET:
			conclude_change(node, update);
			break;
	}
}
