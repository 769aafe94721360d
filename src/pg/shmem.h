/*
 * shmem.h
 *	  The one shared structure: what the worker publishes, what the other
 *	  processes tell it, and who may touch what.
 *
 * Data flows one way: only the worker writes what backends and the walreceiver
 * obey; they write only their own reports.  Locks are held for copies, never
 * over I/O, sockets or ereport(ERROR).
 */
#ifndef PGQ_SHMEM_H
#define PGQ_SHMEM_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/spin.h"

#include "host.h"
#include "state.h"
#include "transport_frame.h"

/* What a walreceiver tells about its stream.  Guarded by PgqShared.stream_mutex. */
typedef struct PgqStreamReport
{
	pid_t		pid;			/* live walreceiver; 0 = none */
	Latch	   *latch;			/* of that process; NULL = none */
	QuorumTerm	term;			/* accepted term when it chose its source; 0 = it has none */
	bool		busy;			/* inside libpq: only a signal ends it */
	bool		leave;			/* worker's order: source is not the accepted leader any more */
	bool		connected;		/* to the accepted leader */
	QuorumNodeId source;		/* node it streams from */
	TimeLineID	tli;			/* timeline of the current START_REPLICATION; 0 = none */
	QuorumTerm	acking_term;	/* == tli when its acks carry real positions; else 0 */
	XLogRecPtr	acked_flush;	/* last flush position sent while acking_term was set */
	QuorumWalPos log_end;		/* largest position ever acknowledged since boot, tli mapped
								 * through the history of the stream's timeline */
	bool		diverged;		/* cannot follow the accepted leader without a rewind */
	QuorumTerm	diverged_term;	/* accepted term for which that was found */
	bool		wal_missing;	/* the leader of missing_term has not the WAL that comes next */
	QuorumTerm	missing_term;
	uint64		missing_until;	/* mono: do not ask it again before */
	char		reason[QUORUM_REASON_SIZE]; /* of diverged or wal_missing, or the last connection
											 * error */
} PgqStreamReport;

/* A request to the worker by an SQL function.  Guarded by PgqShared.lock. */
typedef enum PgqRequestType
{
	PGQ_REQUEST_NONE,
	PGQ_REQUEST_BOOTSTRAP,
	PGQ_REQUEST_ADD_MEMBER,
	PGQ_REQUEST_REMOVE_MEMBER,
	PGQ_REQUEST_SWITCHOVER,
	PGQ_REQUEST_CHANGE_KIND,
	PGQ_REQUEST_CHANGE_ADDRESS,
	PGQ_REQUEST_PAUSE,			/* limit_us 0: resume */
	PGQ_REQUEST_FORCE
} PgqRequestType;

typedef struct PgqRequest
{
	uint64		id;				/* > 0, next_request_id */
	PgqRequestType type;
	bool		taken;			/* the worker has it */
	bool		done;
	bool		failed;
	int			sqlerrcode;		/* when failed */
	char		reason[QUORUM_REASON_SIZE]; /* when failed: errmsg */
	char		hint[QUORUM_REASON_SIZE];	/* when failed: errhint, may be empty */
	QuorumNodeId node_id;		/* out: the member it was about */
	bool		collected;		/* the outcome has been read */
	int			requester;		/* pgprocno to wake when it is done */
	/* arguments */
	int64		limit_us;
	QuorumMemberKind kind;
	char		name[QUORUM_NAME_SIZE];
	char		host[QUORUM_HOST_SIZE];
	uint16		quorum_port;
} PgqRequest;

/* Counters of the transport; written by the worker only, read without a lock. */
typedef struct PgqTransportCounters
{
	pg_atomic_uint64 frames_in;
	pg_atomic_uint64 frames_out;
	pg_atomic_uint64 rejected_auth; /* wrong secret, bad MAC, replayed counter */
	pg_atomic_uint64 rejected_garbage;	/* bad length, version or content */
	pg_atomic_uint64 rejected_identity; /* other cluster, other system, other incarnation */
	pg_atomic_uint64 dropped_slow;	/* frames not queued because the peer does not read */
	pg_atomic_uint64 timeouts;	/* handshakes that took too long */
} PgqTransportCounters;

/* The running incarnation of another member, and the stream that proved to be its (proof.c). */
typedef struct PgqIncarnation
{
	QuorumNodeId id;			/* 0 = free */
	uint64		boot_nonce;
	uint64		last_count;		/* of the last proof that was accepted: none is good twice */
	pg_atomic_uint64 owner;		/* id << 32 | pid of that walsender; 0 = none.  No lock */
} PgqIncarnation;

#define PGQ_INCARNATIONS	32	/* more than members */
#define PGQ_ADDRESSES_SIZE	256

typedef enum PgqRestartMode
{
	PGQ_RESTART_NONE,
	PGQ_RESTART_FAST,			/* SIGINT to the postmaster */
	PGQ_RESTART_IMMEDIATE		/* SIGQUIT: writes must stop now */
} PgqRestartMode;

typedef struct PgqShared
{
	/* written in the postmaster when shared memory is made; constant afterwards */
	PgqMembership boot_membership;
	uint64		boot_nonce;		/* random, new at every (crash-)restart */
	QuorumNodeId boot_node_id;	/* 0 unless PGQ_MEMBER */

	bool		state_in_doubt; /* the worker's: a write of the state failed */

	/*
	 * Single words that must be read without waiting for anybody: written by the
	 * worker (its last act on exit is to shut the gate), read by everyone.
	 */
	pg_atomic_uint32 member;	/* 1: the rules of a member apply to this server */
	pg_atomic_uint64 fence_term;	/* S2: no ack for a lower term may leave */
	pg_atomic_uint64 elected_term;	/* V8: the only timeline a promotion may take; 0 = none */
	pg_atomic_uint64 lease_until;	/* S7: CLOCK_BOOTTIME microseconds; 0 = none */
	pg_atomic_uint32 gate_open; /* S6 */
	pg_atomic_uint32 has_served;	/* the gate was open since this server booted */
	pg_atomic_uint64 rule_version;	/* changes whenever sync_rule does */

	/* reads that want more than the lease (read_level.c) */
	pg_atomic_uint64 confirmed_at;	/* leader: a majority acknowledged a heartbeat sent then
									 * (CLOCK_BOOTTIME microseconds); 0 = none */
	pg_atomic_uint64 held_lsn;	/* follower: the quorum holds its leader's WAL up to here */
	pg_atomic_uint32 confirm_wanted;	/* backend -> worker: somebody waits for these two */
	ConditionVariable read_confirmed;	/* one of them has moved */

	pg_atomic_uint64 proofs_made;	/* by walreceivers since boot */

	/* startup process and walreceiver -> worker */
	pg_atomic_uint32 unsynced;	/* A4: WAL was written and not synced */
	pg_atomic_uint32 local_wal_read;	/* R5: first connect since boot has happened */
	pg_atomic_uint32 first_new_tli; /* oldest timeline that was not here when recovery began, and of
									 * which a stream was asked for; 0 = none.  The walreceiver's */
	pg_atomic_uint32 log_damaged;	/* R13: recovery ended before what was acknowledged */
	pg_atomic_uint32 log_damage_kept;	/* worker -> startup process: that is durable */
	pg_atomic_uint32 restart_mode;	/* PgqRestartMode, read by the postmaster when it exits */
	pg_atomic_uint32 restart_signals;	/* shutdown signals sent by pgq_request_restart */
	pg_atomic_uint64 forget_above;	/* R16: at the restart in place delete history and WAL files of
									 * timelines above this one; 0 = none */
	slock_t		stream_mutex;
	PgqStreamReport stream;

	/* worker -> everyone; guarded by lock */
	LWLock	   *lock;
	pid_t		worker_pid;		/* 0 = not running */
	Latch	   *worker_latch;
	QuorumView	view;			/* leader, members, positions: see quorum_view() */
	int			leader_address_count;	/* of view.leader, as the worker knows them; 0 = none */
	char		leader_addresses[PGQ_ADDRESSES_SIZE];	/* "address,address" */
	QuorumSyncRule sync_rule;
	int			sync_slot[QUORUM_MAX_NODES];	/* index of ids[i]'s member slot; -1 = none */
	PgqSecrets	secrets;
	PgqIncarnation incarnations[PGQ_INCARNATIONS];
	char		notice[QUORUM_REASON_SIZE]; /* why boot_membership is not PGQ_MEMBER, or what is
											 * wrong now; empty = nothing */
	/* SQL functions <-> worker; guarded by lock */
	uint64		next_request_id;
	PgqRequest	request;

	PgqTransportCounters transport;
} PgqShared;

/* NULL when the library is not in shared_preload_libraries. */
extern PgqShared *pgq_shared;

/* Called from _PG_init in the postmaster: asks for the memory, installs the hooks. */
extern void pgq_shmem_init(void);

/* Copy the published view out; false when there is none (not preloaded, worker not up yet). */
extern bool pgq_shmem_copy_view(QuorumView *view);

/* Wake the worker; harmless when it does not run. */
extern void pgq_shmem_wake_worker(void);

/* Ask the postmaster for a restart in place; `why` goes to the log. */
extern void pgq_request_restart(PgqRestartMode mode, const char *why);

/* R16: at once, and before it boots histories and WAL of timelines above `keep` are removed. */
extern void pgq_request_forget_above(TimeLineID keep, const char *why);

static inline bool
pgq_is_member(void)
{
	return pgq_shared != NULL && pg_atomic_read_u32(&pgq_shared->member) != 0;
}

#endif							/* PGQ_SHMEM_H */
