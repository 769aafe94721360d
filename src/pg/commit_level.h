/*
 * commit_level.h
 *	  What an acknowledged commit is worth: quorum.commit and quorum.max_lag.
 */
#ifndef PGQ_COMMIT_LEVEL_H
#define PGQ_COMMIT_LEVEL_H

#include "shmem.h"

/* Defines the settings; from _PG_init in the postmaster. */
extern void pgq_commit_level_init(void);

/* Commits of this session do not wait for the quorum, only for it to be near. */
extern bool pgq_commit_level_is_async(void) pg_attribute_hot;

/* How far the quorum must be before an asynchronous commit that ends at lsn is acknowledged. */
extern XLogRecPtr pgq_commit_level_floor(XLogRecPtr lsn);

#endif							/* PGQ_COMMIT_LEVEL_H */
