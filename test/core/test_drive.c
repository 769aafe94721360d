/*
 * test_drive.c
 *	  The order of drive: fence, persist, send, act, note, publish, and no step after a failure.
 */
#include "harness.h"

static TestHost host;

static QuorumMessage
vote_request(void)
{
	test_host_init(&host, 3);
	(void) test_facts(&host);
	return test_from(&host, 2, QUORUM_MSG_VOTE_REQUEST, 2);
}

/* Is each call at or behind those of the calls before it in the order of the contract? */
static bool
in_order(const char *calls)
{
	const char *order = "FPSANV";
	const char *at = order;

	for (; *calls != '\0'; calls++)
	{
		if (*calls == 'R')
			at = order;			/* the second half of a vote */
		else
		{
			at = strchr(at, *calls);
			if (at == NULL)
				return false;
		}
	}
	return true;
}

static void
votes(void)
{
	QuorumMessage request = vote_request();
	bool		safe = true;
	bool		silent = true;
	int			calls;

	(void) test_message(&host, &request);
	test_claim(strncmp(host.calls, "FR", 2) == 0,
			   "a vote raises the fence, then reads the position (S2)");
	test_claim(strchr(host.calls, 'P') != NULL && strchr(host.calls, 'P') < strchr(host.calls, 'S'),
			   "and is durable before it is sent (S1)");
	test_claim(in_order(host.calls), "in the order of the contract");
	calls = host.call_count;

	for (int at = 0; at < calls; at++)
	{
		request = vote_request();
		host.fail_at = at;
		if (test_message(&host, &request))
			safe = false;
		if (host.call_count != at + 1)
			safe = false;
		if (host.disk.vote != 2 && test_sent(&host, QUORUM_MSG_VOTE_REPLY) != NULL)
			silent = false;
	}
	test_claim(safe, "the first failure ends the drive, wherever it comes");
	test_claim(silent, "and no vote has left that is not durable");
}

static void
position_behind_the_fence(void)
{
	QuorumMessage request = vote_request();

	/* While the vote was on its way our log grew: told by read_facts only. */
	host.facts.position.lsn += 500;
	(void) test_message(&host, &request);
	test_claim(test_sent(&host, QUORUM_MSG_VOTE_REPLY)->verdict == QUORUM_REFUSED_BEHIND,
			   "the position compared is that of behind the fence");
	test_claim(host.fence.term == 2, "which is up for the term of the vote");
}

static void
leaders(void)
{
	test_host_init(&host, 3);
	test_become_leader(&host);
	test_claim(in_order(host.calls) && !host.vote_before_disk, "an election obeys the order too");
	test_claim(host.calls[host.call_count - 1] == 'V', "and is published last");
	(void) test_tick_at(&host, host.now.mono + 1);
	test_claim(strchr(host.calls, 'P') == NULL, "nothing is written when nothing changed");
}

static void
half_a_lease(void *arg)
{
	QuorumConfig config = host.node.config;

	(void) arg;
	config.heartbeat_us = config.lease_us / 2;
	quorum_init(&host.node, &config, &host.disk, 1, host.now);
}

int
main(void)
{
	votes();
	position_behind_the_fence();
	leaders();
	test_claim(test_asserts(half_a_lease, NULL),
			   "a lease shorter than three heartbeats is refused");
	return test_done();
}
