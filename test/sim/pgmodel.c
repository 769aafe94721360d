/*
 * pgmodel.c
 *	  PostgreSQL of a node: recovery, promotion, commits.
 *
 * A primary inserts records and flushes them later, perhaps only a part of the last.
 * What is not flushed is lost with the power and partly with the processes.  Streaming
 * is in stream.c.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* ---- boot and death ----------------------------------------------------- */

void
sim_pg_boot(Sim *sim, SimNode *node)
{
	QuorumTerm	keep = sim_log_end(&node->log).tli;

	if (node->witness)
	{
		/* A daemon with a state file: it has nothing to read. */
		node->phase = QUORUM_PHASE_STANDBY;
		return;
	}

	/* R16: a history file stays when WAL of its timeline is here, if only a part of a record. */
	if (node->log.count > 0)
		keep = node->log.records[node->log.count - 1].tli;
	if (node->tail_tli > keep)
		keep = node->tail_tli;
	if (node->forget_above != 0)
		keep = node->forget_above;
	node->forget_above = 0;
	sim_history_forget(sim, node, keep);
	node->phase = QUORUM_PHASE_STARTING;
	sim_after(sim, sim_draw(sim, sim->options.boot), SIM_EV_BOOTED, node)->life = node->pg_life;
}

/* Local WAL is read to its end, and synced: the walreceiver is asked for. */
void
sim_pg_booted(Sim *sim, SimNode *node)
{
	SimLog	   *log = &node->log;

	sim_log_cut(log, log->write);
	node->phase = QUORUM_PHASE_STANDBY;
	if (sim->options.broken == SIM_BREAK_BOOT_PRIMARY && node->was_primary)
		node->phase = QUORUM_PHASE_PRIMARY;
	sim_trace(sim, node, "local WAL ends at %u/%llX", sim_log_end(log).tli,
			  (unsigned long long) log->flush);
	sim_facts_changed(sim, node);
	sim_stream_follow(sim, node);
}

/* What WAL its processes leave is drawn. */
static void
tail_is_lost(Sim *sim, SimNode *node, bool power)
{
	SimLog	   *log = &node->log;
	QuorumLsn	keep = log->write;

	if (node->phase == QUORUM_PHASE_PRIMARY && (node->flushing || !node->shared.hold_wal))
		keep = log->records[log->count - 1].end;
	if ((power || node->phase == QUORUM_PHASE_PRIMARY) && keep > log->flush)
		keep = (QuorumLsn) quorum_random_between(&sim->random, (int64_t) log->flush,
												 (int64_t) keep);
	node->was_primary = node->phase == QUORUM_PHASE_PRIMARY;
	node->tail_tli = sim_log_raw(log, keep).tli;
	log->count = sim_log_complete(log, keep);
	log->write = log->records[log->count - 1].end;
	if (log->flush > log->write)
		log->flush = log->write;
}

/* Startup, walsenders and backends are gone. */
void
sim_pg_dies(Sim *sim, SimNode *node, bool power)
{
	if (!node->witness)
		tail_is_lost(sim, node, power);
	node->pg = false;
	node->pg_life++;
	node->phase = QUORUM_PHASE_STARTING;
	memset(&node->log_end, 0, sizeof(node->log_end));
	node->promoting = 0;
	node->promotion_failed = false;
	node->flushing = false;
	node->diverged = false;
	node->commit_first = node->commit_count = 0;	/* their outcome is unknown */
	memset(node->held, 0, sizeof(node->held));
	memset(&node->shared, 0, sizeof(node->shared));
	memset(&node->stream, 0, sizeof(node->stream));
	node->receiver_until = node->stall_until = 0;
	sim_stream_drop(sim, node);
}

/* ---- promotion ---------------------------------------------------------- */

void
sim_pg_promote(Sim *sim, SimNode *node, QuorumTerm term)
{
	if (node->promoting == term || node->phase != QUORUM_PHASE_STANDBY || node->promotion_failed)
		return;
	if (node->stream.state != SIM_STREAM_NONE)
		sim_stream_end(sim, node, node->stream.id);
	node->promoting = term;
	node->promotion_step = 0;
	sim_after(sim, sim_draw(sim, sim->options.promote), SIM_EV_PROMOTE, node)->life =
		node->pg_life;
}

static void
promotion_chooses(Sim *sim, SimNode *node)
{
	QuorumTerm	term = node->promoting;
	int			newest = node->histories[node->history_count - 1];
	bool		elected = node->shared.role == QUORUM_ROLE_LEADER && node->shared.term == term &&
		node->shared.fence_term == term;

	if (!elected || !sim_promotable(sim, node))
	{
		/* The startup process ends itself, the server with it (V8, R17). */
		sim_trace(sim, node, "promotion to t%u stopped by its guard", term);
		node->promoting = 0;
		sim_restart_in_place(sim, node, 0);
		return;
	}
	if (sim->histories[newest].tli >= term)
	{
		sim_trace(sim, node, "promotion to t%u failed: the timeline is taken", term);
		node->promotion_failed = true;
		node->promoting = 0;
		sim_facts_changed(sim, node);
		return;
	}
	if (sim->history_count == SIM_TERM_MAX)
		sim_fail(sim, SIM_LIVENESS, "too many timelines");
	sim->histories[sim->history_count] =
		(SimHistory) {term, newest, sim_log_end(&node->log).lsn};
	sim_history_add(sim, node, sim->history_count++);
}

void
sim_pg_promote_step(Sim *sim, SimNode *node)
{
	SimTime		next;

	if (node->promoting == 0)
		return;
	if (sim_chance(sim, sim->options.promotion_crash_ppm) && !node->doomed)
	{
		sim_trace(sim, node, "dies within its promotion");
		node->doomed = true;
		sim_after(sim, sim_draw(sim, (SimRange) {0, 20 * SIM_MS}), SIM_EV_KILL, node)->life =
			node->pg_life;
	}
	next = sim_draw(sim, sim->options.promote);
	switch (node->promotion_step++)
	{
		case 0:
			promotion_chooses(sim, node);
			if (node->promoting == 0)
				return;
			break;
		case 1:

			/* End-of-recovery record: the first of the timeline. */
			sim_log_cut(&node->log, node->log.flush);
			sim_check_promoted(sim, node);
			sim_check_write(sim, node, node->promoting);
			sim_log_append(&node->log, node->promoting,
						   node->log.records[node->log.count - 1].end + 90, ++sim->payload);
			next = sim_fsync_time(sim, node);
			break;
		case 2:
			node->log.flush = node->log.records[node->log.count - 1].end;
			node->log.write = node->log.flush;
			node->phase = QUORUM_PHASE_PRIMARY;
			node->promoting = 0;
			memset(&node->log_end, 0, sizeof(node->log_end));
			sim_facts_changed(sim, node);
			return;
	}
	sim_after(sim, next, SIM_EV_PROMOTE, node)->life = node->pg_life;
}

/* ---- a primary writes --------------------------------------------------- */

static void
start_flush(Sim *sim, SimNode *node)
{
	const SimLog *log = &node->log;
	QuorumLsn	target = log->records[log->count - 1].end;
	QuorumLsn	before = log->count > 1 ? log->records[log->count - 2].end : 0;
	SimEvent   *event;

	if (node->flushing || log->flush >= target || node->shared.hold_wal)
		return;
	if (before < log->flush)
		before = log->flush;
	if (sim_chance(sim, sim->options.partial_ppm) && before + 2 < target)
		target = (QuorumLsn) quorum_random_between(&sim->random, (int64_t) before + 1,
												   (int64_t) target - 1);
	node->flushing = true;
	node->flush_began = sim->now;
	event = sim_after(sim, sim_fsync_time(sim, node), SIM_EV_FLUSH, node);
	event->life = node->pg_life;
	event->number = target;
}

void
sim_pg_flushed(Sim *sim, SimNode *node, QuorumLsn upto)
{
	node->flushing = false;
	if (node->phase != QUORUM_PHASE_PRIMARY)
		return;
	if (upto > node->log.flush)
		node->log.flush = upto;
	node->log.write = node->log.flush;
	if (node->shared.hold_wal)
		sim_facts_changed(sim, node);
	start_flush(sim, node);
	sim_stream_send(sim, node);
	sim_pg_release(sim, node);
}

/*
 * The lock that every write of WAL needs.  A flush under way has it and ends first; what
 * is in memory only waits, or is lost.
 */
void
sim_pg_hold(Sim *sim, SimNode *node, bool hold)
{
	if (node->shared.hold_wal == hold)
		return;
	node->shared.hold_wal = hold;
	sim_facts_changed(sim, node);
	if (!hold && node->pg && node->phase == QUORUM_PHASE_PRIMARY)
		start_flush(sim, node);
}

/* The last record that ends at lsn or before. */
static SimCommit
record_before(const SimLog *log, QuorumLsn lsn)
{
	int			index = sim_log_complete(log, lsn) - 1;

	if (index < 0)
		return (SimCommit) {0, 0, 0};
	return (SimCommit) {index, log->records[index].end, log->records[index].hash};
}

/* Like pgq_commit_level_floor(). */
static QuorumLsn
floor_of(const Sim *sim, QuorumLsn lsn)
{
	if (sim->options.broken == SIM_BREAK_ASYNC_LAG || lsn <= sim->options.max_lag)
		return 1;
	return lsn - sim->options.max_lag;
}

static void
wait_for_quorum(Sim *sim, SimNode *node)
{
	const SimLog *log = &node->log;
	SimWaiting *waiting;

	if (node->commit_first == node->commit_count)
		node->commit_first = node->commit_count = 0;
	if (node->commit_count == node->commit_capacity)
	{
		node->commit_capacity = node->commit_capacity == 0 ? 256 : 2 * node->commit_capacity;
		node->commits = realloc(node->commits,
								(size_t) node->commit_capacity * sizeof(SimWaiting));
		if (node->commits == NULL)
			abort();
	}
	waiting = &node->commits[node->commit_count++];
	memset(waiting, 0, sizeof(*waiting));
	waiting->commit = record_before(log, UINT64_MAX);
	waiting->async = sim_chance(sim, sim->options.async_ppm);
	waiting->want = waiting->async ? floor_of(sim, waiting->commit.end) : waiting->commit.end;
	waiting->promised = record_before(log, waiting->want);
}

void
sim_pg_write(Sim *sim, SimNode *node, bool commit)
{
	SimLog	   *log = &node->log;
	QuorumTerm	tli = log->records[log->count - 1].tli;

	sim_check_write(sim, node, tli);
	sim_log_append(log, tli, log->records[log->count - 1].end +
				   (QuorumLsn) quorum_random_between(&sim->random, 40, 400), ++sim->payload);
	if (commit)
		wait_for_quorum(sim, node);
	start_flush(sim, node);
}

/* This node has it, and the quorum of the published rule what it promises. */
static bool
may_be_told(const SimNode *node, const SimWaiting *waiting)
{
	const QuorumSyncRule *rule = &node->shared.sync;
	int			held = 0;

	for (int i = 0; i < rule->count; i++)
	{
		if (node->held[rule->ids[i] - 1].flush >= waiting->want)
			held++;
	}
	return waiting->commit.end <= node->log.flush && held >= rule->need;
}

/* Clients wait in two queues, by what they want; each is in the order of the log. */
void
sim_pg_release(Sim *sim, SimNode *node)
{
	bool		blocked[2] = {false, sim->options.async_ppm == 0};

	if (!node->pg || node->phase != QUORUM_PHASE_PRIMARY || sim_frozen(sim, node))
		return;
	for (int i = node->commit_first; i < node->commit_count && !(blocked[0] && blocked[1]); i++)
	{
		SimWaiting *waiting = &node->commits[i];

		if (waiting->told || blocked[waiting->async])
			continue;
		waiting->told = may_be_told(node, waiting);
		blocked[waiting->async] = !waiting->told;
		if (waiting->told && waiting->async)
			sim_check_async(sim, node, waiting);
		else if (waiting->told)
			sim_check_commit(sim, node, &waiting->promised, waiting->rewound);
	}
	while (node->commit_first < node->commit_count && node->commits[node->commit_first].told)
		node->commit_first++;
}

/* ---- clients ------------------------------------------------------------ */

/* What every backend looks at: before a commit, and after a read. */
bool
sim_pg_serves(const Sim *sim, const SimNode *node)
{
	if (!node->pg || !node->postmaster || node->phase != QUORUM_PHASE_PRIMARY ||
		sim_frozen(sim, node))
		return false;
	if (sim->options.broken == SIM_BREAK_GATE_CHECK)
		return true;
	return node->shared.gate_open && sim_clock(sim, node).boot < node->shared.lease_until;
}

void
sim_client(Sim *sim, SimNode *node)
{
	if (sim_pg_serves(sim, node) && !node->stopping)
		sim_pg_write(sim, node, true);
	else if (node->pg && node->postmaster && node->phase == QUORUM_PHASE_PRIMARY &&
			 !sim_frozen(sim, node) && sim_chance(sim, sim->options.other_wal_ppm))
		sim_pg_write(sim, node, false); /* checkpoints and the like need no gate */
}

void
sim_clients(Sim *sim)
{
	for (int i = 0; i < sim->options.nodes; i++)
		sim_client(sim, &sim->nodes[i]);
	sim_after(sim, sim->options.commit_every, SIM_EV_CLIENT, NULL);
}
