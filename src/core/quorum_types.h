/*
 * quorum_types.h
 *	  The vocabulary of the consensus core: ids, terms, positions, member sets,
 *	  events in, updates out.
 *
 * The core is freestanding C11.  It has no clock, no heap and does no I/O: time
 * comes in with every event and everything it wants done goes out in a
 * QuorumUpdate.  Everything has a fixed bound.
 *
 * Units: instants and lengths of time are microseconds (QuorumTime).
 */
#ifndef QUORUM_TYPES_H
#define QUORUM_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUORUM_MAX_NODES		15	/* members of one cluster, all kinds together */
#define QUORUM_NAME_SIZE		64	/* bytes of a node name, with its NUL */
#define QUORUM_HOST_SIZE		128 /* bytes of a host, with its NUL */
#define QUORUM_UUID_SIZE		16
#define QUORUM_REASON_SIZE		160 /* bytes of a reason shown to a person, with its NUL */
#define QUORUM_MAX_MESSAGES		(4 * QUORUM_MAX_NODES)	/* messages of one step */
#define QUORUM_MAX_ACTIONS		4	/* actions of one step */
#define QUORUM_MAX_NOTES		12	/* notes of one step */
#define QUORUM_TERM_GAP_MAX		1000	/* V18: a candidacy never skips more terms */
#define QUORUM_FORCE_TERM_GAP	10	/* what a forced leader is ahead of the others' terms */
#define QUORUM_PAUSE_MAX_US		(INT64_C(86400) * 1000000)
#define QUORUM_PAUSED_TEXT		"the cluster is paused"	/* why a node is not electable */

typedef int64_t QuorumTime;		/* microseconds */
typedef uint32_t QuorumTerm;	/* number of a leadership period == timeline id; 0 = none */
typedef uint32_t QuorumNodeId;	/* unique for ever, never reused; 0 = none */
typedef uint64_t QuorumLsn;		/* WAL byte position; 0 = none */

#define QUORUM_NO_NODE	((QuorumNodeId) 0)
#define QUORUM_NEVER	INT64_MAX

/*
 * One instant on the two clocks of a node.  The leader's lease is counted on
 * boot (it goes on while the host is suspended, so the lease ends early), a
 * follower's promise on mono (it stands still, so the promise ends late): both
 * err on the safe side (S7).
 */
typedef struct QuorumInstant
{
	QuorumTime	mono;			/* CLOCK_MONOTONIC */
	QuorumTime	boot;			/* CLOCK_BOOTTIME */
	QuorumTime	wall;			/* since 1970; for what an operator dated, never for a promise */
} QuorumInstant;

/* End of a node's log: what can be compared between nodes.  Timeline first. */
typedef struct QuorumWalPos
{
	QuorumTerm	tli;			/* timeline the last byte was written on */
	QuorumLsn	lsn;			/* its end */
} QuorumWalPos;

typedef enum QuorumRole
{
	QUORUM_ROLE_FOLLOWER,
	QUORUM_ROLE_PRE_CANDIDATE,	/* asks whether an election could succeed */
	QUORUM_ROLE_CANDIDATE,		/* asks for votes */
	QUORUM_ROLE_LEADER			/* won the vote of its term */
} QuorumRole;

typedef enum QuorumMemberKind
{
	QUORUM_VOTER = 1,			/* votes, has data */
	QUORUM_WITNESS = 2,			/* votes, has no data */
	QUORUM_LEARNER = 3			/* has data, does not vote */
} QuorumMemberKind;

typedef struct QuorumMember
{
	QuorumNodeId id;
	QuorumMemberKind kind;
	QuorumMemberKind becomes;	/* learner: what it shall be as soon as it can; 0 = it stays one */
	bool		left_out;		/* data voter without which commits go on: it neither counts nor
								 * stands until it has caught up (Y1) */
	uint16_t	quorum_port;	/* where its worker listens */
	uint16_t	pg_port;		/* where its PostgreSQL listens; 0 = not yet known */
	uint8_t		uuid[QUORUM_UUID_SIZE]; /* of this incarnation; zero = not yet joined */
	char		name[QUORUM_NAME_SIZE];
	char		host[QUORUM_HOST_SIZE];
} QuorumMember;

/* A member set is ordered by (term, version): "logless" reconfiguration. */
typedef struct QuorumSetId
{
	QuorumTerm	term;			/* term of the leader that made it */
	uint32_t	version;
} QuorumSetId;

typedef struct QuorumMemberSet
{
	QuorumSetId id;
	QuorumNodeId next_node_id;	/* ids are never reused */
	QuorumTime	paused_until;	/* wall: nobody takes over by itself before; 0 = not paused */
	int			count;
	QuorumMember members[QUORUM_MAX_NODES];
} QuorumMemberSet;

/* What must survive a crash.  Durable before anything that depends on it leaves. */
typedef struct QuorumHardState
{
	uint8_t		cluster_id[QUORUM_UUID_SIZE];
	uint64_t	system_identifier;	/* of the data directory */
	QuorumNodeId node_id;		/* own identity */
	uint8_t		uuid[QUORUM_UUID_SIZE];
	QuorumTerm	term;			/* highest term promised */
	QuorumNodeId vote;			/* whom this node voted for in term; 0 = nobody */
	bool		recovering;		/* log lost or rewound: no vote, no candidacy (S8) */
	QuorumTime	promise_us;		/* longest lease promised to any leader so far */
	QuorumWalPos ack_floor;		/* the log is known to have reached this */
	QuorumMemberSet members;
} QuorumHardState;

typedef struct QuorumConfig
{
	QuorumTime	lease_us;		/* length of the leader's lease */
	QuorumTime	heartbeat_us;	/* between two heartbeats; < lease_us / 3 */
	QuorumTime	promotion_limit_us; /* a leader that has not opened by then resigns */
	uint8_t		priority;		/* breaks ties between equal logs: higher stands first */
	uint16_t	pg_port;		/* own PostgreSQL port, told to the leader */
	bool		auto_rewind;	/* a diverged node rewinds itself against the leader */
	bool		strict;			/* commits never go on without another data node (Y6) */
	bool		bootstrapped;	/* init: this running primary leads its own term (cluster of one) */
} QuorumConfig;

/* ---- events in ---------------------------------------------------------- */

typedef enum QuorumMessageType
{
	QUORUM_MSG_STATUS = 1,		/* first message on a new connection: who am I */
	QUORUM_MSG_PRE_VOTE_REQUEST = 2,
	QUORUM_MSG_PRE_VOTE_REPLY = 3,
	QUORUM_MSG_VOTE_REQUEST = 4,
	QUORUM_MSG_VOTE_REPLY = 5,
	QUORUM_MSG_HEARTBEAT = 6,
	QUORUM_MSG_HEARTBEAT_ACK = 7,
	QUORUM_MSG_RESIGN = 8,
	QUORUM_MSG_MEMBERS = 9,		/* gossip: a newer member set */
	QUORUM_MSG_INVITE = 10,		/* leader -> server that shall join */
	QUORUM_MSG_INVITE_REPLY = 11
} QuorumMessageType;

typedef enum QuorumVerdict
{
	QUORUM_GRANTED = 0,
	QUORUM_REFUSED_TERM,		/* term not newer, or already voted */
	QUORUM_REFUSED_PROMISE,		/* a leader may still have its lease */
	QUORUM_REFUSED_BEHIND,		/* candidate's log is behind the voter's */
	QUORUM_REFUSED_MEMBERS,		/* candidate's member set is older, or it is no voter */
	QUORUM_REFUSED_NOT_READY	/* voter cannot vote now: log not read, recovering, no voter */
} QuorumVerdict;

typedef enum QuorumResignReason
{
	QUORUM_RESIGN_POSTMASTER_DIED = 1,
	QUORUM_RESIGN_SHUTDOWN = 2, /* planned stop: the stream ends cleanly first */
	QUORUM_RESIGN_WORKER_EXIT = 3,
	QUORUM_RESIGN_PROMOTION = 4,	/* could not promote, or could not open in time */
	QUORUM_RESIGN_LAPSED = 5,	/* its lease is over: hears no majority */
	QUORUM_RESIGN_LATER_TERM = 6,	/* a member cannot follow: it has promised a later term */
	QUORUM_RESIGN_NOT_DURABLE = 7,	/* fsync or full_page_writes was switched off */
	QUORUM_RESIGN_WAL_STALLED = 8,	/* its own WAL does not get to its disk */
	QUORUM_RESIGN_UNFOLLOWED = 9,	/* the others hear it but cannot stream from it */
	QUORUM_RESIGN_HANDED_OVER = 10	/* a switchover: the successor holds all of its WAL */
} QuorumResignReason;

/* What the leader last heard of each member, gossiped so that ranks are known. */
typedef struct QuorumGossip
{
	QuorumNodeId id;
	uint8_t		priority;
	QuorumWalPos position;
	QuorumLsn	replay_lsn;
	bool		recovering;		/* or allowed to rewind itself, which it may be doing by now */
	QuorumTime	heard_ago_us;	/* QUORUM_NEVER = never heard */
} QuorumGossip;

/*
 * One message between two nodes.  Fields beyond the header are valid for the
 * types named beside them and zero otherwise.
 */
typedef struct QuorumMessage
{
	/* header, every type */
	QuorumMessageType type;
	QuorumNodeId from;
	QuorumNodeId to;
	QuorumTerm	term;			/* sender's term */
	QuorumRole	role;			/* sender's role */
	QuorumSetId set_id;			/* sender's member set */
	QuorumWalPos position;		/* end of the sender's log; zero = not known */

	QuorumTerm	proposed_term;	/* PRE_VOTE_*: the term it is about */
	QuorumVerdict verdict;		/* *_REPLY */
	QuorumTime	retry_after_us; /* *_REPLY: rest of the voter's promise */

	QuorumTime	sent_at;		/* HEARTBEAT: leader's boot clock; ACK: echoed */
	QuorumTime	lease_us;		/* HEARTBEAT; ACK: echoed */
	bool		gate_open;		/* HEARTBEAT */
	bool		rewind_granted; /* HEARTBEAT: the receiver may rewind itself now if it has to */
	QuorumLsn	quorum_lsn;		/* HEARTBEAT: known to be held by the quorum */
	int			gossip_count;	/* HEARTBEAT */
	QuorumGossip gossip[QUORUM_MAX_NODES];

	QuorumTerm	stream_term;	/* ACK: timeline == term of the live stream; 0 = none */
	QuorumLsn	stream_flush;	/* ACK: last flush position acknowledged on that stream */
	QuorumLsn	replay_lsn;		/* ACK, STATUS */
	uint8_t		priority;		/* ACK, STATUS */
	uint16_t	pg_port;		/* ACK, STATUS, INVITE_REPLY */
	bool		recovering;		/* ACK, STATUS */
	bool		diverged;		/* ACK: waits for a rewind */
	bool		space_low;		/* ACK, STATUS: its disk is nearly full */
	bool		asks;			/* ACK: a read here waits for a newer quorum_lsn */

	QuorumResignReason resign;	/* RESIGN */

	uint8_t		cluster_id[QUORUM_UUID_SIZE];	/* INVITE */
	uint64_t	system_identifier;	/* INVITE */
	QuorumNodeId node_id;		/* INVITE: id of the invited; RESIGN: who shall lead, 0 = any */
	uint8_t		uuid[QUORUM_UUID_SIZE]; /* INVITE_REPLY: its incarnation */
	bool		accepted;		/* INVITE_REPLY */
	char		reason[QUORUM_REASON_SIZE]; /* INVITE_REPLY, when refused */

	QuorumMemberSet members;	/* MEMBERS, INVITE */
} QuorumMessage;

typedef enum QuorumPhase
{
	QUORUM_PHASE_STARTING,		/* in recovery, local WAL not yet read to its end (R5) */
	QUORUM_PHASE_STANDBY,		/* in recovery, local WAL read */
	QUORUM_PHASE_PRIMARY		/* out of recovery */
} QuorumPhase;

/* Truth about the local PostgreSQL.  Facts beat memory. */
typedef struct QuorumFacts
{
	QuorumPhase phase;
	QuorumWalPos position;		/* end of the log: replayed or acknowledged, the larger; read after
								 * the fence of fence_term was raised */
	QuorumTerm	fence_term;		/* fence in force when position was read */
	QuorumTerm	newest_tli;		/* highest timeline with a history file here */
	QuorumTerm	replay_tli;		/* timeline of the last replayed record; 0 = not known */
	QuorumLsn	replay_lsn;		/* its end */
	QuorumTerm	stream_term;	/* timeline of the live stream if its acks are real; else 0 */
	QuorumLsn	stream_flush;	/* last flush position acknowledged on it */
	bool		streaming;		/* a walreceiver is connected to the accepted leader */
	bool		diverged;		/* cannot follow the accepted leader without a rewind */
	bool		rewind_begun;	/* the next boot may cut its log: that cannot be taken back */
	bool		promotable;		/* R17: the history on disk fits the end of the log */
	bool		fsync_off;		/* fsync or full_page_writes is off: nothing it writes is durable */
	bool		wal_stalled;	/* primary: the flush of its WAL has not moved for a lease */
	bool		space_low;		/* too little room is left where the WAL or the state is written */
	bool		promotion_failed;	/* the promotion of this term cannot succeed any more */
	bool		sync_ready;		/* synchronous_standby_names is in force as published */
	bool		wal_held;		/* as the fence wants it: the log does not grow beyond position */
	bool		log_damaged;	/* R13: recovery ended before position, it cannot read on */
} QuorumFacts;

typedef enum QuorumClosing
{
	QUORUM_CLOSING_POSTMASTER_DIED = 1,
	QUORUM_CLOSING_SHUTDOWN,
	QUORUM_CLOSING_WORKER_EXIT
} QuorumClosing;

typedef enum QuorumAdminType
{
	QUORUM_ADMIN_ADD_MEMBER = 1,
	QUORUM_ADMIN_REMOVE_MEMBER,
	QUORUM_ADMIN_SWITCHOVER,
	QUORUM_ADMIN_CHANGE_KIND,	/* voter to learner or back */
	QUORUM_ADMIN_CHANGE_ADDRESS,
	QUORUM_ADMIN_PAUSE,			/* no take-over before now.wall + limit_us; 0 = resume */
	QUORUM_ADMIN_FORCE			/* lead without a majority: the others become learners */
} QuorumAdminType;

typedef struct QuorumAdmin
{
	QuorumAdminType type;
	uint64_t	request_id;		/* chosen by the caller, > 0; the outcome names it */
	QuorumMemberKind kind;		/* ADD_MEMBER, CHANGE_KIND: what it shall be in the end */
	uint16_t	quorum_port;	/* ADD_MEMBER, CHANGE_ADDRESS */
	QuorumTime	limit_us;		/* SWITCHOVER: back to service when the hand-over takes longer;
								 * PAUSE: how long */
	char		name[QUORUM_NAME_SIZE]; /* SWITCHOVER: may be empty: the best one */
	char		host[QUORUM_HOST_SIZE]; /* ADD_MEMBER, CHANGE_ADDRESS */
} QuorumAdmin;

typedef enum QuorumEventType
{
	QUORUM_EVENT_TICK = 1,		/* look at the clock */
	QUORUM_EVENT_MESSAGE,
	QUORUM_EVENT_FACTS,
	QUORUM_EVENT_PEER_CONNECTED,	/* the connection to peer is up: say who we are */
	QUORUM_EVENT_PEER_LOST,		/* a connection with peer broke */
	QUORUM_EVENT_PEER_DEAD,		/* proof: both ports of peer refuse a fresh connection */
	QUORUM_EVENT_PEER_RESTARTED,	/* peer said hello with another boot nonce */
	QUORUM_EVENT_CLOSING,
	QUORUM_EVENT_ADMIN,
	QUORUM_EVENT_CONFIRM		/* a read waits to be confirmed (Q1, Q2): ask the others now */
} QuorumEventType;

typedef struct QuorumEvent
{
	QuorumEventType type;
	QuorumInstant now;
	QuorumNodeId peer;			/* PEER_* */
	QuorumClosing closing;		/* CLOSING */
	union
	{
		QuorumMessage message;
		QuorumFacts facts;
		QuorumAdmin admin;
	}			u;
} QuorumEvent;

/* ---- updates out -------------------------------------------------------- */

typedef enum QuorumActionType
{
	QUORUM_ACTION_PROMOTE = 1,	/* become primary on timeline `term` and no other */
	QUORUM_ACTION_DEMOTE,		/* stop serving now, restart in place as a standby */
	QUORUM_ACTION_PROBE,		/* try both ports of `peer`; report PEER_DEAD if both refuse */
	QUORUM_ACTION_HAND_OVER,	/* the same, the log held; the operator may have his answer first */
	QUORUM_ACTION_REWIND		/* rewind this node's data against leader `peer` of `term` */
} QuorumActionType;

/* Actions are idempotent and are asked again until facts show them done. */
typedef struct QuorumAction
{
	QuorumActionType type;
	QuorumTerm	term;			/* PROMOTE */
	QuorumNodeId peer;			/* PROBE */
} QuorumAction;

/* The story of a node, one item per thing worth telling.  Feeds log and history. */
typedef enum QuorumNoteType
{
	QUORUM_NOTE_LEADER_LOST = 1,	/* why: QuorumLossReason */
	QUORUM_NOTE_PRE_VOTE,		/* this node asks whether it could win `term` */
	QUORUM_NOTE_CANDIDATE,		/* this node asks for votes in `term` */
	QUORUM_NOTE_ELECTED,		/* this node leads `term` */
	QUORUM_NOTE_VOTED,			/* voted for `peer` in `term` */
	QUORUM_NOTE_REFUSED,		/* refused a vote to `peer`; why: QuorumVerdict */
	QUORUM_NOTE_LEADER_FOUND,	/* accepted `peer` as leader of `term` */
	QUORUM_NOTE_PROMOTED,		/* PostgreSQL is primary on timeline `term` */
	QUORUM_NOTE_GATE_OPEN,
	QUORUM_NOTE_GATE_CLOSED,
	QUORUM_NOTE_LEASE_LAPSED,	/* leader heard no majority for a lease */
	QUORUM_NOTE_STEPPED_DOWN,	/* why: QuorumLossReason */
	QUORUM_NOTE_RESIGNED,		/* why: QuorumResignReason */
	QUORUM_NOTE_FOLLOWING,		/* acknowledging WAL of leader `peer` in `term` */
	QUORUM_NOTE_DIVERGED,		/* waits for a rewind */
	QUORUM_NOTE_MEMBER_ADDED,	/* `peer` is in the member set as a learner */
	QUORUM_NOTE_MEMBER_VOTER,	/* `peer` became a voter */
	QUORUM_NOTE_MEMBER_REMOVED, /* `peer` left the member set */
	QUORUM_NOTE_MEMBER_LEARNER, /* `peer` was a voter and is a learner */
	QUORUM_NOTE_MEMBER_MOVED,	/* `peer` has another address */
	QUORUM_NOTE_MEMBERS_CHANGED,	/* adopted another member set */
	QUORUM_NOTE_HAND_OVER,		/* `peer` shall lead: the gate is shut for it */
	QUORUM_NOTE_HAND_OVER_FAILED,	/* ... and opens again */
	QUORUM_NOTE_LEFT_OUT,		/* commits go on without `peer`, which cannot lead meanwhile */
	QUORUM_NOTE_TAKEN_IN,		/* `peer` has caught up and counts again */
	QUORUM_NOTE_PAUSED,			/* nobody takes over by itself for a while */
	QUORUM_NOTE_RESUMED,
	QUORUM_NOTE_FORCED			/* `peer` leads without a majority, as an operator decided */
} QuorumNoteType;

typedef enum QuorumLossReason
{
	QUORUM_LOSS_RESIGNED = 1,
	QUORUM_LOSS_DEAD,			/* both its ports refuse */
	QUORUM_LOSS_RESTARTED,		/* hello with another boot nonce */
	QUORUM_LOSS_SILENT,			/* no heartbeat for one lease */
	QUORUM_LOSS_HIGHER_TERM,
	QUORUM_LOSS_CLOSING,		/* planned stop, its stream has ended */
	QUORUM_LOSS_FACTS			/* the local PostgreSQL is not what a leader needs */
} QuorumLossReason;

typedef struct QuorumNote
{
	QuorumNoteType type;
	QuorumTerm	term;
	QuorumNodeId peer;
	int			why;
} QuorumNote;

/* Outcome of an administrator's request. */
typedef struct QuorumOutcome
{
	uint64_t	request_id;		/* 0 = none */
	bool		done;			/* false: still under way */
	bool		failed;
	QuorumNodeId node_id;		/* the member it was about */
	char		reason[QUORUM_REASON_SIZE]; /* when failed */
} QuorumOutcome;

/*
 * A commit may be acknowledged when the leader and `need` of `ids` have it.
 * During a change of the member set this is the stricter of both rules.
 */
typedef struct QuorumSyncRule
{
	int			need;
	int			count;
	QuorumNodeId ids[QUORUM_MAX_NODES];
} QuorumSyncRule;

/*
 * Restrictions, which take effect before anything is written or sent: acks for
 * a term below `term` stop, the gate shuts unless gate_may_stay_open, and WAL that has
 * not reached the disk stays in memory when hold_wal.
 */
typedef struct QuorumFence
{
	QuorumTerm	term;
	bool		gate_may_stay_open;
	bool		hold_wal;
} QuorumFence;

typedef struct QuorumUpdate
{
	bool		fence_changed;	/* raise the fence first */
	QuorumFence fence;
	bool		facts_wanted;	/* after the fence: read the facts and step again (S2) */
	bool		persist;		/* node->hard must be durable before anything below */
	int			message_count;
	QuorumMessage messages[QUORUM_MAX_MESSAGES];
	int			action_count;
	QuorumAction actions[QUORUM_MAX_ACTIONS];
	int			note_count;
	QuorumNote	notes[QUORUM_MAX_NOTES];
} QuorumUpdate;

/* What a node knows of a member, for the views. */
typedef struct QuorumMemberView
{
	QuorumMember member;
	bool		is_self;
	bool		is_leader;
	bool		heard;			/* within one lease, directly or through the leader */
	QuorumTime	heard_ago_us;	/* QUORUM_NEVER = never */
	uint8_t		priority;
	QuorumWalPos position;
	QuorumLsn	replay_lsn;
	QuorumTerm	stream_term;	/* leader's view only: term whose WAL it acknowledges */
	QuorumLsn	stream_flush;
	bool		recovering;
	bool		diverged;
	bool		space_low;
	bool		in_sync_rule;
} QuorumMemberView;

/* The state of a node, published for backends, walreceiver and views. */
typedef struct QuorumView
{
	QuorumNodeId node_id;
	QuorumRole	role;
	QuorumTerm	term;
	QuorumNodeId vote;
	QuorumNodeId leader;		/* accepted leader of term; 0 = none */
	QuorumPhase phase;
	QuorumTime	lease_until_boot;	/* leader: on this node's boot clock; 0 = no lease */
	QuorumTime	promise_until_mono; /* follower: votes for nobody before */
	bool		hold_wal;		/* see QuorumFence; false: the log may grow again */
	bool		gate_open;
	bool		closed;			/* the node leaves the game until it restarts */
	QuorumLsn	quorum_lsn;		/* leader: held by the quorum; follower: as told */
	QuorumTime	confirmed_at;	/* leader: boot clock; a majority has acknowledged a heartbeat that
								 * was sent then */
	QuorumLsn	held_lsn;		/* follower: quorum_lsn while it streams from a leader that serves;
								 * else 0 */
	bool		electable;
	char		not_electable[QUORUM_REASON_SIZE];	/* why not */
	QuorumTime	paused_until;	/* wall; 0 = not paused */
	QuorumSyncRule sync;
	QuorumSetId set_id;
	bool		set_committed;	/* leader: the set is durable on the majorities that matter */
	QuorumOutcome outcome;
	int			member_count;
	QuorumMemberView members[QUORUM_MAX_NODES];
} QuorumView;

_Static_assert(QUORUM_MAX_NODES >= 7, "a cluster of seven must fit");
_Static_assert(QUORUM_MAX_MESSAGES >= 2 * QUORUM_MAX_NODES, "a step may write to every peer twice");

#endif							/* QUORUM_TYPES_H */
