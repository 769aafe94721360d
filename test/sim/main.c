/*
 * main.c
 *	  quorum_sim: run seeds, report the first that fails and how to repeat it.
 *
 *	quorum_sim --seeds N [--base S] [--seconds 60] [--jobs 2] [--break NAME] [--keep-going]
 *	quorum_sim --seed S [--log full|notes] [--from MS] [--seconds 60]
 *	quorum_sim --check-determinism [--base S] [--seconds 60]
 *
 * Exit: 0 all good, 1 wrong usage, 2 liveness, 3 safety, 127 crash (an assertion).
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

#define JOBS_MAX	64

typedef struct Arguments
{
	long		seeds;
	bool		one;
	uint64_t	base;
	SimTime		duration;
	int			jobs;
	bool		log_full;
	bool		log_notes;
	SimTime		from;
	bool		keep_going;
	bool		determinism;
	SimBreak	broken;
} Arguments;

/* Shared between the jobs. */
typedef struct Progress
{
	atomic_long next;			/* index of the next seed to run */
	atomic_long done;
	atomic_long failed[3];		/* liveness, safety, crash */
	atomic_long commits;
	atomic_long async;			/* asynchronous ones */
	atomic_long async_lost;		/* those that a failover took back */
	atomic_long elections;
	atomic_long events;
	atomic_long first_failed;	/* lowest index; LONG_MAX = none */
	atomic_long running[JOBS_MAX];	/* index each job is at; -1 = none */
} Progress;

static void
usage(void)
{
	fprintf(stderr,
			"usage: quorum_sim --seeds N [--base S] [--seconds 60] [--jobs 2] [--keep-going]\n"
			"       quorum_sim --seed S [--log full|notes] [--from MS] [--seconds 60]\n"
			"       quorum_sim --check-determinism [--base S]\n"
			"       --break NAME takes a protection of the server's side out:\n"
			"      ");
	for (int i = 1; i < SIM_BREAK_KINDS; i++)
		fprintf(stderr, " %s", sim_break_name((SimBreak) i));
	fprintf(stderr, "\n");
	exit(SIM_USAGE);
}

static uint64_t
number(const char *text)
{
	char	   *end;
	uint64_t	value;

	if (text == NULL || *text == '\0')
		usage();
	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno != 0 || *end != '\0')
		usage();
	return value;
}

static SimBreak
break_named(const char *name)
{
	for (int i = 0; name != NULL && i < SIM_BREAK_KINDS; i++)
	{
		if (strcmp(name, sim_break_name((SimBreak) i)) == 0)
			return (SimBreak) i;
	}
	usage();
	return SIM_BREAK_NONE;
}

static void
parse(int argc, char **argv, Arguments *arguments)
{
	*arguments = (Arguments) {.seeds = 0,.base = (uint64_t) time(NULL) << 20,
		.duration = 60 * SIM_SECOND,.jobs = 2};
	for (int i = 1; i < argc; i++)
	{
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(argv[i], "--keep-going") == 0)
			arguments->keep_going = true;
		else if (strcmp(argv[i], "--check-determinism") == 0)
			arguments->determinism = true;
		else if (strcmp(argv[i], "--seeds") == 0)
			arguments->seeds = (long) number(argv[++i < argc ? i : 0]);
		else if (strcmp(argv[i], "--seed") == 0)
		{
			arguments->one = true;
			arguments->base = number(value);
			i++;
		}
		else if (strcmp(argv[i], "--base") == 0)
			arguments->base = number(argv[++i < argc ? i : 0]);
		else if (strcmp(argv[i], "--seconds") == 0)
			arguments->duration = (SimTime) number(argv[++i < argc ? i : 0]) * SIM_SECOND;
		else if (strcmp(argv[i], "--jobs") == 0)
			arguments->jobs = (int) number(argv[++i < argc ? i : 0]);
		else if (strcmp(argv[i], "--from") == 0)
			arguments->from = (SimTime) number(argv[++i < argc ? i : 0]) * SIM_MS;
		else if (strcmp(argv[i], "--break") == 0)
			arguments->broken = break_named(argv[++i < argc ? i : 0]);
		else if (strcmp(argv[i], "--log") == 0 && value != NULL)
		{
			arguments->log_full = strcmp(value, "full") == 0;
			arguments->log_notes = true;
			i++;
		}
		else
			usage();
	}
	if ((arguments->seeds <= 0 && !arguments->one && !arguments->determinism) ||
		arguments->jobs < 1 || arguments->jobs > JOBS_MAX || arguments->duration <= 0)
		usage();
}

static SimVerdict
run_seed(Sim *sim, const Arguments *arguments, uint64_t seed)
{
	SimOptions	options;

	sim_options_draw(&options, seed, arguments->duration);
	options.broken = arguments->broken;
	return sim_run(sim, &options);
}

/* ---- one seed, told ----------------------------------------------------- */

static const char *
verdict_name(SimVerdict verdict)
{
	switch (verdict)
	{
		case SIM_LIVENESS:
			return "LIVENESS";
		case SIM_SAFETY:
			return "SAFETY";
		case SIM_CRASH:
			return "CRASH";
		default:
			return "ok";
	}
}

static SimVerdict
tell_seed(const Arguments *arguments, uint64_t seed)
{
	Sim		   *sim = sim_create();
	SimOptions	options;
	SimVerdict	verdict;

	sim_options_draw(&options, seed, arguments->duration);
	sim_options_print(&options, stdout);
	fflush(stdout);
	if (arguments->log_notes)
		sim->log_to = stdout;
	sim->log_full = arguments->log_full;
	sim->trace_from = arguments->from;
	verdict = run_seed(sim, arguments, seed);
	if (verdict == SIM_OK)
		printf("sim: ok, %d commits acknowledged, %d asynchronous (%d lost, at most %llu bytes at "
			   "once), %d elections, %ld events, trace %016llx\n", sim->oracle.acked,
			   sim->oracle.async_acked, sim->oracle.async_lost,
			   (unsigned long long) sim->oracle.lag_lost, sim->oracle.elections, sim->events,
			   (unsigned long long) sim->hash);
	else
	{
		if (!arguments->log_notes)
			sim_trace_print(sim, stdout);
		printf("[%9.3f] %s %s\n", (double) sim->now / 1000.0, verdict_name(verdict), sim->why);
		printf("repeat: make sim SEED=0x%llx          exit %d\n", (unsigned long long) seed,
			   (int) verdict);
	}
	sim_destroy(sim);
	return verdict;
}

/* ---- many seeds --------------------------------------------------------- */

static void
remember_failure(Progress *progress, long index)
{
	long		first = atomic_load(&progress->first_failed);

	while (index < first &&
		   !atomic_compare_exchange_weak(&progress->first_failed, &first, index))
		;
}

static void
work(const Arguments *arguments, Progress *progress, int job)
{
	Sim		   *sim = sim_create();

	sim->quiet = true;
	for (;;)
	{
		long		index = atomic_fetch_add(&progress->next, 1);
		SimVerdict	verdict;

		if (index >= arguments->seeds)
			break;
		atomic_store(&progress->running[job], index);
		verdict = run_seed(sim, arguments, arguments->base + (uint64_t) index);
		atomic_fetch_add(&progress->done, 1);
		atomic_fetch_add(&progress->commits, sim->oracle.acked);
		atomic_fetch_add(&progress->async, sim->oracle.async_acked);
		atomic_fetch_add(&progress->async_lost, sim->oracle.async_lost);
		atomic_fetch_add(&progress->elections, sim->oracle.elections);
		atomic_fetch_add(&progress->events, sim->events);
		if (verdict == SIM_OK)
			continue;
		atomic_fetch_add(&progress->failed[verdict == SIM_LIVENESS ? 0 :
										   verdict == SIM_SAFETY ? 1 : 2], 1);
		remember_failure(progress, index);
		if (!arguments->keep_going)
			atomic_store(&progress->next, arguments->seeds);
		else
		{
			printf("failed: seed=0x%llx %s %.150s\n",
				   (unsigned long long) (arguments->base + (uint64_t) index),
				   verdict_name(verdict), sim->why);
			fflush(stdout);
		}
	}
	atomic_store(&progress->running[job], -1);
	sim_destroy(sim);
}

static Progress *
share_progress(void)
{
	Progress   *progress = mmap(NULL, sizeof(Progress), PROT_READ | PROT_WRITE,
								MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (progress == MAP_FAILED)
	{
		perror("mmap");
		exit(SIM_USAGE);
	}
	atomic_store(&progress->first_failed, INT64_MAX);
	return progress;
}

static SimVerdict
run_seeds(const Arguments *arguments)
{
	Progress   *progress = share_progress();
	struct timespec begin;
	struct timespec end;
	double		seconds;

	(void) clock_gettime(CLOCK_MONOTONIC, &begin);
	fflush(stdout);
	for (int job = 0; job < arguments->jobs; job++)
	{
		atomic_store(&progress->running[job], -1);
		if (fork() == 0)
		{
			work(arguments, progress, job);
			fflush(stdout);
			_exit(0);
		}
	}
	for (int job = 0; job < arguments->jobs; job++)
		(void) wait(NULL);
	for (int job = 0; job < arguments->jobs; job++)
	{
		/* A job that died in the middle of a seed: the seed is to blame. */
		if (atomic_load(&progress->running[job]) >= 0)
		{
			atomic_fetch_add(&progress->failed[2], 1);
			remember_failure(progress, atomic_load(&progress->running[job]));
		}
	}
	(void) clock_gettime(CLOCK_MONOTONIC, &end);
	seconds = (double) (end.tv_sec - begin.tv_sec) + (double) (end.tv_nsec - begin.tv_nsec) / 1e9;
	printf("sim: seeds=%ld base=0x%llx seconds=%.1f liveness=%ld safety=%ld crash=%ld "
		   "commits=%ld async=%ld async_lost=%ld elections=%ld events=%ld\n", atomic_load(&progress->done),
		   (unsigned long long) arguments->base, seconds, atomic_load(&progress->failed[0]),
		   atomic_load(&progress->failed[1]), atomic_load(&progress->failed[2]),
		   atomic_load(&progress->commits), atomic_load(&progress->async),
		   atomic_load(&progress->async_lost), atomic_load(&progress->elections),
		   atomic_load(&progress->events));
	if (atomic_load(&progress->first_failed) == INT64_MAX)
		return SIM_OK;
	return tell_seed(arguments, arguments->base +
					 (uint64_t) atomic_load(&progress->first_failed));
}

/* Same seed, same trace: twice in one process, so that leftovers would show. */
static SimVerdict
check_determinism(const Arguments *arguments)
{
	Sim		   *sim = sim_create();

	for (uint64_t i = 0; i < 5; i++)
	{
		uint64_t	hash;

		(void) run_seed(sim, arguments, arguments->base + i);
		hash = sim->hash;
		(void) run_seed(sim, arguments, arguments->base + i + 100);
		(void) run_seed(sim, arguments, arguments->base + i);
		if (sim->hash != hash)
		{
			printf("sim: seed 0x%llx is not deterministic\n",
				   (unsigned long long) (arguments->base + i));
			return SIM_CRASH;
		}
	}
	printf("sim: same seed, same trace\n");
	sim_destroy(sim);
	return SIM_OK;
}

int
main(int argc, char **argv)
{
	Arguments	arguments;

	parse(argc, argv, &arguments);
	if (arguments.determinism)
		return check_determinism(&arguments);
	if (arguments.one)
		return tell_seed(&arguments, arguments.base);
	return run_seeds(&arguments);
}
