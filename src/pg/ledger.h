/*
 * ledger.h
 *	  The ledger of commits: which members hold which WAL, and whether they are enough.
 */
#ifndef PGQ_LEDGER_H
#define PGQ_LEDGER_H

#include "shmem.h"

/* From the worker, after rule or slots changed: publish rule and slot indexes for the backends. */
extern void pgq_ledger_publish(const QuorumSyncRule *rule);

/*
 * V2: how many members of the rule hold the WAL up to lsn, as told by the one
 * walsender that owns the member's slot?  True when the rule is satisfied.
 */
extern bool pgq_ledger_satisfied(XLogRecPtr lsn) pg_attribute_hot;

#endif							/* PGQ_LEDGER_H */
