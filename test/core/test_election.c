/*
 * test_election.c
 *	  Who may be elected: one truth table, and the story from silence to leadership.
 */
#include "harness.h"

static TestHost host;

/* Of this node to a fresh, willing voter of that term. */
static QuorumMessage
request_of(QuorumNodeId from, QuorumTerm term)
{
	test_host_init(&host, 3);
	(void) test_facts(&host);
	return test_from(&host, from, QUORUM_MSG_VOTE_REQUEST, term);
}

static void
voting(void)
{
	QuorumMessage request = request_of(2, 2);

	test_claim(test_answer(&host, &request) == QUORUM_GRANTED, "a vote is granted for an equal log");
	test_claim(host.disk.term == 2 && host.disk.vote == 2, "and is durable");
	test_claim(test_answer(&host, &request) == QUORUM_GRANTED, "asked again, the same answer");
	request.from = 3;
	test_claim(test_answer(&host, &request) == QUORUM_REFUSED_TERM, "one vote per term");
	test_claim(host.disk.vote == 2, "and it does not change");

	request = request_of(2, 2);
	request.position.lsn--;
	test_claim(test_answer(&host, &request) == QUORUM_REFUSED_BEHIND, "no vote for a shorter log");
	test_claim(host.disk.term == 2, "but the term is taken over");
	request = request_of(2, 2);
	host.facts.position = (QuorumWalPos) {3, 10};
	test_claim(test_answer(&host, &request) == QUORUM_REFUSED_BEHIND,
			   "no vote for a longer log of an older timeline");
	request = request_of(2, 2);
	host.facts.position.lsn++;
	test_claim(test_answer(&host, &request) == QUORUM_REFUSED_BEHIND,
			   "its own log is read behind the fence, not as it was known before (S2)");
	request = request_of(2, 1);
	host.node.hard.term = 4;
	test_claim(test_answer(&host, &request) == QUORUM_REFUSED_TERM, "no vote in an older term");
	request = request_of(9, 2);
	test_claim(test_answer(&host, &request) != QUORUM_GRANTED, "no vote for a stranger");
	request = request_of(2, 2);
	request.set_id.term = 0;
	test_claim(test_answer(&host, &request) == QUORUM_REFUSED_MEMBERS, "no vote for an older member set");
	request = request_of(2, 2);
	host.node.hard.recovering = true;
	test_claim(test_answer(&host, &request) == QUORUM_REFUSED_NOT_READY, "whoever recovers does not vote (S8)");
	request = request_of(2, 2);
	host.facts.phase = QUORUM_PHASE_STARTING;
	test_claim(test_answer(&host, &request) == QUORUM_REFUSED_NOT_READY, "no vote before the log is read (R5)");
	request = request_of(2, 2);
	host.node.hard.members.members[0].kind = QUORUM_LEARNER;
	test_claim(test_answer(&host, &request) == QUORUM_REFUSED_NOT_READY, "a learner does not vote");
}

static void
promises(void)
{
	QuorumMessage request = request_of(3, 2);
	QuorumMessage beat = test_from(&host, 2, QUORUM_MSG_HEARTBEAT, 1);

	(void) test_message(&host, &beat);
	test_claim(host.node.leader == 2, "a heartbeat is followed");
	test_claim(test_answer(&host, &request) == QUORUM_REFUSED_PROMISE,
			   "no vote while a leader may have its lease");
	test_claim(host.node.hard.term == 1, "not even the term is taken over (Raft 4.2.3)");
	request.type = QUORUM_MSG_PRE_VOTE_REQUEST;
	request.proposed_term = 2;
	request.term = 1;
	test_claim(test_answer(&host, &request) == QUORUM_REFUSED_PROMISE, "nor a pre-vote");
	(void) test_tick_at(&host, host.now.mono + LEASE - 1);
	test_claim(host.node.leader == 2, "the promise lasts a full lease from receipt");
	(void) test_tick_at(&host, host.now.mono + 1);
	test_claim(host.node.leader == QUORUM_NO_NODE, "then the leader is lost");
	test_claim(test_answer(&host, &request) == QUORUM_GRANTED, "and a pre-vote is granted");
	test_claim(host.disk.term == 1, "which changes no term");
}

/* Given time enough: does it ask for pre-votes? */
static bool
would_stand(void)
{
	(void) test_facts(&host);
	for (int i = 0; i < 100 && host.node.role == QUORUM_ROLE_FOLLOWER; i++)
		(void) test_tick_at(&host, host.now.mono + LEASE);
	return host.node.role != QUORUM_ROLE_FOLLOWER;
}

static void
winning(void)
{
	test_host_init(&host, 3);
	test_until_it_asks(&host);
	test_claim(host.node.role == QUORUM_ROLE_PRE_CANDIDATE, "without a leader a node asks");
	test_claim(host.node.hard.term == 1, "its term is unchanged");
	test_claim(test_sent(&host, QUORUM_MSG_PRE_VOTE_REQUEST) != NULL, "it asks for pre-votes");

	test_host_init(&host, 3);
	test_become_leader(&host);
	test_claim(host.node.role == QUORUM_ROLE_LEADER, "two of three votes make a leader");
	test_claim(host.disk.term == 2 && host.disk.vote == 1, "its own vote is durable");
	test_claim(host.acted_count == 1 && host.acted[0].type == QUORUM_ACTION_PROMOTE &&
			   host.acted[0].term == 2, "it promotes to the timeline of its term");
	test_claim(!host.view.gate_open, "its gate is shut");

	test_host_init(&host, 1);
	(void) test_facts(&host);
	(void) test_tick_at(&host, host.now.mono + 1);
	test_claim(host.node.role == QUORUM_ROLE_LEADER, "alone, a node elects itself at once");

	test_host_init(&host, 3);
	host.facts.promotable = false;
	test_claim(!would_stand(), "a log that does not fit its history does not stand (R17)");
	test_host_init(&host, 3);
	host.node.hard.term = host.facts.position.tli + QUORUM_TERM_GAP_MAX;
	host.disk = host.node.hard;
	test_claim(would_stand(), "many terms may pass without a promotion");
	host.node.hard.term++;
	host.node.role = QUORUM_ROLE_FOLLOWER;
	test_claim(!would_stand(), "but no candidacy skips more than a thousand (E6)");
}

static void
losses(void)
{
	QuorumMessage beat = request_of(2, 1);

	beat = test_from(&host, 2, QUORUM_MSG_HEARTBEAT, 1);
	(void) test_message(&host, &beat);
	(void) test_peer(&host, QUORUM_EVENT_PEER_LOST, 2);
	test_claim(host.node.leader == 2 && host.acted_count == 1 &&
			   host.acted[0].type == QUORUM_ACTION_PROBE,
			   "a broken connection is no proof: it is probed");
	(void) test_peer(&host, QUORUM_EVENT_PEER_DEAD, 3);
	test_claim(host.node.leader == 2, "the death of another changes nothing");
	(void) test_peer(&host, QUORUM_EVENT_PEER_DEAD, 2);
	test_claim(host.node.leader == QUORUM_NO_NODE, "proof of its death ends the promise");
	(void) test_message(&host, &beat);
	(void) test_peer(&host, QUORUM_EVENT_PEER_RESTARTED, 2);
	test_claim(host.node.leader == QUORUM_NO_NODE, "so does a new boot nonce");
	(void) test_message(&host, &beat);
	beat.type = QUORUM_MSG_RESIGN;
	beat.resign = QUORUM_RESIGN_POSTMASTER_DIED;
	(void) test_message(&host, &beat);
	test_claim(host.node.leader == QUORUM_NO_NODE, "so does its resignation");
	beat.type = QUORUM_MSG_HEARTBEAT;
	(void) test_message(&host, &beat);
	test_claim(host.node.leader == QUORUM_NO_NODE && host.view.promise_until_mono == 0,
			   "what it sent before and comes after is no heartbeat of a leader (L4)");
}

/* How long it waits for votes that do not come, in this and the next rounds. */
static QuorumTime
round_without_votes(void)
{
	for (int i = 0; i < 200 && host.node.role != QUORUM_ROLE_PRE_CANDIDATE; i++)
		(void) test_tick_at(&host, quorum_next_deadline(&host.node));
	(void) test_vote(&host, 2, QUORUM_MSG_PRE_VOTE_REPLY, host.node.hard.term + 1);
	return host.node.role == QUORUM_ROLE_CANDIDATE ? host.node.round_ends_at - host.now.mono : 0;
}

/* Votes are on disks that take their time. */
static void
slow_votes(void)
{
	QuorumTime	rounds[6];
	QuorumMessage beat;

	test_host_init(&host, 3);
	(void) test_facts(&host);
	for (int i = 0; i < 6; i++)
		rounds[i] = round_without_votes();
	test_claim(rounds[0] > 0 && rounds[1] == 2 * rounds[0] && rounds[2] == 4 * rounds[0],
			   "a round that was lost makes the next one twice as long (E11)");
	test_claim(rounds[5] > LEASE / 4 && rounds[5] <= LEASE / 2, "up to half a lease");
	beat = test_from(&host, 2, QUORUM_MSG_HEARTBEAT, host.node.hard.term + 1);
	beat.lease_us = LEASE;
	(void) test_message(&host, &beat);
	(void) test_peer(&host, QUORUM_EVENT_PEER_DEAD, 2);
	test_claim(round_without_votes() == rounds[0], "until somebody has led");
}

static void
rewinding(void)
{
	QuorumMessage beat;
	const QuorumMessage *ack;

	test_host_init(&host, 3);
	host.node.config.auto_rewind = true;
	(void) test_facts(&host);
	beat = test_from(&host, 2, QUORUM_MSG_HEARTBEAT, 1);
	(void) test_message(&host, &beat);
	host.facts.diverged = true;
	(void) test_facts(&host);
	test_claim(!host.disk.recovering, "who has diverged waits until its leader lets it go (W1)");
	beat.rewind_granted = true;
	(void) test_message(&host, &beat);
	ack = NULL;
	for (int i = 0; i < host.sent_count; i++)
	{
		if (host.sent[i].type == QUORUM_MSG_HEARTBEAT_ACK)
			ack = &host.sent[i];
	}
	test_claim(host.disk.recovering && host.acted_count == 1 &&
			   host.acted[0].type == QUORUM_ACTION_REWIND, "then it recovers, and rewinds itself (W2)");
	test_claim(ack != NULL && ack->recovering, "its last word tells the leader so");
}

int
main(void)
{
	voting();
	promises();
	winning();
	losses();
	slow_votes();
	rewinding();
	return test_done();
}
