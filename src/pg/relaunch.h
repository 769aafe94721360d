/*
 * relaunch.h
 *	  The mechanics of starting the server again inside its own process.
 */
#ifndef PGQ_RELAUNCH_H
#define PGQ_RELAUNCH_H

/* From _PG_init of the postmaster, the arguments as they were given are still to be had. */
extern void pgq_relaunch_keep_arguments(void);

/* End what is left of our children, but for the log collector, which ends by itself. */
extern void pgq_relaunch_end_children(void);

/* What comes from here on is pending for the next life ... */
extern void pgq_relaunch_block_signals(void);

/* ... but for this one, if it is pending. */
extern void pgq_relaunch_forget_signal(int signal);

/* Signals are blocked.  Does not return, unless it fails (errno). */
extern void pgq_relaunch(void);

#endif							/* PGQ_RELAUNCH_H */
