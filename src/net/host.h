/*
 * host.h
 *	  What the code in src/net needs of the program it lives in.
 *
 * There are two: the server's worker (src/pg/host.c, host_wait.c) and the witness
 * (src/witness/host.c, wait.c).  Nothing in src/net includes a header that
 * only one of them has.
 */
#ifndef PGQ_HOST_H
#define PGQ_HOST_H

#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "../core/quorum_types.h"
#include "clock.h"
#include "report.h"

struct pg_hmac_ctx;

/* What is counted on the quorum port. */
typedef enum PgqCounter
{
	PGQ_COUNT_FRAMES_IN,
	PGQ_COUNT_FRAMES_OUT,
	PGQ_COUNT_REJECTED_AUTH,	/* wrong secret, bad MAC, replayed counter */
	PGQ_COUNT_REJECTED_GARBAGE, /* bad length, version or content */
	PGQ_COUNT_REJECTED_IDENTITY,	/* other cluster, other system, other incarnation */
	PGQ_COUNT_DROPPED_SLOW,		/* frames not queued because the peer does not read */
	PGQ_COUNT_TIMEOUTS			/* handshakes that took too long */
} PgqCounter;

#define PGQ_COUNTERS	(PGQ_COUNT_TIMEOUTS + 1)

/* One entry in the log.  Keeps errno. */
extern void pgq_host_log(const PgqReport *report);

extern void pgq_host_count(PgqCounter counter);

/* Zeroed memory for the life of the process; does not return without it. */
extern void *pgq_host_alloc(size_t size);

/* open(), when descriptors are short at the cost of others of this process. */
extern int	pgq_host_open(const char *path, int flags);

/* A context for HMAC-SHA256 that lasts as long as the process; NULL = out of memory. */
extern struct pg_hmac_ctx *pgq_host_hmac(void);

/* Of the data directory here; 0 = there is none, any will do. */
extern uint64 pgq_host_system_identifier(void);

#endif							/* PGQ_HOST_H */
