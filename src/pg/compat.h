/*
 * compat.h
 *	  What differs between the PostgreSQL releases we build on: the only place that
 *	  looks at PG_VERSION_NUM.
 */
#ifndef PGQ_COMPAT_H
#define PGQ_COMPAT_H

#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif
#if PG_VERSION_NUM >= 190000
#include "storage/standby.h"
#endif
#include "utils/guc_tables.h"
#include "utils/memutils.h"

/* 17: a wait event set belongs to a resource owner instead of a memory context. */
#if PG_VERSION_NUM >= 170000
#define pgq_create_wait_event_set(nevents) CreateWaitEventSet(NULL, (nevents))
#else
#define pgq_create_wait_event_set(nevents) CreateWaitEventSet(TopMemoryContext, (nevents))
#endif

/*
 * The oldest minor release of each major one that is safe to run: the
 * empty synchronous_standby_names of a starting server, WAL removed too early.
 */
#if PG_VERSION_NUM < 150000
#error "pg_quorum needs PostgreSQL 15 or later"
#elif PG_VERSION_NUM < 160000
#define PGQ_OLDEST_VERSION_NUM	150014
#define PGQ_OLDEST_VERSION		"15.14"
#elif PG_VERSION_NUM < 170000
#define PGQ_OLDEST_VERSION_NUM	160010
#define PGQ_OLDEST_VERSION		"16.10"
#elif PG_VERSION_NUM < 180000
#define PGQ_OLDEST_VERSION_NUM	170006
#define PGQ_OLDEST_VERSION		"17.6"
#elif PG_VERSION_NUM < 190000
#define PGQ_OLDEST_VERSION_NUM	180000
#define PGQ_OLDEST_VERSION		"18.0"
#else
#define PGQ_OLDEST_VERSION_NUM	190000
#define PGQ_OLDEST_VERSION		"19.0"
#endif
#if PG_VERSION_NUM < PGQ_OLDEST_VERSION_NUM
#error "the headers of this PostgreSQL are older than the oldest minor release that pg_quorum accepts"
#endif

/* 18: goes before a declaration, where pg_attribute_noreturn() stood behind it. */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

/* promote_trigger_file went away in 16 */
#if PG_VERSION_NUM < 160000
#define PGQ_HAVE_PROMOTE_TRIGGER_FILE 1
#endif

/* Before 16 pg_rewind believes that a log is on the timeline of its last checkpoint. */
#define PGQ_REWIND_KNOWS_REPLAYED_TIMELINE (PG_VERSION_NUM >= 160000)

/* Entry i (1 .. pgstat_fetch_stat_numbackends()) of the backend status: renamed in 16 */
#if PG_VERSION_NUM < 160000
#define pgq_backend_status(i)	pgstat_fetch_stat_local_beentry(i)
#else
#define pgq_backend_status(i)	pgstat_get_local_beentry_by_index(i)
#endif

/* 18 took execute_once out of ExecutorRun. */
#if PG_VERSION_NUM >= 180000
#define PGQ_EXECUTOR_RUN_PARAMS \
	QueryDesc *query, ScanDirection direction, uint64 count
#define PGQ_EXECUTOR_RUN_ARGS	query, direction, count
#else
#define PGQ_EXECUTOR_RUN_PARAMS \
	QueryDesc *query, ScanDirection direction, uint64 count, bool execute_once
#define PGQ_EXECUTOR_RUN_ARGS	query, direction, count, execute_once
#endif

/* 17 added failover and synced to ReplicationSlotCreate, 19 repack. */
#if PG_VERSION_NUM >= 190000
#define pgq_slot_create_physical(name) \
	ReplicationSlotCreate((name), false, RS_PERSISTENT, false, false, false, false)
#elif PG_VERSION_NUM >= 170000
#define pgq_slot_create_physical(name) \
	ReplicationSlotCreate((name), false, RS_PERSISTENT, false, false, false)
#else
#define pgq_slot_create_physical(name) \
	ReplicationSlotCreate((name), false, RS_PERSISTENT, false)
#endif

/* Who streams from a slot, 0 when nobody does.  19 notes the place among the processes instead. */
static inline pid_t
pgq_slot_owner(const ReplicationSlot *slot)
{
#if PG_VERSION_NUM >= 190000
	return slot->active_proc == INVALID_PROC_NUMBER ? 0 : GetPGProcByNumber(slot->active_proc)->pid;
#else
	return slot->active_pid;
#endif
}

/* 17 copies logical slots to standbys, if they are made for it. */
#if PG_VERSION_NUM >= 170000
#define pgq_slot_fails_over(slot)	((slot)->data.failover)
#define pgq_slot_is_left_over(slot) ((slot)->data.failover && !(slot)->data.synced)
#define PGQ_SLOTS_HINT \
	"Make it with failover = true, and set sync_replication_slots and hot_standby_feedback on every member."
#else
#define pgq_slot_fails_over(slot)	((void) (slot), false)
#define pgq_slot_is_left_over(slot) ((void) (slot), false)
#define PGQ_SLOTS_HINT \
	"PostgreSQL 17 or later can keep it; here, make it anew on the next leader, and copy the tables again."
#endif

/* 18 added error_if_invalid to ReplicationSlotAcquire. */
#if PG_VERSION_NUM >= 180000
#define pgq_slot_acquire_nowait(name)	ReplicationSlotAcquire((name), true, true)
#else
#define pgq_slot_acquire_nowait(name)	ReplicationSlotAcquire((name), true)
#endif

/*
 * 16 notes in a slot that it was invalidated; 18 leaves restart_lsn as it was when the
 * slot was merely idle for too long (idle_replication_slot_timeout).
 */
#if PG_VERSION_NUM >= 160000
#define pgq_slot_is_invalidated(slot)	((slot)->data.invalidated != RS_INVAL_NONE)
#else
#define pgq_slot_is_invalidated(slot)	XLogRecPtrIsInvalid((slot)->data.restart_lsn)
#endif

/*
 * 16 and 17 let a walsender take an invalidated slot and move it on, but go on leaving it
 * out of what WAL is kept for.  What it needs is there: that is why it streams.  15 knows
 * no such note, 18 lets nobody take the slot.
 */
static inline void
pgq_slot_revalidate(const char *name)
{
#if PG_VERSION_NUM >= 160000 && PG_VERSION_NUM < 180000
	ReplicationSlot *slot;
	bool		changed = false;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	slot = SearchNamedReplicationSlot(name, false);
	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		if (pgq_slot_owner(slot) != 0 && slot->data.invalidated == RS_INVAL_WAL_REMOVED &&
			!XLogRecPtrIsInvalid(slot->data.restart_lsn))
		{
			slot->data.invalidated = RS_INVAL_NONE;
			slot->just_dirtied = true;
			slot->dirty = true;
			changed = true;
		}
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(ReplicationSlotControlLock);
	if (changed)
		ReplicationSlotsComputeRequiredLSN();
#else
	(void) name;
#endif
}

/* The setting wal_sync_method: 17 gave it its name. */
#if PG_VERSION_NUM >= 170000
#define pgq_wal_sync_method	wal_sync_method
#else
#define pgq_wal_sync_method	sync_method
#endif

/* The place of this process in ProcGlobal->allProcs: 17 took it out of PGPROC. */
#if PG_VERSION_NUM >= 170000
#define pgq_my_proc_number()	MyProcNumber
#else
#define pgq_my_proc_number()	(MyProc->pgprocno)
#endif

/* Is this a wait for the pins of a buffer?  17 renamed their class, 19 added locks to it. */
#if PG_VERSION_NUM >= 190000
#define pgq_waits_for_pin(event)	((event) == WAIT_EVENT_BUFFER_CLEANUP)
#elif PG_VERSION_NUM >= 170000
#define pgq_waits_for_pin(event)	(((event) & 0xFF000000U) == PG_WAIT_BUFFERPIN)
#else
#define pgq_waits_for_pin(event)	(((event) & 0xFF000000U) == PG_WAIT_BUFFER_PIN)
#endif

/* Cancel every query that has a snapshot: 19 made the reason of a conflict a type of its own. */
#if PG_VERSION_NUM >= 190000
#define pgq_cancel_queries() \
	SignalRecoveryConflictWithDatabase(InvalidOid, RECOVERY_CONFLICT_SNAPSHOT)
#else
#define pgq_cancel_queries() \
	CancelDBBackends(InvalidOid, PROCSIG_RECOVERY_CONFLICT_SNAPSHOT, true)
#endif

/* 19 says fast, as its SQL always did. */
#if PG_VERSION_NUM < 190000
#define CHECKPOINT_FAST		CHECKPOINT_IMMEDIATE
#endif

/* 16 moved assign_synchronous_commit. */
#if PG_VERSION_NUM >= 160000
#include "utils/guc_hooks.h"
#else
#include "replication/syncrep.h"
#endif

/*
 * The connect member of WalReceiverFunctions: 16 added must_use_password, 17 added
 * replication.  ARGS(text) passes everything on with another connection string.
 */
#if PG_VERSION_NUM >= 170000
#define PGQ_WALRCV_CONNECT_PARAMS \
	const char *conninfo, bool replication, bool logical, bool must_use_password, \
	const char *appname, char **err
#define PGQ_WALRCV_CONNECT_ARGS(text) \
	(text), replication, logical, must_use_password, appname, err
#elif PG_VERSION_NUM >= 160000
#define PGQ_WALRCV_CONNECT_PARAMS \
	const char *conninfo, bool logical, bool must_use_password, const char *appname, char **err
#define PGQ_WALRCV_CONNECT_ARGS(text) (text), logical, must_use_password, appname, err
#else
#define PGQ_WALRCV_CONNECT_PARAMS \
	const char *conninfo, bool logical, const char *appname, char **err
#define PGQ_WALRCV_CONNECT_ARGS(text) (text), logical, appname, err
#endif

/*
 * The identify_system member: 19 added server_lsn.  ARGS() passes everything on.
 */
#if PG_VERSION_NUM >= 190000
#define PGQ_WALRCV_IDENTIFY_PARAMS \
	WalReceiverConn *conn, TimeLineID *primary_tli, XLogRecPtr *server_lsn
#define PGQ_WALRCV_IDENTIFY_ARGS()	conn, primary_tli, server_lsn
#else
#define PGQ_WALRCV_IDENTIFY_PARAMS	WalReceiverConn *conn, TimeLineID *primary_tli
#define PGQ_WALRCV_IDENTIFY_ARGS()	conn, primary_tli
#endif

/* 19 says why there is none. */
#if PG_VERSION_NUM >= 190000
#define pgq_find_next_record(reader, lsn, error)	XLogFindNextRecord((reader), (lsn), (error))
#else
#define pgq_find_next_record(reader, lsn, error) \
	((void) (error), XLogFindNextRecord((reader), (lsn)))
#endif

/* 16: one look-up function instead of the array of all settings. */
static inline struct config_generic *
pgq_find_setting(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return find_option(name, false, true, DEBUG1);
#else
	struct config_generic **settings = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
	{
		if (strcmp(settings[i]->name, name) == 0)
			return settings[i];
	}
	return NULL;
#endif
}

/*
 * log_min_messages.  19: a string with a level for each kind of process, of which the check
 * hook makes the array that is its extra; the type of a setting is a member of the generic one.
 */
#if PG_VERSION_NUM >= 190000
typedef char *PgqLogLevel;
typedef GucStringCheckHook PgqLogLevelHook;
#define pgq_log_level_hook(setting)	((setting)->_string.check_hook)
#define pgq_startup_log_level()		(log_min_messages[B_STARTUP])
#define pgq_startup_level_of(value, extra)	(((int *) (extra))[B_STARTUP])
#else
typedef int PgqLogLevel;
typedef GucEnumCheckHook PgqLogLevelHook;
#define pgq_log_level_hook(setting)	(((struct config_enum *) (setting))->check_hook)
#define pgq_startup_log_level()		log_min_messages
#define pgq_startup_level_of(value, extra)	((void) (extra), (value))
#endif

/* Make a checked value, and its extra, that of "log"; false when there is no memory. */
static inline bool
pgq_log_level_make_log(PgqLogLevel *value, void **extra, GucSource source, PgqLogLevelHook check)
{
#if PG_VERSION_NUM >= 190000
	guc_free(*value);
	guc_free(*extra);
	*extra = NULL;
	*value = guc_strdup(LOG, "log");
	return *value != NULL && check(value, extra, source);
#else
	(void) extra;
	(void) source;
	(void) check;
	*value = LOG;
	return true;
#endif
}

/* 16 took the type out of what a failed assertion reports. */
#if PG_VERSION_NUM >= 160000
#define PGQ_EXCEPTIONAL_CONDITION_PARAMS	const char *condition, const char *file, int line
#else
#define PGQ_EXCEPTIONAL_CONDITION_PARAMS \
	const char *condition, const char *type pg_attribute_unused(), const char *file, int line
#endif

#endif							/* PGQ_COMPAT_H */
