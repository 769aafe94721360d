/*
 * health.c
 *	  Is this server still able to make WAL durable: does its flush move, is there room?
 *
 * It tells; what follows from it is the core's business (G1, G3).
 */
#include "postgres.h"

#include <sys/statvfs.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "miscadmin.h"
#include "storage/lwlock.h"

#include "guc.h"
#include "health.h"
#include "shmem.h"
#include "walhold.h"

/* How often the file systems are asked. */
#define SPACE_INTERVAL_US	INT64CONST(1000000)

/*
 * WAL waits to be flushed, the flush position stands still, and whoever flushes holds the
 * lock all the time: a disk that hangs.  WAL that nobody flushes is no sign of anything,
 * nor is a log that this worker holds itself.
 */
bool
pgq_health_wal_stalled(void)
{
	static XLogRecPtr flushed = InvalidXLogRecPtr;
	static uint64 since = 0;
	XLogRecPtr	flush = GetFlushRecPtr(NULL);

	if (flush != flushed || GetXLogInsertRecPtr() <= flush || pgq_walhold_held())
	{
		flushed = flush;
		since = 0;
		return false;
	}
	if (LWLockConditionalAcquire(WALWriteLock, LW_EXCLUSIVE))
	{
		LWLockRelease(WALWriteLock);
		since = 0;
		return false;
	}
	if (since == 0)
		since = pgq_now_mono();
	return pgq_now_mono() - since >= (uint64) pgq_lease_duration * 1000;
}

/* Bytes that this user may still write where `path` is; the largest number when not known. */
static uint64
free_space(const char *path)
{
	struct statvfs fs;

	if (statvfs(path, &fs) != 0)
		return PG_UINT64_MAX;
	return (uint64) fs.f_bavail * fs.f_frsize;
}

bool
pgq_health_space_low(void)
{
	static bool low = false;
	static uint64 asked_at = 0;
	uint64		now = pgq_now_mono();
	uint64		limit = (uint64) pgq_min_free_space * 1024 * 1024;
	uint64		room;

	if (asked_at != 0 && now - asked_at < SPACE_INTERVAL_US)
		return low;
	asked_at = now;
	room = Min(free_space(XLOGDIR), free_space("."));

	/* A quarter more before it is enough again: no to and fro at the edge. */
	if (low && room >= limit + limit / 4)
	{
		low = false;
		ereport(LOG, (errmsg("quorum: there is enough room on the disk again")));
	}
	else if (!low && room < limit)
	{
		low = true;
		ereport(LOG,
				(errmsg("quorum: less than %d MB are left for WAL or data", pgq_min_free_space),
				 errdetail("A leader in this state hands its term over to a member that has more room."),
				 errhint("Make room, or lower quorum.min_free_space.")));
	}
	return low;
}
