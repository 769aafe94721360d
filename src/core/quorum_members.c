/*
 * quorum_members.c
 *	  Pure functions on member sets: who votes, what is a majority, what a commit needs.
 */
#include "quorum_members.h"

#include "quorum_assert.h"

int
quorum_members_find(const QuorumMemberSet *set, QuorumNodeId id)
{
	for (int i = 0; i < set->count; i++)
	{
		if (set->members[i].id == id)
			return i;
	}
	return -1;
}

int
quorum_members_find_name(const QuorumMemberSet *set, const char *name)
{
	for (int i = 0; i < set->count; i++)
	{
		if (quorum_text_equal(set->members[i].name, name, QUORUM_NAME_SIZE))
			return i;
	}
	return -1;
}

static bool
kind_votes(QuorumMemberKind kind)
{
	return kind == QUORUM_VOTER || kind == QUORUM_WITNESS;
}

bool
quorum_members_votes(const QuorumMemberSet *set, QuorumNodeId id)
{
	int			index = quorum_members_find(set, id);

	return index >= 0 && kind_votes(set->members[index].kind);
}

int
quorum_members_vote_count(const QuorumMemberSet *set)
{
	int			count = 0;

	for (int i = 0; i < set->count; i++)
	{
		if (kind_votes(set->members[i].kind))
			count++;
	}
	return count;
}

int
quorum_members_majority(const QuorumMemberSet *set)
{
	return quorum_members_vote_count(set) / 2 + 1;
}

int
quorum_members_witness_count(const QuorumMemberSet *set)
{
	int			count = 0;

	for (int i = 0; i < set->count; i++)
	{
		if (set->members[i].kind == QUORUM_WITNESS)
			count++;
	}
	return count;
}

bool
quorum_members_room_for_witness(const QuorumMemberSet *set)
{
	int			witnesses = quorum_members_witness_count(set);

	return witnesses + 1 < quorum_members_vote_count(set) - witnesses;
}

static bool
is_in(const QuorumMember *member)
{
	return member->kind == QUORUM_VOTER && !member->left_out;
}

bool
quorum_members_is_in(const QuorumMemberSet *set, QuorumNodeId id)
{
	int			index = quorum_members_find(set, id);

	return index >= 0 && is_in(&set->members[index]);
}

int
quorum_members_left_out(const QuorumMemberSet *set)
{
	int			count = 0;

	for (int i = 0; i < set->count; i++)
	{
		if (set->members[i].kind == QUORUM_VOTER && set->members[i].left_out)
			count++;
	}
	return count;
}

static int
in_count(const QuorumMemberSet *set)
{
	int			count = 0;

	for (int i = 0; i < set->count; i++)
	{
		if (is_in(&set->members[i]))
			count++;
	}
	return count;
}

/* Y2 */
static int
commit_need(const QuorumMemberSet *set)
{
	int			need = quorum_members_vote_count(set) / 2 - quorum_members_left_out(set);
	int			most = in_count(set) - 1;

	if (need > most)
		need = most;
	return need < 0 ? 0 : need;
}

int
quorum_members_read_need(const QuorumMemberSet *set)
{
	return in_count(set) - commit_need(set);
}

int
quorum_set_id_compare(QuorumSetId a, QuorumSetId b)
{
	if (a.term != b.term)
		return a.term < b.term ? -1 : 1;
	if (a.version != b.version)
		return a.version < b.version ? -1 : 1;
	return 0;
}

void
quorum_members_sync_rule(const QuorumMemberSet *set, QuorumNodeId leader, QuorumSyncRule *rule)
{
	rule->need = commit_need(set);
	rule->count = 0;
	for (int i = 0; i < set->count; i++)
	{
		if (is_in(&set->members[i]) && set->members[i].id != leader)
			rule->ids[rule->count++] = set->members[i].id;
	}
	quorum_assert(rule->count <= QUORUM_MAX_NODES);
}

/* Does satisfying a imply satisfying b?  True when a's ids are among b's and a needs no fewer. */
static bool
rule_implies(const QuorumSyncRule *a, const QuorumSyncRule *b)
{
	int			outside = 0;

	for (int i = 0; i < a->count; i++)
	{
		bool		found = false;

		for (int j = 0; j < b->count; j++)
			found = found || a->ids[i] == b->ids[j];
		if (!found)
			outside++;
	}

	/* In the worst case the acks of a come from outside b as far as possible. */
	return a->need - outside >= b->need;
}

/*
 * Neither implies the other: so many of all of them that no more are missing than either
 * can do without (M3).
 */
static void
rule_of_both(const QuorumSyncRule *a, const QuorumSyncRule *b, QuorumSyncRule *both)
{
	int			spare = a->count - a->need;

	if (b->count - b->need < spare)
		spare = b->count - b->need;
	*both = *a;
	for (int i = 0; i < b->count; i++)
	{
		bool		found = false;

		for (int j = 0; j < a->count; j++)
			found = found || a->ids[j] == b->ids[i];
		if (!found)
			both->ids[both->count++] = b->ids[i];
	}
	quorum_assert(both->count <= QUORUM_MAX_NODES);
	both->need = both->count - spare;
}

void
quorum_members_joint_rule(const QuorumMemberSet *old, const QuorumMemberSet *next,
						  QuorumNodeId leader, QuorumSyncRule *rule)
{
	QuorumSyncRule old_rule;
	QuorumSyncRule next_rule;

	quorum_members_sync_rule(old, leader, &old_rule);
	quorum_members_sync_rule(next, leader, &next_rule);
	if (rule_implies(&old_rule, &next_rule))
		*rule = old_rule;
	else if (rule_implies(&next_rule, &old_rule))
		*rule = next_rule;
	else
		rule_of_both(&old_rule, &next_rule, rule);
}

uint64_t
quorum_nth_largest(uint64_t *values, int count, int n)
{
	quorum_assert(n >= 1);
	if (n > count)
		return 0;
	for (int i = 1; i < count; i++)
	{
		uint64_t	value = values[i];
		int			j = i;

		while (j > 0 && values[j - 1] < value)
		{
			values[j] = values[j - 1];
			j--;
		}
		values[j] = value;
	}
	return values[n - 1];
}

bool
quorum_text_equal(const char *a, const char *b, size_t limit)
{
	for (size_t i = 0; i < limit; i++)
	{
		if (a[i] != b[i])
			return false;
		if (a[i] == '\0')
			return true;
	}
	return true;
}

void
quorum_text_copy(char *to, const char *from, size_t size)
{
	size_t		i = 0;

	quorum_assert(size > 0);
	for (; i + 1 < size && from[i] != '\0'; i++)
		to[i] = from[i];
	to[i] = '\0';
}
