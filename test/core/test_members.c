/*
 * test_members.c
 *	  Who votes, what a majority is, what a commit needs.
 */
#include "harness.h"

static QuorumMemberSet
set_of(int voters, int learners, int witnesses)
{
	QuorumMemberSet set;

	memset(&set, 0, sizeof(set));
	for (int i = 0; i < voters + learners + witnesses; i++)
	{
		set.members[set.count].id = (QuorumNodeId) i + 1;
		set.members[set.count++].kind = i < voters ? QUORUM_VOTER :
			i < voters + learners ? QUORUM_LEARNER : QUORUM_WITNESS;
	}
	return set;
}

/* Do vote majorities and ack sets of every size share a node? */
static bool
majorities_meet_commits(void)
{
	for (int n = 1; n <= QUORUM_MAX_NODES; n++)
	{
		QuorumMemberSet set = set_of(n, 0, 0);
		QuorumSyncRule rule;

		quorum_members_sync_rule(&set, 1, &rule);
		if (quorum_members_majority(&set) + (rule.need + 1) <= n)
			return false;
		if (rule.count != n - 1)
			return false;
	}
	return true;
}

/* Every subset that satisfies the joint rule satisfies both: tried out. */
static bool
joint_rule_is_stricter(int voters)
{
	QuorumMemberSet old = set_of(voters, 1, 0);
	QuorumMemberSet next = set_of(voters + 1, 0, 0);
	QuorumSyncRule rules[3];

	quorum_members_sync_rule(&old, 1, &rules[0]);
	quorum_members_sync_rule(&next, 1, &rules[1]);
	quorum_members_joint_rule(&old, &next, 1, &rules[2]);
	for (unsigned holders = 0; holders < 1u << (voters + 1); holders++)
	{
		bool		held[3];

		for (int r = 0; r < 3; r++)
		{
			int			count = 0;

			for (int i = 0; i < rules[r].count; i++)
				count += (holders >> (rules[r].ids[i] - 1)) & 1;
			held[r] = count >= rules[r].need;
		}
		if (held[2] && (!held[0] || !held[1]))
			return false;
	}
	return true;
}

int
main(void)
{
	QuorumMemberSet mixed = set_of(2, 1, 1);
	QuorumSyncRule rule;
	uint64_t	values[] = {5, 9, 7};

	test_claim(quorum_members_find(&mixed, 3) == 2, "a member is found by its id");
	test_claim(quorum_members_find(&mixed, 9) < 0, "a stranger is not found");
	test_claim(quorum_members_vote_count(&mixed) == 3,
			   "voters and witnesses vote, learners do not");
	test_claim(!quorum_members_votes(&mixed, 3), "a learner has no vote");
	test_claim(quorum_members_votes(&mixed, 4), "a witness has one");
	test_claim(quorum_members_majority(&mixed) == 2, "two of three are a majority");
	mixed = set_of(4, 0, 0);
	test_claim(quorum_members_majority(&mixed) == 3, "three of four are a majority");
	mixed = set_of(1, 0, 0);
	quorum_members_sync_rule(&mixed, 1, &rule);
	test_claim(rule.need == 0, "alone, a commit waits for nobody");
	mixed = set_of(3, 2, 0);
	quorum_members_sync_rule(&mixed, 2, &rule);
	test_claim(rule.need == 1 && rule.count == 2, "of three voters, one of the other two");
	test_claim(rule.ids[0] != 2 && rule.ids[1] != 2, "the leader is not in its own rule");
	test_claim(majorities_meet_commits(), "a majority of votes meets every commit, 1 to 15 nodes");
	for (int voters = 1; voters <= 7; voters++)
		test_claim(joint_rule_is_stricter(voters),
				   "the joint rule satisfies the old and the new rule");
	test_claim(quorum_nth_largest(values, 3, 2) == 7, "the second largest of three");
	test_claim(quorum_nth_largest(values, 3, 4) == 0, "the fourth largest of three is none");
	test_claim(quorum_set_id_compare((QuorumSetId) {2, 1}, (QuorumSetId) {1, 9}) > 0,
			   "a set of a later term is newer, whatever its version");
	return test_done();
}
