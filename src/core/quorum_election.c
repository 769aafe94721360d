/*
 * quorum_election.c
 *	  How a leader is found: pre-vote, candidacy, granting a vote.
 *
 * This file decides who may be elected.  It does not decide who stands and when
 * (quorum_standing.c), how long a leader may serve (quorum_lease.c) nor what the winner
 * does (quorum_leader.c).
 *
 * Rules (docs/protocol.md):
 *	E2	A pre-vote changes no term: a node that cannot win disturbs nobody.
 *	E3	A vote goes to a candidate whose log is at least as long, whose member set is
 *		at least as new, once per term, and only when no leader can have a lease.
 *	E4	Order of a vote (S2): raise the fence, read the position, compare, persist,
 *		reply.  The position in a vote request obeys the same order.
 */
#include <string.h>

#include "quorum_internal.h"

#define QUORUM_PROBE_INTERVAL_US	20000

/* Two that learn a later term at one time do not ask again at one time. */
#define QUORUM_ADOPT_JITTER_US		2000

void
quorum_become_follower(QuorumNode *node, QuorumTerm term)
{
	quorum_assert(term >= node->hard.term);
	quorum_assert(node->role != QUORUM_ROLE_LEADER);
	node->role = QUORUM_ROLE_FOLLOWER;
	node->round_ends_at = QUORUM_NEVER;
	if (term > node->hard.term)
	{
		node->hard.term = term;
		node->hard.vote = QUORUM_NO_NODE;
		node->hard_dirty = true;
		node->leader = QUORUM_NO_NODE;

		/* The promise to a leader that stops as planned is over (L5), not just asleep. */
		if (node->leader_closing)
			node->promise_until = 0;
		node->leader_closing = false;
		node->pending_vote.candidate = QUORUM_NO_NODE;
	}
}

void
quorum_leader_lost(QuorumNode *node, QuorumUpdate *update, QuorumLossReason why)
{
	QuorumPeer *peer = quorum_peer_find(node, node->leader);

	quorum_assert(node->role != QUORUM_ROLE_LEADER);
	quorum_emit_note(update, QUORUM_NOTE_LEADER_LOST, node->hard.term, node->leader, (int) why);

	/* Who is gone has no claim: its position must not make others wait (E5). */
	if (peer != NULL)
		peer->silent = why == QUORUM_LOSS_SILENT;
	if (peer != NULL && why != QUORUM_LOSS_SILENT)
	{
		peer->last_position = peer->position;
		memset(&peer->position, 0, sizeof(peer->position));
		peer->gone = true;
		peer->returns = node->successor != QUORUM_NO_NODE;
	}
	node->leader = QUORUM_NO_NODE;
	node->probe_at = QUORUM_NEVER;
	node->leader_closing = false;
	node->leader_gate_open = false;
	node->rewind_granted = false;
	node->promise_until = 0;
	node->boot_hold = false;
	quorum_plan_election(node);
	node->chosen = node->successor == node->hard.node_id;
	node->successor = QUORUM_NO_NODE;
	memset(&node->gossip_position, 0, sizeof(node->gossip_position));
}

/* What a position is compared with grows no more: fenced, or held by a hand-over (T4). */
static bool
log_is_at_rest(const QuorumNode *node)
{
	if (node->facts.phase == QUORUM_PHASE_PRIMARY)
		return node->handed_over != 0 && node->facts.wal_held;
	return node->facts.phase == QUORUM_PHASE_STANDBY;
}

/*
 * Y8: who is left out holds nothing that an election has to meet, but may hold what was never
 * acknowledged.  A candidate with another set may count this node as one that is in.
 */
static bool
leaves_comparison(const QuorumNode *node, QuorumSetId set_id)
{
	return !quorum_members_is_in(&node->hard.members, node->hard.node_id) &&
		quorum_set_id_compare(set_id, node->hard.members.id) == 0;
}

/* E3 without the once-per-term part. */
static QuorumVerdict
verdict_on(const QuorumNode *node, QuorumNodeId candidate, QuorumWalPos position,
		   QuorumSetId set_id)
{
	if (!quorum_is_voter(node) || node->hard.recovering)
		return QUORUM_REFUSED_NOT_READY;

	/* A witness has no log to compare; that an election meets every commit is Y3's part. */
	if (!node->facts_known || !log_is_at_rest(node) ||
		(!quorum_walpos_known(node->facts.position) && !quorum_is_witness(node)))
		return QUORUM_REFUSED_NOT_READY;
	if (!quorum_members_is_in(&node->hard.members, candidate) ||
		quorum_set_id_compare(set_id, node->hard.members.id) < 0)
		return QUORUM_REFUSED_MEMBERS;
	if (quorum_promise_active(node))
		return QUORUM_REFUSED_PROMISE;
	if (quorum_walpos_compare(position, node->facts.position) < 0 &&
		!leaves_comparison(node, set_id))
		return QUORUM_REFUSED_BEHIND;
	return QUORUM_GRANTED;
}

static void
reply(QuorumNode *node, QuorumUpdate *update, QuorumMessageType type, QuorumNodeId to,
	  QuorumTerm proposed_term, QuorumVerdict verdict)
{
	QuorumMessage *message = quorum_emit_message(node, update, type, to);

	message->proposed_term = proposed_term;
	message->verdict = verdict;
	if (verdict == QUORUM_REFUSED_PROMISE && node->role != QUORUM_ROLE_LEADER &&
		node->promise_until > node->now.mono)
		message->retry_after_us = node->promise_until - node->now.mono;
}

void
quorum_on_pre_vote_request(QuorumNode *node, QuorumUpdate *update, const QuorumMessage *message)
{
	QuorumVerdict verdict = verdict_on(node, message->from, message->position, message->set_id);

	if (verdict == QUORUM_GRANTED && message->proposed_term <= node->hard.term)
		verdict = QUORUM_REFUSED_TERM;
	reply(node, update, QUORUM_MSG_PRE_VOTE_REPLY, message->from, message->proposed_term, verdict);

	/* E8: of two that ask at the same time, the one with the worse claim gives way. */
	if (verdict == QUORUM_GRANTED && node->role == QUORUM_ROLE_PRE_CANDIDATE)
	{
		int			order = quorum_walpos_compare(message->position, node->facts.position);

		if (order > 0 || (order == 0 && message->from < node->hard.node_id))
		{
			quorum_become_follower(node, node->hard.term);
			node->election_at = node->now.mono + quorum_round_length(node);
		}
	}

	/* E5: who is refused for a shorter log shows that ours should stand, at once. */
	node->chosen = node->chosen || verdict == QUORUM_REFUSED_BEHIND;
	if (verdict == QUORUM_REFUSED_BEHIND && node->role == QUORUM_ROLE_FOLLOWER &&
		node->leader == QUORUM_NO_NODE && quorum_may_stand(node, NULL))
		node->election_at = node->now.mono;
}

static void
start_round(QuorumNode *node, QuorumTime length)
{
	for (int i = 0; i < QUORUM_MAX_NODES; i++)
	{
		node->peers[i].replied = false;
		node->peers[i].granted = false;
		node->peers[i].reply_retry_at = 0;
	}
	node->round_ends_at = node->now.mono + length;
	node->election_at = QUORUM_NEVER;
}

static void
ask_voters(QuorumNode *node, QuorumUpdate *update, QuorumMessageType type,
		   QuorumTerm proposed_term)
{
	for (int i = 0; i < node->hard.members.count; i++)
	{
		QuorumNodeId id = node->hard.members.members[i].id;

		if (id != node->hard.node_id && quorum_members_votes(&node->hard.members, id))
			quorum_emit_message(node, update, type, id)->proposed_term = proposed_term;
	}
}

/*
 * Y3.  1: won, -1: cannot win any more, 0: open.  Own vote counts.  A round does not stay
 * open for the answer of a leader that is gone.
 */
static int
round_result(const QuorumNode *node)
{
	const QuorumMemberSet *set = &node->hard.members;
	int			granted = 1;
	int			open = 0;
	int			granted_in = 1;
	int			open_in = 0;
	int			majority = quorum_members_majority(set);
	int			read_need = quorum_members_read_need(set);

	for (int i = 0; i < set->count; i++)
	{
		QuorumNodeId id = set->members[i].id;
		int			in = quorum_members_is_in(set, id) ? 1 : 0;

		if (id == node->hard.node_id || !quorum_members_votes(set, id))
			continue;
		if (node->peers[i].granted)
		{
			granted++;
			granted_in += in;
		}
		else if (!node->peers[i].replied && !node->peers[i].gone)
		{
			open++;
			open_in += in;
		}
	}
	if (granted >= majority && granted_in >= read_need)
		return 1;
	return granted + open < majority || granted_in + open_in < read_need ? -1 : 0;
}

static void
lose_round(QuorumNode *node)
{
	bool		cost_a_term = node->role == QUORUM_ROLE_CANDIDATE;

	quorum_become_follower(node, node->hard.term);
	quorum_plan_retry(node, cost_a_term);
}

/* First half of a candidacy: the term goes up, the fence with it (E4). */
static void
become_candidate(QuorumNode *node, QuorumUpdate *update)
{
	quorum_assert(node->role == QUORUM_ROLE_PRE_CANDIDATE);
	quorum_become_follower(node, node->hard.term + 1);
	node->pending_vote.candidate = node->hard.node_id;
	node->pending_vote.set_id = node->hard.members.id;
	update->facts_wanted = true;
}

/* A round got an answer: what follows from how it stands. */
static void
settle_round(QuorumNode *node, QuorumUpdate *update)
{
	int			result = round_result(node);

	if (result < 0)
		lose_round(node);
	else if (result > 0 && node->role == QUORUM_ROLE_CANDIDATE)
		quorum_become_leader(node, update);
	else if (result > 0)
		become_candidate(node, update);
}

/* Second half: the position behind the fence is known. */
static void
stand(QuorumNode *node, QuorumUpdate *update)
{
	if (!quorum_may_stand(node, NULL) || node->hard.vote != QUORUM_NO_NODE)
	{
		quorum_plan_retry(node, true);
		return;
	}
	node->role = QUORUM_ROLE_CANDIDATE;
	node->hard.vote = node->hard.node_id;
	node->hard_dirty = true;
	quorum_emit_note(update, QUORUM_NOTE_CANDIDATE, node->hard.term, QUORUM_NO_NODE, 0);
	start_round(node, quorum_vote_round_length(node));
	if (round_result(node) > 0)
		quorum_become_leader(node, update);
	else
		ask_voters(node, update, QUORUM_MSG_VOTE_REQUEST, node->hard.term);
}

static void
start_pre_vote(QuorumNode *node, QuorumUpdate *update)
{
	quorum_assert(node->role == QUORUM_ROLE_FOLLOWER);
	quorum_assert(node->leader == QUORUM_NO_NODE);

	/* Terms that a timeline already took are gone (R3). */
	if (node->facts.newest_tli > node->hard.term)
		quorum_become_follower(node, node->facts.newest_tli);
	node->role = QUORUM_ROLE_PRE_CANDIDATE;

	/* Who cannot reach a majority asks for ever; that is told now and then only. */
	if (node->lost_rounds < 4 || node->lost_rounds % 32 == 0)
		quorum_emit_note(update, QUORUM_NOTE_PRE_VOTE, node->hard.term + 1, QUORUM_NO_NODE, 0);
	start_round(node, quorum_round_length(node));
	if (round_result(node) > 0)
		become_candidate(node, update);
	else
		ask_voters(node, update, QUORUM_MSG_PRE_VOTE_REQUEST, node->hard.term + 1);
}

static void
take_reply(QuorumNode *node, const QuorumMessage *message)
{
	QuorumPeer *peer = quorum_peer_find(node, message->from);

	if (peer == NULL)
		return;
	peer->replied = true;
	peer->granted = message->verdict == QUORUM_GRANTED;
	if (message->verdict == QUORUM_REFUSED_PROMISE && message->retry_after_us > 0 &&
		message->retry_after_us < node->config.lease_us * 100)
		peer->reply_retry_at = node->now.mono + message->retry_after_us;
}

void
quorum_on_pre_vote_reply(QuorumNode *node, QuorumUpdate *update, const QuorumMessage *message)
{
	if (node->role != QUORUM_ROLE_PRE_CANDIDATE || message->proposed_term != node->hard.term + 1)
		return;

	/* A voter knows a later term: ours cannot win before it is later still (R3). */
	if (message->term > node->hard.term)
	{
		quorum_become_follower(node, message->term);
		node->election_at = node->now.mono +
			quorum_random_between(&node->random, 0, QUORUM_ADOPT_JITTER_US);
		return;
	}
	take_reply(node, message);
	settle_round(node, update);
}

void
quorum_on_vote_request(QuorumNode *node, QuorumUpdate *update, const QuorumMessage *message)
{
	/* Raft 4.2.3: whoever believes in a living leader does not even learn the term. */
	if (quorum_promise_active(node))
	{
		reply(node, update, QUORUM_MSG_VOTE_REPLY, message->from, message->term,
			  QUORUM_REFUSED_PROMISE);
		return;
	}
	if (message->term > node->hard.term)
		quorum_become_follower(node, message->term);
	if (message->term < node->hard.term ||
		(node->hard.vote != QUORUM_NO_NODE && node->hard.vote != message->from))
	{
		reply(node, update, QUORUM_MSG_VOTE_REPLY, message->from, message->term,
			  QUORUM_REFUSED_TERM);
		return;
	}
	quorum_become_follower(node, node->hard.term);
	node->pending_vote.candidate = message->from;
	node->pending_vote.position = message->position;
	node->pending_vote.set_id = message->set_id;
	update->facts_wanted = true;
}

void
quorum_election_facts(QuorumNode *node, QuorumUpdate *update)
{
	QuorumPendingVote pending = node->pending_vote;
	QuorumVerdict verdict;

	if (pending.candidate == QUORUM_NO_NODE || node->facts.fence_term < node->hard.term)
		return;
	node->pending_vote.candidate = QUORUM_NO_NODE;
	if (pending.candidate == node->hard.node_id)
	{
		stand(node, update);
		return;
	}

	verdict = verdict_on(node, pending.candidate, pending.position, pending.set_id);
	quorum_assert(node->hard.vote == QUORUM_NO_NODE || node->hard.vote == pending.candidate);
	if (verdict == QUORUM_GRANTED)
	{
		if (node->hard.vote != pending.candidate)
			quorum_emit_note(update, QUORUM_NOTE_VOTED, node->hard.term, pending.candidate, 0);
		node->hard.vote = pending.candidate;
		node->chosen = false;
		node->hard_dirty = true;

		/* Leave the one we voted for the time to win. */
		node->election_at = node->now.mono + quorum_vote_round_length(node) +
			quorum_random_between(&node->random, 0, quorum_vote_round_length(node));
	}
	else
		quorum_emit_note(update, QUORUM_NOTE_REFUSED, node->hard.term, pending.candidate,
						 (int) verdict);
	reply(node, update, QUORUM_MSG_VOTE_REPLY, pending.candidate, node->hard.term, verdict);
	node->chosen = node->chosen || verdict == QUORUM_REFUSED_BEHIND;
	if (verdict == QUORUM_REFUSED_BEHIND && quorum_may_stand(node, NULL))
		node->election_at = node->now.mono;
}

void
quorum_on_vote_reply(QuorumNode *node, QuorumUpdate *update, const QuorumMessage *message)
{
	if (node->role != QUORUM_ROLE_CANDIDATE || message->proposed_term != node->hard.term)
		return;
	if (message->term > node->hard.term)
	{
		quorum_become_follower(node, message->term);
		quorum_plan_retry(node, true);
		return;
	}
	take_reply(node, message);
	settle_round(node, update);
}

/*
 * L4: its connection broke.  The processes of a node do not die at one instant, so one
 * look may come too early: look until it is proved dead, heard again, or silent too long.
 */
static void
probe_leader(QuorumNode *node, QuorumUpdate *update)
{
	if (node->now.mono < node->probe_at)
		return;
	quorum_emit_action(update, QUORUM_ACTION_PROBE, node->hard.term, node->leader);
	node->probe_at = node->now.mono + QUORUM_PROBE_INTERVAL_US;
}

void
quorum_election_tick(QuorumNode *node, QuorumUpdate *update)
{
	if (node->role == QUORUM_ROLE_LEADER || node->pending_vote.candidate != QUORUM_NO_NODE)
		return;
	if (node->role != QUORUM_ROLE_FOLLOWER)
	{
		if (node->now.mono >= node->round_ends_at)
			lose_round(node);
		return;
	}
	if (node->leader != QUORUM_NO_NODE)
	{
		if (node->now.mono < node->promise_until)
		{
			probe_leader(node, update);
			return;
		}
		quorum_leader_lost(node, update, QUORUM_LOSS_SILENT);
	}
	if (!quorum_may_stand(node, NULL))
	{
		node->election_at = QUORUM_NEVER;
		return;
	}
	if (node->election_at == QUORUM_NEVER)
		quorum_plan_election(node);

	/*
	 * Alone, standing asks for the facts, and nothing may leave before they are read:
	 * whatever this step already says goes first, the deadline brings us back at once.
	 */
	if (node->now.mono >= node->election_at && !quorum_promise_active(node) &&
		update->message_count == 0 && update->action_count == 0)
		start_pre_vote(node, update);
}

QuorumTime
quorum_election_deadline(const QuorumNode *node)
{
	if (node->role != QUORUM_ROLE_FOLLOWER)
		return node->round_ends_at;
	if (node->leader != QUORUM_NO_NODE && node->now.mono < node->promise_until)
		return node->probe_at < node->promise_until ? node->probe_at : node->promise_until;
	if (node->leader != QUORUM_NO_NODE)
		return node->now.mono;
	if (!quorum_may_stand(node, NULL))
		return node->now.mono < node->promise_until ? node->promise_until :
			quorum_pause_deadline(node);
	if (node->election_at == QUORUM_NEVER)
		return node->now.mono < node->promise_until ? node->promise_until : node->now.mono;
	return node->election_at > node->promise_until ? node->election_at : node->promise_until;
}
