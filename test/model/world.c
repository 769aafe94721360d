/*
 * world.c
 *	  A state of the world: its parts, what may happen next, what must be true.
 */
#include <stdlib.h>
#include <string.h>

#include "model.h"

static Table pgs;

const Pg *
world_pg(const World *world, int node)
{
	size_t		size;

	return interned(&pgs, world->pg[node], &size);
}

void
world_set_pg(World *world, int node, const Pg *pg)
{
	uint32_t	number = intern(&pgs, pg, sizeof(*pg));

	if (number > UINT16_MAX)
	{
		fprintf(stderr, "too many different servers\n");
		abort();
	}
	world->pg[node] = (uint16_t) number;
}

/* A bit for each pair of nodes. */
int
world_pair(int a, int b)
{
	int			low = a < b ? a : b;
	int			high = a < b ? b : a;

	return 1 << (high * (high - 1) / 2 + low);
}

uint64_t
world_facts(const World *world, int node)
{
	const Pg   *pg = world_pg(world, node);
	FactsKey	key = {.key = 0};

	key.f.set = pg->doomed && pg->rewind != 0 ? FACTS_SET | FACTS_REWIND : FACTS_SET;
	key.f.phase = pg->phase;
	if (node == scope.witness)
		return key.key;
	key.f.tli = (uint8_t) log_tli(pg->log);
	key.f.lsn = (uint8_t) log_count(pg->log);
	if (pg->phase == PG_STARTING)
		key.f.tli = key.f.lsn = 1;
	key.f.stream_term = pg->stream != 0 ? pg->stream_term : 0;
	key.f.acked = pg->acked;
	key.f.diverged = pg->diverged;
	return key.key;
}

static bool
facts_differ(const World *world, int node)
{
	const Shared *shared = core_shared(world->core[node]);

	return shared->alive && shared->told != (world_facts(world, node) |
											 (uint64_t) shared->fence << 56 |
											 (uint64_t) shared->hold_wal << 55);
}

/*
 * Pre-votes cost nobody anything: they are answered at once, or not at all.  Without a
 * network to travel in, so is everything.
 */
static bool
arrives_at_once(const Ends *ends)
{
	return scope.net == 0 || (scope.slow_pre_votes == 0 &&
							  (ends->type == QUORUM_MSG_PRE_VOTE_REQUEST ||
							   ends->type == QUORUM_MSG_PRE_VOTE_REPLY));
}

/* Who is deaf hears nothing and is not heard; who is mute hears and is not heard. */
static void
arrive(Outcome *outcome, uint32_t message)
{
	const Ends	ends = *message_ends(message);

	outcome->talked |= 1 << ends.to | 1 << ends.from;
	if (((outcome->deaf | outcome->mute) & 1 << ends.from) != 0 ||
		(outcome->deaf & 1 << ends.to) != 0 ||
		!core_shared(outcome->world.core[ends.to])->alive)
		return;
	world_core(outcome, ends.to, CORE_MESSAGE, message, false);
}

/* ---- one event through a core ------------------------------------------- */

static void
send(Outcome *outcome, const Step *step)
{
	for (int i = 0; i < step->sent_count; i++)
	{
		const Ends *ends = message_ends(step->sent[i]);

		if ((outcome->world.link & world_pair(ends->from, ends->to)) == 0)
			continue;
		if (!arrives_at_once(ends))
		{
			if (outcome->sent_count == SENT)
				abort();
			outcome->sent[outcome->sent_count++] = step->sent[i];
		}
		else
			arrive(outcome, step->sent[i]);
	}
}

static void
act(World *world, int node, const Step *step)
{
	Pg			pg = *world_pg(world, node);

	if (step->promote != 0 && pg.phase == PG_STANDBY && pg.promoting == 0)
	{
		pg.promoting = step->promote;
		pg.stream = pg.stream_term = pg.acked = 0;
	}
	if (step->demote)
		pg.doomed = 1;
	if (step->hand_over && pg.hand_over == 0)
		pg.hand_over = 1;
	if (step->rewind != 0 && !pg.doomed)
	{
		pg.doomed = 1;
		pg.rewind = step->rewind;
	}
	world_set_pg(world, node, &pg);
}

void
world_core(Outcome *outcome, int node, CoreEvent event, uint32_t param, bool torn)
{
	World	   *world = &outcome->world;
	Step		step;

	core_step(world->core[node], event, param, world_facts(world, node), &step);
	if (step.broken != NULL && outcome->broken == NULL)
	{
		outcome->broken = "invariant of the core";
		snprintf(outcome->why, sizeof(outcome->why), "node %d: %s", node + 1, step.broken);
	}
	if (step.torn != 0)
		outcome->torn = true;
	if (step.torn != 0 && torn)
	{
		world->core[node] = step.torn;
		send(outcome, &step);
		return;
	}
	world->core[node] = step.core;
	act(world, node, &step);
	send(outcome, &step);
}

/* ---- what follows at once ------------------------------------------------ */

/* The walreceiver follows what its worker published. */
static void
mind_stream(World *world, int node)
{
	const Shared *shared = core_shared(world->core[node]);
	Pg			pg = *world_pg(world, node);
	const Pg   *source;

	if (pg.stream == 0)
		return;
	source = world_pg(world, pg.stream - 1);
	if (source->phase == PG_PRIMARY &&
		(scope.broken == BREAK_ACK_FENCE || (shared->fence == pg.stream_term &&
											 shared->leader == pg.stream && shared->term == pg.stream_term)))
		return;
	pg.stream = pg.stream_term = pg.acked = 0;
	world_set_pg(world, node, &pg);
}

/* Commits whose record is held by as many as the published rule wants are acknowledged. */
static void
release(World *world, int node)
{
	const Shared *shared = core_shared(world->core[node]);
	const Pg   *pg = world_pg(world, node);
	int			tli = log_tli(pg->log);
	int			before;

	if (pg->phase != PG_PRIMARY || !shared->alive || shared->need == 255)
		return;
	before = log_count(pg->log) - pg->log[tli];
	for (int record = world->acked[tli] + 1; record <= pg->log[tli]; record++)
	{
		int			holders = 0;

		for (int i = 0; i < scope.nodes; i++)
		{
			int			also = scope.broken == BREAK_LEDGER ? (i + 1) % scope.nodes : i;

			if ((shared->rule & 1 << i) != 0 &&
				(pg->held[i] >= before + record || pg->held[also] >= before + record))
				holders++;
		}
		if (holders < shared->need)
			return;

		/* the first record of a timeline is nobody's commit */
		if (record > 1)
			world->acked[tli] = (uint8_t) record;
	}
}

bool
world_serves(const World *world, int node)
{
	const Shared *shared = core_shared(world->core[node]);

	return world_pg(world, node)->phase == PG_PRIMARY && shared->gate_open &&
		(shared->leads_now || scope.broken == BREAK_GATE_CHECK);
}

/* ---- what must be true ---------------------------------------------------- */

static void
broken(Outcome *outcome, const char *rule, const char *why, int a, int b)
{
	if (outcome->broken != NULL)
		return;
	outcome->broken = rule;
	snprintf(outcome->why, sizeof(outcome->why), why, a, b);
}

static void
check_log(Outcome *outcome, int node)
{
	const World *world = &outcome->world;
	const Pg   *pg = world_pg(world, node);
	int			own = world_serves(world, node) ? TERMS : log_tli(pg->log);

	if (pg->phase != PG_PRIMARY)
		return;
	for (int t = 1; t < own; t++)
	{
		if (pg->log[t] < world->acked[t])
			broken(outcome, "S5", "node %d leads and lacks what was acknowledged or read in term %d",
				   node + 1, t);
	}
}

/* Nobody can win again, or begin, a term that everybody is beyond. */
static void
forget_old_terms(World *world)
{
	int			oldest = TERMS;

	for (int i = 0; i < scope.nodes; i++)
	{
		int			term = core_shared(world->core[i])->term;

		oldest = term < oldest ? term : oldest;
	}
	for (int t = 0; t < oldest; t++)
	{
		world->leader[t] = 0;
		world->promoted &= (uint8_t) ~(1 << t);
	}
}

/* A round of pre-votes that was not won at once is lost. */
static void
end_round(Outcome *outcome, int node)
{
	const Shared *shared = core_shared(outcome->world.core[node]);

	if (scope.slow_pre_votes == 0 && shared->alive && shared->role == QUORUM_ROLE_PRE_CANDIDATE)
		world_core(outcome, node, CORE_FIRE, 0, false);
}

void
world_check(Outcome *outcome)
{
	World	   *world = &outcome->world;
	int			serving = -1;

	for (int i = 0; i < scope.nodes; i++)
	{
		end_round(outcome, i);
		mind_stream(world, i);
		for (int n = 0; scope.lazy == 0 && facts_differ(world, i) && n < 4; n++)
		{
			world_core(outcome, i, CORE_FACTS, 0, false);
			mind_stream(world, i);
		}
	}
	for (int i = 0; i < scope.nodes; i++)
	{
		const Shared *shared = core_shared(world->core[i]);

		release(world, i);
		if (shared->term > 2 + scope.terms || shared->term >= TERMS)
		{
			outcome->beyond = true;
			return;
		}
		if (shared->alive && shared->role == QUORUM_ROLE_LEADER)
		{
			if (world->leader[shared->term] == 0)
				world->leader[shared->term] = (uint8_t) (i + 1);
			else if (world->leader[shared->term] != i + 1)
				broken(outcome, "S1", "nodes %d and %d lead one term", i + 1,
					   world->leader[shared->term]);
		}
	}
	for (int i = 0; i < scope.nodes; i++)
	{
		check_log(outcome, i);
		if (!world_serves(world, i))
			continue;
		if (serving >= 0)
			broken(outcome, "S7", "nodes %d and %d both serve", serving + 1, i + 1);
		serving = i;

		/* S6: what it began with, a reader may have seen. */
		if (world->acked[log_tli(world_pg(world, i)->log)] == 0)
			world->acked[log_tli(world_pg(world, i)->log)] = 1;
	}
	forget_old_terms(world);
}

/* ---- what may happen ------------------------------------------------------- */

typedef struct List
{
	Choice	   *choices;
	int			count;
	int			limit;
} List;

static void
may(List *list, ChoiceKind kind, int node, int other)
{
	if (list->count == list->limit)
		abort();
	list->choices[list->count++] = (Choice) {(uint8_t) kind, (uint8_t) node, (uint8_t) other, 0, 0, 0};
}

static void
may_operate(const World *world, List *list, int node)
{
	const Shared *shared = core_shared(world->core[node]);

	if (shared->role != QUORUM_ROLE_LEADER || !shared->gate_open)
		return;
	for (int other = 0; other < scope.nodes; other++)
	{
		if (other == node)
			continue;
		if (world->switches > 0 && other != scope.witness)
			may(list, DO_SWITCH, node, other);
		if (world->changes == 0)
			continue;
		if ((shared->voters & 1 << other) == 0)
			may(list, DO_CHANGE, node, 16 + other);
		else if (other != scope.witness)
		{
			may(list, DO_CHANGE, node, other);
			may(list, DO_CHANGE, node, 32 + other);
		}
	}
}

static void
may_of_server(const World *world, List *list, int node)
{
	const Shared *shared = core_shared(world->core[node]);
	const Pg   *pg = world_pg(world, node);

	if (pg->phase == PG_DOWN || pg->doomed)
		may(list, DO_RESTART, node, 0);
	if (pg->doomed && pg->rewind != 0 && world_pg(world, pg->rewind - 1)->phase == PG_PRIMARY)
	{
		may(list, DO_RESTART, node, 1);
		may(list, DO_RESTART, node, 2);
	}
	if (pg->phase == PG_STARTING)
		may(list, DO_READ_LOG, node, 0);
	if (pg->promoting != 0)
		may(list, DO_PROMOTE, node, 0);
	if (pg->hand_over == 1)
		may(list, DO_STOP, node, 0);
	if (world->commits > 0 && pg->hand_over < 2 && !shared->hold_wal && world_serves(world, node))
		may(list, DO_COMMIT, node, 0);
	if (pg->phase == PG_STANDBY && node != scope.witness && pg->promoting == 0 && !pg->doomed &&
		(pg->stream != 0 || (shared->leader != 0 && shared->leader != node + 1 &&
							 pg->diverged != shared->term)))
		may(list, DO_STREAM, node, 0);
}

static void
may_of_worker(const World *world, List *list, int node)
{
	const Shared *shared = core_shared(world->core[node]);

	if (!shared->alive)
		return;
	may(list, DO_FIRE, node, 0);
	if (shared->wants_time)
		may(list, DO_GIVE_UP, node, 0);
	if (shared->wants_facts || facts_differ(world, node))
		may(list, DO_FACTS, node, 0);
	for (int other = 0; other < scope.nodes; other++)
	{
		if (other == node)
			continue;
		if (world_pg(world, other)->phase == PG_DOWN)
			may(list, DO_DEAD, node, other);
		else if (other > node && core_shared(world->core[other])->alive &&
				 (world->link & world_pair(node, other)) == 0)
			may(list, DO_HELLO, node, other);
	}
	if (world->crashes > 0)
	{
		may(list, DO_CRASH, node, 0);
		if (shared->role == QUORUM_ROLE_LEADER)
			may(list, DO_CLOSE, node, 0);
	}
	may_operate(world, list, node);
}

int
world_choices(const World *world, Choice *choices, int limit)
{
	List		list = {choices, 0, limit};

	for (int i = 0; i < scope.net && world->net[i] != 0; i++)
		may(&list, DO_MESSAGE, 0, i);
	for (int i = 0; i < scope.nodes; i++)
	{
		may_of_server(world, &list, i);
		may_of_worker(world, &list, i);
	}
	may(&list, DO_TIME, 0, 0);
	return list.count;
}

void
world_apply(const World *world, Choice choice, Outcome *outcome)
{
	outcome->world = *world;
	outcome->torn = outcome->beyond = false;
	outcome->sent_count = 0;
	outcome->talked = 0;
	outcome->deaf = choice.deaf;
	outcome->mute = choice.mute;
	outcome->broken = NULL;
	outcome->why[0] = '\0';
	transition(outcome, choice, world);
	world_check(outcome);
}
