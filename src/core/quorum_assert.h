/*
 * quorum_assert.h
 *	  Assertions of the core: always compiled in, answered by the host.
 *
 * A broken invariant stops this node's part in the cluster (the host ends the
 * worker, its lease lapses by itself); it never stops the host's other work.
 */
#ifndef QUORUM_ASSERT_H
#define QUORUM_ASSERT_H

#include <stdbool.h>

/* Provided by the host (worker, simulator, unit tests); does not return. */
extern _Noreturn void quorum_assert_failed(const char *condition, const char *file, int line);

#define quorum_assert(condition) \
	((condition) ? (void) 0 : quorum_assert_failed(#condition, __FILE__, __LINE__))

#endif							/* QUORUM_ASSERT_H */
