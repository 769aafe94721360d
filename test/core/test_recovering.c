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

/* R13 */
static void
damage(void)
{
	boots_with(2000);
	host.facts.position.lsn = 3000;
	(void) test_facts(&host);
	test_claim(host.node.hard.ack_floor.lsn == 2000, "what is acknowledged is not written down each time");
	host.facts.log_damaged = true;
	(void) test_facts(&host);
	test_claim(host.disk.ack_floor.lsn == 3000 && !host.disk.recovering,
			   "what was acknowledged and cannot be read is, before the server starts anew (R13)");
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

/* Diverged, and its leader lets it rewind itself.  The server has not begun. */
static void
is_let_go(void)
{
	QuorumMessage beat = test_from(&host, 2, QUORUM_MSG_HEARTBEAT, 1);

	beat.position = (QuorumWalPos) {1, 5000};
	beat.rewind_granted = true;
	host.node.config.auto_rewind = true;
	beat.lease_us = LEASE;
	host.facts.diverged = true;
	(void) test_facts(&host);
	(void) test_message(&host, &beat);
}

static void
leader_resigns(void)
{
	QuorumMessage resign = test_from(&host, 2, QUORUM_MSG_RESIGN, 1);

	resign.resign = QUORUM_RESIGN_LAPSED;
	(void) test_message(&host, &resign);
	(void) test_facts(&host);
}

static void
not_begun(void)
{
	boots_with(2000);
	is_let_go();
	(void) test_facts(&host);
	test_claim(host.disk.recovering, "as long as it may go it recovers");
	leader_resigns();
	test_claim(!host.disk.recovering, "its leader is gone and it had not begun: it votes again (W3)");

	boots_with(2000);
	is_let_go();
	host.facts.rewind_begun = true;
	leader_resigns();
	host.facts.rewind_begun = false;
	(void) test_facts(&host);
	test_claim(host.disk.recovering, "what has begun cannot be taken back");

	boots_with(1999);
	is_let_go();
	leader_resigns();
	test_claim(host.disk.recovering, "who had lost something before has still lost it");
}

int
main(void)
{
	losses();
	damage();
	returns();
	not_begun();
	return test_done();
}
