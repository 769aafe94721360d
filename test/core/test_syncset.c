/*
 * test_syncset.c
 *	  Every commit meets every election: all clusters up to five voters with data and two
 *	  witnesses, whoever leads and whoever is left out, before, during and after every step.
 *
 * A configuration is bits, one a node.  What is tried out is the functions the core uses:
 * the rule for commits (Y2), who wins an election (Y3), the rule of two sets (M3).
 */
#include "harness.h"

#define NODES	8				/* five with data, two witnesses, one that comes */

typedef struct Config
{
	unsigned	data;			/* voters with data */
	unsigned	out;			/* of those, left out */
	unsigned	witnesses;
} Config;

static long configs;			/* tried */
static long pairs;				/* of a set and the next one, with a leader */
static long meetings;			/* of an ack set and a vote set */

static int
bits(unsigned mask)
{
	return __builtin_popcount(mask);
}

static QuorumMemberSet
set_of(Config config)
{
	QuorumMemberSet set;

	memset(&set, 0, sizeof(set));
	for (int i = 0; i < NODES; i++)
	{
		QuorumMember *member = &set.members[set.count];

		if (((config.data | config.witnesses) >> i & 1) == 0)
			continue;
		member->id = (QuorumNodeId) i + 1;
		member->kind = (config.data >> i & 1) != 0 ? QUORUM_VOTER : QUORUM_WITNESS;
		member->left_out = (config.out >> i & 1) != 0;
		set.count++;
	}
	return set;
}

static bool
held(const QuorumSyncRule *rule, unsigned holders)
{
	int			count = 0;

	for (int i = 0; i < rule->count; i++)
		count += (int) (holders >> (rule->ids[i] - 1)) & 1;
	return count >= rule->need;
}

/* What the core asks of the votes of a candidate (Y3). */
static bool
wins(const QuorumMemberSet *set, unsigned votes)
{
	int			granted = 0;
	int			granted_in = 0;

	for (int i = 0; i < set->count; i++)
	{
		QuorumNodeId id = set->members[i].id;

		if ((votes >> (id - 1) & 1) == 0 || !quorum_members_votes(set, id))
			continue;
		granted++;
		granted_in += quorum_members_is_in(set, id) ? 1 : 0;
	}
	return granted >= quorum_members_majority(set) &&
		granted_in >= quorum_members_read_need(set);
}

/* Can somebody win who lacks what `holders` hold?  They vote for nobody who does. */
static bool
can_miss(Config config, unsigned holders)
{
	QuorumMemberSet set = set_of(config);
	unsigned	lacking = (config.data | config.witnesses) & ~holders;

	meetings++;

	/* The more votes, the likelier: all of those that lack it is the worst case. */
	return (lacking & config.data & ~config.out) != 0 && wins(&set, lacking);
}

/* Everybody who acknowledges under the rule, in the smallest ways: then nobody may miss it. */
static bool
rule_meets(const QuorumSyncRule *rule, int leader, Config config)
{
	for (unsigned holders = 0; holders < 1u << NODES; holders++)
	{
		if (held(rule, holders) && can_miss(config, holders | 1u << leader))
			return false;
	}
	return true;
}

static bool
allowed(Config config)
{
	return bits(config.data) >= 1 && bits(config.data) <= 5 && bits(config.witnesses) <= 2 &&
		(config.out & ~config.data) == 0 && bits(config.out) <= bits(config.witnesses) &&
		(config.data & ~config.out) != 0;
}

/*
 * One step from a set to the next.  Before: commits under the old rule, elections by both
 * (the new set may be anywhere once it is published, so by then they are held by both).
 * During: the rule of both, elections by both.  After: the new rule; whoever stores the
 * new set refuses the old one, and M4 says how many do.
 */
static bool
step_is_safe(Config old, Config next, int leader, bool waits)
{
	QuorumMemberSet sets[2] = {set_of(old), set_of(next)};
	QuorumSyncRule rules[3];
	unsigned	id = (unsigned) leader + 1;

	pairs++;
	quorum_members_sync_rule(&sets[0], id, &rules[0]);
	quorum_members_sync_rule(&sets[1], id, &rules[1]);
	quorum_members_joint_rule(&sets[0], &sets[1], id, &rules[2]);
	for (unsigned holders = 0; holders < 1u << NODES; holders++)
	{
		unsigned	all = holders | 1u << leader;

		if (held(&rules[2], holders) && (!held(&rules[0], holders) || !held(&rules[1], holders)))
			return false;

		if (held(&rules[1], holders) && can_miss(next, all))
			return false;

		/* Y4: what was acknowledged before is not waited for. */
		if (!waits && held(&rules[0], holders) && can_miss(next, all))
			return false;
		if (held(&rules[2], holders) && (can_miss(old, all) || can_miss(next, all)))
			return false;
	}

	/* After M4: a majority of the new voters store the new set; then so many of the old ones do. */
	for (unsigned stored = 0; stored < 1u << NODES; stored++)
	{
		unsigned	votes = old.data | old.witnesses;

		if ((stored >> leader & 1) == 0 ||
			bits(stored & (next.data | next.witnesses)) < quorum_members_majority(&sets[1]))
			continue;
		if (wins(&sets[0], votes & ~stored))
			return false;
	}
	return true;
}

typedef enum Step
{
	LEAVE_OUT,
	TAKE_IN,
	EXCHANGE,
	ADD_VOTER,
	REMOVE_VOTER,
	ADD_WITNESS,
	REMOVE_WITNESS,
	STEPS
} Step;

/* The set after that step with that node (and, exchanged, the next one that is out). */
static Config
after(Config config, Step step, int node, int other)
{
	unsigned	bit = 1u << node;

	switch (step)
	{
		case LEAVE_OUT:
			config.out |= bit;
			break;
		case TAKE_IN:
			config.out &= ~bit;
			break;
		case EXCHANGE:
			config.out = (config.out | bit) & ~(1u << other);
			break;
		case ADD_VOTER:
			config.data |= bit;
			break;
		case REMOVE_VOTER:
			config.data &= ~bit;
			config.out &= ~bit;
			break;
		case ADD_WITNESS:
			config.witnesses |= bit;
			break;
		default:
			config.witnesses &= ~bit;
			break;
	}
	return config;
}

static bool
possible(Config config, Step step, int node, int leader)
{
	unsigned	bit = 1u << node;
	bool		in = (config.data & ~config.out & bit) != 0 && node != leader;
	bool		out = (config.out & bit) != 0;
	bool		none = ((config.data | config.witnesses) & bit) == 0;

	switch (step)
	{
		case LEAVE_OUT:
		case EXCHANGE:
			return in;
		case TAKE_IN:
			return out;
		case ADD_VOTER:
		case ADD_WITNESS:
			return none;
		case REMOVE_VOTER:
			return in || out;
		default:
			return (config.witnesses & bit) != 0;
	}
}

static bool
steps_are_safe(Config config, int leader, Step step)
{
	for (int node = 0; node < NODES; node++)
	{
		if (!possible(config, step, node, leader))
			continue;
		for (int other = 0; other < NODES; other++)
		{
			Config		next = after(config, step, node, other);

			if (step == EXCHANGE ? (config.out >> other & 1) == 0 : other > 0)
				continue;
			if (allowed(next) && !step_is_safe(config, next, leader, step != LEAVE_OUT))
				return false;
		}
	}
	return true;
}

/* Nodes 0 to 4 have data, 5 and 6 witness, 7 may come: which of equals it is does not matter. */
static void
everything(void)
{
	bool		meets = true;
	bool		safe[STEPS] = {true, true, true, true, true, true, true};
	static const char *const claims[] = {
		"a member is left out", "a member is taken in", "a member takes the place of another",
		"a voter is added", "a voter is removed", "a witness is added", "a witness is removed"
	};

	for (int data = 1; data <= 5; data++)
	{
		for (int witnesses = 0; witnesses <= 2; witnesses++)
		{
			for (unsigned out = 0; out < 1u << data; out++)
			{
				Config		config = {(1u << data) - 1, out, ((1u << witnesses) - 1) << 5};

				for (int leader = 0; leader < data; leader++)
				{
					QuorumMemberSet set = set_of(config);
					QuorumSyncRule rule;

					if (!allowed(config) || (out >> leader & 1) != 0)
						continue;
					configs++;
					quorum_members_sync_rule(&set, (QuorumNodeId) leader + 1, &rule);
					meets = meets && rule_meets(&rule, leader, config);
					for (int step = 0; step < STEPS; step++)
						safe[step] = safe[step] && steps_are_safe(config, leader, (Step) step);
				}
			}
		}
	}
	test_claim(meets, "every commit meets every election (Y2, Y3)");
	for (int step = 0; step < STEPS; step++)
	{
		char		claim[120];

		snprintf(claim, sizeof(claim), "... and before, while and after %s", claims[step]);
		test_claim(safe[step], claim);
	}
	printf("# %ld configurations with a leader, %ld steps, %ld meetings\n", configs, pairs, meetings);
}

/* The rule is as weak as it may be: one holder less and somebody can miss a commit. */
static void
tightness(void)
{
	Config		two = {3, 0, 32};
	Config		alone = {3, 2, 32};
	QuorumMemberSet set = set_of(two);
	QuorumSyncRule rule;

	quorum_members_sync_rule(&set, 1, &rule);
	test_claim(rule.need == 1 && rule.count == 1, "of two and a witness, a commit needs both");
	rule.need = 0;
	test_claim(!rule_meets(&rule, 0, two), "with fewer holders an election can miss it");
	test_claim(wins(&set, 32 | 2), "one of two and the witness make a leader");
	test_claim(!wins(&set, 2), "one of two alone does not");
	set = set_of(alone);
	quorum_members_sync_rule(&set, 1, &rule);
	test_claim(rule.need == 0, "without the other one a commit waits for nobody");
	test_claim(!wins(&set, 32 | 2), "whoever is left out does not win, whoever votes for it");
	test_claim(wins(&set, 32 | 1), "the one that is in does");
	test_claim(!wins(&set, 1), "but not alone");
}

int
main(void)
{
	everything();
	tightness();
	return test_done();
}
