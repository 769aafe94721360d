/*
 * pg_quorum.c
 *	  Where the library enters the server: asks every part to take its place.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "fence.h"
#include "guc.h"
#include "promote.h"
#include "restart.h"
#include "rewind.h"
#include "shmem.h"
#include "stream.h"
#include "worker.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	/*
	 * Without preloading there is no worker and no shared memory; the views and the
	 * lag functions still work on any streaming server.
	 */
	if (!process_shared_preload_libraries_in_progress)
	{
		pgq_guc_init(false);
		return;
	}
	pgq_guc_init(true);
	pgq_shmem_init();
	if (!IsPostmasterEnvironment || IsBinaryUpgrade)
		return;

	pgq_restart_init();
	pgq_rewind_boot();
	pgq_promote_init();
	pgq_stream_init();
	pgq_fence_init();
	pgq_worker_register();
}
