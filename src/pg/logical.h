/*
 * logical.h
 *	  What logical replication slots need to survive a change of the leader.
 */
#ifndef PGQ_LOGICAL_H
#define PGQ_LOGICAL_H

#include "shmem.h"

/*
 * From the worker, now and then: keep synchronized_standby_slots as the members need it,
 * say once which slots will not survive.  Cheap when there is nothing to do, never throws.
 */
extern void pgq_logical_keep(const QuorumView *view);

#endif							/* PGQ_LOGICAL_H */
