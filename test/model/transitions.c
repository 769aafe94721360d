/*
 * transitions.c
 *	  What each choice does to the world.
 */
#include <stdlib.h>
#include <string.h>

#include "model.h"

#define SLOW_PERMILLE	991		/* of the time that passes for the others */

/* ---- time and messages ---------------------------------------------------- */

static int64_t
time_step(int node)
{
	int64_t		step = LEASE / 1000 * scope.step;

	return node == scope.slow ? step / 1000 * SLOW_PERMILLE : step;
}

static void
sort_net(World *world)
{
	for (int i = 1; i < scope.net; i++)
	{
		for (int j = i; j > 0; j--)
		{
			uint32_t	a = world->net[j - 1];
			uint32_t	b = world->net[j];

			if (b == 0 || (a != 0 && a <= b))
				break;
			world->net[j - 1] = b;
			world->net[j] = a;
		}
	}
}

static void
pass_time(Outcome *outcome)
{
	World	   *world = &outcome->world;

	for (int i = 0; i < scope.nodes; i++)
		world_core(outcome, i, CORE_AGE, (uint32_t) time_step(i), false);
	for (int i = 0; i < scope.net && world->net[i] != 0; i++)
	{
		const Ends *ends = message_ends(world->net[i]);
		int			clock = ends->type == QUORUM_MSG_HEARTBEAT ? ends->from : ends->to;

		world->net[i] = message_age(world->net[i], time_step(clock));
	}
	sort_net(world);

	/* Two that only their age told apart are one now. */
	for (int i = 0; i + 1 < scope.net; i++)
	{
		if (world->net[i] != 0 && world->net[i] == world->net[i + 1])
			world->net[i] = 0;
	}
	sort_net(world);
}

/* Messages to it, or from it, are lost. */
static void
lose_messages(World *world, int node, bool from)
{
	for (int i = 0; i < scope.net; i++)
	{
		const Ends *ends;

		if (world->net[i] == 0)
			continue;
		ends = message_ends(world->net[i]);
		if ((from ? ends->from : ends->to) == node)
			world->net[i] = 0;
	}
	sort_net(world);
}

static void
deliver(Outcome *outcome, int place, bool torn)
{
	World	   *world = &outcome->world;
	uint32_t	number = world->net[place];

	world->net[place] = 0;
	sort_net(world);
	world_core(outcome, message_ends(number)->to, CORE_MESSAGE, number, torn);
}

/* ---- life and death --------------------------------------------------------- */

/* Every process of the node is gone. */
static void
node_dies(Outcome *outcome, int node)
{
	World	   *world = &outcome->world;
	Pg			pg = *world_pg(world, node);
	Pg			dead;

	if (core_shared(world->core[node])->alive)
		world_core(outcome, node, CORE_DIE, 0, false);
	memset(&dead, 0, sizeof(dead));
	dead.phase = PG_DOWN;
	memcpy(dead.log, pg.log, sizeof(dead.log));
	world_set_pg(world, node, &dead);
	lose_messages(world, node, false);
	for (int i = 0; i < scope.nodes; i++)
	{
		if (i == node)
			continue;
		world->link &= (uint16_t) ~world_pair(i, node);
		world->knew &= ~(UINT32_C(1) << (node * NODES + i));
		if (core_shared(world->core[i])->alive)
			world->knew |= UINT32_C(1) << (i * NODES + node);
	}
}

static void
restart(Outcome *outcome, int node, int variant)
{
	World	   *world = &outcome->world;
	Pg			pg = *world_pg(world, node);
	int			source = pg.rewind - 1;
	bool		rewound = variant > 0 && source >= 0;

	if (pg.phase != PG_DOWN)
		node_dies(outcome, node);
	lose_messages(world, node, true);
	pg = *world_pg(world, node);
	if (rewound && variant == 1)
		log_cut_to(pg.log, world_pg(world, source)->log);
	else if (rewound)
	{
		/* as far back as the first checkpoint, whatever was acknowledged since */
		memset(pg.log, 0, sizeof(pg.log));
		pg.log[1] = 1;
	}
	pg.phase = node == scope.witness ? PG_STANDBY : PG_STARTING;
	world_set_pg(world, node, &pg);
	world_core(outcome, node, scope.broken == BREAK_STATE_LOST && scope_begun ?
			   CORE_BOOT_LOST : CORE_BOOT, 0, false);
}

static void
hello(Outcome *outcome, int a, int b)
{
	World	   *world = &outcome->world;

	world->link |= (uint16_t) world_pair(a, b);
	for (int side = 0; side < 2; side++)
	{
		int			node = side == 0 ? a : b;
		int			peer = side == 0 ? b : a;
		uint32_t	knew = UINT32_C(1) << (node * NODES + peer);

		if ((world->knew & knew) != 0)
			world_core(outcome, node, CORE_RESTARTED, (uint32_t) peer, false);
		world->knew &= ~knew;
		world_core(outcome, node, CORE_CONNECTED, (uint32_t) peer, false);
	}
}

/* ---- PostgreSQL ---------------------------------------------------------------- */

static void
promote(Outcome *outcome, int node)
{
	World	   *world = &outcome->world;
	const Shared *shared = core_shared(world->core[node]);
	Pg			pg = *world_pg(world, node);
	int			term = pg.promoting;

	pg.promoting = 0;
	if (!shared->alive || shared->role != QUORUM_ROLE_LEADER || shared->term != term ||
		shared->fence != term)
	{
		/* its guard ends the startup process, the server with it (V8) */
		pg.doomed = 1;
		world_set_pg(world, node, &pg);
		return;
	}
	if ((world->promoted & 1 << term) != 0 || pg.log[term] != 0 || log_tli(pg.log) > term)
	{
		outcome->broken = "S4";
		snprintf(outcome->why, sizeof(outcome->why), "node %d begins timeline %d again", node + 1,
				 term);
	}
	world->promoted |= (uint8_t) (1 << term);
	pg.log[term]++;
	pg.phase = PG_PRIMARY;
	memset(pg.held, 0, sizeof(pg.held));
	world_set_pg(world, node, &pg);
}

/* Connects, if it is not; a record comes; what may be acknowledged is. */
static void
stream(Outcome *outcome, int node)
{
	World	   *world = &outcome->world;
	const Shared *shared = core_shared(world->core[node]);
	Pg			pg = *world_pg(world, node);
	int			source_node = pg.stream != 0 ? pg.stream - 1 : shared->leader - 1;
	Pg			source = *world_pg(world, source_node);

	if (pg.stream == 0)
	{
		if (source.phase != PG_PRIMARY || log_tli(source.log) != shared->term ||
			shared->fence != shared->term || source.hand_over == 2)
			return;
		if (!log_fits(pg.log, source.log))
		{
			pg.diverged = shared->term;
			world_set_pg(world, node, &pg);
			return;
		}
		pg.diverged = 0;
		pg.stream = (uint8_t) (source_node + 1);
		pg.stream_term = shared->term;
		pg.acked = 0;
		source.held[node] = 0;
	}
	for (int t = 1; t < TERMS; t++)
	{
		if (pg.log[t] < source.log[t])
		{
			pg.log[t]++;
			break;
		}
	}
	if ((shared->fence == pg.stream_term || scope.broken == BREAK_ACK_FENCE) &&
		log_tli(pg.log) == pg.stream_term)
	{
		pg.acked = (uint8_t) log_count(pg.log);
		source.held[node] = pg.acked;
	}
	world_set_pg(world, node, &pg);
	world_set_pg(world, source_node, &source);
}

static void
commit(World *world, int node)
{
	Pg			pg = *world_pg(world, node);

	pg.log[log_tli(pg.log)]++;
	world_set_pg(world, node, &pg);
	world->commits--;
}

static void
set_phase(World *world, int node, Phase phase)
{
	Pg			pg = *world_pg(world, node);

	pg.phase = (uint8_t) phase;
	world_set_pg(world, node, &pg);
}

/* ---- all of them ------------------------------------------------------------------- */

static void
transition_of_worker(Outcome *outcome, Choice choice, int node)
{
	static const CoreEvent events[DO_KINDS] = {
		[DO_FIRE] = CORE_FIRE, [DO_GIVE_UP] = CORE_GIVE_UP,
		[DO_FACTS] = CORE_FACTS, [DO_DEAD] = CORE_DEAD, [DO_CHANGE] = CORE_ADMIN,
		[DO_SWITCH] = CORE_SWITCH
	};

	if (choice.kind == DO_CHANGE)
		outcome->world.changes--;
	if (choice.kind == DO_SWITCH)
		outcome->world.switches--;
	world_core(outcome, node, events[choice.kind], choice.other, choice.torn);
}

static void
stop_as_planned(Outcome *outcome, int node)
{
	Pg			pg;

	world_core(outcome, node, CORE_STOPPING, 0, false);
	pg = *world_pg(&outcome->world, node);
	pg.hand_over = 2;
	pg.doomed = 1;
	world_set_pg(&outcome->world, node, &pg);
}

static void
transition_of_node(Outcome *outcome, Choice choice, int node)
{
	World	   *world = &outcome->world;

	switch ((ChoiceKind) choice.kind)
	{
		case DO_COMMIT:
			commit(world, node);
			break;
		case DO_STREAM:
			stream(outcome, node);
			break;
		case DO_PROMOTE:
			promote(outcome, node);
			break;
		case DO_READ_LOG:
			set_phase(world, node, PG_STANDBY);
			break;
		case DO_HELLO:
			hello(outcome, node, choice.other);
			break;
		case DO_CLOSE:
			world_core(outcome, node, CORE_CLOSING, 0, false);
			/* FALLTHROUGH */
		case DO_CRASH:
			world->crashes--;
			node_dies(outcome, node);
			break;
		case DO_RESTART:
			restart(outcome, node, choice.other);
			break;
		case DO_STOP:
			stop_as_planned(outcome, node);
			break;
		default:
			transition_of_worker(outcome, choice, node);
			break;
	}
}

void
transition(Outcome *outcome, Choice choice, const World *before)
{
	int			node = choice.node;

	if (choice.kind == DO_MESSAGE)
	{
		node = message_ends(before->net[choice.other])->to;
		deliver(outcome, choice.other, choice.torn);
	}
	else if (choice.kind == DO_TIME)
		pass_time(outcome);
	else
		transition_of_node(outcome, choice, node);
	if (choice.torn)
	{
		outcome->world.crashes--;
		node_dies(outcome, node);
	}
}
