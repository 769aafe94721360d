/*
 * syncnames.h
 *	  Keeps synchronous_standby_names = ANY k (the other voters) in postgresql.auto.conf.
 */
#ifndef PGQ_SYNCNAMES_H
#define PGQ_SYNCNAMES_H

#include "shmem.h"

/* From the worker: write and reload when it differs.  True when the value in force is right. */
extern bool pgq_syncnames_keep(const QuorumSyncRule *rule);

#endif							/* PGQ_SYNCNAMES_H */
