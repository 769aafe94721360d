/*
 * consistent.h
 *	  Whether a server could start with the data of this node as they are.
 */
#ifndef PGQ_CONSISTENT_H
#define PGQ_CONSISTENT_H

#include "postgres.h"

#include "../core/quorum_types.h"

/* From the walreceiver: without more of the log of whoever they come from?  Cheap. */
extern bool pgq_data_consistent(void);

/*
 * From the walreceiver: up to where recovery has to read before these data are consistent, which
 * may be beyond the log that is here.  InvalidXLogRecPtr = nowhere in particular.
 */
extern QuorumWalPos pgq_data_needed_log(void);

#endif							/* PGQ_CONSISTENT_H */
