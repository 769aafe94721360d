/*
 * quorum_election.c
 *	  How a leader is found: pre-vote, candidacy, granting a vote.
 *
 * This file decides who may be elected.  It does not decide how long a leader may
 * serve (quorum_lease.c) nor what the winner does (quorum_leader.c).
 *
 * Rules (docs/protocol.md):
 *	E1	A node stands only when its own promise is over, its log has been read (R5),
 *		and it neither recovers (S8) nor is anything but a voter.
 *	E2	A pre-vote changes no term: a node that cannot win disturbs nobody.
 *	E3	A vote goes to a candidate whose log is at least as long, whose member set is
 *		at least as new, once per term, and only when no leader can have a lease.
 *	E4	Order of a vote (S2): raise the fence, read the position, compare, persist,
 *		reply.  The position in a vote request obeys the same order.
 *	E5	The node with the longest log stands first: others wait rank times a step.
 */
#include <string.h>

#include "quorum_internal.h"

#define QUORUM_RANK_STEP_MIN_US		2000
#define QUORUM_RANK_STEP_MAX_US		50000
#define QUORUM_ROUND_MIN_US			50000
#define QUORUM_ROUND_MAX_US			1000000
#define QUORUM_PROBE_INTERVAL_US	20000

static QuorumTime
clamp(QuorumTime value, QuorumTime low, QuorumTime high)
{
	return value < low ? low : value > high ? high : value;
}

static QuorumTime
round_length(const QuorumNode *node)
{
	return clamp(node->config.heartbeat_us, QUORUM_ROUND_MIN_US, QUORUM_ROUND_MAX_US);
}

bool
quorum_may_stand(const QuorumNode *node, const char **reason)
{
	const char *why = NULL;

	if (node->closed)
		why = "the server is stopping";
	else if (node->removed)
		why = "it was removed from the cluster";
	else if (!quorum_is_voter(node))
		why = "it is not a voter";
	else if (node->hard.members.members[quorum_members_find(&node->hard.members,
															node->hard.node_id)].kind ==
			 QUORUM_WITNESS)
		why = "it is a witness";
	else if (node->hard.recovering)
		why = "its log may lack committed records (recovering)";
	else if (!node->facts_known || node->facts.phase == QUORUM_PHASE_STARTING)
		why = "it has not yet read all of its WAL";
	else if (node->facts.phase == QUORUM_PHASE_PRIMARY)
		why = node->role == QUORUM_ROLE_LEADER ? NULL : "it has to restart as a standby first";
	else if (!quorum_walpos_known(node->facts.position))
		why = "the end of its log is not known";
	else if (node->facts.fsync_off)
		why = "fsync or full_page_writes is off";
	else if (!node->facts.promotable)
		why = "the timeline history on its disk does not fit its log";
	else if (node->facts.newest_tli > node->hard.term + QUORUM_TERM_GAP_MAX ||
			 node->hard.term > node->facts.position.tli + QUORUM_TERM_GAP_MAX)
		why = "too many terms have passed without a promotion";
	if (reason != NULL)
		*reason = why;
	return why == NULL;
}

/*
 * How many voters have a better claim?  Everybody compares the positions that the
 * leader last told everybody, its own too: while WAL flows the present one is ahead
 * of all old news.  This only orders the attempts; the votes decide.
 */
static int
own_rank(const QuorumNode *node)
{
	QuorumWalPos own = quorum_walpos_known(node->gossip_position) ?
		node->gossip_position : node->facts.position;
	int			rank = 0;

	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumMember *member = &node->hard.members.members[i];
		const QuorumPeer *peer = &node->peers[i];
		int			order;

		if (member->id == node->hard.node_id || member->kind != QUORUM_VOTER)
			continue;
		if (!quorum_walpos_known(peer->position) || peer->recovering)
			continue;
		order = quorum_walpos_compare(peer->position, own);
		if (order > 0 ||
			(order == 0 && peer->priority > node->config.priority) ||
			(order == 0 && peer->priority == node->config.priority &&
			 member->id < node->hard.node_id))
			rank++;
	}
	return rank;
}

static QuorumTime
rank_step(const QuorumNode *node)
{
	return clamp(node->config.heartbeat_us / 20, QUORUM_RANK_STEP_MIN_US,
				 QUORUM_RANK_STEP_MAX_US);
}

static void
plan_election(QuorumNode *node)
{
	QuorumTime	step = rank_step(node);
	int			rank = own_rank(node);
	QuorumTime	from = node->now.mono > node->promise_until ? node->now.mono : node->promise_until;

	/* A switchover names its successor; the others stand only if it does not come. */
	if (node->successor != QUORUM_NO_NODE)
		rank = node->successor == node->hard.node_id ? 0 :
			rank + (int) (round_length(node) / step);
	node->election_at = from + rank * step;

	/*
	 * Who led or stood last and comes back from a boot lets the others go first: after a
	 * switchover the successor, after anything else somebody who did not just fail.
	 */
	if (node->hard.term == node->boot_term && node->hard.vote == node->hard.node_id &&
		quorum_members_vote_count(&node->hard.members) > 1)
		node->election_at += round_length(node);
	if (rank > 0)
		node->election_at += quorum_random_between(&node->random, 0, step / 2);
}

/*
 * After a lost round: later each time, and by chance, so that two losers do not meet
 * again.  A pre-vote costs nothing and what refused it may be over in a moment; a lost
 * vote has cost a term.
 */
static void
plan_retry(QuorumNode *node, bool cost_a_term)
{
	QuorumTime	longest = node->config.lease_us / 2;
	QuorumTime	wait = cost_a_term ? round_length(node) : rank_step(node);
	QuorumTime	hint = QUORUM_NEVER;

	for (int i = 0; i < node->lost_rounds && wait < longest; i++)
		wait *= 2;
	if (wait > longest)
		wait = longest;
	node->lost_rounds++;
	node->election_at = node->now.mono + quorum_random_between(&node->random, wait / 2,
															   wait * 3 / 2);

	/* A voter told when its promise ends: asking right after is not too early. */
	for (int i = 0; i < node->hard.members.count; i++)
	{
		QuorumTime	at = node->peers[i].reply_retry_at;

		if (at != 0 && at < hint)
			hint = at;
	}
	if (hint < node->election_at)
		node->election_at = hint + quorum_random_between(&node->random, 500, 3000);
}

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
	if (peer != NULL && why != QUORUM_LOSS_SILENT)
	{
		memset(&peer->position, 0, sizeof(peer->position));
		peer->gone = true;
	}
	node->leader = QUORUM_NO_NODE;
	node->probe_at = QUORUM_NEVER;
	node->leader_closing = false;
	node->leader_gate_open = false;
	node->rewind_granted = false;
	node->promise_until = 0;
	node->boot_hold = false;
	plan_election(node);
	node->successor = QUORUM_NO_NODE;
	memset(&node->gossip_position, 0, sizeof(node->gossip_position));
}

/* E3 without the once-per-term part. */
static QuorumVerdict
verdict_on(const QuorumNode *node, QuorumNodeId candidate, QuorumWalPos position,
		   QuorumSetId set_id)
{
	if (!quorum_is_voter(node) || node->hard.recovering)
		return QUORUM_REFUSED_NOT_READY;
	if (!node->facts_known || node->facts.phase != QUORUM_PHASE_STANDBY ||
		!quorum_walpos_known(node->facts.position))
		return QUORUM_REFUSED_NOT_READY;
	if (!quorum_members_votes(&node->hard.members, candidate) ||
		quorum_set_id_compare(set_id, node->hard.members.id) < 0)
		return QUORUM_REFUSED_MEMBERS;
	if (quorum_promise_active(node))
		return QUORUM_REFUSED_PROMISE;
	if (quorum_walpos_compare(position, node->facts.position) < 0)
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
			node->election_at = node->now.mono + round_length(node);
		}
	}

	/* E5: who is refused for a shorter log shows that ours should stand, at once. */
	if (verdict == QUORUM_REFUSED_BEHIND && node->role == QUORUM_ROLE_FOLLOWER &&
		node->leader == QUORUM_NO_NODE && quorum_may_stand(node, NULL))
		node->election_at = node->now.mono;
}

static void
start_round(QuorumNode *node)
{
	for (int i = 0; i < QUORUM_MAX_NODES; i++)
	{
		node->peers[i].replied = false;
		node->peers[i].granted = false;
		node->peers[i].reply_retry_at = 0;
	}
	node->round_ends_at = node->now.mono + round_length(node);
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
 * 1: won, -1: cannot win any more, 0: open.  Own vote counts.  A round does not stay
 * open for the answer of a leader that is gone.
 */
static int
round_result(const QuorumNode *node)
{
	int			granted = 1;
	int			open = 0;
	int			majority = quorum_members_majority(&node->hard.members);

	for (int i = 0; i < node->hard.members.count; i++)
	{
		QuorumNodeId id = node->hard.members.members[i].id;

		if (id == node->hard.node_id || !quorum_members_votes(&node->hard.members, id))
			continue;
		if (node->peers[i].granted)
			granted++;
		else if (!node->peers[i].replied && !node->peers[i].gone)
			open++;
	}
	if (granted >= majority)
		return 1;
	return granted + open < majority ? -1 : 0;
}

static void
lose_round(QuorumNode *node)
{
	bool		cost_a_term = node->role == QUORUM_ROLE_CANDIDATE;

	quorum_become_follower(node, node->hard.term);
	plan_retry(node, cost_a_term);
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

/* Second half: the position behind the fence is known. */
static void
stand(QuorumNode *node, QuorumUpdate *update)
{
	if (!quorum_may_stand(node, NULL) || node->hard.vote != QUORUM_NO_NODE)
	{
		plan_retry(node, true);
		return;
	}
	node->role = QUORUM_ROLE_CANDIDATE;
	node->hard.vote = node->hard.node_id;
	node->hard_dirty = true;
	quorum_emit_note(update, QUORUM_NOTE_CANDIDATE, node->hard.term, QUORUM_NO_NODE, 0);
	start_round(node);
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
	start_round(node);
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
			quorum_random_between(&node->random, 0, QUORUM_RANK_STEP_MIN_US);
		return;
	}
	take_reply(node, message);
	switch (round_result(node))
	{
		case 1:
			become_candidate(node, update);
			break;
		case -1:
			lose_round(node);
			break;
		default:
			break;
	}
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
		node->hard_dirty = true;

		/* Leave the one we voted for the time to win. */
		node->election_at = node->now.mono + round_length(node) +
			quorum_random_between(&node->random, 0, round_length(node));
	}
	else
		quorum_emit_note(update, QUORUM_NOTE_REFUSED, node->hard.term, pending.candidate,
						 (int) verdict);
	reply(node, update, QUORUM_MSG_VOTE_REPLY, pending.candidate, node->hard.term, verdict);
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
		plan_retry(node, true);
		return;
	}
	take_reply(node, message);
	switch (round_result(node))
	{
		case 1:
			quorum_become_leader(node, update);
			break;
		case -1:
			lose_round(node);
			break;
		default:
			break;
	}
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
		plan_election(node);

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
		return node->now.mono < node->promise_until ? node->promise_until : QUORUM_NEVER;
	if (node->election_at == QUORUM_NEVER)
		return node->now.mono < node->promise_until ? node->promise_until : node->now.mono;
	return node->election_at > node->promise_until ? node->election_at : node->promise_until;
}
