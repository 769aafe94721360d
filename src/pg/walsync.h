/*
 * walsync.h
 *	  Whether what this standby has written is on its disk.
 */
#ifndef PGQ_WALSYNC_H
#define PGQ_WALSYNC_H

#include "postgres.h"

/* From the postmaster, at boot: may there be something that nobody has synced, nor will? */
extern bool pgq_walsync_missed(void);

/* From the walreceiver, before it is said that the local log is here. */
extern void pgq_walsync_make_durable(void);

/* From the walreceiver, before each acknowledgement: may it speak of what was flushed? */
extern bool pgq_walsync_durable(void);

#endif							/* PGQ_WALSYNC_H */
