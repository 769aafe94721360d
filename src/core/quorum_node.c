/*
 * quorum_node.c
 *	  The state machine of one node: dispatch, the term rule, the view.
 *
 * What is true in each role (quorum_check_state is this list as code):
 *
 *	any				term and vote never go back; one vote per term; the member set
 *					only gets newer and holds this node
 *	FOLLOWER		leader is the accepted leader of term or nobody; promise_until says
 *					when the promise to it ends; never the leader itself
 *	PRE_CANDIDATE	nobody leads as far as this node knows; term is unchanged
 *	CANDIDATE		voted for itself in term; no leader
 *	LEADER			won the vote of term; PostgreSQL promotes to timeline == term and to
 *					no other; the gate opens once, when a record of term is held by the
 *					quorum, the lease is valid and the rule for commits is in force
 *	closed			the server stops: no role, no message, no vote until it restarts
 *
 * One step: take the event, let time pass, say what must happen.  A vote takes two
 * steps: the fence goes up, the position is read, then it is decided (S2).
 */
#include <string.h>

#include "quorum_internal.h"
#include "quorum_invariants.h"

/* The log has grown this much since ack_floor was last made durable: one WAL segment. */
#define QUORUM_FLOOR_STEP	(UINT64_C(16) * 1024 * 1024)

void
quorum_init(QuorumNode *node, const QuorumConfig *config, const QuorumHardState *hard,
			uint64_t seed, QuorumInstant now)
{
	quorum_assert(config->heartbeat_us > 0);
	quorum_assert(config->lease_us >= 3 * config->heartbeat_us);
	memset(node, 0, sizeof(*node));
	node->config = *config;
	node->hard = *hard;
	node->now = now;
	node->role = QUORUM_ROLE_FOLLOWER;
	node->boot_term = hard->term;
	node->election_at = QUORUM_NEVER;
	node->round_ends_at = QUORUM_NEVER;
	node->probe_at = QUORUM_NEVER;
	quorum_random_seed(&node->random, seed);
	quorum_peers_adopt_set(node, &node->hard.members);
	quorum_boot_hold_start(node);
	quorum_pause_start(node);
	if (config->bootstrapped)
	{
		/* A running primary on timeline == term, alone: it leads the term it writes. */
		quorum_assert(hard->vote == hard->node_id);
		quorum_assert(quorum_members_vote_count(&hard->members) == 1);
		node->role = QUORUM_ROLE_LEADER;
		node->leader = hard->node_id;
		node->elected_at = now.mono;
		node->heartbeat_at = now.mono;
	}
	quorum_check_state(node);
}

/* S8: a log that ends before what it is known to have held has lost something. */
static void
check_ack_floor(QuorumNode *node)
{
	QuorumWalPos replayed = {node->facts.replay_tli, node->facts.replay_lsn};

	if (node->facts.phase != QUORUM_PHASE_STANDBY ||
		!quorum_walpos_known(node->facts.position))
		return;
	if (!node->floor_checked)
	{
		node->floor_checked = true;
		if (quorum_walpos_compare(node->facts.position, node->hard.ack_floor) < 0 &&
			!node->hard.recovering)
		{
			node->hard.recovering = true;
			node->hard_dirty = true;
		}
	}

	/* R13: the server starts anew, and the log that it finds then is compared with this. */
	if (node->facts.log_damaged &&
		quorum_walpos_compare(node->facts.position, node->hard.ack_floor) > 0)
	{
		node->hard.ack_floor = node->facts.position;
		node->hard_dirty = true;
	}

	/*
	 * R14: whole again when it holds all that the quorum of the current term can hold:
	 * commits are acknowledged by walsenders, ahead of what heartbeats tell, but never
	 * beyond the leader's own flush.
	 */
	if (node->hard.recovering && node->facts.stream_term == node->hard.term &&
		node->leader != QUORUM_NO_NODE && node->leader_gate_open && node->leader_lsn != 0 &&
		node->facts.stream_flush >= node->leader_lsn)
	{
		node->hard.recovering = false;
		node->hard.ack_floor = replayed;
		node->hard_dirty = true;
	}
	if (!node->hard.recovering && quorum_walpos_known(replayed) &&
		quorum_walpos_compare(replayed, node->hard.ack_floor) > 0 &&
		(replayed.tli != node->hard.ack_floor.tli ||
		 replayed.lsn - node->hard.ack_floor.lsn >= QUORUM_FLOOR_STEP))
	{
		node->hard.ack_floor = replayed;
		node->hard_dirty = true;
	}
}

/* S8: what is about to lose WAL does not vote, from before it loses it. */
static void
rewind_if_granted(QuorumNode *node, QuorumUpdate *update)
{
	if (!node->facts_known || !node->facts.diverged || !node->config.auto_rewind ||
		node->role != QUORUM_ROLE_FOLLOWER || node->leader == QUORUM_NO_NODE ||
		!node->rewind_granted || node->leader_closing)
		return;
	node->rewind_awaited = node->rewind_awaited || (!node->hard.recovering && node->floor_checked);
	node->hard_dirty = node->hard_dirty || !node->hard.recovering;
	node->hard.recovering = true;

	/* W1: the leader must not let another one go while nothing is heard of this one. */
	quorum_emit_ack(node, update, QUORUM_MSG_HEARTBEAT_ACK, node->leader, 0);
	quorum_emit_action(update, QUORUM_ACTION_REWIND, node->hard.term, node->leader);
}

/*
 * W3: what was granted can be over before the server has begun: its leader is gone, or the
 * server has a reason to wait.  Asked with fresh facts only, which tell of a beginning.
 */
static void
check_rewind_awaited(QuorumNode *node)
{
	if (node->facts.rewind_begun)
		node->rewind_awaited = false;
	if (!node->rewind_awaited || (node->rewind_granted && node->leader != QUORUM_NO_NODE))
		return;
	node->rewind_awaited = false;
	node->hard_dirty = node->hard_dirty || node->hard.recovering;
	node->hard.recovering = false;
}

static void
on_facts(QuorumNode *node, QuorumUpdate *update, const QuorumFacts *facts)
{
	QuorumTerm	acked_before = node->facts_known ? node->facts.stream_term : 0;

	node->facts = *facts;
	node->facts_known = true;
	check_rewind_awaited(node);
	check_ack_floor(node);
	quorum_follower_facts(node, update);
	quorum_leader_facts(node, update);
	quorum_membership_facts(node);
	quorum_transfer_facts(node);
	quorum_election_facts(node, update);

	if (node->role == QUORUM_ROLE_FOLLOWER && node->leader != QUORUM_NO_NODE &&
		facts->stream_term == node->hard.term &&
		(acked_before != facts->stream_term ||
		 (!node->leader_gate_open && facts->stream_flush > node->reported_flush)))
	{
		/* The leader's gate may wait for exactly this. */
		quorum_emit_ack(node, update, QUORUM_MSG_HEARTBEAT_ACK, node->leader, 0);
		node->reported_flush = facts->stream_flush;
		if (node->following_noted != node->hard.term)
			quorum_emit_note(update, QUORUM_NOTE_FOLLOWING, node->hard.term, node->leader, 0);
		node->following_noted = node->hard.term;
	}
	rewind_if_granted(node, update);
	if (facts->diverged && !node->diverged_noted)
	{
		quorum_emit_note(update, QUORUM_NOTE_DIVERGED, node->hard.term, node->leader, 0);

		/* The leader can allow a rewind as soon as it knows (W1). */
		if (node->role == QUORUM_ROLE_FOLLOWER && node->leader != QUORUM_NO_NODE)
			quorum_emit_ack(node, update, QUORUM_MSG_HEARTBEAT_ACK, node->leader, 0);
	}
	node->diverged_noted = facts->diverged;
}

/* A newer set travels to whoever shows an older one, whatever the roles. */
static void
gossip_members(QuorumNode *node, QuorumUpdate *update, const QuorumMessage *message)
{
	QuorumPeer *peer = quorum_peer_find(node, message->from);

	if (peer == NULL || message->type == QUORUM_MSG_INVITE_REPLY)
		return;
	if (quorum_set_id_compare(message->set_id, node->hard.members.id) < 0)
		quorum_emit_message(node, update, QUORUM_MSG_MEMBERS, message->from)->members =
			node->hard.members;
}

static void
on_status(QuorumNode *node, const QuorumMessage *message)
{
	/* R3, but nobody who follows or leads is disturbed by a number. */
	if (message->term > node->hard.term && node->role == QUORUM_ROLE_FOLLOWER &&
		node->leader == QUORUM_NO_NODE && !quorum_promise_active(node))
		quorum_become_follower(node, message->term);
}

static void
on_message(QuorumNode *node, QuorumUpdate *update, const QuorumMessage *message)
{
	if (message->to != node->hard.node_id || message->from == node->hard.node_id ||
		message->from == QUORUM_NO_NODE)
		return;
	quorum_peer_heard(node, message);
	quorum_boot_hold_check(node);
	switch (message->type)
	{
		case QUORUM_MSG_STATUS:
			on_status(node, message);
			break;
		case QUORUM_MSG_PRE_VOTE_REQUEST:
			quorum_on_pre_vote_request(node, update, message);
			break;
		case QUORUM_MSG_PRE_VOTE_REPLY:
			quorum_on_pre_vote_reply(node, update, message);
			break;
		case QUORUM_MSG_VOTE_REQUEST:
			quorum_on_vote_request(node, update, message);
			break;
		case QUORUM_MSG_VOTE_REPLY:
			quorum_on_vote_reply(node, update, message);
			break;
		case QUORUM_MSG_HEARTBEAT:
			quorum_on_heartbeat(node, update, message);
			rewind_if_granted(node, update);
			break;
		case QUORUM_MSG_HEARTBEAT_ACK:
			quorum_on_heartbeat_ack(node, update, message);
			break;
		case QUORUM_MSG_RESIGN:
			quorum_on_resign(node, update, message);
			break;
		case QUORUM_MSG_MEMBERS:
			quorum_on_members(node, update, message);
			break;
		case QUORUM_MSG_INVITE:
			quorum_on_invite(node, update, message);
			break;
		case QUORUM_MSG_INVITE_REPLY:
			quorum_on_invite_reply(node, update, message);
			break;
	}

	/* A pending vote sends nothing before the position was read. */
	if (!update->facts_wanted)
		gossip_members(node, update, message);
}

/* Proof that an earlier life of the peer serves nobody any more. */
static void
on_peer_over(QuorumNode *node, QuorumUpdate *update, QuorumNodeId id, QuorumLossReason why)
{
	QuorumPeer *peer = quorum_peer_find(node, id);

	if (peer == NULL)
		return;
	peer->denies_leading = true;
	quorum_boot_hold_check(node);
	if (node->role == QUORUM_ROLE_LEADER && why == QUORUM_LOSS_DEAD)
		peer->gone = true;
	if (node->leader == id && node->role != QUORUM_ROLE_LEADER)
		quorum_leader_lost(node, update, why);
}

static void
on_closing(QuorumNode *node, QuorumUpdate *update, QuorumClosing closing)
{
	QuorumResignReason reason = QUORUM_RESIGN_WORKER_EXIT;

	if (closing == QUORUM_CLOSING_POSTMASTER_DIED)
		reason = QUORUM_RESIGN_POSTMASTER_DIED;
	else if (closing == QUORUM_CLOSING_SHUTDOWN)
		reason = QUORUM_RESIGN_SHUTDOWN;
	if (node->role == QUORUM_ROLE_LEADER)
		quorum_step_down(node, update, QUORUM_LOSS_CLOSING, reason);
	node->role = QUORUM_ROLE_FOLLOWER;
	node->leader = QUORUM_NO_NODE;
	node->pending_vote.candidate = QUORUM_NO_NODE;
	node->closed = true;
}

static void
dispatch(QuorumNode *node, QuorumUpdate *update, const QuorumEvent *event)
{
	switch (event->type)
	{
		case QUORUM_EVENT_TICK:
			break;
		case QUORUM_EVENT_MESSAGE:
			on_message(node, update, &event->u.message);
			break;
		case QUORUM_EVENT_FACTS:
			on_facts(node, update, &event->u.facts);
			break;
		case QUORUM_EVENT_PEER_CONNECTED:
			if (quorum_peer_find(node, event->peer) != NULL)
				quorum_emit_ack(node, update, QUORUM_MSG_STATUS, event->peer, 0);
			break;
		case QUORUM_EVENT_PEER_LOST:
			if (quorum_peer_find(node, event->peer) != NULL)
				quorum_syncset_doubt(node, quorum_peer_find(node, event->peer));
			if (event->peer == node->leader && node->role != QUORUM_ROLE_LEADER)
				node->probe_at = node->now.mono;
			break;
		case QUORUM_EVENT_PEER_DEAD:
			on_peer_over(node, update, event->peer, QUORUM_LOSS_DEAD);
			break;
		case QUORUM_EVENT_PEER_RESTARTED:
			on_peer_over(node, update, event->peer, QUORUM_LOSS_RESTARTED);
			break;
		case QUORUM_EVENT_CLOSING:
			on_closing(node, update, event->closing);
			break;
		case QUORUM_EVENT_CONFIRM:
			quorum_on_confirm(node, update);
			break;
		case QUORUM_EVENT_ADMIN:
			quorum_on_admin(node, update, &event->u.admin);
			break;
	}
}

void
quorum_step(QuorumNode *node, const QuorumEvent *event, QuorumUpdate *update)
{
	QuorumBefore before;

	quorum_remember(node, &before);
	update->message_count = 0;
	update->action_count = 0;
	update->note_count = 0;
	update->facts_wanted = false;

	/* Clocks of one host never run backwards; a host that says so is not believed. */
	if (event->now.mono > node->now.mono)
		node->now.mono = event->now.mono;
	if (event->now.boot > node->now.boot)
		node->now.boot = event->now.boot;
	node->now.wall = event->now.wall;

	if (!node->closed)
	{
		dispatch(node, update, event);
		if (!update->facts_wanted && !node->closed)
		{
			quorum_leader_tick(node, update);
			quorum_election_tick(node, update);
			quorum_leave_primary(node, update);
		}
		quorum_pause_tick(node, update);
	}

	update->fence.term = node->hard.term;
	update->fence.gate_may_stay_open = node->gate_open;
	update->fence.hold_wal = quorum_transfer_holds(node);
	update->fence_changed = update->fence.term != node->published.term ||
		update->fence.gate_may_stay_open != node->published.gate_may_stay_open ||
		update->fence.hold_wal != node->published.hold_wal;
	update->persist = node->hard_dirty && !update->facts_wanted;
	quorum_check_state(node);
	quorum_check_delta(&before, node);
	quorum_check_update(node, update);
}

QuorumTime
quorum_next_deadline(const QuorumNode *node)
{
	QuorumTime	deadline;
	QuorumTime	leave;

	if (node->closed)
		return QUORUM_NEVER;
	if (node->role == QUORUM_ROLE_LEADER)
		return quorum_leader_deadline(node);
	deadline = quorum_election_deadline(node);
	leave = quorum_leave_deadline(node);
	return leave < deadline ? leave : deadline;
}

static void
view_member(const QuorumNode *node, int index, const QuorumSyncRule *rule,
			QuorumMemberView *view)
{
	const QuorumPeer *peer = &node->peers[index];
	QuorumTime	heard_at = peer->heard_at > peer->gossip_heard_at ?
		peer->heard_at : peer->gossip_heard_at;

	memset(view, 0, sizeof(*view));
	view->member = node->hard.members.members[index];
	view->is_leader = node->leader == view->member.id;
	for (int i = 0; i < rule->count; i++)
		view->in_sync_rule = view->in_sync_rule || rule->ids[i] == view->member.id;
	if (view->member.id == node->hard.node_id)
	{
		view->is_self = true;
		view->heard = true;
		view->priority = node->config.priority;
		view->position = node->facts.position;
		view->replay_lsn = node->facts.phase == QUORUM_PHASE_PRIMARY ?
			node->facts.position.lsn : node->facts.replay_lsn;
		view->stream_term = node->facts.stream_term;
		view->stream_flush = node->facts.stream_flush;
		view->recovering = node->hard.recovering;
		view->diverged = node->facts.diverged;
		view->space_low = node->facts.space_low;
		return;
	}
	view->heard_ago_us = heard_at == 0 ? QUORUM_NEVER : node->now.mono - heard_at;
	view->heard = heard_at != 0 && view->heard_ago_us <= node->config.lease_us;
	view->priority = peer->priority;
	view->position = quorum_walpos_known(peer->position) ? peer->position : peer->last_position;
	view->replay_lsn = peer->replay_lsn;
	view->stream_term = peer->stream_term;
	view->stream_flush = peer->stream_flush;
	view->recovering = peer->recovering;
	view->diverged = peer->diverged;
	view->space_low = peer->space_low;
}

void
quorum_view(const QuorumNode *node, QuorumView *view)
{
	const char *reason = NULL;

	memset(view, 0, offsetof(QuorumView, members));
	view->node_id = node->hard.node_id;
	view->role = node->role;
	view->term = node->hard.term;
	view->vote = node->hard.vote;
	view->leader = node->leader;
	view->phase = node->facts_known ? node->facts.phase : QUORUM_PHASE_STARTING;
	view->lease_until_boot = node->role == QUORUM_ROLE_LEADER ? node->lease_until : 0;
	view->promise_until_mono = node->promise_until;
	view->hold_wal = quorum_transfer_holds(node);
	view->gate_open = node->gate_open;
	view->closed = node->closed;
	view->quorum_lsn = node->quorum_lsn;
	view->confirmed_at = node->gate_open ? quorum_lease_confirmed_at(node) : 0;
	view->held_lsn = node->role == QUORUM_ROLE_FOLLOWER && node->leader != QUORUM_NO_NODE &&
		node->leader_gate_open && node->facts.stream_term == node->hard.term ?
		node->quorum_lsn : 0;
	view->electable = quorum_may_stand(node, &reason);
	if (reason != NULL)
		quorum_text_copy(view->not_electable, reason, QUORUM_REASON_SIZE);
	view->paused_until = quorum_paused(node) ? node->hard.members.paused_until : 0;
	quorum_current_rule(node, &view->sync);
	view->set_id = node->hard.members.id;
	view->set_committed = node->role == QUORUM_ROLE_LEADER &&
		node->change.step == QUORUM_CHANGE_NONE;
	view->outcome = node->outcome;
	view->member_count = node->hard.members.count;
	for (int i = 0; i < view->member_count; i++)
		view_member(node, i, &view->sync, &view->members[i]);
}
