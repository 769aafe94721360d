/*
 * test_walpos.c
 *	  Ends of logs compare by timeline first, then by position.
 */
#include "harness.h"

int
main(void)
{
	QuorumWalPos old_long = {1, 9000};
	QuorumWalPos new_short = {2, 100};
	QuorumWalPos new_longer = {2, 101};

	test_claim(quorum_walpos_compare(old_long, new_short) < 0,
			   "the later timeline is ahead, however short");
	test_claim(quorum_walpos_compare(new_short, old_long) > 0, "and the other way round");
	test_claim(quorum_walpos_compare(new_short, new_longer) < 0,
			   "on one timeline the longer log is ahead");
	test_claim(quorum_walpos_compare(new_longer, new_longer) == 0, "a position equals itself");
	test_claim(!quorum_walpos_known((QuorumWalPos) {0, 100}), "no timeline, no position");
	test_claim(!quorum_walpos_known((QuorumWalPos) {1, 0}), "no lsn, no position");
	test_claim(quorum_walpos_known(new_short), "timeline and lsn are a position");
	return test_done();
}
