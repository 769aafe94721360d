/*
 * walsync.c
 *	  Whether what this standby has written is on its disk.
 *
 * While fsync is off PostgreSQL calls flushed what is only written, and nothing makes up
 * for that when a reload has turned it on again: segments that were completed meanwhile
 * are never synced, and a restart point may have counted on pages that are not on the
 * disk.  So everything is, once, before the next acknowledgement covers it.
 *
 * A file that was opened under another setting can stay one of which nothing is synced, too:
 * with two of the methods what makes a write durable is how the file was opened.  So the
 * walreceiver ends, and the next one opens it anew.
 *
 * What was written before a boot PostgreSQL syncs only after a crash.  A server that was stopped
 * cleanly may have run with fsync off, or may be a copy that somebody has just made.
 *
 * Rules: A4 (no acknowledgement of what a power cut can take), R1 (a failed fsync is not
 * tried again).
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/ipc.h"

#include "compat.h"
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
pgq_walsync_missed(void)
{
	bool		crc_ok;
	ControlFileData *control = get_controlfile(DataDir, &crc_ok);
	bool		clean = !crc_ok || control->state == DB_SHUTDOWNED ||
		control->state == DB_SHUTDOWNED_IN_RECOVERY;

	pfree(control);
	return clean || !enableFsync;
}

void
pgq_walsync_make_durable(void)
{
	if (!enableFsync || pg_atomic_read_u32(&pgq_shared->unsynced) == 0)
		return;
	sync_file_system(DataDir);
	sync_file_system(XLOGDIR);
	pg_atomic_write_u32(&pgq_shared->unsynced, 0);
	ereport(LOG,
			(errmsg("quorum: what was written and not synced is on the disk now")));
}

bool
pgq_walsync_durable(void)
{
	static int	method = -1;	/* in force when this process opened its file */
	static bool off = false;

	if (!enableFsync)
	{
		off = true;
		pg_atomic_write_u32(&pgq_shared->unsynced, 1);
		return false;
	}
	if (method == -1)
		method = pgq_wal_sync_method;
	if (off || method != pgq_wal_sync_method)
	{
		pg_atomic_write_u32(&pgq_shared->unsynced, 1);
		ereport(LOG,
				(errmsg("quorum: leaving the stream: its WAL file was opened under another \"%s\"",
						off ? "fsync" : "wal_sync_method")));
		proc_exit(0);
	}
	pgq_walsync_make_durable();
	return true;
}
