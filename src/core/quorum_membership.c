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
 *	M3	Before a set is published that makes commits need more holders, every commit
 *		already satisfies the rule of both sets, and everything up to then is held
 *		under it.
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

static void
finish(QuorumNode *node, QuorumNodeId id)
{
	if (node->outcome.request_id != 0 && !node->outcome.done && node->outcome.node_id == id)
		node->outcome.done = true;
}

static void
fail(QuorumNode *node, uint64_t request_id, const char *reason)
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
static void
publish_set(QuorumNode *node, QuorumUpdate *update, const QuorumMemberSet *next)
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
	node->change.step = QUORUM_CHANGE_NONE;
	node->invite_until = node->now.mono + QUORUM_INVITE_LIMIT_US;
	publish_set(node, NULL, &same);
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

static const char *
refuse_add(const QuorumNode *node, const QuorumAdmin *admin)
{
	if (node->hard.members.count >= QUORUM_MAX_NODES)
		return "the cluster has as many members as it can";
	if (admin->name[0] == '\0' || admin->host[0] == '\0' || admin->quorum_port == 0)
		return "name and address must not be empty";
	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumMember *member = &node->hard.members.members[i];
		bool		same_name = quorum_text_equal(member->name, admin->name, QUORUM_NAME_SIZE);
		bool		same_address = member->quorum_port == admin->quorum_port &&
			quorum_text_equal(member->host, admin->host, QUORUM_HOST_SIZE);

		if (same_name && !same_address)
			return "a member of that name exists already";
		if (same_address && !same_name)
			return "another member has that address";
	}
	return NULL;
}

static bool
joined(const QuorumMember *member)
{
	uint8_t		any = 0;

	for (int i = 0; i < QUORUM_UUID_SIZE; i++)
		any |= member->uuid[i];
	return any != 0;
}

/* change.next is the set to come: first the rule of both, then the set (M3). */
static void
start_change(QuorumNode *node)
{
	quorum_assert(node->change.step == QUORUM_CHANGE_NONE);
	node->change.step = QUORUM_CHANGE_WAIT_LSN;
	node->change.lsn = 0;
	node->change.give_up_at = node->now.mono + QUORUM_CHANGE_LEASES * node->config.lease_us;
}

/* A request for a member that exists goes on with it; a finished one is finished again. */
static void
resume_add(QuorumNode *node, QuorumUpdate *update, int index, const QuorumAdmin *admin)
{
	QuorumMemberSet next = node->hard.members;
	QuorumMember *member = &next.members[index];

	node->outcome.node_id = member->id;
	if (member->kind == admin->kind && joined(member))
	{
		finish(node, member->id);
		return;
	}
	if (admin->kind == QUORUM_VOTER && !member->wants_vote)
	{
		member->wants_vote = true;
		publish_set(node, update, &next);
	}
}

static void
add_member(QuorumNode *node, QuorumUpdate *update, const QuorumAdmin *admin)
{
	QuorumMemberSet next;
	QuorumMember *member;
	const char *why = refuse_add(node, admin);
	int			index;

	if (why != NULL)
	{
		fail(node, admin->request_id, why);
		return;
	}
	index = quorum_members_find_name(&node->hard.members, admin->name);
	if (index >= 0)
	{
		resume_add(node, update, index, admin);
		return;
	}

	next = node->hard.members;
	member = &next.members[next.count++];
	memset(member, 0, sizeof(*member));
	member->id = next.next_node_id++;
	member->kind = QUORUM_LEARNER;
	member->wants_vote = admin->kind == QUORUM_VOTER;
	member->quorum_port = admin->quorum_port;
	quorum_text_copy(member->name, admin->name, QUORUM_NAME_SIZE);
	quorum_text_copy(member->host, admin->host, QUORUM_HOST_SIZE);
	node->outcome.node_id = member->id;
	quorum_emit_note(update, QUORUM_NOTE_MEMBER_ADDED, node->hard.term, member->id, 0);
	publish_set(node, update, &next);
	node->invite_at = node->now.mono;
	node->invite_until = node->now.mono + QUORUM_INVITE_LIMIT_US;
}

/* The set without one member; a voter goes by way of the joint rule (M3). */
static void
remove_member(QuorumNode *node, QuorumUpdate *update, const QuorumAdmin *admin)
{
	int			index = quorum_members_find_name(&node->hard.members, admin->name);
	QuorumMemberSet *next = &node->change.next;

	if (index < 0)
	{
		fail(node, admin->request_id, "no member has that name");
		return;
	}
	node->outcome.node_id = node->hard.members.members[index].id;
	if (node->outcome.node_id == node->hard.node_id)
	{
		fail(node, admin->request_id, "the leader cannot be removed: switch over first");
		return;
	}
	*next = node->hard.members;
	for (int i = index; i + 1 < next->count; i++)
		next->members[i] = next->members[i + 1];
	next->count--;
	start_change(node);
	(void) update;
}

void
quorum_on_admin(QuorumNode *node, QuorumUpdate *update, const QuorumAdmin *admin)
{
	const char *why = NULL;

	if (node->role != QUORUM_ROLE_LEADER || !node->gate_open)
		why = "this node does not lead its cluster";
	else if (node->change.step != QUORUM_CHANGE_NONE)
		why = "another change of the member set is under way";
	else if (node->outcome.request_id != 0 && !node->outcome.done)
		why = "another request is under way";
	if (why != NULL)
	{
		fail(node, admin->request_id, why);
		return;
	}
	memset(&node->outcome, 0, sizeof(node->outcome));
	node->outcome.request_id = admin->request_id;
	node->outcome_until = admin->limit_us > 0 && admin->limit_us < QUORUM_NEVER / 4 ?
		node->now.mono + admin->limit_us : QUORUM_NEVER;
	switch (admin->type)
	{
		case QUORUM_ADMIN_ADD_MEMBER:
			add_member(node, update, admin);
			break;
		case QUORUM_ADMIN_REMOVE_MEMBER:
			remove_member(node, update, admin);
			break;
		case QUORUM_ADMIN_SWITCHOVER:
			why = quorum_transfer_start(node, update, admin);
			if (why != NULL)
				fail(node, admin->request_id, why);
			break;
	}
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

	/* Tell what is stored now; it leaves after the write. */
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

/* Who was invited and does not come leaves the set; it never had a vote. */
static void
take_back_invitation(QuorumNode *node, QuorumUpdate *update, int index, const char *reason)
{
	QuorumMemberSet next = node->hard.members;
	QuorumNodeId id = next.members[index].id;

	quorum_assert(next.members[index].kind == QUORUM_LEARNER);
	if (node->outcome.request_id != 0 && node->outcome.node_id == id && !node->outcome.done)
		fail(node, node->outcome.request_id, reason);
	for (int i = index; i + 1 < next.count; i++)
		next.members[i] = next.members[i + 1];
	next.count--;
	publish_set(node, update, &next);
}

void
quorum_on_invite_reply(QuorumNode *node, QuorumUpdate *update, const QuorumMessage *message)
{
	QuorumMemberSet next = node->hard.members;
	int			index = quorum_members_find(&next, message->from);

	if (node->role != QUORUM_ROLE_LEADER || node->change.step != QUORUM_CHANGE_NONE || index < 0 ||
		joined(&next.members[index]))
		return;
	if (message->accepted)
	{
		memcpy(next.members[index].uuid, message->uuid, QUORUM_UUID_SIZE);
		next.members[index].pg_port = message->pg_port;
		publish_set(node, update, &next);
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

		if (member->id == node->hard.node_id || joined(member))
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

static void
propose_change(QuorumNode *node, QuorumUpdate *update)
{
	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumMember *member = &node->hard.members.members[i];
		const QuorumPeer *peer = &node->peers[i];

		if (member->id == node->hard.node_id || !joined(member) || peer->heard_at == 0)
			continue;
		node->change.next = node->hard.members;

		/* A port that changed while the member was away. */
		if (peer->pg_port != 0 && peer->pg_port != member->pg_port)
		{
			node->change.next.members[i].pg_port = peer->pg_port;
			publish_set(node, update, &node->change.next);
			return;
		}
		if (member->kind == QUORUM_LEARNER && member->wants_vote && !peer->recovering &&
			peer->stream_term == node->hard.term && node->caught_up_lsn != 0 &&
			peer->stream_flush >= node->caught_up_lsn &&
			node->now.mono - peer->heard_at < node->config.lease_us)
		{
			node->change.next.members[i].kind = QUORUM_VOTER;
			node->change.next.members[i].wants_vote = false;
			start_change(node);
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
	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumMember *member = &node->hard.members.members[i];

		if (!quorum_members_votes(&node->change.old, member->id) &&
			quorum_members_votes(&node->hard.members, member->id))
			quorum_emit_note(update, QUORUM_NOTE_MEMBER_VOTER, node->hard.term, member->id, 0);
		if (joined(member) && !member->wants_vote)
			finish(node, member->id);
	}
	for (int i = 0; i < node->change.old.count; i++)
	{
		QuorumNodeId id = node->change.old.members[i].id;

		if (quorum_members_find(&node->hard.members, id) < 0)
		{
			quorum_emit_note(update, QUORUM_NOTE_MEMBER_REMOVED, node->hard.term, id, 0);
			finish(node, id);
		}
	}
}

/* Not published yet, so nothing has to be taken back but the rule. */
static void
give_up_change(QuorumNode *node)
{
	node->change.step = QUORUM_CHANGE_NONE;
	if (node->outcome.request_id != 0 && !node->outcome.done &&
		quorum_members_find(&node->change.next, node->outcome.node_id) < 0)
		fail(node, node->outcome.request_id,
			 "the members that stay do not hold all WAL in time");
}

void
quorum_membership_tick(QuorumNode *node, QuorumUpdate *update)
{
	quorum_assert(node->role == QUORUM_ROLE_LEADER);
	if (node->outcome.request_id != 0 && !node->outcome.done &&
		node->transfer.target == QUORUM_NO_NODE && node->now.mono >= node->outcome_until)
		fail(node, node->outcome.request_id,
			 "it is not done yet and goes on; see quorum.members");
	if (!node->gate_open && node->change.step != QUORUM_CHANGE_WAIT_SET)
		return;
	switch (node->change.step)
	{
		case QUORUM_CHANGE_NONE:
			invite_missing(node, update);
			if (node->change.step == QUORUM_CHANGE_NONE)
				propose_change(node, update);
			break;
		case QUORUM_CHANGE_WAIT_LSN:
			if (node->now.mono >= node->change.give_up_at)
				give_up_change(node);
			else if (node->change.lsn != 0)
			{
				QuorumSyncRule rule;

				quorum_current_rule(node, &rule);
				if (quorum_rule_held(node, &rule, node->change.lsn))
					publish_set(node, update, &node->change.next);
			}
			break;
		case QUORUM_CHANGE_WAIT_SET:
			conclude_change(node, update);
			break;
	}
}
