/*
 * transport_lookup.h
 *	  What the name of a host resolves to, without waiting for the answer (H81).
 */
#ifndef PGQ_TRANSPORT_LOOKUP_H
#define PGQ_TRANSPORT_LOOKUP_H

#include "host.h"

struct addrinfo;

/* One question under way. */
typedef struct PgqLookup PgqLookup;

/* NULL when nobody can be asked now. */
extern PgqLookup *pgq_lookup_start(const char *host);

/*
 * True when the answer is there: found, for the caller to free, or NULL.  The lookup is over
 * then.
 */
extern bool pgq_lookup_over(PgqLookup *lookup, struct addrinfo **found);

/* Nobody wants the answer any more. */
extern void pgq_lookup_forget(PgqLookup *lookup);

#endif							/* PGQ_TRANSPORT_LOOKUP_H */
