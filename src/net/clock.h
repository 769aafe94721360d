/*
 * clock.h
 *	  The three clocks of a node, in microseconds.
 */
#ifndef PGQ_CLOCK_H
#define PGQ_CLOCK_H

/* c.h has been included: uint64 */

extern uint64 pgq_now_boot(void);
extern uint64 pgq_now_mono(void);
extern uint64 pgq_now_wall(void);	/* since 1970 */

#endif							/* PGQ_CLOCK_H */
