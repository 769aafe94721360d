/*
 * test_transfer.c
 *	  A hand-over: when the leader that gives its term up stops, when its successor stands.
 */
#include "harness.h"

static TestHost host;

static bool
stops(void)
{
	for (int i = 0; i < host.acted_count; i++)
	{
		if (host.acted[i].type == QUORUM_ACTION_HAND_OVER)
			return true;
	}
	return false;
}

static void
acknowledge(QuorumNodeId id)
{
	QuorumMessage ack = test_ack(&host, id, 2, 2000);

	(void) test_message(&host, &ack);
}

/* Node 1 led term 2 and has handed it over to node 2, which `also` follows with it. */
static void
hand_over(int voters, bool also)
{
	static QuorumEvent event;

	test_host_init(&host, 3);
	if (voters == 2)
	{
		host.node.hard.members.count = 2;
		host.disk = host.node.hard;
	}
	test_become_leader(&host);
	test_be_primary(&host, 2000);
	acknowledge(2);
	if (also)
		acknowledge(3);
	(void) test_tick_at(&host, host.now.mono);
	memset(&event, 0, sizeof(event));
	event.type = QUORUM_EVENT_ADMIN;
	event.u.admin.type = QUORUM_ADMIN_SWITCHOVER;
	event.u.admin.request_id = 1;
	event.u.admin.limit_us = 10 * LEASE;
	strcpy(event.u.admin.name, host.node.hard.members.members[1].name);
	(void) test_drive(&host, &event);
	host.facts.wal_held = true;
	(void) test_facts(&host);
	acknowledge(2);
}

/* The successor asks for its vote. */
static void
vote(void)
{
	QuorumMessage ask = test_from(&host, 2, QUORUM_MSG_VOTE_REQUEST, 3);

	ask.proposed_term = 3;
	ask.position = (QuorumWalPos) {2, 2000};
	(void) test_message(&host, &ask);
	(void) test_tick_at(&host, host.now.mono + 3 * MS);
}

static void
lead(bool gate_open)
{
	QuorumMessage beat = test_from(&host, 2, QUORUM_MSG_HEARTBEAT, 3);

	beat.gate_open = gate_open;
	beat.lease_us = LEASE;
	(void) test_message(&host, &beat);
	(void) test_tick_at(&host, host.now.mono + 3 * MS);
}

static void
stopping(void)
{
	hand_over(3, true);
	test_claim(host.node.role == QUORUM_ROLE_FOLLOWER && host.node.handed_over == 2,
			   "who has confirmed the last byte gets the term");
	test_claim(!stops(), "the old leader waits to be asked for its vote (T4)");
	vote();
	test_claim(host.disk.vote == 2 && host.disk.term == 3 && !stops(),
			   "it has voted, and others follow the successor: it stays until that one serves");
	lead(false);
	test_claim(!stops(), "... not only leads");
	lead(true);
	test_claim(stops(), "then it stops");

	hand_over(3, true);
	vote();
	(void) test_tick_at(&host, host.now.mono + 250 * MS);
	test_claim(stops(), "it does not stay for ever");

	hand_over(3, false);
	vote();
	test_claim(stops(), "when nobody else follows it stops at once: the gate waits for it");

	hand_over(2, false);
	vote();
	test_claim(stops(), "so it does of two voters");
}

/* Node 1 stood in this term, boots, and its log is read. */
static void
boot_after_a_candidacy(void)
{
	QuorumConfig config;
	QuorumHardState hard;

	test_host_init(&host, 3);
	config = host.node.config;
	hard = host.disk;
	hard.vote = 1;
	quorum_init(&host.node, &config, &hard, 1, host.now);
	(void) test_facts(&host);
}

static bool
stands(void)
{
	(void) test_tick_at(&host, host.now.mono);
	return host.node.role == QUORUM_ROLE_PRE_CANDIDATE;
}

static void
standing(void)
{
	QuorumMessage message;

	boot_after_a_candidacy();
	test_claim(!stands(), "who stood last and comes back from a boot lets the others go first");
	(void) test_tick_at(&host, host.now.mono + LEASE / 2);
	test_claim(stands(), "... for a moment");

	boot_after_a_candidacy();
	message = test_from(&host, 2, QUORUM_MSG_HEARTBEAT, 1);
	(void) test_message(&host, &message);
	message = test_from(&host, 2, QUORUM_MSG_RESIGN, 1);
	message.resign = QUORUM_RESIGN_HANDED_OVER;
	message.node_id = 1;
	(void) test_message(&host, &message);
	test_claim(stands(), "when it has followed whoever won, and is the successor, it stands at once (T3)");
}

int
main(void)
{
	stopping();
	standing();
	return test_done();
}
