/*
 * pg_quorum.c
 *	  Where the library enters the server: asks every part to take its place.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "commit_level.h"
#include "fence.h"
#include "guc.h"
#include "promote.h"
#include "proof.h"
#include "read_level.h"
#include "restart.h"
#include "rewind.h"
#include "shmem.h"
#include "stream.h"
#include "worker.h"

#include "../core/quorum_message.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(pgq_library_version);

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
	pgq_read_level_init();		/* before the prefix of the settings is reserved */
	pgq_commit_level_init();
	pgq_proof_init();
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

/*
 * What runs here, whatever the SQL objects are: those change on all nodes at once, libraries
 * one after the other.
 */
Datum
pgq_library_version(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s (protocol %d.%d)", PGQ_VERSION,
											  QUORUM_FORMAT_MAJOR, QUORUM_FORMAT_MINOR)));
}
