/*
 * test_recovering.c
 *	  When a node has lost part of its log, and when it is whole again (S8, R14).
 */
#include "harness.h"

static TestHost host;

/* A voter that held its log to 1/2000, as its state file says, and boots with this end. */
static void
boots_with(QuorumLsn end)
{
	test_host_init(&host, 3);
	host.node.hard.ack_floor = (QuorumWalPos) {1, 2000};
	host.facts.position.lsn = end;
	host.facts.replay_lsn = end;
	(void) test_facts(&host);
}

/* Its leader, whose log ends at 1/5000, is heard. */
static void
hears_leader(bool gate_open)
{
	QuorumMessage beat = test_from(&host, 2, QUORUM_MSG_HEARTBEAT, 1);

	beat.position = (QuorumWalPos) {1, 5000};
	beat.gate_open = gate_open;
	beat.quorum_lsn = 3000;
	(void) test_message(&host, &beat);
}

static void
streams_to(QuorumLsn flush)
{
	host.facts.stream_term = 1;
	host.facts.stream_flush = flush;
	host.facts.position.lsn = flush;
	(void) test_facts(&host);
}

static void
losses(void)
{
	boots_with(2000);
	test_claim(!host.disk.recovering, "a log that ends where it did has lost nothing");
	boots_with(1999);
	test_claim(host.disk.recovering, "one that ends earlier has, and that is durable (S8)");
	test_claim(!host.view.electable, "it does not stand");
}

static void
returns(void)
{
	boots_with(1000);
	hears_leader(false);
	streams_to(5000);
	test_claim(host.disk.recovering, "a leader with a shut gate may lack commits itself");
	hears_leader(true);
	streams_to(4999);
	test_claim(host.disk.recovering, "what heartbeats tell to be held is not all there is (R14)");
	streams_to(5000);
	test_claim(!host.disk.recovering, "with all that its leader has it is whole again");
}

int
main(void)
{
	losses();
	returns();
	return test_done();
}
