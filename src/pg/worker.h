/*
 * worker.h
 *	  The background worker in which the core lives.
 */
#ifndef PGQ_WORKER_H
#define PGQ_WORKER_H

#include "compat.h"
#include "shmem.h"

/* From _PG_init, postmaster only. */
extern void pgq_worker_register(void);

pg_noreturn extern PGDLLEXPORT void pgq_worker_main(Datum arg);

#endif							/* PGQ_WORKER_H */
