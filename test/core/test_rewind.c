/*
 * test_rewind.c
 *	  W1: whom a leader lets rewind itself, and when.
 */
#include "harness.h"

static TestHost host;

static void
ack_from(QuorumNodeId from, bool diverged)
{
	QuorumMessage message = test_from(&host, from, QUORUM_MSG_HEARTBEAT_ACK, 2);

	message.sent_at = host.now.boot;
	message.lease_us = LEASE;
	message.diverged = diverged;
	(void) test_message(&host, &message);
}

/* Elected and promoted; nobody follows yet, its gate is shut. */
static void
waiting_leader(void)
{
	test_host_init(&host, 3);
	test_become_leader(&host);
	test_be_primary(&host, 1090);
}

/* May this one go, by the next heartbeat that it gets? */
static bool
lets_go(QuorumNodeId id)
{
	(void) test_tick_at(&host, host.now.mono + LEASE / 4);
	for (int i = 0; i < host.sent_count; i++)
	{
		if (host.sent[i].type == QUORUM_MSG_HEARTBEAT && host.sent[i].to == id)
			return host.sent[i].rewind_granted;
	}
	return false;
}

static void
both_diverged(void)
{
	bool		second = false;

	waiting_leader();
	ack_from(3, true);
	ack_from(2, true);
	test_claim(!host.view.gate_open && lets_go(2), "a shut gate lets one of two diverged nodes go");
	ack_from(3, true);
	for (int i = 0; i < 6; i++)
	{
		ack_from(3, true);
		second = second || lets_go(3);
	}
	test_claim(!second, "and not the other one meanwhile");
}

static void
one_is_away(void)
{
	bool		gone = false;

	waiting_leader();
	for (int i = 0; i < 100; i++)
	{
		ack_from(2, true);
		gone = gone || lets_go(2);
	}
	test_claim(host.view.role == QUORUM_ROLE_LEADER && !gone,
			   "who holds up the lease alone is not let go: nobody would lead then");
	ack_from(3, true);
	ack_from(2, true);
	test_claim(lets_go(2), "... before the third one is heard again");
}

int
main(void)
{
	both_diverged();
	one_is_away();
	return test_done();
}
