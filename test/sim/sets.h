/*
 * sets.h
 *	  A member set as the oracle sees it: bits, one for each server (1 << index).
 *
 * Part of sim.h, which includes it.
 */
#ifndef SIM_SETS_H
#define SIM_SETS_H

typedef struct SimSet
{
	QuorumSetId id;
	uint32_t	members;
	uint32_t	votes;			/* data voters and witnesses */
	uint32_t	data;			/* data voters */
	uint32_t	in;				/* those that count for commits: not left out (Y1) */
} SimSet;

/* sets.c */
extern SimSet sim_set_of(const QuorumMemberSet *set);
extern int	sim_set_need(const SimSet *set);	/* holders beside the leader (Y2) */
extern int	sim_set_majority(const SimSet *set);
extern int	sim_bits(uint32_t mask);

#endif							/* SIM_SETS_H */
