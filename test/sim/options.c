/*
 * options.c
 *	  What one seed is like: every figure of a run, drawn from it.
 *
 * Swarm testing: a run has a few kinds of faults, not all; runs differ in what they
 * lack as much as in what they have.
 */
#include <string.h>

#include "sim.h"

const char *
sim_fault_name(SimFault fault)
{
	static const char *const names[] = {
		"kill-postmaster", "kill-all", "power", "backend-crash", "worker-kill", "worker-exit",
		"freeze", "suspend", "stop", "isolate", "send-only", "receive-only", "halves", "ring",
		"one-link", "slow-disk", "all-down", "stream-cut", "control-cut", "data-cut",
		"worker-freeze", "long-loss", "wipe-witness", "receiver-freeze", "sender-freeze", "lossy",
		"far", "wal-stall", "wal-error", "space"
	};

	return names[fault];
}

const char *
sim_break_name(SimBreak broken)
{
	static const char *const names[] = {
		"none", "ack-fence", "ack-timeline", "ledger", "boot-primary", "gate-check", "persist",
		"log-start", "any-rule", "async-lag"
	};

	return names[broken];
}

static int64_t
between(QuorumRandom *random, int64_t low, int64_t high)
{
	return quorum_random_between(random, low, high);
}

static bool
one_in(QuorumRandom *random, int n)
{
	return between(random, 1, n) == 1;
}

/* Small values often, large ones sometimes. */
static int64_t
skewed(QuorumRandom *random, int64_t low, int64_t high)
{
	int64_t		limit = between(random, low, high);

	return between(random, low, limit);
}

static void
draw_network(SimOptions *options, QuorumRandom *random)
{
	options->delay.min = between(random, 50, 500);
	options->delay.max = options->delay.min + skewed(random, 100, options->lease / 12);
	if (one_in(random, 2))
		options->loss_ppm = (int) skewed(random, 100, 150000);
	if (one_in(random, 3))
		options->duplicate_ppm = (int) skewed(random, 100, 50000);
	if (one_in(random, 3))
		options->slow_ppm = (int) skewed(random, 100, 30000);
	if (one_in(random, 3))
		options->stream_slow_ppm = (int) skewed(random, 1000, 100000);
	options->drift_ppm = one_in(random, 3) ? 0 : one_in(random, 2) ? 5000 : 9000;
}

static void
draw_server(SimOptions *options, QuorumRandom *random)
{
	options->fsync.min = between(random, 50, 1000);
	options->fsync.max = options->fsync.min + skewed(random, 100, 20 * SIM_MS);
	options->boot.min = 50 * SIM_MS;
	options->boot.max = options->boot.min + skewed(random, 50 * SIM_MS, 2 * SIM_SECOND);
	options->promote.min = SIM_MS / 2;
	options->promote.max = options->promote.min + (one_in(random, 3) ? SIM_MS :
												   skewed(random, 5 * SIM_MS, 300 * SIM_MS));
	if (one_in(random, 3))
		options->start_stream.max = skewed(random, SIM_MS, 300 * SIM_MS);
	if (one_in(random, 3))
		options->promotion_crash_ppm = (int) between(random, 10000, 300000);
	options->restart.min = 10 * SIM_MS;
	options->restart.max = options->restart.min + skewed(random, 100 * SIM_MS, 5 * SIM_SECOND);
	options->long_loss.min = options->lease;
	options->long_loss.max = options->lease + skewed(random, SIM_SECOND, 15 * SIM_SECOND);
	options->rewind.min = 100 * SIM_MS;
	options->rewind.max = options->rewind.min + skewed(random, 200 * SIM_MS, 3 * SIM_SECOND);
	options->deep_rewind_ppm = one_in(random, 2) ? 500000 : 0;
	options->commit_every = skewed(random, 5 * SIM_MS, 100 * SIM_MS);
	options->other_wal_ppm = one_in(random, 3) ? 1000000 : 100000;
	options->partial_ppm = one_in(random, 2) ? (int) between(random, 10000, 500000) : 0;
}

static void
draw_faults(SimOptions *options, QuorumRandom *random)
{
	for (int i = 0; i < SIM_FAULT_GREY; i++)
		options->weight[i] = one_in(random, 3) ? (int) between(random, 1, 10) : 0;
	if (options->weight[SIM_FAULT_ALL_DOWN] > 2)
		options->weight[SIM_FAULT_ALL_DOWN] = 2;
	if (options->weight[SIM_FAULT_WIPE_WITNESS] > 2)
		options->weight[SIM_FAULT_WIPE_WITNESS] = 2;
	options->fault_every = skewed(random, 100 * SIM_MS, 4 * SIM_SECOND);
	options->leader_bias = (int) between(random, 0, 90);
	if (one_in(random, 3))
		options->crash_ppm = (int) skewed(random, 20, 2000);
}

/* In half of the runs the set changes, and up to five are members of it. */
static void
draw_changes(SimOptions *options, QuorumRandom *random)
{
	if (one_in(random, 3))
	{
		options->auto_rewind = true;
		options->rewind_fails_ppm = one_in(random, 2) ? 200000 : 0;
	}
	if (one_in(random, 2))
		return;
	options->change_every = skewed(random, 200 * SIM_MS, 5 * SIM_SECOND);
	options->refuse_ppm = one_in(random, 3) ? 200000 : 0;
	options->absent_ppm = one_in(random, 3) ? 100000 : 0;
	options->members = (int) between(random, 1, 5);
	options->nodes = SIM_NODES;
	options->learners = options->members > 2 && one_in(random, 4) ? 1 : 0;
	for (int i = 0; i < options->nodes; i++)
		options->priority[i] = one_in(random, 3) ? (uint8_t) between(random, 0, 255) : 100;
}

/* In a quarter of the runs there are witnesses, and somebody is away for long. */
static void
draw_witnesses(SimOptions *options, QuorumRandom *random)
{
	static const struct
	{
		int			data;
		int			witnesses;
	}			shapes[] = {{2, 1}, {2, 1}, {2, 1}, {2, 1}, {4, 1}, {4, 1}, {3, 1}, {4, 2}, {3, 2}};
	int			shape = (int) between(random, 0, (int) (sizeof(shapes) / sizeof(shapes[0])) - 1);

	if (!one_in(random, 4))
		return;
	options->witnesses = shapes[shape].witnesses;
	options->members = shapes[shape].data + options->witnesses;
	options->learners = 0;
	if (options->change_every == 0)
		options->nodes = options->members;
	options->strict = one_in(random, 10);
	if (options->weight[SIM_FAULT_LONG_LOSS] == 0 && !one_in(random, 3))
		options->weight[SIM_FAULT_LONG_LOSS] = (int) between(random, 1, 10);
}

/* In a third of the runs, and there in all or in some sessions. */
static void
draw_async(SimOptions *options, QuorumRandom *random)
{
	if (!one_in(random, 3))
		return;
	options->async_ppm = one_in(random, 2) ? 1000000 : (int) between(random, 100000, 900000);
	options->max_lag = one_in(random, 8) ? 0 : (QuorumLsn) skewed(random, 1, 40000);
}

/* In a third of the runs something works badly instead of not at all. */
static void
draw_grey(SimOptions *options, QuorumRandom *random)
{
	if (one_in(random, 4))
		options->wall_off = between(random, 0, 2 * SIM_SECOND);
	if (!one_in(random, 3))
		return;
	for (int i = SIM_FAULT_GREY; i < SIM_FAULT_KINDS; i++)
		options->weight[i] = one_in(random, 2) ? (int) between(random, 1, 10) : 0;
}

void
sim_options_draw(SimOptions *options, uint64_t seed, SimTime duration)
{
	QuorumRandom drawn;
	QuorumRandom *random = &drawn;
	static const int sizes[] = {1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7};

	memset(options, 0, sizeof(*options));
	quorum_random_seed(random, seed ^ UINT64_C(0x5eed5eed5eed5eed));
	options->seed = seed;
	options->duration = duration;
	options->heal_at = duration * 2 / 3;
	options->auto_restart = true;
	options->nodes = sizes[between(random, 0, (int) (sizeof(sizes) / sizeof(sizes[0])) - 1)];
	if (options->nodes > 2 && one_in(random, 6))
		options->learners = 1;
	options->members = options->nodes;
	options->lease = one_in(random, 4) ? between(random, 200, 1000) * SIM_MS :
		between(random, 1000, 3000) * SIM_MS;
	options->heartbeat = options->lease / between(random, 4, 12);
	options->promotion_limit = between(random, 2, 6) * SIM_SECOND;
	for (int i = 0; i < options->nodes; i++)
		options->priority[i] = one_in(random, 3) ? (uint8_t) between(random, 0, 255) : 100;
	draw_network(options, random);
	draw_server(options, random);
	draw_faults(options, random);
	draw_changes(options, random);
	draw_witnesses(options, random);
	draw_async(options, random);
	draw_grey(options, random);
}

static void
print_range(FILE *to, const char *name, SimRange range)
{
	fprintf(to, " %s=%.1f..%.1fms", name, (double) range.min / 1000.0,
			(double) range.max / 1000.0);
}

void
sim_options_print(const SimOptions *options, FILE *to)
{
	fprintf(to, "sim: seed=0x%llx nodes=%d learners=%d witnesses=%d%s lease=%lldms heartbeat=%lldms "
			"limit=%llds\n", (unsigned long long) options->seed, options->members,
			options->learners, options->witnesses, options->strict ? " strict" : "",
			(long long) (options->lease / SIM_MS), (long long) (options->heartbeat / SIM_MS),
			(long long) (options->promotion_limit / SIM_SECOND));
	fprintf(to, "    ");
	print_range(to, "delay", options->delay);
	fprintf(to, " loss=%.2f%% duplicates=%.2f%% slow=%.2f%% drift=%.1f%% wall=%lldms\n    ",
			options->loss_ppm / 1e4, options->duplicate_ppm / 1e4, options->slow_ppm / 1e4,
			options->drift_ppm / 1e4, (long long) (options->wall_off / SIM_MS));
	fprintf(to, " slow wal=%.2f%%", options->stream_slow_ppm / 1e4);
	print_range(to, "fsync", options->fsync);
	print_range(to, "boot", options->boot);
	print_range(to, "promote", options->promote);
	print_range(to, "restart", options->restart);
	print_range(to, "rewind", options->rewind);
	if (options->change_every > 0)
		fprintf(to, "\n     change every %.1fs refused=%.0f%% absent=%.0f%%",
				(double) options->change_every / 1e6, options->refuse_ppm / 1e4,
				options->absent_ppm / 1e4);
	if (options->auto_rewind)
		fprintf(to, "\n     rewinds itself, fails=%.0f%%", options->rewind_fails_ppm / 1e4);
	if (options->async_ppm > 0)
		fprintf(to, "\n     asynchronous=%.0f%% max_lag=%llu", options->async_ppm / 1e4,
				(unsigned long long) options->max_lag);
	fprintf(to, "\n     commit every %.0fms partial=%.0f%% crash in drive=%.2f%% "
			"in promotion=%.0f%% fault every %.1fs (leader %d%%):",
			(double) options->commit_every / 1000.0,
			options->partial_ppm / 1e4, options->crash_ppm / 1e4,
			options->promotion_crash_ppm / 1e4, (double) options->fault_every / 1e6,
			options->leader_bias);
	for (int i = 0; i < SIM_FAULT_KINDS; i++)
	{
		if (options->weight[i] > 0)
			fprintf(to, " %s=%d", sim_fault_name((SimFault) i), options->weight[i]);
	}
	fprintf(to, "\n");
}
