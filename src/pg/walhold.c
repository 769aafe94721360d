/*
 * walhold.c
 *	  Keeps the log of this server from growing while its term is handed over.
 *
 * Every write and every flush of WAL needs WALWriteLock: while the worker has it, what is
 * flushed is all that will ever be on disk.  Backends go on in memory until they have to
 * write; walsenders read what is flushed and need no lock.  No page can reach the disk
 * either whose record did not: so a server that is then stopped at once is, when it boots,
 * a standby whose log ends where the lock was taken.
 *
 * Not here: what for (quorum_transfer.c in the core).  The lock is given up by every way
 * in which the worker can end, except that the whole server stops at once.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "storage/lwlock.h"

#include "walhold.h"

/* Somebody may write, but not flush, between our flush and our lock: rare, so few tries. */
#define TRIES	20

static bool held = false;

bool
pgq_walhold_take(void)
{
	for (int i = 0; !held && i < TRIES; i++)
	{
		/* What is written and not flushed would be read by the next boot, and known to nobody. */
		XLogFlush(GetXLogWriteRecPtr());
		LWLockAcquire(WALWriteLock, LW_EXCLUSIVE);
		if (GetXLogWriteRecPtr() == GetFlushRecPtr(NULL))
			held = true;
		else
			LWLockRelease(WALWriteLock);
	}
	return held;
}

void
pgq_walhold_release(void)
{
	if (!held)
		return;
	held = false;
	LWLockRelease(WALWriteLock);
}

bool
pgq_walhold_held(void)
{
	return held;
}
