/*
 * walhold.h
 *	  Keeps the log of this server from growing while its term is handed over.
 */
#ifndef PGQ_WALHOLD_H
#define PGQ_WALHOLD_H

#include "postgres.h"

/* False when the log did not come to rest: to be tried again. */
extern bool pgq_walhold_take(void);
extern void pgq_walhold_release(void);
extern bool pgq_walhold_held(void);

#endif							/* PGQ_WALHOLD_H */
