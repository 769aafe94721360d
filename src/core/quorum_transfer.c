/*
 * quorum_transfer.c
 *	  A switchover: the leader hands its term over to a member of the operator's choice.
 *
 * The gate shuts and the log is held: what is flushed by then is all there will ever be of
 * this term.  As soon as the target confirms it, the term is given up, with the target
 * named as successor: nobody waits for the old leader to stop.  That one votes for its
 * successor if asked within a moment, restarts in place when the successor serves, and
 * follows without a rewind, as its log ends where it did (T1-T4).  Until the target has
 * confirmed, the leader can go back to service.
 */
#include <string.h>

#include "quorum_internal.h"

/* A target further behind than this would keep everybody waiting. */
#define QUORUM_TRANSFER_LAG_MAX		(UINT64_C(16) * 1024 * 1024)

/* How long the old leader waits to vote and for its successor, and how often it looks around. */
#define QUORUM_LINGER_US			250000
#define QUORUM_LINGER_STEP_US		3000

static const char *
not_ready(const QuorumNode *node, int index)
{
	const QuorumMember *member = &node->hard.members.members[index];
	const QuorumPeer *peer = &node->peers[index];

	if (member->id == node->hard.node_id)
		return "that member leads already";
	if (member->kind != QUORUM_VOTER)
		return "that member is not a voter";
	if (member->left_out)
		return "that member is left out until it has caught up";
	if (peer->heard_at == 0 || node->now.mono - peer->heard_at > node->config.lease_us)
		return "that member was not heard within one lease";
	if (peer->recovering)
		return "that member is recovering";
	if (peer->space_low)
		return "the disk of that member is nearly full";
	if (peer->term != node->hard.term || peer->stream_term != node->hard.term)
		return "that member does not stream from this leader";
	if (peer->stream_flush + QUORUM_TRANSFER_LAG_MAX < node->facts.position.lsn)
		return "that member is too far behind";
	return NULL;
}

/* Of the ready members of the highest priority the one with the most WAL; -1 = none. */
static int
best_target(const QuorumNode *node)
{
	int			best = -1;

	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumPeer *peer = &node->peers[i];

		if (not_ready(node, i) != NULL)
			continue;
		if (best < 0 || peer->priority > node->peers[best].priority ||
			(peer->priority == node->peers[best].priority &&
			 peer->stream_flush > node->peers[best].stream_flush))
			best = i;
	}
	return best;
}

const char *
quorum_transfer_start(QuorumNode *node, QuorumUpdate *update, const QuorumAdmin *admin)
{
	int			index;
	const char *why;

	quorum_assert(node->role == QUORUM_ROLE_LEADER);
	quorum_assert(node->gate_open);
	index = admin->name[0] == '\0' ? best_target(node) :
		quorum_members_find_name(&node->hard.members, admin->name);
	if (index < 0)
		return admin->name[0] == '\0' ? "no other voter is ready to lead" :
			"no member has that name";
	why = not_ready(node, index);
	if (why != NULL)
		return why;

	memset(&node->transfer, 0, sizeof(node->transfer));
	node->transfer.target = node->hard.members.members[index].id;
	node->transfer.give_up_at = node->now.mono + admin->limit_us;
	node->outcome.node_id = node->transfer.target;
	node->heartbeat_at = node->now.mono;
	quorum_emit_note(update, QUORUM_NOTE_HAND_OVER, node->hard.term, node->transfer.target, 0);
	quorum_close_gate(node, update);
	return NULL;
}

/* The log is held: what is flushed is what the target needs. */
void
quorum_transfer_facts(QuorumNode *node)
{
	if (node->role == QUORUM_ROLE_LEADER && node->transfer.target != QUORUM_NO_NODE &&
		node->transfer.lsn == 0 && node->facts.wal_held)
		node->transfer.lsn = node->facts.position.lsn;
}

void
quorum_transfer_tick(QuorumNode *node, QuorumUpdate *update)
{
	QuorumTransfer *transfer = &node->transfer;
	const QuorumPeer *peer;

	if (transfer->target == QUORUM_NO_NODE)
		return;
	quorum_assert(!node->gate_open);
	peer = quorum_peer_find(node, transfer->target);
	if (peer != NULL && transfer->lsn != 0 && peer->stream_term == node->hard.term &&
		peer->stream_flush >= transfer->lsn)
	{
		node->outcome.done = true;
		node->handed_over = node->hard.term;
		node->linger_until = node->now.mono + QUORUM_LINGER_US;
		quorum_step_down(node, update, QUORUM_LOSS_RESIGNED, QUORUM_RESIGN_HANDED_OVER);
		return;
	}
	if (node->now.mono < transfer->give_up_at)
		return;
	quorum_emit_note(update, QUORUM_NOTE_HAND_OVER_FAILED, node->hard.term, transfer->target, 0);
	memset(transfer, 0, sizeof(*transfer));
	node->outcome.done = true;
	node->outcome.failed = true;
	quorum_text_copy(node->outcome.reason,
					 "the target did not confirm the last WAL in time; this node serves on",
					 QUORUM_REASON_SIZE);
}

bool
quorum_transfer_holds(const QuorumNode *node)
{
	return node->transfer.target != QUORUM_NO_NODE || node->handed_over != 0;
}

/* The rule of the successor's commits, and of its gate, cannot be met by the others alone. */
static bool
successor_needs_us(const QuorumNode *node)
{
	QuorumSyncRule rule;
	int			others = 0;

	quorum_members_sync_rule(&node->hard.members, node->hard.vote, &rule);
	for (int i = 0; i < rule.count; i++)
	{
		int			index = quorum_members_find(&node->hard.members, rule.ids[i]);

		if (rule.ids[i] != node->hard.node_id && index >= 0 &&
			node->peers[index].stream_term == node->handed_over)
			others++;
	}
	return others < rule.need;
}

/*
 * The vote for the successor leaves in one step, the server stops in a later one; when others
 * follow the successor, only as it serves: a restart keeps the machine busy.
 */
void
quorum_leave_primary(QuorumNode *node, QuorumUpdate *update)
{
	if (node->role == QUORUM_ROLE_LEADER || !node->facts_known ||
		node->facts.phase != QUORUM_PHASE_PRIMARY)
		return;
	if (node->handed_over == 0)
		quorum_emit_action(update, QUORUM_ACTION_DEMOTE, node->hard.term, QUORUM_NO_NODE);
	else if ((node->hard.term > node->handed_over && !node->hard_dirty &&
			  (node->leader_gate_open || successor_needs_us(node))) ||
			 node->now.mono >= node->linger_until)
		quorum_emit_action(update, QUORUM_ACTION_HAND_OVER, node->handed_over, QUORUM_NO_NODE);
}

/* Both are asked for again until the server stops. */
QuorumTime
quorum_leave_deadline(const QuorumNode *node)
{
	if (node->handed_over == 0 || node->facts.phase != QUORUM_PHASE_PRIMARY)
		return QUORUM_NEVER;
	return node->now.mono + QUORUM_LINGER_STEP_US;
}
