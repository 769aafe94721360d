/*
 * shmem.c
 *	  Makes the one shared structure at boot and at every crash-restart.
 *
 * It decides nothing about terms: it publishes what the state file promises (the
 * fence) before any other process exists, and lets restart.c prepare the data
 * directory for the startup process that comes next.
 *
 * Rules: S2 (the promised term is in force from the first instant), S9 (no readable
 * state: no part), R19, H44 (recovery targets have no place on a member).
 */
#include "postgres.h"

#include <signal.h>
#include <unistd.h>

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"
#include "storage/shmem.h"

#include "guc.h"
#include "promote.h"
#include "restart.h"
#include "shmem.h"
#include "state.h"
#include "walsync.h"

#define TRANCHE_NAME "pg_quorum"

PgqShared  *pgq_shared = NULL;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static void shmem_request(void);
static void shmem_startup(void);
static void shmem_fill(PgqShared *shared);
static void shmem_read_state(PgqShared *shared);
static bool settings_fit(char *notice);

void
pgq_shmem_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

bool
pgq_shmem_copy_view(QuorumView *view)
{
	if (pgq_shared == NULL)
		return false;
	LWLockAcquire(pgq_shared->lock, LW_SHARED);
	memcpy(view, &pgq_shared->view, sizeof(*view));
	LWLockRelease(pgq_shared->lock);
	return view->node_id != QUORUM_NO_NODE;
}

/*
 * Without the lock: the latch lives in shared memory as long as the pointer does, and
 * waking the next owner of a stale one costs that process one turn of its loop.
 */
void
pgq_shmem_wake_worker(void)
{
	Latch	   *latch;

	if (pgq_shared == NULL)
		return;
	latch = *(Latch *volatile *) &pgq_shared->worker_latch;
	if (latch != NULL)
		SetLatch(latch);
}

/*
 * The mode only ever gets stricter, so each mode is asked for once.  Signals are counted
 * so that the postmaster can tell ours from an operator's (restart.c).
 */
void
pgq_request_restart(PgqRestartMode mode, const char *why)
{
	uint32		wanted = (uint32) mode;
	uint32		current;

	if (pgq_shared == NULL || mode == PGQ_RESTART_NONE || !PostmasterIsAlive())
		return;
	current = pg_atomic_read_u32(&pgq_shared->restart_mode);
	do
	{
		if (current >= wanted)
			return;
	} while (!pg_atomic_compare_exchange_u32(&pgq_shared->restart_mode, &current, wanted));

	ereport(LOG, (errmsg("quorum: restarting in place as a standby: %s", why)));
	pg_atomic_fetch_add_u32(&pgq_shared->restart_signals, 1);
	if (kill(PostmasterPid, mode == PGQ_RESTART_IMMEDIATE ? SIGQUIT : SIGINT) != 0)
		ereport(LOG, (errmsg("could not send a signal to the postmaster: %m")));
}

void
pgq_request_forget_above(TimeLineID keep, const char *why)
{
	pg_atomic_write_u64(&pgq_shared->forget_above, keep);
	pgq_request_restart(PGQ_RESTART_IMMEDIATE, why);
}

static void
shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(PgqShared)));
	RequestNamedLWLockTranche(TRANCHE_NAME, 1);
}

/* In the postmaster, before any child of this boot exists. */
static void
shmem_startup(void)
{
	bool		found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	pgq_shared = ShmemInitStruct(TRANCHE_NAME, sizeof(PgqShared), &found);
	if (!found)
		shmem_fill(pgq_shared);
	LWLockRelease(AddinShmemInitLock);

	if (!found)
	{
		shmem_read_state(pgq_shared);
		if (pgq_shared->boot_membership != PGQ_NO_MEMBER)
			pgq_promote_keep_log_level();
		pgq_restart_prepare_boot();
	}
}

static void
shmem_fill(PgqShared *shared)
{
	memset(shared, 0, sizeof(*shared));
	shared->lock = &GetNamedLWLockTranche(TRANCHE_NAME)->lock;
	SpinLockInit(&shared->stream_mutex);
	shared->next_request_id = 1;

	pg_atomic_init_u32(&shared->member, 0);
	pg_atomic_init_u64(&shared->fence_term, 0);
	pg_atomic_init_u64(&shared->elected_term, 0);
	pg_atomic_init_u64(&shared->lease_until, 0);
	pg_atomic_init_u32(&shared->gate_open, 0);
	pg_atomic_init_u32(&shared->has_served, 0);
	pg_atomic_init_u64(&shared->rule_version, 0);
	pg_atomic_init_u64(&shared->confirmed_at, 0);
	pg_atomic_init_u64(&shared->held_lsn, 0);
	pg_atomic_init_u32(&shared->confirm_wanted, 0);
	ConditionVariableInit(&shared->read_confirmed);
	pg_atomic_init_u64(&shared->proofs_made, 0);
	for (int i = 0; i < PGQ_INCARNATIONS; i++)
		pg_atomic_init_u64(&shared->incarnations[i].owner, 0);
	pg_atomic_init_u32(&shared->unsynced, pgq_walsync_missed() ? 1 : 0);
	pg_atomic_init_u32(&shared->local_wal_read, 0);
	pg_atomic_init_u32(&shared->first_new_tli, 0);
	pg_atomic_init_u32(&shared->log_damaged, 0);
	pg_atomic_init_u32(&shared->log_damage_kept, 0);
	pg_atomic_init_u32(&shared->restart_mode, PGQ_RESTART_NONE);
	pg_atomic_init_u32(&shared->restart_signals, 0);
	pg_atomic_init_u64(&shared->forget_above, 0);

	pg_atomic_init_u64(&shared->transport.frames_in, 0);
	pg_atomic_init_u64(&shared->transport.frames_out, 0);
	pg_atomic_init_u64(&shared->transport.rejected_auth, 0);
	pg_atomic_init_u64(&shared->transport.rejected_garbage, 0);
	pg_atomic_init_u64(&shared->transport.rejected_identity, 0);
	pg_atomic_init_u64(&shared->transport.dropped_slow, 0);
	pg_atomic_init_u64(&shared->transport.timeouts, 0);

	if (!pg_strong_random(&shared->boot_nonce, sizeof(shared->boot_nonce)))
		ereport(FATAL,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random boot nonce")));
}

static void
shmem_read_state(PgqShared *shared)
{
	static QuorumHardState hard;

	/* pg_upgrade starts the old server alone and only for itself */
	if (IsBinaryUpgrade)
		return;
	shared->boot_membership = pgq_state_read(&hard, shared->notice);
	if (shared->boot_membership != PGQ_MEMBER)
		return;

	/* a member whose settings are wrong obeys the rules of a member all the same */
	pg_atomic_write_u64(&shared->fence_term, hard.term);
	pg_atomic_write_u32(&shared->member, 1);

	/* at every start of shared memory: a server may have become a member while it ran */
	pgq_guc_override_managed(hard.node_id);
	if (settings_fit(shared->notice))
		shared->boot_node_id = hard.node_id;
	else
		shared->boot_membership = PGQ_MISCONFIGURED;
}

static bool
settings_fit(char *notice)
{
	char		detail[QUORUM_REASON_SIZE];
	char		hint[QUORUM_REASON_SIZE];

	/* H44: recovery would stop somewhere, not where the cluster's log ends */
	if (recoveryTarget != RECOVERY_TARGET_UNSET || access(RECOVERY_SIGNAL_FILE, F_OK) == 0)
	{
		strlcpy(notice, "a recovery target or recovery.signal is set on a member of a cluster",
				QUORUM_REASON_SIZE);
		return false;
	}
	return pgq_guc_check(notice, detail, hint);
}
