/*
 * memcheck.h
 *	  What a PostgreSQL with USE_VALGRIND says of its memory, for AddressSanitizer.
 *
 * It knows its chunks from the blocks that malloc() knows, and which buffers a process has
 * pinned.  With this header in the place of valgrind's own, an access past a palloc(), after
 * a pfree() or to a buffer without its pin is a report, as one past a malloc() is.
 * docs/fuzzing.md says how to build such a server.
 */
#ifndef PGQ_MEMCHECK_H
#define PGQ_MEMCHECK_H

#include <sanitizer/asan_interface.h>

#define VALGRIND_MAKE_MEM_NOACCESS(address, size)	ASAN_POISON_MEMORY_REGION(address, size)
#define VALGRIND_MAKE_MEM_UNDEFINED(address, size)	ASAN_UNPOISON_MEMORY_REGION(address, size)
#define VALGRIND_MAKE_MEM_DEFINED(address, size)	ASAN_UNPOISON_MEMORY_REGION(address, size)

/* The allocators mark what they free themselves. */
#define VALGRIND_MEMPOOL_ALLOC(pool, address, size)	ASAN_UNPOISON_MEMORY_REGION(address, size)
#define VALGRIND_MEMPOOL_CHANGE(pool, before, address, size) \
	ASAN_UNPOISON_MEMORY_REGION(address, size)
#define VALGRIND_MEMPOOL_FREE(pool, address)		((void) 0)
#define VALGRIND_CREATE_MEMPOOL(pool, redzone, zeroed)	((void) 0)
#define VALGRIND_DESTROY_MEMPOOL(pool)				((void) 0)

/* What is defined is not known here. */
#define VALGRIND_CHECK_MEM_IS_DEFINED(address, size)	((void) 0)
#define RUNNING_ON_VALGRIND							0
#define VALGRIND_COUNT_ERRORS						0
#define VALGRIND_PRINTF(...)						((void) 0)

#endif
