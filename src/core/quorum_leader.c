/*
 * quorum_leader.c
 *	  What a leader does with its term, and what the others do when they hear it.
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

/* How long one that rewinds itself may be silent before others may, too. */
#define QUORUM_REWIND_LEASES	30

/* How long a voter that has not spoken to a new leader may be away for a rewind. */
#define QUORUM_AWAY_LEASES	5

void
quorum_current_rule(const QuorumNode *node, QuorumSyncRule *rule)
{
	switch (node->change.step)
	{
		case QUORUM_CHANGE_NONE:
			quorum_members_sync_rule(&node->hard.members, node->hard.node_id, rule);
			break;
		case QUORUM_CHANGE_WAIT_LSN:
			quorum_members_joint_rule(&node->hard.members, &node->change.next,
									  node->hard.node_id, rule);
			break;
		case QUORUM_CHANGE_WAIT_SET:
			quorum_members_joint_rule(&node->change.old, &node->hard.members,
									  node->hard.node_id, rule);
			break;
	}
}

/* What the quorum is known to hold of this leader's own WAL. */
static QuorumLsn
held_by_quorum(const QuorumNode *node, const QuorumSyncRule *rule)
{
	uint64_t	flushed[QUORUM_MAX_NODES];
	int			count = 0;
	QuorumLsn	held;

	if (rule->need == 0)
		return node->facts.position.lsn;
	for (int i = 0; i < rule->count; i++)
	{
		int			index = quorum_members_find(&node->hard.members, rule->ids[i]);
		const QuorumPeer *peer = index < 0 ? NULL : &node->peers[index];

		flushed[count++] = peer != NULL && peer->stream_term == node->hard.term &&
			peer->term == node->hard.term ? peer->stream_flush : 0;
	}
	held = quorum_nth_largest(flushed, count, rule->need);
	return held < node->facts.position.lsn ? held : node->facts.position.lsn;
}

bool
quorum_rule_held(const QuorumNode *node, const QuorumSyncRule *rule, QuorumLsn lsn)
{
	return held_by_quorum(node, rule) >= lsn;
}

/* A voter that has not spoken to this leader yet may be away for a rewind of its own. */
static bool
may_be_rewinding(const QuorumNode *node, const QuorumPeer *peer)
{
	return peer->heard_at == 0 &&
		node->now.mono - node->elected_at < QUORUM_AWAY_LEASES * node->config.lease_us;
}

static bool
gone_for_long(const QuorumNode *node, const QuorumPeer *peer)
{
	QuorumTime	since = peer->heard_at > peer->recovering_since ?
		peer->heard_at : peer->recovering_since;

	return node->now.mono - since > QUORUM_REWIND_LEASES * node->config.lease_us;
}

/*
 * Would this leader still have its lease if that voter said nothing more?  Not asked where
 * there is no majority without it anyway.
 */
static bool
leads_without(const QuorumNode *node, QuorumNodeId id)
{
	int			needed = quorum_members_majority(&node->hard.members);
	int			heard = 0;

	if (!quorum_members_votes(&node->hard.members, id) ||
		quorum_members_vote_count(&node->hard.members) - 1 < needed)
		return true;
	for (int i = 0; i < node->hard.members.count; i++)
	{
		QuorumNodeId other = node->hard.members.members[i].id;

		if (other != id && quorum_members_votes(&node->hard.members, other) &&
			(other == node->hard.node_id || node->peers[i].acked_until > node->now.boot))
			heard++;
	}
	return heard >= needed;
}

/*
 * W1, S8: who rewinds itself neither votes nor stands until it is whole again.  So that
 * the cluster survives the loss of this leader meanwhile, a majority must stay whole;
 * when it is not anyway, one at a time.  A gate that cannot open because those that
 * should hold its first record have diverged lets one of them go, but not the one whose
 * word its lease stands on: nobody would lead while that one copies.
 */
static bool
may_rewind(const QuorumNode *node, QuorumNodeId id)
{
	int			others = 0;

	if (!node->promoted || !quorum_lease_valid(node) || !leads_without(node, id))
		return false;
	if (node->rewinding != QUORUM_NO_NODE && node->rewinding != id &&
		node->now.mono < node->rewinding_until)
		return false;
	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumPeer *peer = &node->peers[i];

		/*
		 * Of two that wait, the lower id goes first.  One that went away recovering and does
		 * not come back holds up the others for some leases only.
		 */
		if (peer->id != id && peer->id != node->hard.node_id &&
			((peer->recovering && !gone_for_long(node, peer)) ||
			 may_be_rewinding(node, peer) || (peer->diverged && peer->id < id)) &&
			quorum_members_votes(&node->hard.members, peer->id))
			others++;
	}
	if (others == 0 || !quorum_members_votes(&node->hard.members, id))
		return true;

	/* Which set the others would elect by is open then. */
	if (node->change.step != QUORUM_CHANGE_NONE)
		return false;
	return node->gate_open && quorum_members_vote_count(&node->hard.members) - others - 1 >=
		quorum_members_majority(&node->hard.members);
}

/* Nobody else is granted a rewind before this one is known to recover. */
static bool
grant_rewind(QuorumNode *node, QuorumNodeId id)
{
	const QuorumPeer *peer = quorum_peer_find(node, id);

	if (peer == NULL || !peer->diverged || !may_rewind(node, id))
		return false;
	node->rewinding = id;
	node->rewinding_until = node->now.mono + 2 * node->config.lease_us;
	return true;
}

static void
send_heartbeat(QuorumNode *node, QuorumUpdate *update, QuorumNodeId to)
{
	QuorumMessage *beat = quorum_emit_message(node, update, QUORUM_MSG_HEARTBEAT, to);

	beat->sent_at = node->now.boot;
	beat->lease_us = node->config.lease_us;
	beat->gate_open = node->gate_open;
	beat->rewind_granted = grant_rewind(node, to);
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
						  may_rewind(node, message->from)))
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

void
quorum_leader_facts(QuorumNode *node, QuorumUpdate *update)
{
	if (node->role == QUORUM_ROLE_FOLLOWER && node->leader_closing && !node->facts.streaming)
		quorum_leader_lost(node, update, QUORUM_LOSS_CLOSING);
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
	held = held_by_quorum(node, &rule);
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
