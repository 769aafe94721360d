/*
 * samples.h
 *	  Valid messages and states, to begin with; and what is true of any that was decoded.
 */
#ifndef FUZZ_SAMPLES_H
#define FUZZ_SAMPLES_H

#include "quorum_types.h"

/* full: as long as they can be. */
extern void sample_set(QuorumMemberSet *set, bool full);
extern void sample_message(QuorumMessage *message, QuorumMessageType type, bool full);
extern void sample_hard_state(QuorumHardState *hard, bool full);

extern void check_set(const QuorumMemberSet *set);

#endif							/* FUZZ_SAMPLES_H */
