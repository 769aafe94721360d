/*
 * queue.c
 *	  What happens next: the event queue in virtual time, the dice.
 *
 * A wheel of buckets, each a list in the order of time; what lies farther ahead than one
 * turn is in a list of its own.  Nearly every event is close, so both ends are short walks.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define NONE	(-1)

static int
bucket_of(const Sim *sim, SimTime at)
{
	SimTime		turn = at / SIM_BUCKET;

	return turn - sim->now / SIM_BUCKET < SIM_BUCKETS ? (int) (turn % SIM_BUCKETS) : SIM_BUCKETS;
}

static bool
earlier(const SimEvent *a, const SimEvent *b)
{
	if (a->at != b->at)
		return a->at < b->at;
	return a->order < b->order;
}

static int
take_slot(SimQueue *queue)
{
	int			slot = queue->free;

	if (slot != NONE)
	{
		queue->free = queue->slots[slot].next;
		return slot;
	}
	if (queue->used == queue->capacity)
	{
		queue->capacity = queue->capacity == 0 ? 1024 : 2 * queue->capacity;
		queue->slots = realloc(queue->slots, (size_t) queue->capacity * sizeof(SimSlot));
		if (queue->slots == NULL)
			abort();
	}
	return queue->used++;
}

/* Most events are the last of their bucket. */
static SimEvent *
push(Sim *sim, const SimEvent *event)
{
	SimQueue   *queue = &sim->queue;
	int			slot = take_slot(queue);
	int			bucket = bucket_of(sim, event->at);
	int			before = queue->last[bucket];
	SimSlot    *own = &queue->slots[slot];
	int			after;

	while (before != NONE && earlier(event, &queue->slots[before].event))
		before = queue->slots[before].previous;
	after = before == NONE ? queue->first[bucket] : queue->slots[before].next;
	*own = (SimSlot) {*event, bucket, before, after};
	if (before == NONE)
		queue->first[bucket] = slot;
	else
		queue->slots[before].next = slot;
	if (after == NONE)
		queue->last[bucket] = slot;
	else
		queue->slots[after].previous = slot;
	if (bucket < SIM_BUCKETS)
		queue->busy[bucket / 64] |= UINT64_C(1) << (bucket % 64);
	return &own->event;
}

/* The caller fills in the rest of the event at once: it may move with the next one. */
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

/* The first event of the wheel: the one that is busy next, from now on. */
static int
first_near(const Sim *sim)
{
	const SimQueue *queue = &sim->queue;
	int			from = bucket_of(sim, sim->now);
	uint64_t	word = queue->busy[from / 64] & UINT64_MAX << (from % 64);

	for (int i = from / 64, turns = 0; turns <= SIM_BUCKETS / 64; turns++)
	{
		if (word != 0)
			return queue->first[i * 64 + __builtin_ctzll(word)];
		i = (i + 1) % (SIM_BUCKETS / 64);
		word = queue->busy[i];
	}
	return NONE;
}

/* False: nothing happens until then. */
bool
sim_next(Sim *sim, SimTime until, SimEvent *event)
{
	SimQueue   *queue = &sim->queue;
	int			first = first_near(sim);
	int			far = queue->first[SIM_BUCKETS];
	SimSlot    *own;

	if (first == NONE ||
		(far != NONE && earlier(&queue->slots[far].event, &queue->slots[first].event)))
		first = far;
	if (first == NONE || queue->slots[first].event.at > until)
		return false;
	own = &queue->slots[first];
	*event = own->event;
	queue->first[own->bucket] = own->next;
	if (own->next != NONE)
		queue->slots[own->next].previous = NONE;
	else
	{
		queue->last[own->bucket] = NONE;
		if (own->bucket < SIM_BUCKETS)
			queue->busy[own->bucket / 64] &= ~(UINT64_C(1) << (own->bucket % 64));
	}
	own->bucket = NONE;
	own->next = queue->free;
	queue->free = first;
	return true;
}

/* Every event that is to come, in no order: i from 0 to queue.used; NULL = none there. */
SimEvent *
sim_queued(const Sim *sim, int i)
{
	SimSlot    *slot = &sim->queue.slots[i];

	return slot->bucket == NONE ? NULL : &slot->event;
}

/* Nothing is to come any more. */
void
sim_queue_clear(Sim *sim)
{
	SimQueue   *queue = &sim->queue;

	for (int i = 0; i < queue->used; i++)
	{
		if (sim_queued(sim, i) != NULL)
			free(sim_queued(sim, i)->data);
	}
	queue->used = 0;
	queue->free = NONE;
	memset(queue->busy, 0, sizeof(queue->busy));
	for (int i = 0; i <= SIM_BUCKETS; i++)
		queue->first[i] = queue->last[i] = NONE;
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
