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

/*
 * Gate open, lease valid and postmaster alive?  Always true on a server that is no
 * member; says nothing about a server in recovery.  Exported: make bench times it.
 */
extern PGDLLEXPORT bool pgq_fence_may_serve(void) pg_attribute_hot;

/* Why pgq_fence_may_serve is false, as a sentence for errdetail. */
extern const char *pgq_fence_reason(void);

/* fence_reads.c: the executor hook.  Called by pgq_fence_init. */
extern void pgq_fence_reads_init(void);

/* ERROR unless this server may answer a read now; a standby may always. */
extern void pgq_fence_check_read(void) pg_attribute_hot;

/* fence_reads.c: likewise, and wait until it is as sure as quorum.read_consistency wants. */
extern void pgq_fence_confirm_read(void);

/* fence_reads.c: before a commit, ERROR when a function call of the client was not confirmed. */
extern void pgq_fence_confirm_calls(void) pg_attribute_hot;
extern void pgq_fence_forget_calls(void) pg_attribute_hot;

#endif							/* PGQ_FENCE_H */
