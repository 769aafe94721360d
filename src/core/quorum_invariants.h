/*
 * quorum_invariants.h
 *	  What must be true of a node after every step.
 */
#ifndef QUORUM_INVARIANTS_H
#define QUORUM_INVARIANTS_H

#include "quorum_node.h"

/* What a step must not take back; copied before it. */
typedef struct QuorumBefore
{
	QuorumTerm	term;
	QuorumNodeId vote;
	QuorumSetId set_id;
	QuorumRole	role;
	QuorumNodeId leader;
	bool		closed;
	QuorumTime	lease_until;
} QuorumBefore;

extern void quorum_remember(const QuorumNode *node, QuorumBefore *before);
extern void quorum_check_state(const QuorumNode *node);
extern void quorum_check_delta(const QuorumBefore *before, const QuorumNode *node);
extern void quorum_check_update(const QuorumNode *node, const QuorumUpdate *update);

#endif							/* QUORUM_INVARIANTS_H */
