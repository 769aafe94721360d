/*
 * harness.c
 *	  What the unit tests of the core share: TAP lines, a node under test, its drive.
 */
#include "harness.h"

#include <setjmp.h>
#include <stdlib.h>

static int	claims;
static int	broken;
static bool catching;
static jmp_buf caught;

void
test_claim(bool holds, const char *claim)
{
	printf("%s %d - %s\n", holds ? "ok" : "not ok", ++claims, claim);
	if (!holds)
		broken++;
}

int
test_done(void)
{
	printf("1..%d\n", claims);
	return broken == 0 ? 0 : 1;
}

void
quorum_assert_failed(const char *condition, const char *file, int line)
{
	if (catching)
		longjmp(caught, 1);
	printf("Bail out! %s:%d: assertion failed: %s\n", file, line, condition);
	exit(2);
}

bool
test_asserts(void (*what) (void *arg), void *arg)
{
	bool		asserted = true;

	catching = true;
	if (setjmp(caught) == 0)
	{
		what(arg);
		asserted = false;
	}
	catching = false;
	return asserted;
}

/* ---- a host for the node under test ------------------------------------- */

#define ROOM(array) ((int) (sizeof(array) / sizeof((array)[0])))

/* A test that looks at a part of what was said would find less than there is. */
static void
make_sure_of_room(int used, int size)
{
	if (used < size)
		return;
	printf("Bail out! one step says more than the harness notes\n");
	exit(2);
}

static bool
record(TestHost *host, char call)
{
	make_sure_of_room(host->call_count + 1, CALLS);
	host->calls[host->call_count] = call;
	host->calls[host->call_count + 1] = '\0';
	return host->call_count++ != host->fail_at;
}

static bool
on_fence(void *arg, const QuorumFence *fence)
{
	TestHost   *host = arg;

	if (!record(host, 'F'))
		return false;
	host->fence = *fence;
	host->facts.fence_term = fence->term;
	return true;
}

static bool
on_read_facts(void *arg, QuorumEvent *event)
{
	TestHost   *host = arg;

	event->type = QUORUM_EVENT_FACTS;
	event->now = host->now;
	event->u.facts = host->facts;
	return record(host, 'R');
}

static bool
on_persist(void *arg, const QuorumHardState *hard)
{
	TestHost   *host = arg;

	if (!record(host, 'P'))
		return false;
	host->disk = *hard;
	return true;
}

static bool
on_send(void *arg, const QuorumMessage *message)
{
	TestHost   *host = arg;

	if (message->type == QUORUM_MSG_VOTE_REPLY && message->verdict == QUORUM_GRANTED &&
		(host->disk.term != message->term || host->disk.vote != message->to))
		host->vote_before_disk = true;
	make_sure_of_room(host->sent_count, ROOM(host->sent));
	host->sent[host->sent_count++] = *message;
	return record(host, 'S');
}

static bool
on_act(void *arg, const QuorumAction *action)
{
	TestHost   *host = arg;

	make_sure_of_room(host->acted_count, ROOM(host->acted));
	host->acted[host->acted_count++] = *action;
	return record(host, 'A');
}

static bool
on_note(void *arg, const QuorumNote *note)
{
	TestHost   *host = arg;

	make_sure_of_room(host->noted_count, ROOM(host->noted));
	host->noted[host->noted_count++] = *note;
	return record(host, 'N');
}

static bool
on_publish(void *arg, const QuorumView *view)
{
	TestHost   *host = arg;

	host->view = *view;
	return record(host, 'V');
}

static const QuorumDriverOps ops = {
	on_fence, on_read_facts, on_persist, on_send, on_act, on_note, on_publish
};

bool
test_drive(TestHost *host, QuorumEvent *event)
{
	host->call_count = 0;
	host->calls[0] = '\0';
	host->sent_count = 0;
	host->acted_count = 0;
	host->noted_count = 0;
	event->now = host->now;
	return quorum_drive(&host->node, event, &host->scratch, &ops, host);
}

bool
test_tick_at(TestHost *host, QuorumTime mono)
{
	static QuorumEvent event;

	host->now.boot += mono - host->now.mono;
	host->now.mono = mono;
	event.type = QUORUM_EVENT_TICK;
	return test_drive(host, &event);
}

bool
test_facts(TestHost *host)
{
	static QuorumEvent event;

	event.type = QUORUM_EVENT_FACTS;
	event.u.facts = host->facts;
	return test_drive(host, &event);
}

bool
test_message(TestHost *host, const QuorumMessage *message)
{
	static QuorumEvent event;

	event.type = QUORUM_EVENT_MESSAGE;
	event.u.message = *message;
	return test_drive(host, &event);
}

bool
test_peer(TestHost *host, QuorumEventType type, QuorumNodeId peer)
{
	static QuorumEvent event;

	event.type = type;
	event.peer = peer;
	return test_drive(host, &event);
}

QuorumMessage
test_from(const TestHost *host, QuorumNodeId from, QuorumMessageType type, QuorumTerm term)
{
	QuorumMessage message;

	memset(&message, 0, sizeof(message));
	message.type = type;
	message.from = from;
	message.to = host->node.hard.node_id;
	message.term = term;
	message.set_id = host->node.hard.members.id;
	message.position = host->facts.position;
	message.lease_us = type == QUORUM_MSG_HEARTBEAT ? LEASE : 0;
	if (type == QUORUM_MSG_HEARTBEAT)
		message.role = QUORUM_ROLE_LEADER;
	if (type == QUORUM_MSG_VOTE_REQUEST)
		message.role = QUORUM_ROLE_CANDIDATE;
	if (type == QUORUM_MSG_PRE_VOTE_REQUEST)
		message.role = QUORUM_ROLE_PRE_CANDIDATE;
	return message;
}

QuorumMessage
test_ack(const TestHost *host, QuorumNodeId from, QuorumTerm term, QuorumLsn flush)
{
	QuorumMessage ack = test_from(host, from, QUORUM_MSG_HEARTBEAT_ACK, term);

	ack.sent_at = host->now.boot;
	ack.lease_us = LEASE;
	ack.stream_term = flush == 0 ? 0 : term;
	ack.stream_flush = flush;
	return ack;
}

const QuorumMessage *
test_sent(const TestHost *host, QuorumMessageType type)
{
	for (int i = 0; i < host->sent_count; i++)
	{
		if (host->sent[i].type == type)
			return &host->sent[i];
	}
	return NULL;
}

QuorumVerdict
test_answer(TestHost *host, const QuorumMessage *request)
{
	const QuorumMessage *reply;

	(void) test_message(host, request);
	reply = test_sent(host, request->type == QUORUM_MSG_VOTE_REQUEST ? QUORUM_MSG_VOTE_REPLY :
					  QUORUM_MSG_PRE_VOTE_REPLY);
	return reply == NULL ? QUORUM_REFUSED_NOT_READY : reply->verdict;
}

bool
test_noted(const TestHost *host, QuorumNoteType type)
{
	for (int i = 0; i < host->noted_count; i++)
	{
		if (host->noted[i].type == type)
			return true;
	}
	return false;
}

void
test_host_init(TestHost *host, int voters)
{
	QuorumHardState *hard = &host->disk;
	QuorumConfig config = {.lease_us = LEASE,.heartbeat_us = LEASE / 10,
		.promotion_limit_us = 60000 * MS,.priority = 100,.pg_port = 5432};

	memset(host, 0, sizeof(*host));
	host->fail_at = -1;
	host->now.mono = 1000 * MS;
	host->now.boot = 5000 * MS;
	hard->node_id = 1;
	hard->term = 1;
	hard->members.id.term = 1;
	hard->members.next_node_id = (QuorumNodeId) voters + 1;
	hard->members.count = voters;
	for (int i = 0; i < voters; i++)
	{
		QuorumMember *member = &hard->members.members[i];

		member->id = (QuorumNodeId) i + 1;
		member->kind = QUORUM_VOTER;
		member->quorum_port = 7000;
		member->pg_port = 5432;
		memset(member->uuid, i + 1, sizeof(member->uuid));
		snprintf(member->name, sizeof(member->name), "n%d", i + 1);
		snprintf(member->host, sizeof(member->host), "h%d", i + 1);
	}
	host->facts.phase = QUORUM_PHASE_STANDBY;
	host->facts.position = (QuorumWalPos) {1, 1000};
	host->facts.replay_tli = 1;
	host->facts.replay_lsn = 1000;
	host->facts.newest_tli = 1;
	host->facts.promotable = true;
	host->facts.sync_ready = true;
	host->facts.fence_term = 1;
	quorum_init(&host->node, &config, hard, 1, host->now);
}

void
test_until_it_asks(TestHost *host)
{
	(void) test_facts(host);
	for (int i = 0; i < 100 && host->node.role == QUORUM_ROLE_FOLLOWER; i++)
		(void) test_tick_at(host, host->now.mono + 50 * MS);
}

bool
test_vote(TestHost *host, QuorumNodeId from, QuorumMessageType type, QuorumTerm term)
{
	QuorumMessage reply = test_from(host, from, type, host->node.hard.term);

	reply.proposed_term = term;
	return test_message(host, &reply);
}

void
test_elect(TestHost *host, QuorumNodeId first, QuorumNodeId last)
{
	QuorumTerm	term = host->node.hard.term + 1;

	test_until_it_asks(host);
	for (QuorumNodeId id = first; id <= last; id++)
		(void) test_vote(host, id, QUORUM_MSG_PRE_VOTE_REPLY, term);
	for (QuorumNodeId id = first; id <= last; id++)
		(void) test_vote(host, id, QUORUM_MSG_VOTE_REPLY, term);
}

void
test_become_leader(TestHost *host)
{
	test_elect(host, 2, 2);
}

void
test_be_primary(TestHost *host, QuorumLsn end)
{
	host->facts.phase = QUORUM_PHASE_PRIMARY;
	host->facts.position = (QuorumWalPos) {2, end};
	host->facts.newest_tli = 2;
	host->facts.fence_term = 2;
	(void) test_facts(host);
}

void
test_lead(TestHost *host, QuorumLsn end)
{
	test_host_init(host, 3);
	test_become_leader(host);
	test_be_primary(host, end);
}
