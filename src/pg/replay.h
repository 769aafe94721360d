/*
 * replay.h
 *	  Keeps replay from standing in the way of a change of leader.
 */
#ifndef PGQ_REPLAY_H
#define PGQ_REPLAY_H

#include "shmem.h"

/*
 * From the worker, with fresh facts.  elected: this node won and has to promote;
 * leader_known: there is a leader to follow.  Does nothing on a node that streams.
 */
extern void pgq_replay_unblock(const QuorumFacts *facts, bool elected, bool leader_known);

#endif							/* PGQ_REPLAY_H */
