/*
 * host.c
 *	  What src/net needs of the server: its log, its counters, its memory.
 *
 * Used by the worker; the part of state.c also by the postmaster, before there is
 * shared memory.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "common/hmac.h"
#include "storage/fd.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "shmem.h"

void
pgq_host_log(const PgqReport *report)
{
	int			saved = errno;

	ereport(LOG,
			(errmsg("%s", report->message),
			 report->detail[0] != '\0' ? errdetail("%s", report->detail) : 0,
			 report->hint[0] != '\0' ? errhint("%s", report->hint) : 0));
	errno = saved;
}

static pg_atomic_uint64 *
counter_of(PgqCounter counter)
{
	PgqTransportCounters *counters = &pgq_shared->transport;

	switch (counter)
	{
		case PGQ_COUNT_FRAMES_IN:
			return &counters->frames_in;
		case PGQ_COUNT_FRAMES_OUT:
			return &counters->frames_out;
		case PGQ_COUNT_REJECTED_AUTH:
			return &counters->rejected_auth;
		case PGQ_COUNT_REJECTED_GARBAGE:
			return &counters->rejected_garbage;
		case PGQ_COUNT_REJECTED_IDENTITY:
			return &counters->rejected_identity;
		case PGQ_COUNT_DROPPED_SLOW:
			return &counters->dropped_slow;
		case PGQ_COUNT_TIMEOUTS:
			break;
	}
	return &counters->timeouts;
}

void
pgq_host_count(PgqCounter counter)
{
	pg_atomic_fetch_add_u64(counter_of(counter), 1);
}

void *
pgq_host_alloc(size_t size)
{
	return MemoryContextAllocZero(TopMemoryContext, size);
}

int
pgq_host_open(const char *path, int flags)
{
	return BasicOpenFile(path, flags | PG_BINARY);
}

/*
 * The server's HMAC contexts belong to a resource owner, and a worker without a
 * database connection has none: make one, for this single context.
 */
pg_hmac_ctx *
pgq_host_hmac(void)
{
	static ResourceOwner owner;
	ResourceOwner saved = CurrentResourceOwner;
	pg_hmac_ctx *context;

	if (owner == NULL)
		owner = ResourceOwnerCreate(NULL, "pg_quorum transport");
	CurrentResourceOwner = owner;
	context = pg_hmac_create(PG_SHA256);
	CurrentResourceOwner = saved;
	return context;
}

uint64
pgq_host_system_identifier(void)
{
	return GetSystemIdentifier();
}
