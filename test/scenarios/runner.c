/*
 * runner.c
 *	  quorum_scenario: runs scenario files, compares their traces with what they expect.
 *
 * A file is a comment, commands, a line "----", the expected trace.  One TAP line a
 * file; REWRITE=1 in the environment writes the trace that came into the file: read
 * the difference before committing it.  The commands are listed in docs/simulator.md.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define TEXT_MAX	200000
#define WORDS_MAX	16
#define WAIT_MAX	(60 * SIM_SECOND)

typedef struct Scenario
{
	const char *path;
	char		text[TEXT_MAX]; /* the whole file */
	char	   *expected;		/* in text, behind the separator */
	Sim		   *sim;
	SimOptions	options;
	bool		started;
	int			acked;			/* commits acknowledged when the last "run" began */
	int			roles[SIM_NODES];	/* index of the node called A, B, ...; A leads */
	FILE	   *trace;
	char	   *traced;
	size_t		traced_size;
	char		error[200];
} Scenario;

/* ---- words -------------------------------------------------------------- */

static bool
wrong(Scenario *scenario, const char *what, const char *word)
{
	snprintf(scenario->error, sizeof(scenario->error), "%s: %s", what, word);
	return false;
}

/* "500ms", "2s", "300us" */
static bool
parse_time(const char *word, SimTime *time)
{
	char	   *unit;
	long		value = strtol(word, &unit, 10);

	if (unit == word || value < 0)
		return false;
	if (strcmp(unit, "s") == 0)
		*time = value * SIM_SECOND;
	else if (strcmp(unit, "ms") == 0)
		*time = value * SIM_MS;
	else if (strcmp(unit, "us") == 0)
		*time = value;
	else
		return false;
	return true;
}

/*
 * A number, a letter that "roles" gave out, "leader", or "follower": the first live node
 * that does not lead.
 */
static SimNode *
parse_node(Scenario *scenario, const char *word)
{
	Sim		   *sim = scenario->sim;
	SimNode    *leader = sim_leader(sim);
	long		id;

	if (strcmp(word, "leader") == 0)
		return leader;
	if (strcmp(word, "follower") == 0)
	{
		for (int i = 0; i < sim->options.nodes; i++)
		{
			if (&sim->nodes[i] != leader && sim->nodes[i].worker)
				return &sim->nodes[i];
		}
		return NULL;
	}
	if (word[0] >= 'A' && word[0] < 'A' + sim->options.nodes && word[1] == '\0')
		return &sim->nodes[scenario->roles[word[0] - 'A']];
	id = strtol(word, NULL, 10);
	return id >= 1 && id <= sim->options.nodes ? &sim->nodes[id - 1] : NULL;
}

/* ---- commands before the start ------------------------------------------ */

static void
fixed_options(SimOptions *options)
{
	memset(options, 0, sizeof(*options));
	options->seed = 1;
	options->nodes = options->members = 3;
	options->lease = 2 * SIM_SECOND;
	options->heartbeat = 200 * SIM_MS;
	options->promotion_limit = 10 * SIM_SECOND;
	options->duration = QUORUM_NEVER;
	options->delay = (SimRange) {200, 300};
	options->fsync = (SimRange) {300, 500};
	options->boot = (SimRange) {200 * SIM_MS, 200 * SIM_MS};
	options->promote = (SimRange) {10 * SIM_MS, 10 * SIM_MS};
	options->commit_every = 20 * SIM_MS;
	for (int i = 0; i < SIM_NODES; i++)
		options->priority[i] = 100;
}

static bool
set_option(Scenario *scenario, char **words, int count)
{
	SimOptions *options = &scenario->options;
	SimTime		time = 0;

	if (count == 2 && strcmp(words[0], "nodes") == 0)
		options->nodes = options->members = atoi(words[1]);
	else if (count == 2 && strcmp(words[0], "servers") == 0)
		options->nodes = atoi(words[1]);
	else if (count == 2 && strcmp(words[0], "auto-rewind") == 0)
		options->auto_rewind = strcmp(words[1], "on") == 0;
	else if (count == 2 && strcmp(words[0], "learners") == 0)
		options->learners = atoi(words[1]);
	else if (count == 2 && strcmp(words[0], "witnesses") == 0)
		options->witnesses = atoi(words[1]);
	else if (count == 2 && strcmp(words[0], "strict") == 0)
		options->strict = strcmp(words[1], "on") == 0;
	else if (count == 2 && strcmp(words[0], "seed") == 0)
		options->seed = strtoull(words[1], NULL, 0);
	else if (count == 3 && strcmp(words[0], "priority") == 0 && atoi(words[1]) >= 1 &&
			 atoi(words[1]) <= SIM_NODES)
		options->priority[atoi(words[1]) - 1] = (uint8_t) atoi(words[2]);
	else if (count == 2 && parse_time(words[1], &time))
	{
		if (strcmp(words[0], "lease") == 0)
		{
			options->lease = time;
			options->heartbeat = time / 10;
		}
		else if (strcmp(words[0], "delay") == 0)
			options->delay = (SimRange) {time, time};
		else if (strcmp(words[0], "start-stream") == 0)
			options->start_stream = (SimRange) {time, time};
		else if (strcmp(words[0], "commit-every") == 0)
			options->commit_every = time;
		else if (strcmp(words[0], "promote") == 0)
			options->promote = (SimRange) {time / 2, time / 2};
		else if (strcmp(words[0], "rewind") == 0)
			options->rewind = (SimRange) {time, time};
		else if (strcmp(words[0], "boot") == 0)
			options->boot = (SimRange) {time, time};
		else
			return false;
	}
	else
		return false;
	if (scenario->started)
		return wrong(scenario, "comes too late", words[0]);
	if (options->nodes < 1 || options->nodes > SIM_NODES)
		return wrong(scenario, "number of nodes", words[1]);
	return true;
}

/* ---- commands ----------------------------------------------------------- */

static bool
condition_holds(Scenario *scenario, char **words, int count)
{
	Sim		   *sim = scenario->sim;
	const SimNode *node = count > 1 ? parse_node(scenario, words[1]) : NULL;

	if (strcmp(words[0], "leader") == 0)
		return sim_leader(sim) != NULL;
	if (strcmp(words[0], "answer") == 0)
		return sim->operator.asked.request_id == 0;
	if (strcmp(words[0], "commits") == 0)
		return sim->oracle.acked >= scenario->acked + 3;
	if (strcmp(words[0], "gate") == 0)
	{
		for (int i = 0; i < sim->options.nodes; i++)
		{
			if ((count == 1 || node == &sim->nodes[i]) && sim_pg_serves(sim, &sim->nodes[i]))
				return true;
		}
		return false;
	}
	if (node == NULL)
		return false;
	if (strcmp(words[0], "in") == 0 || strcmp(words[0], "out") == 0)
	{
		/* In the set of whoever leads, when a majority stores it. */
		const SimNode *leader = sim_leader(sim);

		return leader != NULL && leader->core.change.step == QUORUM_CHANGE_NONE &&
			(leader->shared.set.data >> node->index & 1) != 0 &&
			(leader->shared.set.in >> node->index & 1) == (words[0][0] == 'i' ? 1 : 0);
	}
	if (strcmp(words[0], "voter") == 0 || strcmp(words[0], "member") == 0)
	{
		SimSet		set = sim_set_of(&node->core.hard.members);
		uint32_t	mask = words[0][0] == 'v' ? set.data : set.members;

		/* In the set that the node has. */
		return node->worker && (mask >> node->index & 1) != 0;
	}
	if (strcmp(words[0], "wait-lsn") == 0)
		return node->core.change.step == QUORUM_CHANGE_WAIT_LSN;
	if (strcmp(words[0], "wait-set") == 0)
		return node->core.change.step == QUORUM_CHANGE_WAIT_SET;
	if (strcmp(words[0], "lapse") == 0)
		return !sim_pg_serves(sim, node);
	if (strcmp(words[0], "promoted") == 0)
		return node->phase == QUORUM_PHASE_PRIMARY;
	if (strcmp(words[0], "following") == 0)
		return sim_stream_counts(sim, node);
	if (strcmp(words[0], "history") == 0 && count == 3)
		return sim_history_newest(sim, node) == (QuorumTerm) atoi(words[2]);
	return false;
}

static bool
run(Scenario *scenario, char **words, int count)
{
	Sim		   *sim = scenario->sim;
	SimTime		time;
	SimTime		limit = sim->now + WAIT_MAX;

	if (count == 1 && parse_time(words[0], &time))
	{
		sim_run_until(sim, sim->now + time);
		return true;
	}
	if (count < 2 || strcmp(words[0], "until") != 0)
		return wrong(scenario, "run what", count > 0 ? words[0] : "");
	scenario->acked = sim->oracle.acked;
	while (!condition_holds(scenario, words + 1, count - 1))
	{
		if (sim->now >= limit)
			return wrong(scenario, "never happened", words[1]);
		sim_run_until(sim, sim->now + SIM_MS);
	}
	return true;
}

static bool
cut(Scenario *scenario, char **words, int count)
{
	for (int i = 0; i < count; i++)
	{
		char	   *arrow = strstr(words[i], "->");
		SimNode    *from;
		SimNode    *to;

		if (arrow == NULL)
			return wrong(scenario, "no arrow in", words[i]);
		*arrow = '\0';
		from = parse_node(scenario, words[i]);
		to = parse_node(scenario, arrow + 2);
		if (from == NULL || to == NULL)
			return wrong(scenario, "no such link", words[i]);
		sim_cut(scenario->sim, from->index, to->index);
	}
	return true;
}

/* "partition 1 2 / 3": nothing passes the slash */
static bool
partition(Scenario *scenario, char **words, int count)
{
	int			side[SIM_NODES] = {0};
	int			current = 1;

	for (int i = 0; i < count; i++)
	{
		SimNode    *node = parse_node(scenario, words[i]);

		if (strcmp(words[i], "/") == 0)
			current++;
		else if (node != NULL)
			side[node->index] = current;
		else
			return wrong(scenario, "no such node", words[i]);
	}
	for (int i = 0; i < scenario->sim->options.nodes; i++)
	{
		for (int j = 0; j < scenario->sim->options.nodes; j++)
		{
			if (side[i] != side[j])
				sim_cut(scenario->sim, i, j);
		}
	}
	return true;
}

static void
lag(Sim *sim, SimNode *node, bool lags)
{
	node->stream_blocked = lags;
	if (lags && node->stream.state != SIM_STREAM_NONE)
		sim_stream_end(sim, node, node->stream.id);
	sim_stream_follow(sim, node);
}

static bool
node_command(Scenario *scenario, const char *word, SimNode *node, SimTime time)
{
	Sim		   *sim = scenario->sim;

	if (strcmp(word, "kill") == 0)
		sim_kill_postmaster(sim, node);
	else if (strcmp(word, "killall") == 0)
		sim_kill_all(sim, node);
	else if (strcmp(word, "power") == 0)
		sim_power_off(sim, node);
	else if (strcmp(word, "crash") == 0)
		sim_backend_crash(sim, node);
	else if (strcmp(word, "worker-exit") == 0)
		sim_worker_exit(sim, node);
	else if (strcmp(word, "worker-kill") == 0)
		sim_worker_kill(sim, node);
	else if (strcmp(word, "stop") == 0)
		sim_stop(sim, node);
	else if (strcmp(word, "start") == 0)
		sim_boot(sim, node);
	else if (strcmp(word, "wipe") == 0)
		sim_wipe(sim, node);
	else if (strcmp(word, "force") == 0)
		sim_force(sim, node);
	else if (strcmp(word, "prefer") == 0)
		node->config.priority = node->core.config.priority = 255;
	else if (strcmp(word, "lag") == 0)
		lag(sim, node, true);
	else if (strcmp(word, "catch-up") == 0)
		lag(sim, node, false);
	else if (strcmp(word, "freeze") == 0 && time > 0)
		sim_freeze(sim, node, time, false);
	else if (strcmp(word, "suspend") == 0 && time > 0)
		sim_freeze(sim, node, time, true);
	else if (strcmp(word, "worker-freeze") == 0 && time > 0)
		sim_worker_freeze(sim, node, time);
	else
		return wrong(scenario, "no such command", word);
	return true;
}

/* Its state file says a later term: it voted for somebody who did not win. */
static bool
set_term(Scenario *scenario, const SimNode *node, QuorumTerm term)
{
	QuorumHardState disk;

	sim_disk_read(scenario->sim, node, &disk);
	if (node->worker || term <= disk.term)
		return wrong(scenario, "cannot set", "term");
	disk.term = term;
	disk.vote = QUORUM_NO_NODE;
	sim_disk_format(&scenario->sim->nodes[node->index], &disk);
	return true;
}

/* From here on A is the leader, B and so on the others. */
static bool
give_roles(Scenario *scenario)
{
	const SimNode *leader = sim_leader(scenario->sim);
	int			count = 1;

	if (leader == NULL)
		return wrong(scenario, "no leader", "roles");
	scenario->roles[0] = leader->index;
	for (int i = 0; i < scenario->sim->options.nodes; i++)
	{
		if (i != leader->index)
			scenario->roles[count++] = i;
	}
	return true;
}

/* "add 4 [learner|witness]", "remove n", "switchover [n [limit]]": asked of whoever serves */
static bool
ask(Scenario *scenario, char **words, int count)
{
	Sim		   *sim = scenario->sim;
	SimNode    *node = count > 1 ? parse_node(scenario, words[1]) : NULL;
	SimTime		limit = 10 * SIM_SECOND;
	QuorumAdminType type = words[0][0] == 'a' ? QUORUM_ADMIN_ADD_MEMBER :
		words[0][0] == 'r' ? QUORUM_ADMIN_REMOVE_MEMBER : QUORUM_ADMIN_SWITCHOVER;
	QuorumMemberKind kind = count < 3 ? QUORUM_VOTER :
		strcmp(words[2], "learner") == 0 ? QUORUM_LEARNER :
		strcmp(words[2], "witness") == 0 ? QUORUM_WITNESS : QUORUM_VOTER;

	if ((node == NULL && (count > 1 || type != QUORUM_ADMIN_SWITCHOVER)) || count > 3 ||
		(count == 3 && kind == QUORUM_VOTER && !parse_time(words[2], &limit)))
		return wrong(scenario, "cannot do", words[0]);
	if (type == QUORUM_ADMIN_ADD_MEMBER && sim_leader(sim) != NULL)
	{
		node->witness = kind == QUORUM_WITNESS;
		sim_prepare(sim, node, sim_leader(sim));
	}
	return sim_ask(sim, type, node, limit, kind) ||
		wrong(scenario, "nobody serves", words[0]);
}

static void
start(Scenario *scenario)
{
	if (scenario->started)
		return;
	scenario->started = true;
	sim_start(scenario->sim, &scenario->options);
}

static bool
command(Scenario *scenario, char **words, int count)
{
	SimTime		time = 0;
	SimNode    *node;

	if (set_option(scenario, words, count))
		return true;
	if (scenario->error[0] != '\0')
		return false;
	if (strcmp(words[0], "quiet") == 0 || strcmp(words[0], "log") == 0)
	{
		scenario->sim->log_to = words[0][0] == 'l' ? scenario->trace : NULL;
		return true;
	}
	start(scenario);
	if (strcmp(words[0], "run") == 0)
		return run(scenario, words + 1, count - 1);
	if (strcmp(words[0], "cut") == 0)
		return cut(scenario, words + 1, count - 1);
	if (strcmp(words[0], "partition") == 0)
		return partition(scenario, words + 1, count - 1);
	if (strcmp(words[0], "roles") == 0)
		return give_roles(scenario);
	if (strcmp(words[0], "heal") == 0)
	{
		sim_links_up(scenario->sim);
		return true;
	}
	if (strcmp(words[0], "add") == 0 || strcmp(words[0], "remove") == 0 ||
		strcmp(words[0], "switchover") == 0)
		return ask(scenario, words, count);
	if (count == 2 && strcmp(words[0], "pause") == 0 && parse_time(words[1], &time))
		return sim_ask(scenario->sim, QUORUM_ADMIN_PAUSE, NULL, time, QUORUM_VOTER) ||
			wrong(scenario, "nobody serves", words[0]);
	node = count >= 2 ? parse_node(scenario, words[1]) : NULL;
	if (node != NULL && count == 3 && strcmp(words[0], "term") == 0)
		return set_term(scenario, node, (QuorumTerm) atoi(words[2]));
	if (node == NULL || (count == 3 && !parse_time(words[2], &time)) || count > 3)
		return wrong(scenario, "cannot do", words[0]);
	return node_command(scenario, words[0], node, time);
}

/* ---- files -------------------------------------------------------------- */

static bool
read_file(Scenario *scenario)
{
	FILE	   *file = fopen(scenario->path, "r");
	size_t		size;

	if (file == NULL)
		return wrong(scenario, "cannot open", scenario->path);
	size = fread(scenario->text, 1, sizeof(scenario->text) - 1, file);
	scenario->text[size] = '\0';
	fclose(file);
	scenario->expected = strstr(scenario->text, "\n----\n");
	if (scenario->expected == NULL)
		return wrong(scenario, "no separator in", scenario->path);
	scenario->expected += strlen("\n----\n");
	return true;
}

static bool
run_commands(Scenario *scenario)
{
	size_t		size = (size_t) (scenario->expected - scenario->text) - strlen("----\n");
	char	   *commands = strndup(scenario->text, size);
	char	   *rest = NULL;
	bool		good = true;

	for (char *line = strtok_r(commands, "\n", &rest); line != NULL && good;
		 line = strtok_r(NULL, "\n", &rest))
	{
		char	   *words[WORDS_MAX];
		char	   *more = NULL;
		int			count = 0;

		for (char *word = strtok_r(line, " \t", &more); word != NULL && count < WORDS_MAX;
			 word = strtok_r(NULL, " \t", &more))
		{
			if (word[0] == '#')
				break;
			words[count++] = word;
		}
		if (count > 0)
			good = command(scenario, words, count);
	}
	free(commands);
	return good;
}

static void
execute(Scenario *scenario)
{
	Sim		   *sim = scenario->sim;

	sim_check_begin(sim);
	if (setjmp(sim->stop) == 0)
	{
		if (!run_commands(scenario))
			fprintf(scenario->trace, "SCENARIO %s\n", scenario->error);
	}
	else
		fprintf(scenario->trace, "[%6lld] FAILED %s\n", (long long) (sim->now / SIM_MS),
				sim->why);
	fclose(scenario->trace);
}

static bool
rewrite(Scenario *scenario)
{
	FILE	   *file = fopen(scenario->path, "w");

	if (file == NULL)
		return false;
	fwrite(scenario->text, 1, (size_t) (scenario->expected - scenario->text), file);
	fwrite(scenario->traced, 1, scenario->traced_size, file);
	return fclose(file) == 0;
}

static bool
run_file(const char *path, int number)
{
	Scenario   *scenario = calloc(1, sizeof(Scenario));
	const char *name = strrchr(path, '/') == NULL ? path : strrchr(path, '/') + 1;
	bool		same;

	if (scenario == NULL)
		abort();
	scenario->path = path;
	fixed_options(&scenario->options);
	scenario->trace = open_memstream(&scenario->traced, &scenario->traced_size);
	scenario->sim = sim_create();
	scenario->sim->log_coarse = true;
	scenario->sim->log_to = scenario->trace;
	if (!read_file(scenario))
	{
		printf("not ok %d - %s\n# %s\n", number, name, scenario->error);
		return false;
	}
	execute(scenario);
	same = strcmp(scenario->traced, scenario->expected) == 0;
	if (!same && getenv("REWRITE") != NULL && rewrite(scenario))
	{
		printf("ok %d - %s # rewritten\n", number, name);
		same = true;
	}
	else
		printf("%s %d - %s\n", same ? "ok" : "not ok", number, name);
	if (!same)
	{
		char	   *rest = NULL;

		printf("# the trace is another one:\n");
		for (char *line = strtok_r(scenario->traced, "\n", &rest); line != NULL;
			 line = strtok_r(NULL, "\n", &rest))
			printf("#   %s\n", line);
	}
	sim_destroy(scenario->sim);
	free(scenario->traced);
	free(scenario);
	return same;
}

int
main(int argc, char **argv)
{
	bool		good = true;

	if (argc < 2)
	{
		fprintf(stderr, "usage: [REWRITE=1] quorum_scenario file.txt ...\n");
		return SIM_USAGE;
	}
	printf("1..%d\n", argc - 1);
	for (int i = 1; i < argc; i++)
		good = run_file(argv[i], i) && good;
	return good ? 0 : 1;
}
