/*
 * sim.h
 *	  The simulated world: nodes, disks, network, PostgreSQL, clients, time.
 *
 * Everything in it follows from one seed.  There is no wall clock and no thread;
 * an event queue in virtual microseconds decides what happens next.
 * The consensus core is driven through quorum_drive only, as in the server.
 *
 * What is modelled, what is not: docs/simulator.md.
 */
#ifndef SIM_H
#define SIM_H

#include <setjmp.h>
#include <stdio.h>

#include "quorum_assert.h"
#include "quorum_drive.h"
#include "quorum_message.h"
#include "quorum_random.h"
#include "quorum_types.h"

#define SIM_NODES			10	/* most servers of one run; node id == index + 1 */
#define SIM_MS				INT64_C(1000)
#define SIM_SECOND			INT64_C(1000000)
#define SIM_TRACE_LINES		60	/* shown when a seed fails */
#define SIM_TRACE_WIDTH		160
#define SIM_TERM_MAX		1024	/* a run that reaches this many terms fails */
#define SIM_EVENTS_MAX		5000000 /* of one run; it has some 50,000 */
#define SIM_ASYNC_MAX		1024	/* more than fit into the longest lag */
#define SIM_SETS_MAX		256	/* sets of voters that the oracle tells apart */
#define SIM_WALL_START		(1000000 * SIM_SECOND)	/* all nodes agree on it */
#define SIM_LSN_START		UINT64_C(0x1000000)

typedef int64_t SimTime;		/* virtual microseconds since the start of the run */

#include "queue.h"
#include "sets.h"
#include "wal.h"

/* Exit codes, and the kinds of failure of one seed. */
typedef enum SimVerdict
{
	SIM_OK = 0,
	SIM_USAGE = 1,
	SIM_LIVENESS = 2,
	SIM_SAFETY = 3,
	SIM_CRASH = 127				/* an assertion of the core, or a signal */
} SimVerdict;

typedef enum SimFault
{
	SIM_FAULT_KILL_POSTMASTER,
	SIM_FAULT_KILL_ALL,
	SIM_FAULT_POWER,
	SIM_FAULT_BACKEND_CRASH,
	SIM_FAULT_WORKER_KILL,
	SIM_FAULT_WORKER_EXIT,
	SIM_FAULT_FREEZE,
	SIM_FAULT_SUSPEND,
	SIM_FAULT_STOP,
	SIM_FAULT_ISOLATE,
	SIM_FAULT_SEND_ONLY,
	SIM_FAULT_RECEIVE_ONLY,
	SIM_FAULT_HALVES,
	SIM_FAULT_RING,
	SIM_FAULT_ONE_LINK,
	SIM_FAULT_SLOW_DISK,
	SIM_FAULT_ALL_DOWN,
	SIM_FAULT_STREAM_CUT,
	SIM_FAULT_CONTROL_CUT,		/* quorum messages only (V14) */
	SIM_FAULT_DATA_CUT,			/* streams only (V14) */
	SIM_FAULT_WORKER_FREEZE,
	SIM_FAULT_LONG_LOSS,		/* away for leases, with or without its power */
	SIM_FAULT_WIPE_WITNESS,		/* a witness loses its state: it never takes part again */
	SIM_FAULT_GREY,				/* from here on: drawn apart */
	SIM_FAULT_RECEIVER_FREEZE = SIM_FAULT_GREY, /* SIGSTOP of a walreceiver alone */
	SIM_FAULT_SENDER_FREEZE,	/* ... of a walsender */
	SIM_FAULT_LOSSY,			/* 1 to 30 % of the messages of a node vanish */
	SIM_FAULT_FAR,				/* 5 to 500 ms more on every link of a node */
	SIM_FAULT_WAL_STALL,		/* flushes of WAL hang (G1) */
	SIM_FAULT_WAL_ERROR,		/* one fails: the server panics, and what was written is lost */
	SIM_FAULT_SPACE,			/* the disk is nearly full, then perhaps full (G3) */
	SIM_FAULT_KINDS
} SimFault;

/* Protections of the PostgreSQL side that can be taken out, to see that it is noticed. */
typedef enum SimBreak
{
	SIM_BREAK_NONE,
	SIM_BREAK_ACK_FENCE,		/* acks ignore a raised fence (S2) */
	SIM_BREAK_ACK_TIMELINE,		/* acks of historic or diverged streams count (V1) */
	SIM_BREAK_LEDGER,			/* one stream counts for two members (V2) */
	SIM_BREAK_BOOT_PRIMARY,		/* a crashed primary comes back as a primary (V7) */
	SIM_BREAK_GATE_CHECK,		/* clients do not look at the lease (S7) */
	SIM_BREAK_PERSIST,			/* persist returns before it is durable (R1) */
	SIM_BREAK_LOG_START,		/* the phase is standby before local WAL is read (R5) */
	SIM_BREAK_ANY_RULE,			/* the rule of a node that does not lead counts, too (S5) */
	SIM_BREAK_ASYNC_LAG,		/* asynchronous commits wait for no quorum */
	SIM_BREAK_KINDS
} SimBreak;

typedef struct SimRange
{
	SimTime		min;
	SimTime		max;
} SimRange;

/* Drawn from the seed (options.c) or fixed (scenarios). */
typedef struct SimOptions
{
	uint64_t	seed;
	int			nodes;			/* servers; those behind the members may be added */
	int			members;		/* of the set at the start */
	int			witnesses;		/* the last ones of them: votes without data */
	int			learners;		/* the ones before */
	bool		strict;			/* nobody is ever left out (Y6) */
	SimTime		change_every;	/* mean, between requests of the operator; 0 = none */
	int			refuse_ppm;		/* invitations that are answered with no */
	int			absent_ppm;		/* servers that are added and do not answer */
	bool		auto_rewind;	/* a diverged node rewinds itself, no operator does */
	int			rewind_fails_ppm;
	QuorumTime	lease;
	QuorumTime	heartbeat;
	QuorumTime	promotion_limit;
	uint8_t		priority[SIM_NODES];
	SimTime		duration;
	SimTime		heal_at;		/* faults end, liveness is demanded */
	SimRange	delay;			/* one way, on every link */
	int			slow_ppm;		/* messages that take up to two leases */
	int			stream_slow_ppm;	/* pieces of WAL that take up to half a lease */
	int			loss_ppm;
	int			duplicate_ppm;
	int			drift_ppm;		/* clock rates lie within +- of this */
	SimTime		wall_off;		/* wall clocks lie within +- of this */
	SimRange	fsync;
	SimRange	boot;			/* start of the processes until local WAL is read */
	SimRange	promote;		/* each of the two halves of a promotion */
	SimRange	start_stream;	/* between the history files and the first byte */
	int			promotion_crash_ppm;	/* at each of its steps */
	SimRange	restart;		/* how long a dead node stays dead */
	SimRange	long_loss;		/* ... after a fault of that name */
	SimRange	rewind;			/* a diverged node waits this long for its operator */
	int			deep_rewind_ppm;	/* rewinds that lose more than they must */
	SimTime		commit_every;
	int			async_ppm;		/* commits that are asynchronous */
	QuorumLsn	max_lag;		/* how far the quorum may be behind those, in bytes */
	int			other_wal_ppm;	/* records of a primary that need no open gate */
	int			partial_ppm;	/* flushes that end inside a record */
	SimTime		fault_every;	/* mean; 0 = none */
	int			weight[SIM_FAULT_KINDS];
	int			leader_bias;	/* percent of the faults aimed at the leader */
	int			crash_ppm;		/* at each call of drive */
	bool		auto_restart;	/* dead nodes come back by themselves */
	SimBreak	broken;
} SimOptions;

/* ---- streams ------------------------------------------------------------ */

typedef struct SimStream
{
	enum
	{
		SIM_STREAM_NONE,
		SIM_STREAM_CONNECTING,
		SIM_STREAM_LIVE
	}			state;
	uint32_t	id;				/* of this connection; unique in the run */
	int			source;			/* index of the node streamed from */
	uint32_t	source_life;	/* its pg_life */
	QuorumTerm	term;			/* accepted leader's term when it connected */
	QuorumLsn	begin;			/* where the timeline `term` begins */
	QuorumLsn	sent;			/* walsender: up to here is on its way */
	SimTime		arrives_at;		/* order of the connection */
	SimTime		acked_at;		/* order of the connection, back */
	bool		flushing;
	QuorumLsn	flush_target;
	int			acks;			/* that count and have left; the first ones wake the worker */
	QuorumLsn	acked;			/* highest position in such an ack */
} SimStream;

/* What the primary's walsender for one member says. */
typedef struct SimHeld
{
	uint32_t	stream;			/* connection it belongs to; 0 = none */
	QuorumLsn	flush;
} SimHeld;

/* ---- a node ------------------------------------------------------------- */

typedef struct SimClock
{
	SimTime		base_at;
	QuorumTime	base_mono;
	QuorumTime	suspended;		/* boot - mono */
	QuorumTime	wall_ahead;
	int			ppm;
} SimClock;

/* Shared memory of the server: what fence() and publish() wrote. */
typedef struct SimShared
{
	QuorumTerm	fence_term;
	QuorumTerm	term;
	QuorumRole	role;
	QuorumNodeId leader;
	bool		gate_open;
	bool		hold_wal;		/* the worker has the lock that every write of WAL needs */
	QuorumTime	lease_until;	/* boot clock */
	QuorumSyncRule sync;
	SimSet		set;			/* zero id = nothing published yet */
	bool		set_committed;
	SimSet		also;			/* the set before, while it counts too */
	int			change_step;
	SimTime		set_at;			/* when it took this set */
} SimShared;

typedef struct SimNode
{
	QuorumNodeId id;
	int			index;
	bool		witness;		/* a vote and a state file, nothing else */

	/* processes */
	bool		host_up;
	bool		postmaster;		/* alive; its children may outlive it */
	bool		pg;				/* startup, walsenders, backends */
	bool		worker;
	bool		fresh;			/* a copy of the data, waits for its invitation */
	bool		retired;		/* never starts again */
	QuorumNodeId returns_from;	/* the id that its server had before; 0 = none */
	SimTime		down_until;		/* does not start before */
	int			rewinding;		/* history to rewind to, plus one; 0 = none */
	SimTime		rewind_again_at;
	bool		stopping;		/* planned stop under way */
	SimTime		stop_limit;		/* streams are waited for no longer */
	bool		stop_written;	/* its shutdown checkpoint is in the WAL */
	bool		doomed;			/* a restart in place or a kill is on its way */
	uint32_t	life;			/* of the worker: its boot nonce */
	uint32_t	pg_life;
	SimTime		frozen_until;	/* 0 = runs */
	SimTime		frozen_at;
	bool		suspended;		/* frozen with its host: mono stands still */
	SimClock	clock;
	int			loss_ppm;		/* of its messages, beside what all links lose */
	SimTime		farther;		/* on every link */
	SimTime		receiver_until; /* its walreceiver is stopped; 0 = runs */

	/* worker */
	QuorumConfig config;
	QuorumNode	core;
	SimTime		tick_at;		/* 0 = no tick is planned */
	SimTime		busy_until;		/* a drive waits for its disk, or it alone is stopped */
	SimTime		facts_at;		/* a FACTS event is on its way; 0 = none */
	SimTime		busy;			/* persist of the drive under way took this long */
	uint32_t	nonce[SIM_NODES];	/* life of each peer as last seen */
	QuorumFacts facts_told;
	char		not_electable[QUORUM_REASON_SIZE];

	/* disk */
	bool		disk_slow;
	SimTime		stall_until;	/* no flush of WAL ends before */
	SimTime		flush_began;	/* the one of a primary */
	bool		space_low;
	size_t		state_size;
	uint8_t		state[QUORUM_ENCODED_MAX];
	SimSet		disk_set;		/* what the state says, decoded */
	bool		disk_recovering;
	bool		by_hand;		/* ... because a person has rewound it: no leader was asked */

	/* PostgreSQL */
	SimShared	shared;
	QuorumPhase phase;
	SimLog		log;
	QuorumWalPos log_end;		/* of the streams since boot: raw flush, its timeline */
	QuorumTerm	tail_tli;		/* timeline of the last byte when its processes died */
	QuorumTerm	forget_above;	/* next boot: delete what lies on later timelines; 0 = nothing */
	int			histories[SIM_TERM_MAX];	/* files here, by tli ascending */
	int			history_count;
	QuorumTerm	promoting;
	bool		promotion_failed;
	int			promotion_step;
	bool		flushing;
	bool		diverged;
	QuorumTerm	diverged_term;
	bool		was_primary;	/* when its processes died */
	bool		stream_blocked; /* scenario: its walreceiver cannot connect */
	SimStream	stream;
	SimHeld		held[SIM_NODES];
	SimWaiting *commits;		/* in order; those that are told lie before the others, or between */
	int			commit_first;
	int			commit_count;
	int			commit_capacity;
} SimNode;

/* What the oracle remembers: more than any node may. */
typedef struct SimOracle
{
	QuorumNodeId vote[SIM_TERM_MAX][SIM_NODES]; /* 0 = none seen */
	QuorumNodeId leader[SIM_TERM_MAX];
	QuorumNodeId writer[SIM_TERM_MAX];
	uint32_t	writer_life[SIM_TERM_MAX];
	QuorumTerm	disk_term[SIM_NODES];	/* highest term that was durable */
	QuorumTerm	granted[SIM_NODES]; /* highest term of a granted vote that left */
	QuorumWalPos claim[SIM_TERM_MAX][SIM_NODES];	/* log end in a vote request */
	QuorumWalPos acked_top[SIM_NODES];	/* longest log that a real ack told of; complete records */
	SimCommit	tip;			/* newest acknowledged commit */
	SimCommit	tip_of[SIM_TERM_MAX];	/* newest one told in each term, on whatever timeline it was written */
	SimAsync	async[SIM_ASYNC_MAX];	/* the newest asynchronous commits acknowledged */
	int			async_acked;
	int			async_lost;		/* of them, in failovers */
	QuorumLsn	lag_lost;		/* most WAL of them that one failover took back */
	SimSet		sets[SIM_SETS_MAX]; /* of sets with the same votes, the newest */
	int			set_count;
	QuorumTerm	gone[SIM_NODES];	/* the newest term when its removal was reported as done */
	bool		added[SIM_NODES];	/* its joining was, and nobody asked for more */
	uint16_t	moved[SIM_NODES];	/* its port, reported as changed; 0 = anything may be true */
	QuorumTerm	newest_term;	/* somebody was elected in it */
	uint32_t	newest_members; /* of the set of that leader */
	SimTime		told_at[SIM_NODES][SIM_NODES];	/* [a][b]: a last heard that b recovers; 0 = it
												 * has not in this life, or b is whole */
	uint32_t	allowed[SIM_NODES][SIM_NODES][2];	/* [a][b]: the voters when a last let b rewind
													 * itself, of its set and of the one before */
	int			acked;			/* commits acknowledged */
	SimTime		acked_at;
	int			elections;
	SimTime		elected_at;		/* the newest leader */
	SimTime		served_at;		/* last event at which a leader served */
} SimOracle;

/* The person at the keyboard: one request at a time. */
typedef struct SimOperator
{
	uint64_t	requests;		/* ids given out */
	QuorumAdmin asked;			/* request_id 0 = nothing is under way */
	QuorumNodeId about;			/* whom */
	int			leader;			/* index of who was asked */
	uint32_t	life;			/* of its worker */
	SimTime		asked_at;
	int			done;
	int			failed;
	QuorumNodeId dead;			/* a member that is dead for good and must go; 0 = none */
	SimTime		paused_until;	/* by the longest pause that was asked for */
	bool		calm;			/* the switchover after healing was asked for, or is due */
	bool		spoilt;			/* due: the disk of its leader is of no use any more */
	int			calm_from;		/* who led then */
	QuorumNodeId calm_to;
	int			calm_elections;	/* before it */
	int			calm_divergences;
	int			divergences;
} SimOperator;

typedef struct Sim
{
	SimOptions	options;
	QuorumRandom random;
	SimTime		now;
	SimQueue	queue;
	uint64_t	order;
	SimNode		nodes[SIM_NODES];
	bool		cut[SIM_NODES][SIM_NODES];	/* [from][to] */
	bool		mute[SIM_NODES][SIM_NODES]; /* the same for the quorum port alone */
	bool		connected[SIM_NODES][SIM_NODES];	/* a's connection to b is up */
	bool		connecting[SIM_NODES][SIM_NODES];	/* a CONNECT event is on its way */
	SimHistory	histories[SIM_TERM_MAX];
	int			history_count;
	uint32_t	stream_ids;
	uint64_t	payload;		/* no two records are alike */
	bool		healed;
	bool		forced;			/* an operator gave up what only the lost ones had (F1) */
	SimOperator operator;
	SimOracle	oracle;
	QuorumScratch *scratch;
	QuorumEvent event;			/* the one that is driven */
	QuorumEvent message;		/* ... if it is a message: facts are driven before it */
	QuorumLsn	caught_up;		/* caught_up_lsn of its node before */

	/* trace */
	uint64_t	hash;
	bool		quiet;			/* no lines at all: of many seeds, one that fails is run again */
	bool		log_full;
	bool		log_coarse;		/* whole milliseconds, for scenarios */
	FILE	   *log_to;			/* NULL = keep the last lines only */
	SimTime		trace_from;
	int			trace_count;
	char		trace[SIM_TRACE_LINES][SIM_TRACE_WIDTH];

	/* result */
	jmp_buf		stop;
	SimVerdict	verdict;
	char		why[512];
	long		events;
} Sim;

/* options.c */
extern void sim_options_draw(SimOptions *options, uint64_t seed, SimTime duration);
extern void sim_options_print(const SimOptions *options, FILE *to);
extern const char *sim_fault_name(SimFault fault);
extern const char *sim_break_name(SimBreak broken);

/* queue.c; the queue itself: queue.h */
extern int64_t sim_draw(Sim *sim, SimRange range);
extern bool sim_chance(Sim *sim, int ppm);
extern int	sim_below(Sim *sim, int limit);

/* cluster.c */
extern Sim *sim_create(void);
extern void sim_destroy(Sim *sim);
extern void sim_start(Sim *sim, const SimOptions *options);
extern void sim_run_until(Sim *sim, SimTime until);
extern SimVerdict sim_run(Sim *sim, const SimOptions *options);
extern SimNode *sim_leader(Sim *sim);

/* node.c: processes of a node, and the calls of drive */
extern QuorumInstant sim_clock(const Sim *sim, const SimNode *node);
extern void sim_drive(Sim *sim, SimNode *node);
extern void sim_boot(Sim *sim, SimNode *node);
extern void sim_children_start(Sim *sim, SimNode *node);
extern void sim_worker_start(Sim *sim, SimNode *node);
extern void sim_worker_dies(Sim *sim, SimNode *node);
extern void sim_node_dies(Sim *sim, SimNode *node, bool power);
extern void sim_restart_in_place(Sim *sim, SimNode *node, SimTime delay);
extern void sim_facts(const Sim *sim, const SimNode *node, QuorumFacts *facts);
extern void sim_facts_changed(Sim *sim, SimNode *node);
extern void sim_worker_event(Sim *sim, SimNode *node, SimEvent *event);
extern bool sim_frozen(const Sim *sim, const SimNode *node);

/* disk.c */
extern bool sim_disk_write(Sim *sim, SimNode *node, const QuorumHardState *hard);
extern void sim_disk_format(SimNode *node, const QuorumHardState *hard);
extern void sim_disk_read(Sim *sim, const SimNode *node, QuorumHardState *hard);
extern SimTime sim_fsync_time(Sim *sim, const SimNode *node);

/* network.c */
extern void sim_send(Sim *sim, SimNode *from, const QuorumMessage *message);
extern void sim_connect_all(Sim *sim, SimNode *node);
extern void sim_connect(Sim *sim, SimNode *from, SimNode *to);
extern void sim_connection_timeout(Sim *sim, SimNode *from, SimNode *to);
extern void sim_connections_break(Sim *sim, SimNode *node);
extern void sim_cut(Sim *sim, int from, int to);
extern void sim_mute(Sim *sim, int from, int to);
extern void sim_links_up(Sim *sim);
extern void sim_probe(Sim *sim, SimNode *from, SimNode *peer);
extern void sim_probe_answer(Sim *sim, SimNode *from, SimNode *peer);
extern SimTime sim_link_delay(Sim *sim, const SimNode *from, const SimNode *to);
extern bool sim_link_works(const Sim *sim, const SimNode *a, const SimNode *b);

/* wal.c: history files */
extern int	sim_history_find(const Sim *sim, const SimNode *node, QuorumTerm tli);
extern void sim_history_add(Sim *sim, SimNode *node, int history);
extern void sim_history_forget(Sim *sim, SimNode *node, QuorumTerm above);
extern bool sim_history_switch(const Sim *sim, int history, QuorumTerm tli, QuorumLsn *lsn);
extern QuorumTerm sim_history_newest(const Sim *sim, const SimNode *node);
extern bool sim_promotable(const Sim *sim, const SimNode *node);

/* pgmodel.c: recovery, promotion, clients */
extern void sim_pg_boot(Sim *sim, SimNode *node);
extern void sim_pg_booted(Sim *sim, SimNode *node);
extern void sim_pg_dies(Sim *sim, SimNode *node, bool power);
extern void sim_pg_promote(Sim *sim, SimNode *node, QuorumTerm term);
extern void sim_pg_promote_step(Sim *sim, SimNode *node);
extern void sim_pg_flushed(Sim *sim, SimNode *node, QuorumLsn upto);
extern void sim_pg_write(Sim *sim, SimNode *node, bool commit);
extern bool sim_pg_serves(const Sim *sim, const SimNode *node);
extern void sim_pg_release(Sim *sim, SimNode *node);
extern void sim_clients(Sim *sim);
extern void sim_client(Sim *sim, SimNode *node);

/* stream.c: walreceiver, walsender */
extern void sim_stream_follow(Sim *sim, SimNode *node);
extern void sim_stream_drop(Sim *sim, SimNode *node);
extern void sim_stream_connect(Sim *sim, SimNode *node, uint32_t id);
extern void sim_stream_send(Sim *sim, SimNode *source);
extern void sim_stream_data(Sim *sim, SimNode *node, const SimEvent *event);
extern void sim_stream_flushed(Sim *sim, SimNode *node, const SimEvent *event);
extern void sim_stream_reply(Sim *sim, SimNode *node, uint32_t id);
extern void sim_stream_ack(Sim *sim, SimNode *source, const SimEvent *event);
extern void sim_stream_end(Sim *sim, SimNode *node, uint32_t id);
extern void sim_stream_hurry(Sim *sim, SimNode *node);
extern bool sim_stream_counts(const Sim *sim, const SimNode *node);

/* operator.c: rewinds */
extern void sim_rewind(Sim *sim, SimNode *node);
extern bool sim_somebody_recovers(Sim *sim);
extern void sim_rewind_stopped(Sim *sim, SimNode *node);
extern void sim_rewind_itself(Sim *sim, SimNode *node, const QuorumAction *action);

/* faults.c */
extern void sim_fault_draw(Sim *sim);
extern void sim_kill_postmaster(Sim *sim, SimNode *node);
extern void sim_kill_all(Sim *sim, SimNode *node);
extern void sim_power_off(Sim *sim, SimNode *node);
extern void sim_backend_crash(Sim *sim, SimNode *node);
extern void sim_worker_kill(Sim *sim, SimNode *node);
extern void sim_worker_exit(Sim *sim, SimNode *node);
extern void sim_freeze(Sim *sim, SimNode *node, SimTime length, bool suspend);
extern void sim_worker_freeze(Sim *sim, SimNode *node, SimTime length);
extern void sim_thaw(Sim *sim, SimNode *node);
extern void sim_stop(Sim *sim, SimNode *node);
extern void sim_pg_hold(Sim *sim, SimNode *node, bool hold);
extern void sim_stopped(Sim *sim, SimNode *node);
extern void sim_long_loss(Sim *sim, SimNode *node);
extern void sim_wipe(Sim *sim, SimNode *node);

/* grey.c: what works badly instead of not at all */
extern void sim_grey_fault(Sim *sim, SimFault kind, SimNode *node);
extern void sim_disk_ok(Sim *sim, SimNode *node, int what);

/* liveness.c */
extern void sim_heal(Sim *sim);
extern SimTime sim_liveness_bound(const SimOptions *options);
extern void sim_liveness_deadline(Sim *sim);
extern SimTime sim_election_bound(const SimOptions *options);

/* checker.c */
_Noreturn extern void sim_fail(Sim *sim, SimVerdict verdict, const char *format,...)
			__attribute__((format(printf, 3, 4)));
extern void sim_check_persist(Sim *sim, SimNode *node, const QuorumHardState *hard);
extern void sim_check_send(Sim *sim, SimNode *node, const QuorumMessage *message);
extern void sim_check_publish(Sim *sim, SimNode *node, const QuorumView *view);
extern void sim_check_write(Sim *sim, SimNode *node, QuorumTerm tli);
/* The newest commit that a leader of this term or an earlier one told of; end 0 = none. */
extern const SimCommit *sim_told_by(const SimOracle *oracle, QuorumTerm term);
extern void sim_check_promoted(Sim *sim, SimNode *node);
extern void sim_check_ack_sent(Sim *sim, SimNode *node);
extern void sim_check_commit(Sim *sim, SimNode *node, const SimCommit *commit, uint32_t rewound);
extern void sim_check_async(Sim *sim, SimNode *node, const SimWaiting *waiting);
extern void sim_check_loses(Sim *sim, const SimNode *node, QuorumLsn keep);
extern void sim_check_all(Sim *sim);
extern void sim_check_begin(Sim *sim);

/* trace.c */
extern void sim_trace(Sim *sim, const SimNode *node, const char *format,...)
			__attribute__((format(printf, 3, 4)));
extern void sim_trace_note(Sim *sim, const SimNode *node, const QuorumNote *note);
extern void sim_trace_message(Sim *sim, const SimNode *node, const QuorumMessage *message,
							  const char *what);
extern void sim_trace_print(const Sim *sim, FILE *to);
extern void sim_hash(Sim *sim, uint64_t value);
extern const char *sim_role_name(QuorumRole role);

#include "change.h"

#endif							/* SIM_H */
