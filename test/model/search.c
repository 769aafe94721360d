/*
 * search.c
 *	  Breadth first through every state of the scope; a way back from a broken rule.
 *
 * States are compared whole, not by their hashes.  Of each only its parent is kept
 * beside it: the way to it is found again by trying the parent's choices.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "model.h"

#define ARENA_BYTES		(UINT64_C(4800) * 1024 * 1024)
#define CHOICES			160
#define FEATURES		24

typedef void (*Visit) (const World *world, void *arg);

static uint8_t *arena;
static uint32_t stride;
static uint32_t state_count;
static uint32_t state_limit;
static uint32_t *slots;
static uint32_t slot_count;
static long transitions;
static long features[FEATURES];
static Outcome found;
static bool is_found;
static uint32_t found_parent;
static Choice found_choice;

static const char *const feature_names[FEATURES] = {
	"a gate open in the first term", "a gate open in the second", "a gate open in the third",
	"a gate open in a later one", "a commit acknowledged in the first", "in the second",
	"in the third", "in a later one", "two that think they lead", "a node down", "a node recovering",
	"a node diverged", "a joint rule", "a set not stored by all", "a member left out",
	"a vote less, or more", "a hand-over", "nobody in office", "a commit lost that nobody was told of",
	NULL
};

/* ---- states as bytes -------------------------------------------------------- */

static void
pack(const World *world, uint8_t *to)
{
	memcpy(to, world->core, sizeof(uint32_t) * (size_t) scope.nodes);
	to += sizeof(uint32_t) * (size_t) scope.nodes;
	memcpy(to, world->net, sizeof(uint32_t) * (size_t) scope.net);
	to += sizeof(uint32_t) * (size_t) scope.net;
	memcpy(to, world->pg, sizeof(uint16_t) * (size_t) scope.nodes);
	to += sizeof(uint16_t) * (size_t) scope.nodes;
	memcpy(to, world->leader, sizeof(World) - offsetof(World, leader));
}

static void
unpack(const uint8_t *from, World *world)
{
	memset(world, 0, sizeof(*world));
	memcpy(world->core, from, sizeof(uint32_t) * (size_t) scope.nodes);
	from += sizeof(uint32_t) * (size_t) scope.nodes;
	memcpy(world->net, from, sizeof(uint32_t) * (size_t) scope.net);
	from += sizeof(uint32_t) * (size_t) scope.net;
	memcpy(world->pg, from, sizeof(uint16_t) * (size_t) scope.nodes);
	from += sizeof(uint16_t) * (size_t) scope.nodes;
	memcpy(world->leader, from, sizeof(World) - offsetof(World, leader));
}

static uint8_t *
state_at(uint32_t number)
{
	return arena + (size_t) number * stride;
}

static void
start_arena(void)
{
	uint32_t	bytes = (uint32_t) ((sizeof(uint32_t) + sizeof(uint16_t)) * (size_t) scope.nodes +
								 sizeof(uint32_t) * (size_t) scope.net +
								 sizeof(World) - offsetof(World, leader));

	stride = bytes + (uint32_t) sizeof(uint32_t);
	arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena == MAP_FAILED)
		abort();
	state_limit = (uint32_t) (ARENA_BYTES / stride - 1);
	if (scope.limit > 0 && (long) state_limit > scope.limit)
		state_limit = (uint32_t) scope.limit;
	slot_count = 1 << 20;
	slots = calloc(slot_count, sizeof(uint32_t));
	if (slots == NULL)
		abort();
}

static void
grow_slots(void)
{
	uint32_t	size = slot_count * 2;
	uint32_t   *bigger = calloc(size, sizeof(uint32_t));

	if (bigger == NULL)
		abort();
	for (uint32_t i = 0; i < slot_count; i++)
	{
		uint64_t	slot;

		if (slots[i] == 0)
			continue;
		slot = hash_bytes(state_at(slots[i] - 1), stride - sizeof(uint32_t));
		while (bigger[slot & (size - 1)] != 0)
			slot++;
		bigger[slot & (size - 1)] = slots[i];
	}
	free(slots);
	slots = bigger;
	slot_count = size;
}

/* ---- what was seen on the way ------------------------------------------------- */

static int
by_term(int term)
{
	return term < 2 ? 0 : term > 5 ? 3 : term - 2;
}

static void
note_features(const World *world)
{
	bool		seen[FEATURES] = {false};
	int			leaders = 0;

	for (int t = 2; t < TERMS; t++)
		seen[4 + by_term(t)] |= world->acked[t] > 0;
	for (int i = 0; i < scope.nodes; i++)
	{
		const Shared *shared = core_shared(world->core[i]);
		const Pg   *pg = world_pg(world, i);

		seen[by_term(shared->term)] |= world_serves(world, i);
		leaders += shared->alive && shared->role == QUORUM_ROLE_LEADER ? 1 : 0;
		seen[9] |= pg->phase == PG_DOWN;
		seen[10] |= shared->recovering;
		seen[11] |= pg->diverged != 0;
		seen[12] |= shared->change == 1;
		seen[13] |= shared->change == 2;
		seen[14] |= shared->out != 0;
		seen[15] |= shared->voters != core_shared(world->core[(i + 1) % scope.nodes])->voters;
		seen[16] |= pg->hand_over != 0;
		for (int t = 2; t < TERMS; t++)
			seen[18] |= pg->log[t] > 1 && pg->log[t] > world->acked[t];
	}
	seen[8] = leaders > 1;
	seen[17] = leaders == 0;
	for (int i = 0; i < FEATURES; i++)
		features[i] += seen[i] ? 1 : 0;
}

/* ---- successors -------------------------------------------------------------- */

/* It would change nothing where it arrives: as good as lost. */
static bool
is_trivial(const World *world, uint32_t number)
{
	const Ends *ends = message_ends(number);
	uint32_t	before = world->core[ends->to];
	Step		step;

	if (!core_shared(before)->alive)
		return true;
	if (scope.trivial || ends->type == QUORUM_MSG_HEARTBEAT ||
		ends->type == QUORUM_MSG_VOTE_REQUEST || ends->type == QUORUM_MSG_PRE_VOTE_REQUEST)
		return false;
	core_step(before, CORE_MESSAGE, number, world_facts(world, ends->to), &step);
	return step.core == before && step.sent_count == 0 && step.broken == NULL;
}

/* What is on its way after it; the oldest of a kind gives way when only one has room. */
static int
gather(const Outcome *outcome, uint32_t *all)
{
	int			count = 0;

	for (int i = 0; i < scope.net && outcome->world.net[i] != 0; i++)
	{
		if (!is_trivial(&outcome->world, outcome->world.net[i]))
			all[count++] = outcome->world.net[i];
	}
	for (int i = 0; i < outcome->sent_count; i++)
	{
		uint32_t	number = outcome->sent[i];
		int			place = 0;

		if (is_trivial(&outcome->world, number))
			continue;
		while (place < count && all[place] != number)
			place++;
		if (place < count)
			continue;
		if (scope.pair)
		{
			const Ends *mine = message_ends(number);

			for (place = 0; place < count; place++)
			{
				const Ends *his = message_ends(all[place]);

				if (his->from == mine->from && his->to == mine->to && his->type == mine->type)
					break;
			}
		}
		all[place] = number;
		count = place == count ? count + 1 : count;
	}
	for (int i = 1; i < count; i++)
	{
		for (int j = i; j > 0 && all[j - 1] > all[j]; j--)
		{
			uint32_t	swap = all[j];

			all[j] = all[j - 1];
			all[j - 1] = swap;
		}
	}
	return count;
}

/* Every way to lose what the network has no room for. */
static void
each_network(const Outcome *outcome, Visit visit, void *arg)
{
	uint32_t	all[NET + SENT];
	int			count = gather(outcome, all);
	int			chosen[NET];
	int			room = count < scope.net ? count : scope.net;
	World		world = outcome->world;

	for (int i = 0; i < room; i++)
		chosen[i] = i;
	for (;;)
	{
		int			i;

		memset(world.net, 0, sizeof(world.net));
		for (i = 0; i < room; i++)
			world.net[i] = all[chosen[i]];
		visit(&world, arg);
		for (i = room - 1; i >= 0 && chosen[i] == count - room + i; i--)
			;
		if (i < 0)
			return;
		chosen[i]++;
		for (i++; i < room; i++)
			chosen[i] = chosen[i - 1] + 1;
	}
}

static uint32_t parent_now;

static void
add(const World *world, void *arg)
{
	uint8_t		bytes[256];
	uint64_t	slot;

	(void) arg;
	pack(world, bytes);
	transitions++;
	if ((uint64_t) state_count * 5 > (uint64_t) slot_count * 3)
		grow_slots();
	for (slot = hash_bytes(bytes, stride - sizeof(uint32_t)); slots[slot & (slot_count - 1)] != 0;
		 slot++)
	{
		uint32_t	number = slots[slot & (slot_count - 1)] - 1;

		if (memcmp(state_at(number), bytes, stride - sizeof(uint32_t)) == 0)
			return;
	}
	if (state_count >= state_limit)
		return;
	memcpy(bytes + stride - sizeof(uint32_t), &parent_now, sizeof(uint32_t));
	memcpy(state_at(state_count), bytes, stride);
	slots[slot & (slot_count - 1)] = ++state_count;
	note_features(world);
}

/* The next way in which what was answered at once does not arrive; false = that was the last. */
static bool
next_loss(Choice *choice, int talked)
{
	int			others = talked & ~(1 << choice->node);

	choice->mute = (uint8_t) ((choice->mute - others) & others);
	if (choice->mute != 0 && scope.net == 0)
		return true;
	choice->mute = 0;
	choice->deaf = (uint8_t) ((choice->deaf - others) & others);
	return choice->deaf != 0;
}

/*
 * The choice on a state: with everything that may be lost on the way, and, where something
 * left before it was durable, with a death at that moment.  False: the visitor wants no more.
 */
static bool
try_choice(const World *world, Choice *choice, bool (*take) (const Outcome *outcome, void *arg),
		   void *arg)
{
	static Outcome outcome;
	int			talked_first = -1;

	do
	{
		int			talked = 0;

		for (choice->torn = 0; choice->torn < 2; choice->torn++)
		{
			world_apply(world, *choice, &outcome);
			talked |= outcome.talked;
			if (!take(&outcome, arg))
				return false;
			if (!outcome.torn || world->crashes == 0)
				break;
		}
		choice->torn = 0;
		if (choice->kind == DO_MESSAGE && talked != 0)
			talked |= 1 << message_ends(world->net[choice->other])->to;
		if (talked_first < 0)
			talked_first = talked;
		if (talked_first == 0 || !next_loss(choice, talked_first))
			return true;
	} while (true);
}

static bool
take_all(const Outcome *outcome, void *arg)
{
	const Choice *choice = arg;

	if (outcome->broken != NULL)
	{
		is_found = true;
		found = *outcome;
		found_parent = parent_now;
		found_choice = *choice;
		return false;
	}
	if (!outcome->beyond)
		each_network(outcome, add, NULL);
	return true;
}

/* ---- the way to a state ---------------------------------------------------------- */

typedef struct Wanted
{
	const uint8_t *bytes;
	bool		hit;
} Wanted;

static void
compare(const World *world, void *arg)
{
	Wanted	   *wanted = arg;
	uint8_t		bytes[256];

	pack(world, bytes);
	wanted->hit = wanted->hit || memcmp(bytes, wanted->bytes, stride - sizeof(uint32_t)) == 0;
}

static bool
take_wanted(const Outcome *outcome, void *arg)
{
	Wanted	   *wanted = arg;

	if (!outcome->beyond)
		each_network(outcome, compare, arg);
	return !wanted->hit;
}

static Choice
choice_between(const World *from, const uint8_t *to)
{
	Choice		choices[CHOICES];
	int			count = world_choices(from, choices, CHOICES);

	for (int i = 0; i < count; i++)
	{
		Wanted		wanted = {to, false};

		if (!try_choice(from, &choices[i], take_wanted, &wanted))
			return choices[i];
	}
	abort();
}

static void
tell_step(int step, const World *world, Choice choice)
{
	Outcome		outcome;

	printf("%3d  ", step);
	print_choice(world, choice, stdout);
	core_tell = 1;
	world_apply(world, choice, &outcome);
	core_tell = 0;
}

static void
print_way(void)
{
	static uint32_t way[4096];
	int			length = 0;
	World		world;

	for (uint32_t at = found_parent; at != UINT32_MAX && length < 4096;)
	{
		way[length++] = at;
		memcpy(&at, state_at(at) + stride - sizeof(uint32_t), sizeof(at));
	}
	for (int i = length - 1; i >= 0; i--)
	{
		unpack(state_at(way[i]), &world);
		print_world(&world, stdout);
		if (i > 0)
			tell_step(length - i, &world, choice_between(&world, state_at(way[i - 1])));
	}
	tell_step(length, &world, found_choice);
	print_world(&found.world, stdout);
	printf("\nBROKEN %s: %s\n", found.broken, found.why);
}

/* ---- the search -------------------------------------------------------------------- */

static double
seconds_since(const struct timespec *then)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) (now.tv_sec - then->tv_sec) + (double) (now.tv_nsec - then->tv_nsec) / 1e9;
}

static void
print_features(void)
{
	printf("states with:");
	for (int i = 0; i < FEATURES && feature_names[i] != NULL; i++)
		printf("%s %s %ld", i == 0 ? "" : ",", feature_names[i], features[i]);
	printf("\n");
}

static void
expand(uint32_t number)
{
	Choice		choices[CHOICES];
	World		world;
	int			count;

	unpack(state_at(number), &world);
	parent_now = number;
	count = world_choices(&world, choices, CHOICES);
	for (int i = 0; i < count && !is_found; i++)
		(void) try_choice(&world, &choices[i], take_all, &choices[i]);
}

void
search(Result *result)
{
	struct timespec begin;
	World		first;
	uint32_t	next = 0;
	uint32_t	level_end = 1;

	memset(result, 0, sizeof(*result));
	clock_gettime(CLOCK_MONOTONIC, &begin);
	start_arena();
	world_start(&first);
	parent_now = UINT32_MAX;
	add(&first, NULL);
	while (next < state_count && !is_found && state_count < state_limit)
	{
		expand(next++);
		if (next == level_end && next < state_count)
		{
			result->depth++;
			level_end = state_count;
		}
		if ((next & 0xffff) == 0 && scope.seconds > 0 &&
			seconds_since(&begin) > (double) scope.seconds)
			break;
	}
	result->found = is_found;
	result->whole = !is_found && next == state_count;
	result->empty = scope.terms > 0 && features[1] + features[2] + features[3] == 0;
	result->states = state_count;
	result->transitions = transitions;
	result->seconds = seconds_since(&begin);
	if (is_found)
		print_way();
	else
		print_features();
	printf("cores %u (%zu MB with messages), messages %u, %u bytes a state, %u not looked at\n",
		   core_count(), core_bytes() >> 20, messages.count, stride, state_count - next);
}
