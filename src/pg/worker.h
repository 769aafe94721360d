/*
 * worker.h
 *	  The background worker in which the core lives.
 */
#ifndef PGQ_WORKER_H
#define PGQ_WORKER_H

#include "shmem.h"

/* From _PG_init, postmaster only. */
extern void pgq_worker_register(void);

extern PGDLLEXPORT void pgq_worker_main(Datum arg) pg_attribute_noreturn();

#endif							/* PGQ_WORKER_H */
