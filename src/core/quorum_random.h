/*
 * quorum_random.h
 *	  Seeded pseudo-random numbers: chance is an input of the core, like time.
 */
#ifndef QUORUM_RANDOM_H
#define QUORUM_RANDOM_H

#include <stdint.h>

typedef struct QuorumRandom
{
	uint64_t	state;
} QuorumRandom;

extern void quorum_random_seed(QuorumRandom *random, uint64_t seed);
extern uint64_t quorum_random_next(QuorumRandom *random);

/* Uniform in [low, high]; low <= high. */
extern int64_t quorum_random_between(QuorumRandom *random, int64_t low, int64_t high);

#endif							/* QUORUM_RANDOM_H */
