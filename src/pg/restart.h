/*
 * restart.h
 *	  In the postmaster: a member always boots as a standby, and the server can
 *	  restart itself in place under the same pid.
 */
#ifndef PGQ_RESTART_H
#define PGQ_RESTART_H

#include "shmem.h"

/* From _PG_init, postmaster only: keep the arguments, register the exit callbacks. */
extern void pgq_restart_init(void);

/*
 * From shmem_startup_hook, at boot and at every crash-restart, before the startup
 * process exists: standby.signal for a member (V7), hygiene of history files (R16).
 */
extern void pgq_restart_prepare_boot(void);

/* Right after a promotion: the next boot is a standby again, with or without the library (R19). */
extern void pgq_restart_mark_standby(void);

#endif							/* PGQ_RESTART_H */
