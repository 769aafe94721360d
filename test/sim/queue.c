/*
 * queue.c
 *	  What happens next: the event queue in virtual time, the dice.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

static bool
earlier(const SimEvent *a, const SimEvent *b)
{
	if (a->at != b->at)
		return a->at < b->at;
	return a->order < b->order;
}

static SimEvent *
sift_up(Sim *sim, int i)
{
	SimEvent	event = sim->queue[i];

	while (i > 0 && earlier(&event, &sim->queue[(i - 1) / 2]))
	{
		sim->queue[i] = sim->queue[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	sim->queue[i] = event;
	return &sim->queue[i];
}

static void
sift_down(Sim *sim, int i)
{
	SimEvent	event = sim->queue[i];

	for (;;)
	{
		int			child = 2 * i + 1;

		if (child >= sim->queue_count)
			break;
		if (child + 1 < sim->queue_count &&
			earlier(&sim->queue[child + 1], &sim->queue[child]))
			child++;
		if (!earlier(&sim->queue[child], &event))
			break;
		sim->queue[i] = sim->queue[child];
		i = child;
	}
	sim->queue[i] = event;
}

static SimEvent *
push(Sim *sim, const SimEvent *event)
{
	if (sim->queue_count == sim->queue_capacity)
	{
		sim->queue_capacity = sim->queue_capacity == 0 ? 1024 : 2 * sim->queue_capacity;
		sim->queue = realloc(sim->queue, (size_t) sim->queue_capacity * sizeof(SimEvent));
		if (sim->queue == NULL)
			abort();
	}
	sim->queue[sim->queue_count] = *event;
	return sift_up(sim, sim->queue_count++);
}

/* The caller fills in the rest of the event at once: it moves with the next one. */
SimEvent *
sim_at(Sim *sim, SimTime at, SimEventType type, SimNode *node)
{
	SimEvent	event;

	memset(&event, 0, sizeof(event));
	event.at = at < sim->now ? sim->now : at;
	event.order = ++sim->order;
	event.type = (uint8_t) type;
	event.node = (uint8_t) (node != NULL ? node->index : 0);
	return push(sim, &event);
}

SimEvent *
sim_after(Sim *sim, SimTime delay, SimEventType type, SimNode *node)
{
	return sim_at(sim, sim->now + delay, type, node);
}

/* The same event later: its node is frozen. */
void
sim_again(Sim *sim, const SimEvent *event, SimTime at)
{
	SimEvent	copy = *event;

	copy.at = at;
	push(sim, &copy);
}

bool
sim_next(Sim *sim, SimEvent *event)
{
	if (sim->queue_count == 0)
		return false;
	*event = sim->queue[0];
	sim->queue[0] = sim->queue[--sim->queue_count];
	if (sim->queue_count > 0)
		sift_down(sim, 0);
	return true;
}

int64_t
sim_draw(Sim *sim, SimRange range)
{
	return quorum_random_between(&sim->random, range.min, range.max);
}

bool
sim_chance(Sim *sim, int ppm)
{
	if (ppm <= 0)
		return false;
	return quorum_random_between(&sim->random, 0, 999999) < ppm;
}

int
sim_below(Sim *sim, int limit)
{
	return (int) quorum_random_between(&sim->random, 0, limit - 1);
}
