/*
 * walsync.h
 *	  Whether what this standby has written is on its disk.
 */
#ifndef PGQ_WALSYNC_H
#define PGQ_WALSYNC_H

#include "postgres.h"

/* From the walreceiver, before each acknowledgement: may it speak of what was flushed? */
extern bool pgq_walsync_durable(void);

#endif							/* PGQ_WALSYNC_H */
