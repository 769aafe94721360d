/*
 * test_resign.c
 *	  When a leader with a lease gives its term up: E7, G1-G3, A4, and when it does not.
 */
#include "harness.h"

static TestHost host;

static void
ack_from(QuorumNodeId from, bool streams, bool diverged, bool space_low)
{
	QuorumMessage message = test_ack(&host, from, 2, streams ? 1090 : 0);

	message.diverged = diverged;
	message.space_low = space_low;
	(void) test_message(&host, &message);
}

static void
serving_leader(void)
{
	test_lead(&host, 1090);
	ack_from(2, true, false, false);
	ack_from(3, true, false, false);
}

/* Both others acknowledge heartbeats twice per lease, and stream or not. */
static void
leases_pass(int leases, bool stream, bool diverged)
{
	for (int i = 0; i < 2 * leases; i++)
	{
		(void) test_tick_at(&host, host.now.mono + LEASE / 2);
		ack_from(2, stream, diverged, false);
		ack_from(3, stream, diverged, false);
	}
}

static bool
leads(void)
{
	return host.view.role == QUORUM_ROLE_LEADER && host.view.gate_open;
}

static void
stalled_wal(void)
{
	serving_leader();
	test_claim(leads(), "a leader serves");
	host.facts.wal_stalled = true;
	(void) test_facts(&host);
	test_claim(host.view.role == QUORUM_ROLE_FOLLOWER, "G1: its WAL does not move: it resigns");
}

static void
not_durable(void)
{
	serving_leader();
	host.facts.fsync_off = true;
	(void) test_facts(&host);
	test_claim(host.view.role == QUORUM_ROLE_FOLLOWER, "A4: its fsync is off: it resigns");
}

static void
unfollowed(void)
{
	serving_leader();
	leases_pass(2, false, false);
	test_claim(leads(), "G2: who does not stream may be about to");
	leases_pass(2, false, false);
	test_claim(host.view.role == QUORUM_ROLE_FOLLOWER, "... but not for ever");

	serving_leader();
	leases_pass(2, false, false);
	leases_pass(1, true, false);
	leases_pass(2, false, false);
	test_claim(leads(), "the time counts anew when they have streamed");

	serving_leader();
	leases_pass(8, false, true);
	test_claim(leads(), "who has diverged has a reason of its own");

	serving_leader();
	for (int i = 0; i < 20; i++)
	{
		(void) test_tick_at(&host, host.now.mono + LEASE / 2);
		ack_from(2, true, false, false);
		ack_from(3, false, false, false);
	}
	test_claim(leads(), "one that streams is enough for a commit");
}

static void
no_majority_beside_it(void)
{
	serving_leader();
	for (int i = 0; i < 20; i++)
	{
		(void) test_tick_at(&host, host.now.mono + LEASE / 2);
		ack_from(2, false, false, false);
	}
	test_claim(leads(), "nobody else could lead: it serves reads on");
}

static void
space_low(void)
{
	serving_leader();
	host.facts.space_low = true;
	(void) test_facts(&host);
	test_claim(host.view.role == QUORUM_ROLE_LEADER && !host.view.gate_open &&
			   host.node.transfer.target != QUORUM_NO_NODE, "G3: it hands over");

	serving_leader();
	ack_from(2, true, false, true);
	ack_from(3, true, false, true);
	host.facts.space_low = true;
	(void) test_facts(&host);
	test_claim(leads(), "to nobody who has no room either");

	serving_leader();
	ack_from(2, true, false, true);
	host.facts.space_low = true;
	(void) test_facts(&host);
	test_claim(host.node.transfer.target == 3, "to the one that has");
}

/* The third member has promised a later term, and says so twice per lease. */
static void
later_term(QuorumMemberKind kind)
{
	serving_leader();
	host.node.hard.members.members[2].kind = kind;
	for (int i = 0; i < 16; i++)
	{
		QuorumMessage message = test_from(&host, 3, QUORUM_MSG_HEARTBEAT_ACK, 7);

		(void) test_tick_at(&host, host.now.mono + LEASE / 2);
		ack_from(2, true, false, false);
		(void) test_message(&host, &message);
		if (i == 7)
			test_claim(leads(), "E7: who promised a later term waits for the next election");
	}
	test_claim(host.view.role == QUORUM_ROLE_FOLLOWER && host.disk.term == 7,
			   kind == QUORUM_LEARNER ? "... a learner not for ever either" :
			   "... but not for ever");
}

int
main(void)
{
	later_term(QUORUM_VOTER);
	later_term(QUORUM_LEARNER);
	stalled_wal();
	not_durable();
	unfollowed();
	no_majority_beside_it();
	space_low();
	return test_done();
}
