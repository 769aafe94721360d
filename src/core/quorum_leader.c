/*
 * quorum_leader.c
 *	  What a leader does with its term.
 *
 * From the election to the open gate: promote to timeline == term, wait until a
 * record of that term is held by the quorum (S6), open; heartbeats keep the lease
 * (S7); a leader that hears no majority for a lease steps down.
 */
#include <string.h>

#include "quorum_internal.h"

/* Between election and open gate the leader asks often: every answer may open it. */
#define QUORUM_OPENING_INTERVAL_US	5000

/* Reads that want to be confirmed make no more heartbeats than this. */
#define QUORUM_CONFIRM_INTERVAL_US	500

static void
send_heartbeat(QuorumNode *node, QuorumUpdate *update, QuorumNodeId to)
{
	QuorumMessage *beat = quorum_emit_message(node, update, QUORUM_MSG_HEARTBEAT, to);

	beat->sent_at = node->now.boot;
	beat->lease_us = node->config.lease_us;
	beat->gate_open = node->gate_open;
	beat->rewind_granted = quorum_rewind_grant(node, to);
	beat->quorum_lsn = node->quorum_lsn;
	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumPeer *peer = &node->peers[i];
		QuorumGossip *gossip;

		if (peer->id == node->hard.node_id || (peer->heard_at == 0 && !peer->recovering))
			continue;
		gossip = &beat->gossip[beat->gossip_count++];
		gossip->id = peer->id;
		gossip->priority = peer->priority;
		gossip->position = peer->position;
		gossip->replay_lsn = peer->replay_lsn;
		gossip->recovering = peer->recovering ||
			(peer->id == node->rewinding && node->now.mono < node->rewinding_until);
		gossip->heard_ago_us = peer->heard_at != 0 ? node->now.mono - peer->heard_at :
			QUORUM_NEVER;
	}
}

static void
broadcast_heartbeat(QuorumNode *node, QuorumUpdate *update)
{
	for (int i = 0; i < node->hard.members.count; i++)
	{
		if (node->hard.members.members[i].id != node->hard.node_id)
			send_heartbeat(node, update, node->hard.members.members[i].id);
	}
	node->caught_up_lsn = node->heartbeat_lsn;
	node->heartbeat_lsn = node->quorum_lsn;
	node->heartbeat_sent = node->now.mono;
	node->heartbeat_at = node->now.mono + node->config.heartbeat_us;
	if (!node->gate_open)
	{
		if (node->config.heartbeat_us > QUORUM_OPENING_INTERVAL_US)
			node->heartbeat_at = node->now.mono + QUORUM_OPENING_INTERVAL_US;

		/* Idempotent, and asked again until the facts show it done. */
		if (!node->promoted)
			quorum_emit_action(update, QUORUM_ACTION_PROMOTE, node->hard.term, QUORUM_NO_NODE);
	}
}

void
quorum_become_leader(QuorumNode *node, QuorumUpdate *update)
{
	quorum_assert(node->role == QUORUM_ROLE_CANDIDATE);
	quorum_assert(node->hard.vote == node->hard.node_id);
	node->role = QUORUM_ROLE_LEADER;
	node->leader = node->hard.node_id;
	node->chosen = true;
	node->round_ends_at = QUORUM_NEVER;
	node->election_at = QUORUM_NEVER;
	node->probe_at = QUORUM_NEVER;
	node->lost_rounds = 0;
	node->lost_votes = 0;
	node->promise_until = 0;
	node->elected_at = node->now.mono;
	node->lease_until = 0;
	node->promoted = false;
	node->gate_open = false;
	node->opened = false;
	node->rewinding = QUORUM_NO_NODE;
	node->gate_lsn = 0;
	node->quorum_lsn = 0;
	node->heartbeat_lsn = 0;
	node->caught_up_lsn = 0;
	memset(&node->transfer, 0, sizeof(node->transfer));
	for (int i = 0; i < QUORUM_MAX_NODES; i++)
	{
		node->peers[i].acked_until = 0;
		node->peers[i].acked_sent = 0;
	}
	quorum_membership_restamp(node);
	quorum_lease_renew(node);
	quorum_emit_note(update, QUORUM_NOTE_ELECTED, node->hard.term, QUORUM_NO_NODE, 0);
	broadcast_heartbeat(node, update);
}

void
quorum_close_gate(QuorumNode *node, QuorumUpdate *update)
{
	if (node->gate_open)
		quorum_emit_note(update, QUORUM_NOTE_GATE_CLOSED, node->hard.term, QUORUM_NO_NODE, 0);
	node->gate_open = false;
}

void
quorum_step_down(QuorumNode *node, QuorumUpdate *update, QuorumLossReason why,
				 QuorumResignReason resign)
{
	quorum_assert(node->role == QUORUM_ROLE_LEADER);
	quorum_close_gate(node, update);
	node->role = QUORUM_ROLE_FOLLOWER;
	node->leader = QUORUM_NO_NODE;
	node->lease_until = 0;
	node->change.step = QUORUM_CHANGE_NONE;
	node->election_at = QUORUM_NEVER;
	node->promise_until = 0;
	if (node->outcome.request_id != 0 && !node->outcome.done)
	{
		node->outcome.done = true;
		node->outcome.failed = true;
		quorum_text_copy(node->outcome.reason, "this node does not lead its cluster any more",
						 QUORUM_REASON_SIZE);
	}
	if (resign != 0)
	{
		quorum_emit_note(update, QUORUM_NOTE_RESIGNED, node->hard.term, QUORUM_NO_NODE,
						 (int) resign);
		for (int i = 0; i < node->hard.members.count; i++)
		{
			QuorumNodeId id = node->hard.members.members[i].id;

			if (id != node->hard.node_id)
			{
				QuorumMessage *message = quorum_emit_message(node, update, QUORUM_MSG_RESIGN, id);

				message->resign = resign;
				message->node_id = node->transfer.target;
			}
		}
	}
	else
		quorum_emit_note(update, QUORUM_NOTE_STEPPED_DOWN, node->hard.term, QUORUM_NO_NODE,
						 (int) why);
	memset(&node->transfer, 0, sizeof(node->transfer));
}

void
quorum_on_heartbeat_ack(QuorumNode *node, QuorumUpdate *update, const QuorumMessage *message)
{
	QuorumPeer *peer = quorum_peer_find(node, message->from);

	(void) update;

	/*
	 * A voter of a later term cannot follow us; while a majority does, it waits for
	 * the next election instead of forcing one.
	 */
	if (node->role != QUORUM_ROLE_LEADER || peer == NULL || message->term != node->hard.term)
		return;
	if (message->sent_at > 0 && message->sent_at <= node->now.boot &&
		message->lease_us <= QUORUM_NEVER / 4)
	{
		QuorumTime	until = quorum_lease_end(message->sent_at, message->lease_us);

		if (until > peer->acked_until)
			peer->acked_until = until;
		if (message->sent_at > peer->acked_sent)
			peer->acked_sent = message->sent_at;
	}
	if (message->asks || (message->diverged && node->rewinding != message->from &&
						  quorum_rewind_may_begin(node, message->from)))
		quorum_confirm_soon(node);
	quorum_lease_renew(node);
}

void
quorum_confirm_soon(QuorumNode *node)
{
	QuorumTime	soon = node->heartbeat_sent + QUORUM_CONFIRM_INTERVAL_US;

	if (soon < node->heartbeat_at)
		node->heartbeat_at = soon;
}

void
quorum_on_confirm(QuorumNode *node, QuorumUpdate *update)
{
	if (node->role == QUORUM_ROLE_LEADER)
		quorum_confirm_soon(node);
	else if (node->leader != QUORUM_NO_NODE)
	{
		quorum_emit_ack(node, update, QUORUM_MSG_HEARTBEAT_ACK, node->leader, 0);
		update->messages[update->message_count - 1].asks = true;
	}
}

void
quorum_leader_facts(QuorumNode *node, QuorumUpdate *update)
{
	if (node->role != QUORUM_ROLE_LEADER)
		return;
	if (node->facts.fsync_off)
	{
		/* It counts itself as a holder of every commit (A4). */
		quorum_step_down(node, update, QUORUM_LOSS_FACTS, QUORUM_RESIGN_NOT_DURABLE);
		return;
	}
	if (node->facts.phase != QUORUM_PHASE_PRIMARY)
	{
		if (node->promoted)
			quorum_step_down(node, update, QUORUM_LOSS_FACTS, QUORUM_RESIGN_PROMOTION);
		else if (node->facts.promotion_failed)
			quorum_step_down(node, update, QUORUM_LOSS_FACTS, QUORUM_RESIGN_PROMOTION);
		return;
	}

	/* S4: a leader writes the timeline of its term and no other. */
	if (node->facts.position.tli != node->hard.term)
	{
		quorum_step_down(node, update, QUORUM_LOSS_FACTS, QUORUM_RESIGN_PROMOTION);
		return;
	}
	if (!node->promoted)
	{
		node->promoted = true;
		node->gate_lsn = node->facts.position.lsn;
		quorum_emit_note(update, QUORUM_NOTE_PROMOTED, node->hard.term, QUORUM_NO_NODE, 0);
		broadcast_heartbeat(node, update);
	}
}

/* What the quorum holds of this term counts, and opens the gate (S6). */
static void
serve_what_is_held(QuorumNode *node, QuorumUpdate *update)
{
	QuorumSyncRule rule;
	QuorumLsn	held;

	quorum_current_rule(node, &rule);
	held = quorum_held_by_rule(node, &rule);
	if (held > node->quorum_lsn)
		node->quorum_lsn = held;
	if (node->gate_open || node->transfer.target != QUORUM_NO_NODE ||
		!quorum_lease_valid(node) || !node->facts.sync_ready || held < node->gate_lsn)
		return;
	node->gate_open = true;
	node->opened = true;
	quorum_emit_note(update, QUORUM_NOTE_GATE_OPEN, node->hard.term, QUORUM_NO_NODE, 0);
	broadcast_heartbeat(node, update);
}

void
quorum_leader_tick(QuorumNode *node, QuorumUpdate *update)
{
	if (node->role != QUORUM_ROLE_LEADER)
		return;
	quorum_lease_renew(node);
	if (quorum_lease_lapsed(node))
	{
		quorum_emit_note(update, QUORUM_NOTE_LEASE_LAPSED, node->hard.term, QUORUM_NO_NODE, 0);
		quorum_step_down(node, update, QUORUM_LOSS_SILENT, QUORUM_RESIGN_LAPSED);
		return;
	}
	if (quorum_resign_tick(node, update))
		return;
	quorum_transfer_tick(node, update);
	if (node->role != QUORUM_ROLE_LEADER)
		return;
	if (!node->opened && node->now.mono >= node->elected_at + node->config.promotion_limit_us)
	{
		quorum_step_down(node, update, QUORUM_LOSS_FACTS, QUORUM_RESIGN_PROMOTION);
		return;
	}
	quorum_syncset_tick(node, update);
	quorum_membership_tick(node, update);
	if (node->promoted && quorum_membership_restamped(node))
		serve_what_is_held(node, update);
	if (node->now.mono >= node->heartbeat_at)
		broadcast_heartbeat(node, update);
}

QuorumTime
quorum_leader_deadline(const QuorumNode *node)
{
	QuorumTime	deadline = node->heartbeat_at;
	QuorumTime	lapse;

	quorum_assert(node->role == QUORUM_ROLE_LEADER);
	lapse = node->lease_until != 0 ? node->now.mono + (node->lease_until - node->now.boot) :
		node->elected_at + node->config.lease_us;
	if (lapse < deadline)
		deadline = lapse;
	if (!node->opened && node->elected_at + node->config.promotion_limit_us < deadline)
		deadline = node->elected_at + node->config.promotion_limit_us;
	if (quorum_syncset_deadline(node) < deadline)
		deadline = quorum_syncset_deadline(node);
	return deadline;
}
