/*
 * test_lease.c
 *	  How long a leader may serve, and when its gate opens.
 */
#include "harness.h"

static TestHost host;

static void
ack(QuorumNodeId from, QuorumTime sent_at, QuorumTerm stream_term, QuorumLsn flush)
{
	QuorumMessage message = test_ack(&host, from, 2, flush);

	message.position = (QuorumWalPos) {1, 1000};
	message.sent_at = sent_at;
	message.stream_term = stream_term;
	(void) test_message(&host, &message);
}

static void
serving_leader(void)
{
	test_lead(&host, 1090);
	ack(2, host.now.boot, 2, 1090);
}

static void
leases(void)
{
	QuorumTime	sent;

	test_host_init(&host, 3);
	test_become_leader(&host);
	test_claim(host.view.lease_until_boot <= host.now.boot, "an election alone is no lease");
	sent = host.now.boot;
	(void) test_tick_at(&host, host.now.mono + 500 * MS);
	ack(2, sent, 0, 0);
	test_claim(host.view.lease_until_boot > host.now.boot, "a majority of acks is");
	test_claim(host.view.lease_until_boot < sent + LEASE,
			   "counted from the sending, less the drift");
	test_claim(host.view.lease_until_boot <= sent + LEASE * 98 / 100,
			   "by one percent on either side");
	ack(3, host.now.boot + 1000 * MS, 0, 0);
	test_claim(host.view.lease_until_boot < sent + LEASE,
			   "an ack of what was never sent counts nothing");
	host.node.config.lease_us = 10 * LEASE;
	(void) test_tick_at(&host, host.now.mono + 10 * MS);
	test_claim(host.view.lease_until_boot < sent + LEASE,
			   "a longer lease in the settings does not stretch what was promised");
	host.node.config.lease_us = LEASE;
	(void) test_tick_at(&host, host.now.mono + LEASE);
	test_claim(host.node.role == QUORUM_ROLE_FOLLOWER,
			   "without further acks the leader steps down");
	test_claim(test_noted(&host, QUORUM_NOTE_LEASE_LAPSED), "and says that its lease lapsed");

	serving_leader();
	host.now.boot += 2 * LEASE; /* the host was suspended: mono stood still */
	(void) test_tick_at(&host, host.now.mono + 1);
	test_claim(!host.view.gate_open, "a suspended leader finds its lease over");
}

static void
gates(void)
{
	test_host_init(&host, 3);
	test_become_leader(&host);
	ack(2, host.now.boot, 0, 0);
	test_claim(!host.view.gate_open, "no gate before the promotion");
	test_be_primary(&host, 1090);
	test_claim(!host.view.gate_open, "nor before others hold its first record (S6)");
	ack(2, host.now.boot, 1, 5000);
	test_claim(!host.view.gate_open, "what is held of another timeline does not count");
	ack(2, host.now.boot, 2, 1089);
	test_claim(!host.view.gate_open, "part of the record does not count");
	host.facts.sync_ready = false;
	(void) test_facts(&host);
	ack(2, host.now.boot, 2, 1090);
	test_claim(!host.view.gate_open, "nor as long as the rule for commits is not in force");
	host.facts.sync_ready = true;
	(void) test_facts(&host);
	test_claim(host.view.gate_open, "then the gate opens");
	test_claim(host.view.sync.need == 1, "commits need one other of three");

	host.facts.phase = QUORUM_PHASE_STANDBY;
	(void) test_facts(&host);
	test_claim(!host.view.gate_open && host.node.role == QUORUM_ROLE_FOLLOWER,
			   "a leader whose server is no primary any more gives up");

	test_host_init(&host, 3);
	test_become_leader(&host);
	host.facts.phase = QUORUM_PHASE_PRIMARY;
	host.facts.position = (QuorumWalPos) {3, 1090};
	(void) test_facts(&host);
	test_claim(host.node.role == QUORUM_ROLE_FOLLOWER,
			   "a leader whose server writes another timeline gives up (S4)");
}

static void
step_downs(void)
{
	QuorumMessage beat;

	serving_leader();
	test_claim(host.view.gate_open, "a serving leader");
	beat = test_from(&host, 3, QUORUM_MSG_HEARTBEAT, 3);
	(void) test_message(&host, &beat);
	test_claim(!host.view.gate_open && host.node.leader == 3, "follows the leader of a later term");
	test_claim(host.calls[0] == 'F' && !host.fence.gate_may_stay_open,
			   "and shuts its gate before all else");
	test_claim(host.acted_count == 1 && host.acted[0].type == QUORUM_ACTION_DEMOTE,
			   "and restarts as a standby");
}

static void
boots(void)
{
	QuorumMessage status;
	QuorumHardState hard;

	test_host_init(&host, 3);
	hard = host.disk;
	hard.promise_us = LEASE;
	quorum_init(&host.node, &host.node.config, &hard, 1, host.now);
	(void) test_facts(&host);
	(void) test_tick_at(&host, host.now.mono + LEASE);
	test_claim(host.node.role == QUORUM_ROLE_FOLLOWER, "a promise survives the boot");
	(void) test_tick_at(&host, host.now.mono + LEASE / 50);
	(void) test_tick_at(&host, host.now.mono + LEASE / 50);
	test_claim(host.node.role == QUORUM_ROLE_PRE_CANDIDATE, "and ends a lease and the drift later");

	test_host_init(&host, 3);
	quorum_init(&host.node, &host.node.config, &hard, 1, host.now);
	(void) test_facts(&host);
	for (QuorumNodeId peer = 2; peer <= 3; peer++)
	{
		test_claim(host.node.boot_hold, "one denial is not enough");
		status = test_from(&host, peer, QUORUM_MSG_STATUS, 1);
		(void) test_message(&host, &status);
	}
	test_claim(!host.node.boot_hold, "it ends early when every other voter denies to lead");
}

/* L3: only a follower or a pre-candidate of our boot term or later denies to lead. */
static void
denials(void)
{
	static const QuorumRole silent[] = {QUORUM_ROLE_CANDIDATE, QUORUM_ROLE_LEADER};
	QuorumHardState hard;
	QuorumMessage status;

	for (int i = 0; i < 3; i++)
	{
		test_host_init(&host, 2);
		hard = host.disk;
		hard.promise_us = LEASE;
		hard.term = 5;
		quorum_init(&host.node, &host.node.config, &hard, 1, host.now);
		(void) test_facts(&host);
		status = test_from(&host, 2, QUORUM_MSG_STATUS, i < 2 ? 5 : 4);
		status.role = i < 2 ? silent[i] : QUORUM_ROLE_FOLLOWER;
		(void) test_message(&host, &status);
		test_claim(host.node.boot_hold, i == 0 ? "a candidate does not deny: it may yet win" :
				   i == 1 ? "a leader does not deny" : "a follower of an older term does not deny");
	}
}

int
main(void)
{
	leases();
	denials();
	gates();
	step_downs();
	boots();
	return test_done();
}
