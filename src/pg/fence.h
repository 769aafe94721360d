/*
 * fence.h
 *	  In every backend: may I read, may I commit, and is my commit held by the quorum?
 *
 * Needs no living worker: it reads the gate, the lease and the rule for commits in
 * shared memory.
 */
#ifndef PGQ_FENCE_H
#define PGQ_FENCE_H

#include "shmem.h"

/* From _PG_init: executor, utility and transaction hooks. */
extern void pgq_fence_init(void);

/* Gate open, lease valid and postmaster alive? */
extern bool pgq_fence_may_serve(void);

#endif							/* PGQ_FENCE_H */
