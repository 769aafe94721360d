/*
 * checker.c
 *	  The oracle: what must be true of the whole cluster, after every event.
 *
 * It looks at state, never at traces, and knows what no node can know: every vote
 * that left, who wrote each timeline, which commits a client was told.
 *
 *	S1	one leader per term; one vote per node and term, durable before it leaves;
 *		terms of a disk never go back
 *	S2	no ack for a term below one that a granted vote promised; the log a vote is
 *		granted to is at least as long as everything the voter ever acknowledged
 *	S3	an ack covers only what the receiver holds of the leader's own log
 *	S4	a timeline is written by one life of one node
 *	S6	an open gate: a record of its own term is durable on `need` of the rule
 *	S7	never two nodes that would serve a client, nobody elected while a lease runs;
 *		whoever would serve a client holds every acknowledged commit
 *	S8	whoever is marked recovering neither votes nor stands
 *	and no acknowledged commit is missing from the log of a later leader, unless it was an
 *	asynchronous one among the last max_lag bytes that were acknowledged
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "quorum_members.h"
#include "sim.h"

/* The core's assertions know no context. */
static Sim *asserting;

void
sim_fail(Sim *sim, SimVerdict verdict, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	(void) vsnprintf(sim->why, sizeof(sim->why), format, args);
	va_end(args);
	sim->verdict = verdict;
	longjmp(sim->stop, 1);
}

void
quorum_assert_failed(const char *condition, const char *file, int line)
{
	if (asserting == NULL)
	{
		fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
		abort();
	}
	sim_fail(asserting, SIM_CRASH, "%s:%d: assertion failed: %s", file, line, condition);
}

/* ---- S1 ----------------------------------------------------------------- */

static void
remember_vote(Sim *sim, SimNode *node, QuorumTerm term, QuorumNodeId candidate)
{
	QuorumNodeId *seen = &sim->oracle.vote[term][node->index];

	if (*seen != QUORUM_NO_NODE && *seen != candidate)
		sim_fail(sim, SIM_SAFETY, "S1: node %u voted for %u and for %u in term %u", node->id,
				 *seen, candidate, term);
	*seen = candidate;
}

void
sim_check_persist(Sim *sim, SimNode *node, const QuorumHardState *hard)
{
	QuorumHardState disk;

	if (hard->term >= SIM_TERM_MAX)
		sim_fail(sim, SIM_LIVENESS, "term %u: too many elections", hard->term);
	sim_disk_read(sim, node, &disk);
	if (hard->term < disk.term)
		sim_fail(sim, SIM_SAFETY, "S1: node %u goes back from term %u to %u", node->id,
				 disk.term, hard->term);
	if (hard->term == disk.term && disk.vote != QUORUM_NO_NODE && hard->vote != disk.vote)
		sim_fail(sim, SIM_SAFETY, "S1: node %u changes its vote in term %u from %u to %u",
				 node->id, hard->term, disk.vote, hard->vote);
}

/*
 * A5: the position the voter compared covers all its acks.  Who is left out compares nothing
 * (Y8): that it was counted for no holder is checked when somebody wins (Y3).
 */
static void
check_grant(Sim *sim, const SimNode *node, const QuorumHardState *disk,
			const QuorumMessage *message)
{
	const QuorumWalPos *claim = &sim->oracle.claim[message->term][message->to - 1];
	const QuorumWalPos *acked = &sim->oracle.acked_top[node->index];

	if (!quorum_members_is_in(&disk->members, node->id))
		return;
	if (claim->tli < acked->tli || (claim->tli == acked->tli && claim->lsn < acked->lsn))
		sim_fail(sim, SIM_SAFETY,
				"S2: node %u acknowledged %u/%llX and votes for node %u, whose log ends "
				"at %u/%llX",
				 node->id, acked->tli, (unsigned long long) acked->lsn, message->to, claim->tli,
				 (unsigned long long) claim->lsn);
}

void
sim_check_send(Sim *sim, SimNode *node, const QuorumMessage *message)
{
	QuorumHardState disk;
	bool		grants = message->type == QUORUM_MSG_VOTE_REPLY &&
		message->verdict == QUORUM_GRANTED;
	bool		asks = message->type == QUORUM_MSG_VOTE_REQUEST;

	if (!grants && !asks)
		return;
	if (message->term >= SIM_TERM_MAX)
		sim_fail(sim, SIM_LIVENESS, "term %u: too many elections", message->term);
	sim_disk_read(sim, node, &disk);
	if (disk.recovering)
		sim_fail(sim, SIM_SAFETY, "S8: node %u votes in term %u and is recovering", node->id,
				 message->term);
	remember_vote(sim, node, message->term, grants ? message->to : node->id);
	if (sim->options.broken != SIM_BREAK_PERSIST)
	{
		if (disk.term != message->term || disk.vote != (grants ? message->to : node->id))
			sim_fail(sim, SIM_SAFETY, "S1: node %u sends a vote of term %u that is not durable",
					 node->id, message->term);
	}
	if (grants)
		check_grant(sim, node, &disk, message);
	else
		sim->oracle.claim[message->term][node->index] = message->position;
	if (message->term > sim->oracle.granted[node->index])
		sim->oracle.granted[node->index] = message->term;
}

/* ---- publish: S1, S6 ---------------------------------------------------- */

/* Who holds, durable, a record that this node wrote in its term? */
static uint32_t
holders_of_term(const Sim *sim, const SimNode *node, QuorumTerm term)
{
	const SimLog *log = &node->log;
	SimCommit	first = {log->count, 0, 0};
	uint32_t	holders = 0;

	while (first.index > 0 && log->records[first.index - 1].tli == term)
		first.index--;
	if (first.index == log->count)
		return 0;
	first.end = log->records[first.index].end;
	first.hash = log->records[first.index].hash;
	for (int i = 0; i < sim->options.nodes; i++)
	{
		const SimNode *other = &sim->nodes[i];

		if (sim_log_holds(&other->log, other->log.flush, &first))
			holders |= UINT32_C(1) << i;
	}
	return holders;
}

/*
 * S7: nobody is elected while the lease of an earlier term runs with its gate open,
 * whether that leader is frozen or not.
 */
static void
check_election(Sim *sim, const SimNode *winner, QuorumTerm term)
{
	for (int i = 0; i < sim->options.nodes; i++)
	{
		const SimNode *node = &sim->nodes[i];

		if (node->shared.term < term && node != winner && node->pg && node->postmaster &&
			node->phase == QUORUM_PHASE_PRIMARY && node->shared.gate_open &&
			sim_clock(sim, node).boot < node->shared.lease_until)
			sim_fail(sim, SIM_SAFETY,
					"S7: node %u is elected in term %u, the lease of node %u in term %u has "
					"%lld us left",
					 winner->id, term, node->id, node->shared.term,
					 (long long) (node->shared.lease_until - sim_clock(sim, node).boot));
	}
}

void
sim_check_publish(Sim *sim, SimNode *node, const QuorumView *view)
{
	SimSet		set = sim_set_of(&node->core.hard.members);

	if (view->role == QUORUM_ROLE_LEADER)
	{
		QuorumNodeId *leader = &sim->oracle.leader[view->term];

		if (*leader != QUORUM_NO_NODE && *leader != node->id)
			sim_fail(sim, SIM_SAFETY, "S1: nodes %u and %u both lead term %u", *leader,
					 node->id, view->term);
		if (*leader == QUORUM_NO_NODE)
		{
			/* Votes of an earlier term may reach a candidate that was frozen meanwhile. */
			if (sim->oracle.gone[node->index] != 0 &&
				view->term > sim->oracle.gone[node->index])
				sim_fail(sim, SIM_SAFETY, "M8: node %u was removed and leads term %u", node->id,
						 view->term);
			check_election(sim, node, view->term);
			sim_check_winner(sim, node, view);
			sim->oracle.elections++;
			sim->oracle.elected_at = sim->now;
		}
		*leader = node->id;
	}
	if (!view->gate_open || node->shared.gate_open)
		return;
	if (view->role != QUORUM_ROLE_LEADER || node->phase != QUORUM_PHASE_PRIMARY)
		sim_fail(sim, SIM_SAFETY, "S6: node %u opens its gate and is no leader", node->id);
	if (view->sync.need < sim_set_need(&set))
		sim_fail(sim, SIM_SAFETY, "S6: node %u wants only %d others to hold a commit, of %d that "
				 "are in", node->id, view->sync.need, sim_bits(set.in));

	/* A change may begin in the same step, its joint rule is for commits only. */
	if (sim_bits(holders_of_term(sim, node, view->term) & set.in) <= sim_set_need(&set))
		sim_fail(sim, SIM_SAFETY,
				 "S6: node %u opens its gate in term %u and no quorum holds a record of it",
				 node->id, view->term);
}

/* ---- WAL: S2, S3, S4 ---------------------------------------------------- */

void
sim_check_write(Sim *sim, SimNode *node, QuorumTerm tli)
{
	SimOracle  *oracle = &sim->oracle;

	if (oracle->writer[tli] == QUORUM_NO_NODE)
	{
		oracle->writer[tli] = node->id;
		oracle->writer_life[tli] = node->pg_life;
	}
	if (oracle->writer[tli] != node->id || oracle->writer_life[tli] != node->pg_life)
		sim_fail(sim, SIM_SAFETY, "S4: node %u (life %u) writes timeline %u of node %u (life %u)",
				 node->id, node->pg_life, tli, oracle->writer[tli], oracle->writer_life[tli]);
	if (tli != 1 && oracle->leader[tli] != node->id)
		sim_fail(sim, SIM_SAFETY, "S4: node %u writes timeline %u and was not elected in it",
				 node->id, tli);
}

/* Of asynchronous commits on one timeline: how far is this one from the newest told? */
static QuorumLsn
before_newest(const SimOracle *oracle, int count, const SimAsync *async)
{
	QuorumLsn	newest = async->commit.end;

	for (int i = 0; i < count; i++)
	{
		if (oracle->async[i].tli == async->tli && oracle->async[i].commit.end > newest)
			newest = oracle->async[i].commit.end;
	}
	return newest - async->commit.end;
}

/* At a promotion: how much of what was acknowledged asynchronously is not there? */
static void
check_async_loss(Sim *sim, const SimNode *node)
{
	SimOracle  *oracle = &sim->oracle;
	int			count = oracle->async_acked < SIM_ASYNC_MAX ? oracle->async_acked : SIM_ASYNC_MAX;

	for (int i = 0; i < count; i++)
	{
		SimAsync   *async = &oracle->async[i];
		QuorumLsn	lost;

		if (async->lost || async->tli >= node->promoting ||
			sim_log_holds(&node->log, node->log.flush, &async->commit))
			continue;
		lost = before_newest(oracle, count, async);
		if (lost >= sim->options.max_lag)
			sim_fail(sim, SIM_SAFETY, "node %u promotes to timeline %u without the asynchronous "
					 "commit at %llX, %llu bytes before the last one, of %llu that may be lost",
					 node->id, node->promoting, (unsigned long long) async->commit.end,
					 (unsigned long long) lost, (unsigned long long) sim->options.max_lag);
		async->lost = true;
		oracle->async_lost++;
		if (lost > oracle->lag_lost)
			oracle->lag_lost = lost;
	}
}

const SimCommit *
sim_told_by(const SimOracle *oracle, QuorumTerm term)
{
	while (term > 0 && oracle->tip_of[term].end == 0)
		term--;
	return &oracle->tip_of[term];
}

/*
 * Raft's leader completeness: at a promotion, everything a client was told in an
 * earlier term is there.  A leader that was frozen may promote when a later term
 * already commits; its gate stays shut.
 */
void
sim_check_promoted(Sim *sim, SimNode *node)
{
	const SimCommit *told = sim_told_by(&sim->oracle, node->promoting - 1);

	if (!sim_log_holds(&node->log, node->log.flush, told))
		sim_fail(sim, SIM_SAFETY,
				 "node %u promotes to timeline %u without the commit at %llX that was acknowledged",
				 node->id, node->promoting, (unsigned long long) told->end);
	check_async_loss(sim, node);
}

void
sim_check_ack_sent(Sim *sim, SimNode *node)
{
	const SimStream *stream = &node->stream;
	const SimNode *source = &sim->nodes[stream->source];

	sim->oracle.acked_top[node->index] = sim_log_end(&node->log);
	if (sim->oracle.granted[node->index] > stream->term)
		sim_fail(sim, SIM_SAFETY, "S2: node %u acknowledges WAL of term %u after a vote in term %u",
				 node->id, stream->term, sim->oracle.granted[node->index]);
	if (source->pg_life == stream->source_life &&
		!sim_log_same(&node->log, &source->log, stream->acked))
		sim_fail(sim, SIM_SAFETY,
				 "S3: node %u acknowledges %llX to node %u, whose log is another one", node->id,
				 (unsigned long long) stream->acked, source->id);
}

/* A client is told that the quorum holds this record, its commit or one before it. */
void
sim_check_commit(Sim *sim, SimNode *node, const SimCommit *commit, uint32_t rewound)
{
	SimOracle  *oracle = &sim->oracle;
	const SimSet *set = &node->shared.set;
	const SimSet *also = &node->shared.also;
	uint32_t	holders = 0;
	SimCommit  *tip_of = &oracle->tip_of[sim_log_end(&node->log).tli];	/* a primary's is its term */

	if (oracle->tip.end != 0 && oracle->tip.index <= commit->index &&
		!sim_log_holds(&node->log, UINT64_MAX, &oracle->tip))
		sim_fail(sim, SIM_SAFETY,
				 "node %u acknowledges a commit at %llX, and lacks the one acknowledged at %llX",
				 node->id, (unsigned long long) commit->end,
				 (unsigned long long) oracle->tip.end);
	for (int i = 0; i < sim->options.nodes; i++)
	{
		const SimNode *other = &sim->nodes[i];

		/* Who held it and has been rewound since votes for nobody before it is whole (S8). */
		if (sim_log_holds(&other->log, other->log.flush, commit) ||
			(other->disk_recovering && (rewound >> i & 1) != 0))
			holders |= UINT32_C(1) << i;
	}
	if (sim_bits(holders & set->in) <= sim_set_need(set) ||
		sim_bits(holders & also->in) <= sim_set_need(also))
		sim_fail(sim, SIM_SAFETY,
				 "S5: node %u acknowledges a commit at %llX that nodes %x hold, of %x and %x",
				 node->id, (unsigned long long) commit->end, holders, set->in, also->in);
	if (commit->index > oracle->tip.index)
		oracle->tip = *commit;
	else
	{
		/* A late one of an earlier leader: it must lie in the log of the newest. */
		for (int i = 0; i < sim->options.nodes; i++)
		{
			const SimLog *log = &sim->nodes[i].log;

			if (sim_log_holds(log, UINT64_MAX, &oracle->tip) &&
				!sim_log_holds(log, UINT64_MAX, commit))
				sim_fail(sim, SIM_SAFETY, "node %u acknowledges a commit at %llX that was left out",
						 node->id, (unsigned long long) commit->end);
		}
	}
	sim_check_outvoted(sim, commit);
	if (commit->index >= tip_of->index)
		*tip_of = *commit;
	oracle->acked++;
	oracle->acked_at = sim->now;
}

/*
 * A client is told that its commit is here and that the quorum is near: what is further
 * back than max_lag is held like any commit, what is newer a failover may take back.
 */
void
sim_check_async(Sim *sim, SimNode *node, const SimWaiting *waiting)
{
	SimOracle  *oracle = &sim->oracle;
	SimAsync   *async = &oracle->async[oracle->async_acked % SIM_ASYNC_MAX];

	if (!sim_log_holds(&node->log, node->log.flush, &waiting->commit))
		sim_fail(sim, SIM_SAFETY, "node %u acknowledges a commit at %llX that it has not flushed",
				 node->id, (unsigned long long) waiting->commit.end);
	async->commit = waiting->commit;
	async->tli = node->log.records[waiting->commit.index].tli;
	oracle->async_acked++;
	oracle->acked_at = sim->now;
	if (sim->options.broken != SIM_BREAK_ASYNC_LAG && waiting->promised.index > 0)
		sim_check_commit(sim, node, &waiting->promised, waiting->rewound);
}

/* A rewind is about to cut its log: for a commit nobody has heard of yet it was a holder. */
void
sim_check_loses(Sim *sim, const SimNode *node, QuorumLsn keep)
{
	for (int i = 0; i < sim->options.nodes; i++)
	{
		SimNode    *other = &sim->nodes[i];

		for (int j = other->commit_first; j < other->commit_count; j++)
		{
			SimWaiting *waiting = &other->commits[j];

			if (waiting->promised.end > keep &&
				sim_log_holds(&node->log, node->log.flush, &waiting->promised))
				waiting->rewound |= UINT32_C(1) << node->index;
		}
	}
}

/* ---- after every event: S7 ---------------------------------------------- */

void
sim_check_all(Sim *sim)
{
	const SimNode *serving = NULL;

	for (int i = 0; i < sim->options.nodes; i++)
	{
		const SimNode *node = &sim->nodes[i];

		if (node->phase != QUORUM_PHASE_PRIMARY || !sim_pg_serves(sim, node))
			continue;
		if (serving != NULL)
			sim_fail(sim, SIM_SAFETY, "S7: nodes %u (term %u) and %u (term %u) both serve clients",
					 serving->id, serving->shared.term, node->id, node->shared.term);
		serving = node;
		if (!sim_log_holds(&node->log, UINT64_MAX, &sim->oracle.tip))
			sim_fail(sim, SIM_SAFETY,
					 "S7: node %u serves reads and lacks the commit acknowledged at %llX",
					 node->id, (unsigned long long) sim->oracle.tip.end);
	}
	if (serving != NULL)
		sim->oracle.served_at = sim->now;
}

/* Which run the core's assertions end. */
void
sim_check_begin(Sim *sim)
{
	asserting = sim;
}
