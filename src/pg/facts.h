/*
 * facts.h
 *	  Truth about the local PostgreSQL, as the core wants it.
 */
#ifndef PGQ_FACTS_H
#define PGQ_FACTS_H

#include "shmem.h"

/* Read everything afresh; a memory barrier first, so that a fence raised before counts (S2). */
extern void pgq_facts_read(QuorumFacts *facts);

#endif							/* PGQ_FACTS_H */
