/*
 * test_rewind.c
 *	  W1: whom a leader lets rewind itself, and when.
 */
#include "harness.h"

static TestHost host;

static void
ack_from(QuorumNodeId from, bool diverged)
{
	QuorumMessage message = test_ack(&host, from, 2, 0);

	message.diverged = diverged;
	(void) test_message(&host, &message);
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

	test_lead(&host, 1090);
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

	test_lead(&host, 1090);
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

/* An answer that says how its sender is; the first record of the term it holds anyway. */
static void
answer_from(QuorumNodeId from, QuorumSetId stored, bool recovering, bool diverged)
{
	QuorumMessage message = test_ack(&host, from, 2, recovering || diverged ? 0 : 1090);

	message.set_id = stored;
	message.recovering = recovering;
	message.diverged = diverged;
	(void) test_message(&host, &message);
}

/* One of five recovers, one has diverged. */
static void
all_answer(QuorumSetId stored)
{
	answer_from(2, stored, true, false);
	answer_from(3, stored, false, true);
	answer_from(4, stored, false, false);
	answer_from(5, stored, false, false);
}

static void
leader_of_five(void)
{
	test_host_init(&host, 5);
	test_elect(&host, 4, 5);
	test_be_primary(&host, 1090);
}

static void
set_changes(void)
{
	static QuorumEvent event;
	QuorumSetId before;

	leader_of_five();
	all_answer(host.node.hard.members.id);
	all_answer(host.node.hard.members.id);
	test_claim(host.view.gate_open && lets_go(3), "two of five may recover at once");

	leader_of_five();
	all_answer(host.node.hard.members.id);
	before = host.node.hard.members.id;
	event.type = QUORUM_EVENT_ADMIN;
	event.u.admin.type = QUORUM_ADMIN_CHANGE_ADDRESS;
	event.u.admin.request_id = 1;
	event.u.admin.quorum_port = 7001;
	snprintf(event.u.admin.name, sizeof(event.u.admin.name), "n5");
	snprintf(event.u.admin.host, sizeof(event.u.admin.host), "h5");
	(void) test_drive(&host, &event);
	all_answer(before);
	test_claim(host.view.gate_open && !lets_go(3),
			   "... but no second one while it is open which set is in force");
	all_answer(host.node.hard.members.id);
	test_claim(lets_go(3), "... and again when the set is stored");
}

int
main(void)
{
	set_changes();
	both_diverged();
	one_is_away();
	return test_done();
}
