/*
 * read_level.c
 *	  How sure a read is of being the newest: quorum.read_consistency, and waiting for it.
 *
 * On a leader the lease says so, as long as clocks run; a host that was paused as a whole
 * does not see that they stood still (V15, R30).  `quorum` asks a majority after the last
 * row was read.  On a follower `committed` waits until the quorum holds all that was
 * replayed when the read ended (H3): what it saw no failover takes back.  The record that is
 * being applied counts: a commit is visible before that is over.
 *
 * Rules: Q1, Q2.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "utils/guc.h"
#include "utils/wait_event.h"

#include "read_level.h"

/* How long a waiting read sleeps before it asks again. */
#define ASK_AGAIN_MS	20

#define TIMEOUT_MS_MAX	(10 * 60 * 1000)

enum
{
	READ_LOCAL,
	READ_LEASE,
	READ_COMMITTED,
	READ_QUORUM
};

static const struct config_enum_entry levels[] = {
	{"local", READ_LOCAL, false},
	{"lease", READ_LEASE, false},
	{"committed", READ_COMMITTED, false},
	{"quorum", READ_QUORUM, false},
	{NULL, 0, false}
};

static int	read_consistency = READ_LEASE;
static int	read_timeout = 5000;

void
pgq_read_level_init(void)
{
	DefineCustomEnumVariable("quorum.read_consistency", "How sure a read is of being the newest.",
							 "local: what is here; lease: this node leads, by its lease; committed: "
							 "on a standby, what no failover takes back; quorum: a majority has "
							 "confirmed it after the read.",
							 &read_consistency, READ_LEASE, levels, PGC_USERSET, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("quorum.read_timeout", "How long a read waits to be confirmed.",
							"For quorum.read_consistency = committed or quorum.",
							&read_timeout, 5000, 1, TIMEOUT_MS_MAX, PGC_USERSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
}

bool
pgq_read_level_is_local(void)
{
	return read_consistency == READ_LOCAL;
}

bool
pgq_read_level_waits(void)
{
	return (read_consistency == READ_QUORUM ||
			(read_consistency == READ_COMMITTED && RecoveryInProgress())) && pgq_is_member();
}

static void
give_up(bool standby)
{
	ConditionVariableCancelSleep();
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the read was not confirmed within %d ms", read_timeout),
			 standby ?
			 errdetail("What it saw is not known to be held by the quorum.") :
			 errdetail("No majority of the voters has answered since."),
			 errhint("Try again, or see quorum.status; quorum.read_consistency and quorum.read_timeout say what a read waits for.")));
}

bool
pgq_read_level_confirm(bool (*may_serve) (void))
{
	bool		standby = RecoveryInProgress();
	uint64		since = pgq_now_boot();
	uint64		deadline = pgq_now_mono() + (uint64) read_timeout * 1000;
	XLogRecPtr	seen = standby ? GetCurrentReplayRecPtr(NULL) : InvalidXLogRecPtr;

	ConditionVariablePrepareToSleep(&pgq_shared->read_confirmed);
	for (;;)
	{
		if (standby && pg_atomic_read_u64(&pgq_shared->held_lsn) >= seen)
			break;
		if (!standby && !may_serve())
			break;
		if (!standby && pg_atomic_read_u64(&pgq_shared->confirmed_at) >= since)
			break;
		if (pgq_now_mono() >= deadline)
			give_up(standby);
		pg_atomic_write_u32(&pgq_shared->confirm_wanted, 1);
		pgq_shmem_wake_worker();
		(void) ConditionVariableTimedSleep(&pgq_shared->read_confirmed, ASK_AGAIN_MS,
										   PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
	return standby || may_serve();
}

bool
pgq_read_level_wanted(void)
{
	return pg_atomic_exchange_u32(&pgq_shared->confirm_wanted, 0) != 0;
}

void
pgq_read_level_publish(QuorumTime confirmed_at, XLogRecPtr held)
{
	if (pg_atomic_read_u64(&pgq_shared->confirmed_at) == (uint64) confirmed_at &&
		pg_atomic_read_u64(&pgq_shared->held_lsn) == held)
		return;
	pg_atomic_write_u64(&pgq_shared->confirmed_at, (uint64) confirmed_at);
	pg_atomic_write_u64(&pgq_shared->held_lsn, held);
	ConditionVariableBroadcast(&pgq_shared->read_confirmed);
}
