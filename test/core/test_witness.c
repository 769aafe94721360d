/*
 * test_witness.c
 *	  A witness and members that are left out, as one node sees them: who votes, who stands,
 *	  who wins, and when the leader goes on without somebody.
 */
#include "harness.h"

static TestHost host;

/* Node 1 and 2 have data, 3 is the witness; `out` (0 = nobody) is left out. */
static void
two_and_a_witness(QuorumNodeId out)
{
	test_host_init(&host, 3);
	if (out != QUORUM_NO_NODE)
		host.node.hard.members.members[out - 1].left_out = true;
	host.node.hard.members.members[2].kind = QUORUM_WITNESS;
	host.disk = host.node.hard;
	(void) test_facts(&host);
}

/* With the member set as it was made, up to its first pre-vote. */
static void
until_it_asks(void)
{
	host.disk = host.node.hard;
	test_until_it_asks(&host);
}

/* Long enough for anybody who would stand. */
static void
wait_long(void)
{
	for (int i = 0; i < 100; i++)
		(void) test_tick_at(&host, host.now.mono + LEASE);
}

static QuorumVerdict
answer_to(QuorumNodeId from)
{
	QuorumMessage request = test_from(&host, from, QUORUM_MSG_VOTE_REQUEST, 2);

	return test_answer(&host, &request);
}

/* This node is the witness. */
static void
witness_votes(void)
{
	test_host_init(&host, 3);
	host.node.hard.members.members[0].kind = QUORUM_WITNESS;
	memset(&host.facts, 0, sizeof(host.facts));
	host.facts.phase = QUORUM_PHASE_STANDBY;
	(void) test_facts(&host);
	test_claim(answer_to(2) == QUORUM_GRANTED, "a witness votes; it has no log to compare");
	test_claim(host.disk.vote == 2 && host.disk.term == 2, "and its vote is durable");
	test_claim(answer_to(3) == QUORUM_REFUSED_TERM, "once per term");
	wait_long();
	test_claim(host.node.role == QUORUM_ROLE_FOLLOWER, "it never stands");

	test_host_init(&host, 3);
	host.node.hard.members.members[0].kind = QUORUM_WITNESS;
	host.node.hard.recovering = true;
	memset(&host.facts, 0, sizeof(host.facts));
	host.facts.phase = QUORUM_PHASE_STANDBY;
	(void) test_facts(&host);
	test_claim(answer_to(2) == QUORUM_REFUSED_NOT_READY,
			   "a witness that lost something does not vote (S8)");
}

static void
left_out(void)
{
	two_and_a_witness(2);
	test_claim(answer_to(2) == QUORUM_REFUSED_MEMBERS, "no vote for who is left out (Y1)");
	test_claim(answer_to(3) == QUORUM_REFUSED_MEMBERS, "nor for a witness");

	two_and_a_witness(1);
	test_claim(answer_to(2) == QUORUM_GRANTED, "who is left out votes");
	two_and_a_witness(1);
	wait_long();
	test_claim(host.node.role == QUORUM_ROLE_FOLLOWER, "but does not stand (Y1)");
}

/* Another one asks, with a log shorter than that of this node. */
static QuorumVerdict
answer_to_shorter(QuorumNodeId from, uint64_t set_version)
{
	QuorumMessage request = test_from(&host, from, QUORUM_MSG_VOTE_REQUEST, 2);

	request.position.lsn--;
	request.set_id.version += set_version;
	return test_answer(&host, &request);
}

/* Y8 */
static void
left_out_with_more(void)
{
	two_and_a_witness(1);
	test_claim(answer_to_shorter(2, 0) == QUORUM_GRANTED,
			   "who is left out does not hold up those that are in with a longer log (Y8)");
	test_claim(host.disk.vote == 2, "and that vote is durable, too");
	two_and_a_witness(1);
	test_claim(answer_to_shorter(2, 1) == QUORUM_REFUSED_BEHIND,
			   "but for a newer set, which may count it as in, it compares");
	two_and_a_witness(0);
	test_claim(answer_to_shorter(2, 0) == QUORUM_REFUSED_BEHIND, "as whoever is in does (E3)");
}

/* Y3 */
static void
winning(void)
{
	test_host_init(&host, 7);
	host.node.hard.members.members[4].kind = QUORUM_WITNESS;
	host.node.hard.members.members[5].kind = QUORUM_WITNESS;
	host.node.hard.members.members[6].kind = QUORUM_WITNESS;
	until_it_asks();
	for (QuorumNodeId id = 5; id <= 7; id++)
		(void) test_vote(&host, id, QUORUM_MSG_PRE_VOTE_REPLY, 2);
	test_claim(host.node.role == QUORUM_ROLE_CANDIDATE,
			   "with need 3 of 4, the candidate and three witnesses are enough");

	test_host_init(&host, 5);
	host.node.hard.members.members[3].kind = QUORUM_WITNESS;
	host.node.hard.members.members[4].kind = QUORUM_WITNESS;
	host.node.hard.members.members[1].left_out = true;
	until_it_asks();
	(void) test_vote(&host, 4, QUORUM_MSG_PRE_VOTE_REPLY, 2);
	test_claim(host.node.role == QUORUM_ROLE_PRE_CANDIDATE, "two of five votes are no majority");
	(void) test_vote(&host, 5, QUORUM_MSG_PRE_VOTE_REPLY, 2);
	test_claim(host.node.role == QUORUM_ROLE_CANDIDATE,
			   "of two that are in with need 1, one and a majority are enough");

	/* Four with data, one of them left out, a witness: need is 1 of the other two. */
	test_host_init(&host, 5);
	host.node.hard.members.members[3].left_out = true;
	host.node.hard.members.members[4].kind = QUORUM_WITNESS;
	until_it_asks();
	(void) test_vote(&host, 4, QUORUM_MSG_PRE_VOTE_REPLY, 2);
	(void) test_vote(&host, 5, QUORUM_MSG_PRE_VOTE_REPLY, 2);
	test_claim(host.node.role == QUORUM_ROLE_PRE_CANDIDATE,
			   "a majority of which only one is in does not meet every commit (Y3)");
	(void) test_vote(&host, 2, QUORUM_MSG_PRE_VOTE_REPLY, 2);
	test_claim(host.node.role == QUORUM_ROLE_CANDIDATE, "with another one that is in it does");
}

/* Elected by the witness, the other data node dead. */
static void
lead_without_two(void)
{
	two_and_a_witness(QUORUM_NO_NODE);
	test_elect(&host, 3, 3);
}

static void
going_on(void)
{
	QuorumMessage status;

	lead_without_two();
	test_claim(host.node.role == QUORUM_ROLE_LEADER, "one of two and the witness make a leader");
	(void) test_peer(&host, QUORUM_EVENT_PEER_DEAD, 2);
	test_claim(quorum_members_left_out(&host.node.hard.members) == 0,
			   "nobody is left out before a majority stores the set of this term (M1)");
	test_claim(host.view.sync.need == 1, "a commit needs the dead one");
	status = test_from(&host, 3, QUORUM_MSG_STATUS, 2);
	(void) test_message(&host, &status);
	(void) test_tick_at(&host, quorum_next_deadline(&host.node));
	test_claim(quorum_members_left_out(&host.node.hard.members) == 1,
			   "then who is proved dead is left out at once (Y4)");
	test_claim(quorum_members_left_out(&host.disk.members) == 1, "durably");
	test_claim(host.view.sync.need == 1, "the old rule holds until the set is stored (M4)");
	status = test_from(&host, 3, QUORUM_MSG_STATUS, 2);
	(void) test_message(&host, &status);
	test_claim(host.view.sync.need == 0 && test_noted(&host, QUORUM_NOTE_LEFT_OUT),
			   "then commits go on");

	lead_without_two();
	host.node.config.strict = true;
	(void) test_peer(&host, QUORUM_EVENT_PEER_DEAD, 2);
	status = test_from(&host, 3, QUORUM_MSG_STATUS, 2);
	(void) test_message(&host, &status);
	(void) test_tick_at(&host, quorum_next_deadline(&host.node));
	test_claim(host.node.role == QUORUM_ROLE_LEADER &&
			   quorum_members_left_out(&host.node.hard.members) == 0,
			   "a strict node leaves nobody out (Y6)");
}

/*
 * Its predecessor, or itself in an earlier term, has left node 2 out and died before anybody
 * else stored that: node 2 and the witness would still elect node 2.
 */
static void
unheard_of_set(void)
{
	QuorumMessage stored;

	two_and_a_witness(2);
	test_elect(&host, 3, 3);
	host.facts.phase = QUORUM_PHASE_PRIMARY;
	host.facts.sync_ready = true;
	host.facts.position = (QuorumWalPos) {2, 1090};
	host.facts.newest_tli = 2;
	host.facts.fence_term = 2;
	stored = test_ack(&host, 3, 2, 0);
	stored.set_id.term = 1;
	(void) test_message(&host, &stored);
	(void) test_facts(&host);
	test_claim(host.node.role == QUORUM_ROLE_LEADER && host.view.sync.need == 0 &&
			   !host.node.gate_open && host.node.quorum_lsn == 0,
			   "a leader alone with its set shuts its gate (M10)");
	stored = test_from(&host, 3, QUORUM_MSG_STATUS, 2);
	(void) test_message(&host, &stored);
	test_claim(host.node.gate_open && host.node.quorum_lsn == 1090,
			   "until a majority stores it");
}

/* Two connections break at one instant: both are looked into, one a step. */
static void
doubts(void)
{
	bool		probed[6] = {false};

	test_host_init(&host, 5);
	host.node.hard.members.members[3].kind = QUORUM_WITNESS;
	host.node.hard.members.members[4].kind = QUORUM_WITNESS;
	host.disk = host.node.hard;
	test_elect(&host, 4, 5);
	test_claim(host.node.role == QUORUM_ROLE_LEADER, "of three with data and two witnesses it leads");
	for (QuorumNodeId id = 2; id <= 3; id++)
		(void) test_peer(&host, QUORUM_EVENT_PEER_LOST, id);

	/* Looked into once each; from here on both are due at the same instant. */
	for (int step = 0; step < 8; step++)
	{
		(void) test_tick_at(&host, quorum_next_deadline(&host.node));
		for (int i = 0; i < host.acted_count; i++)
			probed[host.acted[i].peer] = probed[host.acted[i].peer] ||
				host.acted[i].type == QUORUM_ACTION_PROBE;
	}
	test_claim(probed[2] && probed[3], "of two members that are doubted both are looked into");
}

static void
who_was_removed(void)
{
	QuorumMessage news;

	test_host_init(&host, 3);
	(void) test_facts(&host);
	news = test_from(&host, 2, QUORUM_MSG_MEMBERS, 1);
	news.members = host.node.hard.members;
	news.members.id.version++;
	news.members.members[0] = news.members.members[2];
	news.members.count = 2;
	(void) test_message(&host, &news);
	test_claim(test_noted(&host, QUORUM_NOTE_MEMBER_REMOVED), "who was removed is told so (M8)");
	wait_long();
	test_claim(host.node.role == QUORUM_ROLE_FOLLOWER && host.node.hard.term == 1,
			   "and does not stand");
}

/* A set that a leader cannot take is not answered: the answer would only bring it again. */
static void
no_circles(void)
{
	QuorumMessage news;

	test_host_init(&host, 3);
	test_become_leader(&host);
	news = test_from(&host, 2, QUORUM_MSG_MEMBERS, 3);
	news.members = host.node.hard.members;
	news.members.id.term = 3;
	(void) test_message(&host, &news);
	test_claim(host.sent_count == 0, "a leader answers no newer set");
}

int
main(void)
{
	witness_votes();
	left_out();
	left_out_with_more();
	winning();
	going_on();
	unheard_of_set();
	doubts();
	who_was_removed();
	no_circles();
	return test_done();
}
