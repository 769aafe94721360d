/*
 * quorum_random.c
 *	  Seeded pseudo-random numbers (splitmix64).
 */
#include "quorum_random.h"

#include "quorum_assert.h"

void
quorum_random_seed(QuorumRandom *random, uint64_t seed)
{
	random->state = seed;
	(void) quorum_random_next(random);
}

uint64_t
quorum_random_next(QuorumRandom *random)
{
	uint64_t	z = (random->state += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

int64_t
quorum_random_between(QuorumRandom *random, int64_t low, int64_t high)
{
	uint64_t	range;

	quorum_assert(low <= high);
	range = (uint64_t) high - (uint64_t) low + 1;
	if (range == 0)
		return (int64_t) quorum_random_next(random);

	/* The bias of the remainder is irrelevant for timeouts and schedules. */
	return (int64_t) ((uint64_t) low + quorum_random_next(random) % range);
}
