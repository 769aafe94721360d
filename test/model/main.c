/*
 * main.c
 *	  Which world to search: the scopes, and the way into the first state.
 */
#include <stdlib.h>
#include <string.h>

#include "model.h"

Scope		scope;
bool		scope_begun;

/* docs/model.md says what each is for. */
static const Scope scopes[] = {
	{.name = "quick", .nodes = 3, .witness = -1, .learner = -1, .terms = 1, .commits = 1,
	.step = 1000, .slow = -1, .pair = 1},
	{.name = "clocks", .nodes = 3, .witness = -1, .learner = -1, .terms = 1, .step = 500,
	.slow = 0, .pair = 1},
	{.name = "leases", .nodes = 3, .witness = -1, .learner = -1, .terms = 1, .commits = 1,
	.step = 500, .slow = 0, .pair = 1},
	{.name = "terms", .nodes = 3, .witness = -1, .learner = -1, .terms = 2, .commits = 1,
	.step = 1000, .slow = -1, .pair = 1},
	{.name = "crash", .nodes = 3, .witness = -1, .learner = -1, .terms = 1, .commits = 1,
	.crashes = 1, .step = 1000, .slow = -1, .pair = 1},
	{.name = "messages", .nodes = 3, .witness = -1, .learner = -1, .terms = 1, .commits = 1,
	.net = 1, .step = 1000, .slow = -1, .pair = 1},
	{.name = "late", .nodes = 3, .witness = -1, .learner = -1, .terms = 1, .net = 2,
	.step = 1000, .slow = -1, .pair = 1},
	{.name = "facts", .nodes = 3, .witness = -1, .learner = -1, .terms = 1, .commits = 1,
	.step = 1000, .slow = -1, .lazy = 1, .pair = 1},
	{.name = "rewind", .nodes = 3, .witness = -1, .learner = -1, .terms = 2, .rewinds = 1,
	.step = 1000, .slow = -1, .start = 1, .pair = 1},
	{.name = "witness", .nodes = 3, .witness = 2, .learner = -1, .terms = 1, .commits = 1,
	.step = 1000, .slow = -1, .pair = 1},
	{.name = "witness-crash", .nodes = 3, .witness = 2, .learner = -1, .terms = 1,
	.commits = 1, .crashes = 1, .step = 1000, .slow = -1, .pair = 1},
	{.name = "add", .nodes = 3, .witness = -1, .learner = 2, .terms = 1, .commits = 1,
	.changes = 1, .step = 1000, .slow = -1, .pair = 1},
	{.name = "remove", .nodes = 3, .witness = -1, .learner = -1, .terms = 1, .commits = 1,
	.changes = 1, .step = 1000, .slow = -1, .pair = 1},
	{.name = "switchover", .nodes = 3, .witness = -1, .learner = -1, .terms = 1, .commits = 1,
	.switches = 1, .step = 1000, .slow = -1, .pair = 1},
	{.name = "large", .nodes = 3, .witness = -1, .learner = -1, .terms = 1, .commits = 2,
	.crashes = 1, .step = 500, .slow = -1, .pair = 1},
};

static const char *const breaks[BREAK_KINDS] = {
	"none", "ack-fence", "state-lost", "gate-check", "ledger", "rule"
};

/* ---- the first state ------------------------------------------------------- */

static void
do_deaf(World *world, ChoiceKind kind, int node, int other, int deaf)
{
	static Outcome outcome;
	Choice		choice = {(uint8_t) kind, (uint8_t) node, (uint8_t) other, 0, (uint8_t) deaf, 0};

	world_apply(world, choice, &outcome);
	if (outcome.broken != NULL || outcome.beyond)
	{
		fprintf(stderr, "the way to the first state breaks %s: %s\n",
				outcome.broken != NULL ? outcome.broken : "the scope", outcome.why);
		abort();
	}
	*world = outcome.world;

	/* Whatever was sent arrives at once, one after the other. */
	while (outcome.sent_count > 0)
	{
		uint32_t	sent[SENT];
		int			count = outcome.sent_count;

		memcpy(sent, outcome.sent, sizeof(sent));
		outcome.sent_count = 0;
		for (int i = 0; i < count; i++)
		{
			Outcome		next;
			uint32_t	more[SENT];
			int			more_count = outcome.sent_count;

			memcpy(more, outcome.sent, sizeof(more));
			world->net[0] = sent[i];
			world_apply(world, (Choice) {DO_MESSAGE, 0, 0, 0, 0, 0}, &next);
			*world = next.world;
			for (int j = 0; j < next.sent_count; j++)
				more[more_count++] = next.sent[j];
			memcpy(outcome.sent, more, sizeof(more));
			outcome.sent_count = more_count;
		}
	}
}

static void
do_it(World *world, ChoiceKind kind, int node, int other)
{
	do_deaf(world, kind, node, other, 0);
}

/*
 * Nodes 3 and 4 of four and a witness are cut off; one of them is left out, so that a
 * commit needs node 2 only.  It takes a commit.
 */
static void
leave_out(World *world)
{
	for (int passed = 0; passed < 2000; passed += scope.step)
	{
		do_it(world, DO_TIME, 0, 0);
		do_deaf(world, DO_FIRE, 0, 0, 1 << 2 | 1 << 3);
	}
	world->commits = 1;
	do_it(world, DO_COMMIT, 0, 0);
	do_it(world, DO_STREAM, 1, 0);
}

/*
 * A commit is acknowledged by node 2, another by nobody; then node 2 leads term 3 without
 * node 1, which comes back with a record too many.  It takes one term and two commits.
 */
static void
fail_over(World *world)
{
	world->commits = 2;
	do_it(world, DO_COMMIT, 0, 0);
	do_it(world, DO_STREAM, 1, 0);
	do_it(world, DO_COMMIT, 0, 0);
	for (int passed = 0; passed < 1000; passed += scope.step)
		do_it(world, DO_TIME, 0, 0);
	do_it(world, DO_FIRE, 1, 0);
	do_it(world, DO_PROMOTE, 1, 0);
	do_it(world, DO_RESTART, 0, 0);
	do_it(world, DO_READ_LOG, 0, 0);
	do_it(world, DO_HELLO, 0, 1);
	do_it(world, DO_HELLO, 0, 2);
	do_it(world, DO_FIRE, 1, 0);
	do_it(world, DO_STREAM, 0, 0);
}

/* Node 1 leads term 2 with an open gate, the others follow, nothing is on its way. */
void
world_start(World *world)
{
	int			lazy = scope.lazy;

	scope.lazy = 0;
	memset(world, 0, sizeof(*world));
	for (int i = 0; i < scope.nodes; i++)
	{
		Pg			pg;

		memset(&pg, 0, sizeof(pg));
		pg.phase = PG_DOWN;
		if (i != scope.witness)
			pg.log[1] = 1;
		world->core[i] = core_first(i);
		world_set_pg(world, i, &pg);
	}
	for (int i = 0; i < scope.nodes; i++)
	{
		do_it(world, DO_RESTART, i, 0);
		if (i != scope.witness)
			do_it(world, DO_READ_LOG, i, 0);
	}
	for (int i = 0; i < scope.nodes; i++)
	{
		for (int j = i + 1; j < scope.nodes; j++)
			do_it(world, DO_HELLO, i, j);
	}
	do_it(world, DO_FIRE, 0, 0);
	do_it(world, DO_PROMOTE, 0, 0);
	for (int i = 1; i < scope.nodes; i++)
	{
		if (i != scope.witness)
			do_it(world, DO_STREAM, i, 0);
	}
	do_it(world, DO_FIRE, 0, 0);
	do_it(world, DO_FIRE, 0, 0);
	if (!world_serves(world, 0))
	{
		print_world(world, stderr);
		abort();
	}
	if (scope.start == 1)
		fail_over(world);
	else if (scope.start == 2)
		leave_out(world);
	scope_begun = true;
	scope.lazy = lazy;
	world->commits = (uint8_t) scope.commits;
	world->crashes = (uint8_t) scope.crashes;
	world->changes = (uint8_t) scope.changes;
	world->switches = (uint8_t) scope.switches;
}

/* ---- options ------------------------------------------------------------------ */

static void
usage(void)
{
	printf("usage: quorum_model [--scope NAME] [--set FIELD=N]... [--break NAME]\nscopes:");
	for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++)
		printf(" %s", scopes[i].name);
	printf("\nbreaks:");
	for (int i = 1; i < BREAK_KINDS; i++)
		printf(" %s", breaks[i]);
	printf("\nfields: nodes witness learner terms commits crashes changes switches rewinds net\n"
		   "        step slow lazy pair limit seconds\n");
	exit(1);
}

static void
set_field(const char *text)
{
	const struct
	{
		const char *name;
		int		   *at;
	}			fields[] = {
		{"nodes", &scope.nodes}, {"witness", &scope.witness}, {"learner", &scope.learner},
		{"terms", &scope.terms}, {"commits", &scope.commits}, {"crashes", &scope.crashes},
		{"changes", &scope.changes}, {"switches", &scope.switches}, {"rewinds", &scope.rewinds},
		{"net", &scope.net}, {"step", &scope.step}, {"slow", &scope.slow}, {"lazy", &scope.lazy},
		{"pair", &scope.pair}, {"start", &scope.start},
		{"slow-pre-votes", &scope.slow_pre_votes}, {"trivial", &scope.trivial}
	};
	const char *equals = strchr(text, '=');
	size_t		length = equals == NULL ? 0 : (size_t) (equals - text);

	if (equals == NULL)
		usage();
	if (strncmp(text, "limit=", 6) == 0)
		scope.limit = atol(equals + 1);
	else if (strncmp(text, "seconds=", 8) == 0)
		scope.seconds = atol(equals + 1);
	else
	{
		size_t		i = 0;

		while (i < sizeof(fields) / sizeof(fields[0]) &&
			   (strlen(fields[i].name) != length || strncmp(fields[i].name, text, length) != 0))
			i++;
		if (i == sizeof(fields) / sizeof(fields[0]))
			usage();
		*fields[i].at = atoi(equals + 1);
	}
}

static void
set_scope(const char *name)
{
	for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++)
	{
		if (strcmp(scopes[i].name, name) == 0)
		{
			scope = scopes[i];
			return;
		}
	}
	usage();
}

static void
set_break(const char *name)
{
	for (int i = 0; i < BREAK_KINDS; i++)
	{
		if (strcmp(breaks[i], name) == 0)
		{
			scope.broken = (Break) i;
			return;
		}
	}
	usage();
}

int
main(int argc, char **argv)
{
	Result		result;

	scope = scopes[0];
	for (int i = 1; i < argc; i++)
	{
		if (i + 1 == argc)
			usage();
		if (strcmp(argv[i], "--scope") == 0)
			set_scope(argv[++i]);
		else if (strcmp(argv[i], "--set") == 0)
			set_field(argv[++i]);
		else if (strcmp(argv[i], "--break") == 0)
			set_break(argv[++i]);
		else
			usage();
	}
	if (scope.nodes < 2 || scope.nodes > NODES || scope.net < 0 || scope.net > NET ||
		scope.terms < 0 || scope.terms > TERMS - 3)
		usage();
	core_start();
	search(&result);
	printf("model: %s: %s: %ld states, %ld transitions, %d deep, %.1f s\n", scope.name,
		   result.found ? "BROKEN" : !result.whole ? "not all states seen" :
		   result.empty ? "nobody ever took over" : "every state is sound",
		   result.states, result.transitions, result.depth, result.seconds);
	return result.found ? 3 : result.whole && !result.empty ? 0 : 2;
}
