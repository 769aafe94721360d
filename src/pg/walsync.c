/*
 * walsync.c
 *	  Whether what this standby has written is on its disk.
 *
 * While fsync is off PostgreSQL calls flushed what is only written, and nothing makes up
 * for that when a reload has turned it on again: segments that were completed meanwhile
 * are never synced, and a restart point may have counted on pages that are not on the
 * disk.  So everything is, once, before the next acknowledgement covers it.
 *
 * Rules: A4 (no acknowledgement of what a power cut can take), R1 (a failed fsync is not
 * tried again).  Not here: WAL that a server wrote before it was stopped with fsync off.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/xlog_internal.h"
#include "miscadmin.h"
#include "storage/fd.h"

#include "shmem.h"
#include "walsync.h"

/* The whole file system: of the files that were written nobody has a list. */
static void
sync_file_system(const char *directory)
{
	int			fd = BasicOpenFile(directory, O_RDONLY);

	if (fd < 0 || syncfs(fd) != 0)
		ereport(data_sync_elevel(ERROR),
				(errcode_for_file_access(),
				 errmsg("could not sync the file system of \"%s\": %m", directory)));
	close(fd);
}

bool
pgq_walsync_durable(void)
{
	if (!enableFsync)
	{
		pg_atomic_write_u32(&pgq_shared->unsynced, 1);
		return false;
	}
	if (pg_atomic_read_u32(&pgq_shared->unsynced) != 0)
	{
		sync_file_system(DataDir);
		sync_file_system(XLOGDIR);
		pg_atomic_write_u32(&pgq_shared->unsynced, 0);
		ereport(LOG,
				(errmsg("quorum: what was written while fsync was off is on the disk now")));
	}
	return true;
}
