/*
 * quorum_operator.c
 *	  What an operator asks of a node: members come and go, hand over, pause, force.
 *
 * Every request has one outcome, done or failed with a reason; one is under way at a
 * time.  How a change of the set goes on safely is quorum_membership.c's business.
 */
#include <string.h>

#include "quorum_internal.h"

static const char too_few_whole[] =
"too many of the members that stay are being rewound or copied: wait until they have caught up";

static const char *
refuse_add(const QuorumNode *node, const QuorumAdmin *admin)
{
	if (node->hard.members.count >= QUORUM_MAX_NODES &&
		quorum_members_find_name(&node->hard.members, admin->name) < 0)
		return "the cluster has as many members as it can";
	if (admin->kind == QUORUM_WITNESS && !quorum_members_room_for_witness(&node->hard.members) &&
		quorum_members_find_name(&node->hard.members, admin->name) < 0)
		return "there must be fewer witnesses than voters with data";
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

/* A request for a member that exists goes on with it; a finished one is finished again. */
static void
resume_add(QuorumNode *node, QuorumUpdate *update, int index, const QuorumAdmin *admin)
{
	QuorumMemberSet next = node->hard.members;
	QuorumMember *member = &next.members[index];

	node->outcome.node_id = member->id;
	if (member->kind == admin->kind && quorum_member_joined(member))
	{
		quorum_outcome_done(node, member->id);
		return;
	}
	if (member->kind != QUORUM_LEARNER)
	{
		quorum_outcome_failed(node, admin->request_id, "a member of that name exists already");
		return;
	}
	if (admin->kind != QUORUM_LEARNER && member->becomes != admin->kind)
	{
		member->becomes = admin->kind;
		quorum_set_publish(node, update, &next);
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
		quorum_outcome_failed(node, admin->request_id, why);
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
	member->becomes = admin->kind == QUORUM_LEARNER ? 0 : admin->kind;
	member->quorum_port = admin->quorum_port;
	quorum_text_copy(member->name, admin->name, QUORUM_NAME_SIZE);
	quorum_text_copy(member->host, admin->host, QUORUM_HOST_SIZE);
	node->outcome.node_id = member->id;
	quorum_emit_note(update, QUORUM_NOTE_MEMBER_ADDED, node->hard.term, member->id, 0);
	quorum_set_publish(node, update, &next);
	quorum_invite_now(node);
}

/* A witness is what lets a member be left out (Y1). */
static bool
is_needed_witness(const QuorumMemberSet *set, int index)
{
	return set->members[index].kind == QUORUM_WITNESS &&
		quorum_members_left_out(set) >= quorum_members_witness_count(set);
}

/* Voters of the set that are here, and do not recover (S8). */
static int
whole_voters(const QuorumNode *node, const QuorumMemberSet *set)
{
	int			count = 0;

	for (int i = 0; i < node->hard.members.count; i++)
	{
		QuorumNodeId id = node->hard.members.members[i].id;
		const QuorumPeer *peer = &node->peers[i];
		bool		here = peer->heard_at != 0 &&
			node->now.mono - peer->heard_at < node->config.lease_us;

		if (quorum_members_votes(set, id) &&
			(id == node->hard.node_id || (here && !peer->recovering)))
			count++;
	}
	return count;
}

/* Were this leader lost after it, nobody could be elected until others have recovered (W1). */
static bool
leaves_too_few_whole(const QuorumNode *node, const QuorumMemberSet *next)
{
	const QuorumMemberSet *set = &node->hard.members;

	return whole_voters(node, next) < quorum_members_majority(next) &&
		whole_voters(node, set) >= quorum_members_majority(set);
}

/* The set without one member; a voter goes by way of the joint rule (M3). */
static void
remove_member(QuorumNode *node, const QuorumAdmin *admin, int index)
{
	QuorumMemberSet *next = &node->change.next;

	if (node->outcome.node_id == node->hard.node_id)
	{
		quorum_outcome_failed(node, admin->request_id, "the leader cannot be removed: switch over first");
		return;
	}
	if (is_needed_witness(&node->hard.members, index))
	{
		quorum_outcome_failed(node, admin->request_id,
							  "commits go on without a member because of that witness");
		return;
	}
	*next = node->hard.members;
	for (int i = index; i + 1 < next->count; i++)
		next->members[i] = next->members[i + 1];
	next->count--;
	if (leaves_too_few_whole(node, next))
		quorum_outcome_failed(node, admin->request_id, too_few_whole);
	else
		quorum_change_start(node);
}

static const char *
refuse_kind(const QuorumNode *node, const QuorumAdmin *admin, const QuorumMember *member)
{
	const QuorumMemberSet *set = &node->hard.members;

	if (admin->kind != QUORUM_VOTER && admin->kind != QUORUM_LEARNER)
		return "a member can become a voter or a learner";
	if (member->kind == QUORUM_WITNESS || member->becomes == QUORUM_WITNESS)
		return "a witness has no data: it stays a witness";
	if (!quorum_member_joined(member))
		return "that member has not joined yet";
	if (member->kind == QUORUM_LEARNER || admin->kind == QUORUM_VOTER)
		return NULL;
	if (member->id == node->hard.node_id)
		return "the leader cannot become a learner: switch over first";
	if (quorum_members_witness_count(set) > 0 &&
		quorum_members_witness_count(set) >=
		quorum_members_vote_count(set) - quorum_members_witness_count(set) - 1)
		return "there must be fewer witnesses than voters with data";
	return NULL;
}

/* A voter loses its vote by way of the joint rule (M3); a learner gets one when it can (M5). */
static void
change_kind(QuorumNode *node, QuorumUpdate *update, const QuorumAdmin *admin, int index)
{
	const QuorumMember *member = &node->hard.members.members[index];
	const char *why = refuse_kind(node, admin, member);
	QuorumMemberSet next = node->hard.members;

	if (why != NULL)
		quorum_outcome_failed(node, admin->request_id, why);
	else if (member->kind == admin->kind && member->becomes == 0)
		quorum_outcome_done(node, member->id);
	else if (member->kind == QUORUM_LEARNER)
	{
		next.members[index].becomes = admin->kind == QUORUM_VOTER ? QUORUM_VOTER : 0;
		quorum_set_publish(node, update, &next);
	}
	else
	{
		next.members[index].kind = QUORUM_LEARNER;
		next.members[index].left_out = false;
		node->change.next = next;
		if (leaves_too_few_whole(node, &next))
			quorum_outcome_failed(node, admin->request_id, too_few_whole);
		else
			quorum_change_start(node);
	}
}

static const char *
refuse_address(const QuorumNode *node, const QuorumAdmin *admin, int index)
{
	if (node->hard.members.members[index].id == node->hard.node_id)
		return "the leader cannot move: switch over first";
	if (admin->host[0] == '\0' || admin->quorum_port == 0)
		return "the address must not be empty";
	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumMember *member = &node->hard.members.members[i];

		if (i != index && member->quorum_port == admin->quorum_port &&
			quorum_text_equal(member->host, admin->host, QUORUM_HOST_SIZE))
			return "another member has that address";
	}
	return NULL;
}

static void
change_address(QuorumNode *node, QuorumUpdate *update, const QuorumAdmin *admin, int index)
{
	const char *why = refuse_address(node, admin, index);
	QuorumMemberSet next = node->hard.members;

	if (why != NULL)
	{
		quorum_outcome_failed(node, admin->request_id, why);
		return;
	}
	next.members[index].quorum_port = admin->quorum_port;
	quorum_text_copy(next.members[index].host, admin->host, QUORUM_HOST_SIZE);
	quorum_set_publish(node, update, &next);
}

/* What is about one member that must exist. */
static void
ask_about_member(QuorumNode *node, QuorumUpdate *update, const QuorumAdmin *admin)
{
	int			index = quorum_members_find_name(&node->hard.members, admin->name);

	if (index < 0)
	{
		quorum_outcome_failed(node, admin->request_id, "no member has that name");
		return;
	}
	node->outcome.node_id = node->hard.members.members[index].id;
	if (admin->type == QUORUM_ADMIN_REMOVE_MEMBER)
		remove_member(node, admin, index);
	else if (admin->type == QUORUM_ADMIN_CHANGE_KIND)
		change_kind(node, update, admin, index);
	else
		change_address(node, update, admin, index);
}

/* ---- pause and resume --------------------------------------------------- */

static void
pause(QuorumNode *node, QuorumUpdate *update, const QuorumAdmin *admin)
{
	QuorumMemberSet next = node->hard.members;

	node->outcome.node_id = node->hard.node_id;
	if (admin->limit_us < 0 || admin->limit_us > QUORUM_PAUSE_MAX_US)
	{
		quorum_outcome_failed(node, admin->request_id, "a pause lasts one day at most");
		return;
	}
	if (admin->limit_us == 0 && next.paused_until == 0)
	{
		quorum_outcome_done(node, node->hard.node_id);
		return;
	}
	next.paused_until = admin->limit_us == 0 ? 0 : node->now.wall + admin->limit_us;
	quorum_set_publish(node, update, &next);
}

/*
 * Nobody leads, so nobody can end the pause for all: this node stands in spite of it,
 * and ends it when it is elected.
 */
static void
resume_without_leader(QuorumNode *node, const QuorumAdmin *admin)
{
	if (node->leader != QUORUM_NO_NODE)
	{
		quorum_outcome_failed(node, admin->request_id, "this node does not lead its cluster");
		return;
	}
	node->resumed_until = node->hard.members.paused_until;
	node->outcome.node_id = node->hard.node_id;
	quorum_outcome_done(node, node->hard.node_id);
}

/* ---- a leader without a majority ---------------------------------------- */

static const char *
refuse_force(const QuorumNode *node)
{
	int			self = quorum_members_find(&node->hard.members, node->hard.node_id);

	if (node->role == QUORUM_ROLE_LEADER)
		return "this node leads already";
	if (node->removed)
		return "this node was removed from the cluster";
	if (node->hard.members.members[self].kind != QUORUM_VOTER)
		return "this node is not a voter with data";
	if (node->leader != QUORUM_NO_NODE)
		return "this node follows a leader";
	if (quorum_promise_active(node))
		return "an earlier leader may still have its lease: ask again in some seconds";
	return NULL;
}

/*
 * The only voter from now on is this node; the others become again what they were when
 * they return and have caught up, one by one.  Its log is the log, whatever it lacks.  The
 * term is ahead of what the others may reach among themselves before they hear of it.
 */
static void
become_the_only_voter(QuorumNode *node)
{
	QuorumHardState *hard = &node->hard;

	for (int i = 0; i < hard->members.count; i++)
	{
		QuorumMember *member = &hard->members.members[i];

		member->left_out = false;
		if (member->id == hard->node_id || member->kind == QUORUM_LEARNER)
			continue;
		member->becomes = member->kind;
		member->kind = QUORUM_LEARNER;
	}
	if (node->facts.newest_tli > hard->term)
		hard->term = node->facts.newest_tli;
	hard->term += QUORUM_FORCE_TERM_GAP;
	hard->vote = QUORUM_NO_NODE;
	hard->recovering = false;
	hard->ack_floor = node->facts.position;
	hard->members.id.term = hard->term;
	hard->members.id.version++;
	hard->members.paused_until = 0;
}

static void
force(QuorumNode *node, QuorumUpdate *update, const QuorumAdmin *admin)
{
	QuorumHardState before = node->hard;
	const char *why = refuse_force(node);

	if (why == NULL)
	{
		become_the_only_voter(node);
		if (!quorum_may_stand(node, &why))
			node->hard = before;
	}
	if (why != NULL)
	{
		quorum_outcome_failed(node, admin->request_id, why);
		return;
	}
	quorum_become_follower(node, node->hard.term);
	node->hard_dirty = true;
	node->boot_hold = false;
	node->promise_until = 0;
	node->leader_closing = false;
	node->pending_vote.candidate = QUORUM_NO_NODE;
	node->lost_rounds = 0;
	node->lost_votes = 0;

	/* Alone, it is elected in the same step. */
	node->election_at = node->now.mono;
	node->outcome.node_id = node->hard.node_id;
	node->outcome.done = true;
	quorum_emit_note(update, QUORUM_NOTE_FORCED, node->hard.term, node->hard.node_id, 0);
}

/* ---- requests ----------------------------------------------------------- */

/* To lead without a majority needs no leader, nor does ending a pause that keeps one away. */
static bool
needs_leader(const QuorumNode *node, const QuorumAdmin *admin)
{
	if (admin->type == QUORUM_ADMIN_FORCE)
		return false;
	return admin->type != QUORUM_ADMIN_PAUSE || admin->limit_us != 0 ||
		node->role == QUORUM_ROLE_LEADER;
}

void
quorum_on_admin(QuorumNode *node, QuorumUpdate *update, const QuorumAdmin *admin)
{
	const char *why = NULL;

	if (!needs_leader(node, admin))
		why = NULL;
	else if (node->role != QUORUM_ROLE_LEADER || !node->gate_open)
		why = "this node does not lead its cluster";
	else if (node->change.step != QUORUM_CHANGE_NONE)
		why = "another change of the member set is under way";
	else if (node->outcome.request_id != 0 && !node->outcome.done)
		why = "another request is under way";
	if (why != NULL)
	{
		quorum_outcome_failed(node, admin->request_id, why);
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
		case QUORUM_ADMIN_SWITCHOVER:
			why = quorum_transfer_start(node, update, admin);
			if (why != NULL)
				quorum_outcome_failed(node, admin->request_id, why);
			break;
		case QUORUM_ADMIN_REMOVE_MEMBER:
		case QUORUM_ADMIN_CHANGE_KIND:
		case QUORUM_ADMIN_CHANGE_ADDRESS:
			ask_about_member(node, update, admin);
			break;
		case QUORUM_ADMIN_PAUSE:
			if (needs_leader(node, admin))
				pause(node, update, admin);
			else
				resume_without_leader(node, admin);
			break;
		case QUORUM_ADMIN_FORCE:
			force(node, update, admin);
			break;
	}
}
