/*
 * clock.h
 *	  The three clocks of a node, in microseconds.
 */
#ifndef PGQ_CLOCK_H
#define PGQ_CLOCK_H

/* c.h has been included: uint64 */

#include "../core/quorum_types.h"

extern uint64 pgq_now_boot(void);
extern uint64 pgq_now_mono(void);
extern uint64 pgq_now_wall(void);	/* since 1970 */

/* All of them, as an event carries them. */
extern QuorumInstant pgq_now(void);

#endif							/* PGQ_CLOCK_H */
