/*
 * quorum_follower.c
 *	  What a node does with the heartbeats and the resignation of its leader.
 */
#include "quorum_internal.h"

/* Take what the leader tells of the others; direct news are newer than its word. */
static void
take_gossip(QuorumNode *node, const QuorumMessage *beat)
{
	QuorumPeer *leader = quorum_peer_find(node, beat->from);

	node->leader_lsn = beat->position.tli == beat->term ? beat->position.lsn : 0;
	if (leader != NULL)
		leader->replay_lsn = beat->position.lsn;
	for (int i = 0; i < beat->gossip_count; i++)
	{
		const QuorumGossip *gossip = &beat->gossip[i];
		QuorumPeer *peer = quorum_peer_find(node, gossip->id);

		if (gossip->id == node->hard.node_id)
			node->gossip_position = gossip->position;
		if (peer == NULL)
			continue;

		/* W1: a rewind outlives the leader that allowed it, and the next one must know. */
		if (gossip->recovering && !peer->recovering)
		{
			peer->recovering = true;
			peer->recovering_since = node->now.mono;
		}
		if (gossip->heard_ago_us > node->now.mono)
			continue;
		peer->gossip_heard_at = node->now.mono - gossip->heard_ago_us;
		if (peer->heard_at > peer->gossip_heard_at)
			continue;
		peer->priority = gossip->priority;
		peer->replay_lsn = gossip->replay_lsn;
		if (quorum_walpos_known(gossip->position))
			peer->position = gossip->position;
	}
}

/* Follow `from`, the elected leader of its term. */
static void
accept_leader(QuorumNode *node, QuorumUpdate *update, const QuorumMessage *beat)
{
	if (node->role == QUORUM_ROLE_LEADER)
	{
		/* Two leaders in one term would be the end of everything (S1). */
		quorum_assert(beat->term > node->hard.term);
		quorum_step_down(node, update, QUORUM_LOSS_HIGHER_TERM, 0);
	}
	quorum_become_follower(node, beat->term);
	quorum_assert(node->leader == QUORUM_NO_NODE || node->leader == beat->from);
	if (node->leader != beat->from)
	{
		node->leader = beat->from;
		node->has_followed = true;
		node->leader_closing = false;
		node->successor = QUORUM_NO_NODE;
		node->leader_lsn = 0;
		node->quorum_lsn = 0;
		quorum_emit_note(update, QUORUM_NOTE_LEADER_FOUND, node->hard.term, beat->from, 0);
	}
	node->chosen = false;
	node->election_at = QUORUM_NEVER;
	node->probe_at = QUORUM_NEVER;
	node->lost_rounds = 0;
	node->lost_votes = 0;
	if (node->boot_hold)
	{
		/* Whoever led before was not leader any more when this one was elected. */
		node->boot_hold = false;
		node->promise_until = 0;
	}
	if (node->now.mono + beat->lease_us > node->promise_until)
		node->promise_until = node->now.mono + beat->lease_us;

	/* L3: the longest promise that still runs is what a boot has to wait out. */
	if (beat->lease_us > node->hard.promise_us ||
		(beat->lease_us < node->hard.promise_us &&
		 node->promise_until == node->now.mono + beat->lease_us))
	{
		node->hard.promise_us = beat->lease_us;
		node->hard_dirty = true;
	}
	node->leader_gate_open = beat->gate_open;
	node->rewind_granted = beat->rewind_granted;
	if (beat->quorum_lsn > node->quorum_lsn)
		node->quorum_lsn = beat->quorum_lsn;
	take_gossip(node, beat);
}

void
quorum_on_heartbeat(QuorumNode *node, QuorumUpdate *update, const QuorumMessage *message)
{
	bool		closing = node->leader_closing && node->leader == message->from;

	if (message->lease_us <= 0 || message->lease_us > QUORUM_NEVER / 4)
		return;

	/*
	 * An old term gets the newer one in return and no promise.  A leader that is no
	 * voter in our set gets our set's id, and sends its own: what we promise must be
	 * to somebody whose denial can end the promise (L3).  Who has resigned leads no
	 * more, whatever was on its way.
	 */
	if (message->term < node->hard.term || message->term == node->resigned_term || closing ||
		!quorum_members_votes(&node->hard.members, message->from))
	{
		quorum_emit_ack(node, update, QUORUM_MSG_HEARTBEAT_ACK, message->from, 0);
		return;
	}
	accept_leader(node, update, message);
	quorum_emit_ack(node, update, QUORUM_MSG_HEARTBEAT_ACK, message->from, message->sent_at);
	update->messages[update->message_count - 1].lease_us = message->lease_us;
}

void
quorum_on_resign(QuorumNode *node, QuorumUpdate *update, const QuorumMessage *message)
{
	if (message->term != node->hard.term || node->leader != message->from)
		return;
	quorum_assert(node->role != QUORUM_ROLE_LEADER);

	/* Planned stop: its last record is on its way, and then nobody has to rewind. */
	if (message->resign == QUORUM_RESIGN_SHUTDOWN && node->facts_known && node->facts.streaming)
	{
		node->leader_closing = true;
		node->successor = message->node_id;
		return;
	}
	node->resigned_term = message->term;
	node->successor = message->node_id;
	quorum_leader_lost(node, update, QUORUM_LOSS_RESIGNED);
}

/* The stream has ended, and with it what a leader that stops as planned had to send (L5). */
void
quorum_follower_facts(QuorumNode *node, QuorumUpdate *update)
{
	if (node->role == QUORUM_ROLE_FOLLOWER && node->leader_closing && !node->facts.streaming)
		quorum_leader_lost(node, update, QUORUM_LOSS_CLOSING);
}
