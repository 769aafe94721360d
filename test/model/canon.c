/*
 * canon.c
 *	  The one form of a core that stands for all that behave alike, and its bytes.
 *
 * Three kinds of fields are taken out of a core's memory: those that are for people
 * (notes, views), those that only order attempts (the search tries every order), and
 * instants so old that nothing distinguishes them any more.  Everything else is kept,
 * also fields that were added after this was written: they make more states, not less.
 */
#include <stddef.h>
#include <string.h>

#include "canon.h"

#define HEARTBEAT		(LEASE / 4)
#define OLD				(2 * LEASE)
#define PROMOTION_LIMIT LEASE

/* ---- where everything begins -------------------------------------------- */

void
canon_hard(QuorumHardState *hard, int node)
{
	memset(hard, 0, sizeof(*hard));
	hard->cluster_id[0] = 1;
	hard->system_identifier = 1;
	hard->node_id = (QuorumNodeId) node + 1;
	hard->uuid[0] = (uint8_t) (node + 1);
	hard->term = 1;
	hard->members.id = (QuorumSetId) {1, 1};
	hard->members.next_node_id = (QuorumNodeId) scope.nodes + 1;
	hard->members.count = scope.nodes;
	if (node != scope.witness)
		hard->ack_floor = (QuorumWalPos) {1, LSN_STEP};
	for (int i = 0; i < scope.nodes; i++)
	{
		QuorumMember *member = &hard->members.members[i];

		member->id = (QuorumNodeId) i + 1;
		member->kind = i == scope.witness ? QUORUM_WITNESS :
			i == scope.learner ? QUORUM_LEARNER : QUORUM_VOTER;
		member->quorum_port = (uint16_t) (i + 1);
		member->uuid[0] = (uint8_t) (i + 1);
		member->name[0] = 'n';
		member->name[1] = (char) ('1' + i);
		member->host[0] = 'h';
	}
}

void
canon_init(Local *local)
{
	QuorumConfig config;

	memset(&config, 0, sizeof(config));
	config.lease_us = LEASE;
	config.heartbeat_us = HEARTBEAT;
	config.promotion_limit_us = PROMOTION_LIMIT;
	config.auto_rewind = scope.rewinds > 0;
	quorum_init(&local->node, &config, &local->disk, 1, (QuorumInstant) {NOW, NOW, NOW});
}

/* ---- the one form ------------------------------------------------------- */

/* An instant of the past: nothing asks how old it is beyond some age. */
static QuorumTime
past(QuorumTime at, QuorumTime oldest)
{
	return at != 0 && at < NOW - oldest ? NOW - oldest : at;
}

/* An instant until which something holds: what is over is over. */
static QuorumTime
until(QuorumTime at)
{
	return at <= NOW ? 0 : at;
}

static void
canon_set(QuorumMemberSet *set)
{
	for (int i = set->count; i < QUORUM_MAX_NODES; i++)
		memset(&set->members[i], 0, sizeof(set->members[i]));
}

/* To the sync set, to changes, hand-overs and rewinds only. */
static bool
who_is_there_matters(void)
{
	return scope.witness >= 0 || scope.changes + scope.switches + scope.rewinds > 0;
}

static void
canon_peer(const QuorumNode *node, QuorumPeer *peer)
{
	bool		leads = node->role == QUORUM_ROLE_LEADER;

	/* For views, and for the order in which nodes stand. */
	memset(&peer->position, 0, sizeof(peer->position));
	memset(&peer->last_position, 0, sizeof(peer->last_position));
	peer->acked_sent = 0;
	peer->priority = 0;
	peer->replay_lsn = 0;
	peer->gossip_heard_at = 0;
	peer->reply_retry_at = 0;
	peer->doubt_at = 0;

	/* E7 and what rests on 30 leases: never in a world of a few leases. */
	peer->later_term_since = 0;
	peer->recovering_since = 0;

	peer->acked_until = leads ? until(peer->acked_until) : 0;
	peer->unable_since = leads && scope.witness >= 0 ? past(peer->unable_since, LEASE) : 0;

	if (!who_is_there_matters())
		peer->heard_at = 0;
	else if (peer->heard_at != 0 && (!leads || peer->heard_at < NOW - LEASE))
		peer->heard_at = NOW - OLD;
	if (scope.witness < 0)
		peer->gone = false;
	if (node->role == QUORUM_ROLE_FOLLOWER || node->role == QUORUM_ROLE_LEADER)
		peer->replied = peer->granted = false;
	if (!node->boot_hold)
		peer->denies_leading = false;

	/* A round that cannot be won any more is given up sooner or later. */
	if (scope.slow_pre_votes == 0)
		peer->replied = peer->granted;
	if (node->role == QUORUM_ROLE_FOLLOWER || peer->term != node->hard.term)
		peer->term = 0;
	if (!leads || peer->stream_term != node->hard.term)
	{
		peer->stream_term = 0;
		peer->stream_flush = 0;
	}
	if (!leads)
		peer->diverged = peer->silent = peer->returns = false;
	if (!leads || quorum_set_id_compare(peer->set_id, node->hard.members.id) != 0)
		peer->set_id = (QuorumSetId) {0, 0};
}

static void
canon_follower(QuorumNode *node)
{
	node->elected_at = 0;
	node->heartbeat_at = 0;
	node->lease_until = 0;
	node->promoted = node->opened = false;
	node->gate_lsn = 0;
	node->quorum_lsn = node->heartbeat_lsn = node->caught_up_lsn = 0;
	node->rewinding = 0;
	node->rewinding_until = 0;
	memset(&node->outcome, 0, sizeof(node->outcome));
	memset(&node->transfer, 0, sizeof(node->transfer));
	node->reported_flush = node->leader == 0 ? 0 : node->facts.stream_flush;
	if (node->leader == 0)
		node->leader_gate_open = node->rewind_granted = false;
	node->promise_until = until(node->promise_until);
	if (node->promise_until == 0)
		node->boot_hold = false;
}

static void
canon_leader(QuorumNode *node)
{
	node->elected_at = past(node->elected_at, PROMOTION_LIMIT);
	if (node->opened && node->lease_until != 0 && scope.witness < 0)
		node->elected_at = NOW - PROMOTION_LIMIT;
	if (!who_is_there_matters())
		node->quorum_lsn = node->heartbeat_lsn = node->caught_up_lsn = 0;
	node->heartbeat_at = FAR;
	if (node->lease_until != 0 && node->lease_until <= NOW)
		node->lease_until = 1;
	node->rewinding_until = until(node->rewinding_until);
	if (node->rewinding_until == 0)
		node->rewinding = 0;
	if (node->outcome.done)
		memset(&node->outcome, 0, sizeof(node->outcome));
	memset(node->outcome.reason, 0, sizeof(node->outcome.reason));
	node->reported_flush = 0;
	node->rewind_granted = node->leader_gate_open = false;
	if (node->transfer.target != 0)
		node->transfer.give_up_at = FAR;
}

static void
canon_change(QuorumChange *change)
{
	QuorumChange was = *change;

	memset(change, 0, sizeof(*change));
	change->step = was.step;
	if (was.step == QUORUM_CHANGE_WAIT_LSN)
	{
		change->next = was.next;
		change->lsn = was.lsn;
		change->give_up_at = FAR;
		canon_set(&change->next);
	}
	else if (was.step == QUORUM_CHANGE_WAIT_SET)
	{
		change->old = was.old;
		canon_set(&change->old);
	}
}

static void
canon_node(QuorumNode *node)
{
	node->random.state = 1;
	node->now = (QuorumInstant) {NOW, NOW, NOW};
	node->probe_at = QUORUM_NEVER;
	node->election_at = FAR;
	node->round_ends_at = node->role == QUORUM_ROLE_FOLLOWER ||
		node->role == QUORUM_ROLE_LEADER ? QUORUM_NEVER : FAR;
	if (node->pending_vote.candidate == 0)
		memset(&node->pending_vote, 0, sizeof(node->pending_vote));
	node->lost_rounds = 0;
	node->following_noted = 0;
	node->diverged_noted = false;
	node->pause_noted = 0;
	node->resumed_until = 0;
	node->chosen = false;
	node->unfollowed_since = 0;
	node->space_again_at = 0;
	node->take_in_at = 0;
	node->invite_at = node->invite_until = 0;
	node->heartbeat_sent = 0;
	node->linger_until = node->handed_over != 0 ? FAR : 0;
	node->outcome_until = 0;
	memset(&node->gossip_position, 0, sizeof(node->gossip_position));
	if (!node->hard.recovering)
		node->leader_lsn = 0;
	if (!node->config.auto_rewind)
		node->rewind_granted = false;
	if (node->role == QUORUM_ROLE_LEADER)
		canon_leader(node);
	else
		canon_follower(node);
	if (!node->boot_hold)
		node->boot_term = 0;
	canon_change(&node->change);
	canon_set(&node->hard.members);
	for (int i = 0; i < node->hard.members.count; i++)
		canon_peer(node, &node->peers[i]);
}

void
canon_local(Local *local)
{
	canon_set(&local->disk.members);

	/* Only a rewind shortens a log. */
	if (scope.rewinds == 0)
	{
		local->disk.ack_floor = (QuorumWalPos) {0, 0};
		local->node.hard.ack_floor = (QuorumWalPos) {0, 0};
	}
	if (local->published.lease_until <= NOW)
		local->published.lease_until = 0;
	if (local->alive)
		canon_node(&local->node);
}

void
canon_message(QuorumMessage *message)
{
	int			kept = 0;

	message->priority = 0;
	message->replay_lsn = 0;
	message->retry_after_us = 0;
	message->quorum_lsn = 0;
	if (message->type != QUORUM_MSG_VOTE_REQUEST &&
		message->type != QUORUM_MSG_PRE_VOTE_REQUEST &&
		(message->type != QUORUM_MSG_HEARTBEAT || scope.rewinds == 0))
		memset(&message->position, 0, sizeof(message->position));
	if (message->sent_at != 0)
		message->sent_at = past(message->sent_at, LEASE);
	for (int i = 0; i < message->gossip_count; i++)
	{
		QuorumGossip *gossip = &message->gossip[i];

		if (!gossip->recovering)
			continue;
		memset(&gossip->position, 0, sizeof(gossip->position));
		gossip->priority = 0;
		gossip->replay_lsn = 0;
		gossip->heard_ago_us = QUORUM_NEVER;
		message->gossip[kept++] = *gossip;
	}
	message->gossip_count = kept;
}

/* ---- before an event ----------------------------------------------------- */

void
canon_prepare(QuorumNode *node, bool fire, bool give_up)
{
	/* Whoever would stand at once because nobody has a better claim, waits. */
	QuorumWalPos claim = {fire ? 0 : UINT32_MAX, fire ? 0 : UINT64_MAX};

	for (int i = 0; i < node->hard.members.count; i++)
		node->peers[i].position = claim;
	if (fire)
	{
		node->heartbeat_at = NOW;
		node->election_at = NOW;
		node->linger_until = NOW;
		if (node->role != QUORUM_ROLE_FOLLOWER)
			node->round_ends_at = NOW;
	}
	if (give_up)
	{
		node->change.give_up_at = NOW;
		node->transfer.give_up_at = NOW;
	}
}

/* ---- time ---------------------------------------------------------------- */

static void
age(QuorumTime *at, int64_t by)
{
	if (*at > 1 && *at != QUORUM_NEVER && *at != FAR)
		*at -= by;
}

void
canon_age(Local *local, int64_t by)
{
	QuorumNode *node = &local->node;

	age(&local->published.lease_until, by);
	if (!local->alive)
		return;
	age(&node->promise_until, by);
	age(&node->lease_until, by);
	age(&node->elected_at, by);
	age(&node->rewinding_until, by);
	for (int i = 0; i < node->hard.members.count; i++)
	{
		age(&node->peers[i].heard_at, by);
		age(&node->peers[i].acked_until, by);
		age(&node->peers[i].unable_since, by);
	}
}

/* ---- for the search and for people --------------------------------------- */

static uint8_t
bits(const QuorumMemberSet *set, bool (*is) (const QuorumMemberSet *set, QuorumNodeId id))
{
	uint8_t		all = 0;

	for (int i = 0; i < set->count; i++)
	{
		if (is(set, set->members[i].id))
			all |= (uint8_t) (1 << (set->members[i].id - 1));
	}
	return all;
}

void
canon_shared(const Local *local, Shared *shared)
{
	const QuorumNode *node = &local->node;
	const QuorumHardState *hard = local->alive ? &node->hard : &local->disk;

	memset(shared, 0, sizeof(*shared));
	shared->alive = local->alive;
	shared->gate_open = local->published.gate_open;
	shared->hold_wal = local->published.hold_wal;
	shared->role = local->published.role;
	shared->leader = local->published.leader;
	shared->fence = local->published.fence;
	shared->need = local->published.need;
	shared->rule = local->published.rule;
	shared->told = local->published.told;
	shared->leads_now = local->published.lease_until > NOW;
	shared->term = (uint8_t) hard->term;
	shared->vote = (uint8_t) hard->vote;
	shared->recovering = hard->recovering;
	shared->voters = bits(&hard->members, quorum_members_votes);
	shared->out = (uint8_t) (shared->voters & ~bits(&hard->members, quorum_members_is_in));
	if (scope.witness >= 0)
		shared->out &= (uint8_t) ~(1 << scope.witness);
	shared->set = (uint64_t) hard->members.id.term << 32 | hard->members.id.version;
	if (!local->alive)
		return;
	shared->change = (uint8_t) node->change.step;
	shared->promised = node->promise_until > NOW;
	shared->wants_time = node->change.step == QUORUM_CHANGE_WAIT_LSN || node->transfer.target != 0;
	shared->wants_facts = (node->change.step == QUORUM_CHANGE_WAIT_LSN &&
						   node->change.lsn == 0) ||
		(node->transfer.target != 0 && node->transfer.lsn == 0);
}
