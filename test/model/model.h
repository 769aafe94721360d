/*
 * model.h
 *	  A small world, searched to its end: every interleaving of a few nodes.
 *
 * The consensus core is the real one.  A state of the world holds numbers: of the core
 * of each node, of its PostgreSQL, of each message on its way.  What is behind a number
 * is kept once (intern.c), and what the core makes of an event is remembered (core.c).
 *
 * Time does not pass: the core always sees the same instant, and what it remembers
 * grows older when the world takes a step of time.  Instants that only order attempts
 * (when to stand, to ask again, to beat) are choices.
 *
 * What is modelled, what is not: docs/model.md.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>
#include <stdio.h>

#include "quorum_assert.h"
#include "quorum_drive.h"
#include "quorum_members.h"
#include "quorum_message.h"

#define NODES			5		/* most of one world; node id == index + 1 */
#define TERMS			6		/* timelines and terms are 1 .. TERMS - 1 */
#define NET				8		/* most messages on their way */
#define SENT			64		/* most messages of one transition, before the network takes some */

#define NOW				INT64_C(1000000000)	/* the instant that it always is */
#define LEASE			INT64_C(1000000)
#define FAR				(NOW * 2)
#define LSN_STEP		100		/* bytes of a record */

/* Protections outside the core that can be taken out, to see that it is noticed. */
typedef enum Break
{
	BREAK_NONE,
	BREAK_ACK_FENCE,			/* the stream goes on, and acknowledges, behind a raised fence */
	BREAK_STATE_LOST,			/* a node boots on a copy of somebody's first state (V3) */
	BREAK_GATE_CHECK,			/* backends look at the gate, not at the lease */
	BREAK_LEDGER,				/* what one member holds counts for the next one, too (V2) */
	BREAK_RULE,					/* commits go by the rule of a node that leads no more */
	BREAK_KINDS
} Break;

typedef struct Scope
{
	const char *name;
	int			nodes;
	int			witness;		/* index of it; -1 = none */
	int			learner;		/* index of a node that begins as a learner; -1 = none */
	int			terms;			/* elections that can be won or tried, beyond the first leader's */
	int			commits;
	int			crashes;
	int			changes;		/* requests that change the member set: 0 or 1 */
	int			switches;		/* switchovers: 0 or 1 */
	int			rewinds;		/* 1: a diverged node rewinds itself, exactly or deeper */
	int			net;			/* messages on their way at one time; 0 = all arrive at once or never */
	int			step;			/* a step of time, in permille of a lease */
	int			slow;			/* index of a node whose clock is 0.9 % slower; -1 = none */
	int			lazy;			/* 1: the core hears of facts later than they come true */
	int			start;			/* 0: node 1 serves; 1: node 2 has taken over, node 1 has diverged;
								 * 2: one of five is left out, and another lacks a commit */
	int			pair;			/* 1: of one kind of message only the newest per pair is on its way */
	int			trivial;		/* 1: messages that change nothing where they would arrive stay, too */
	int			slow_pre_votes;	/* 1: also pre-votes are on their way for a while */
	Break		broken;
	long		limit;			/* most states; 0 = as memory allows */
	long		seconds;		/* give up after; 0 = never */
} Scope;

extern Scope scope;
extern bool scope_begun;		/* the first state has been reached */

/* ---- intern.c ----------------------------------------------------------- */

typedef struct Table
{
	uint8_t   **items;			/* length in the first two bytes */
	uint32_t   *slots;			/* hash table of numbers, 0 = free */
	uint32_t	count;			/* numbers are 1 .. count - 1 */
	uint32_t	size;			/* of slots, a power of two */
	size_t		bytes;
} Table;

extern uint64_t hash_bytes(const void *bytes, size_t size);
extern uint32_t intern(Table *table, const void *bytes, size_t size);
extern const void *interned(const Table *table, uint32_t number, size_t *size);

/* ---- pg.c: what a PostgreSQL is ------------------------------------------- */

typedef enum Phase
{
	PG_DOWN, PG_STARTING, PG_STANDBY, PG_PRIMARY
} Phase;

/* A log is as many records of each timeline; the first of one is what opens it. */
typedef struct Pg
{
	uint8_t		phase;
	uint8_t		log[TERMS];
	uint8_t		stream;			/* node streamed from, index + 1; 0 = none */
	uint8_t		stream_term;
	uint8_t		acked;			/* records acknowledged on it; 0 = none */
	uint8_t		held[NODES];	/* primary: what walsenders say */
	uint8_t		promoting;		/* to this timeline */
	uint8_t		diverged;		/* from the leader of this term */
	uint8_t		doomed;			/* restarts in place as soon as it is its turn */
	uint8_t		rewind;			/* ... and is rewound against this node, index + 1 */
	uint8_t		hand_over;		/* a planned stop was asked for */
} Pg;

extern int	log_count(const uint8_t *log);
extern int	log_tli(const uint8_t *log);
extern bool log_fits(const uint8_t *log, const uint8_t *leader);
extern void log_cut_to(uint8_t *log, const uint8_t *leader);

/* ---- core.c: a node's core, its disk, its shared memory -------------------- */

/* What the rest of the node sees of it, and what the search wants to know. */
typedef struct Shared
{
	bool		alive;
	bool		gate_open;
	bool		hold_wal;		/* nothing more is written (T2) */
	bool		wants_facts;	/* waits for facts although they did not change */
	bool		wants_time;		/* something can be given up */
	uint8_t		role;
	uint8_t		leader;
	uint8_t		term;
	uint8_t		fence;
	uint8_t		vote;
	uint8_t		need;			/* of the rule for commits; 255 = nothing is enough */
	uint8_t		rule;			/* its members, a bit each */
	uint8_t		voters;			/* of the set, a bit each */
	uint8_t		out;			/* left out */
	uint8_t		change;			/* step of a change under way */
	bool		recovering;
	bool		promised;		/* its promise runs */
	bool		leads_now;		/* its lease is valid */
	uint64_t	told;			/* facts as the core knows them */
	uint64_t	set;			/* id of the member set */
} Shared;

#define FACTS_SET		1
#define FACTS_REWIND	2		/* the server stops to be rewound */

/* Facts of a PostgreSQL in one number: an event's payload, and part of a remembered step. */
typedef union FactsKey
{
	struct
	{
		uint8_t		phase;
		uint8_t		tli;
		uint8_t		lsn;
		uint8_t		stream_term;
		uint8_t		acked;
		uint8_t		diverged;
		uint8_t		set;		/* never all zero: FACTS_SET, FACTS_REWIND */
	}			f;
	uint64_t	key;
} FactsKey;

typedef enum CoreEvent
{
	CORE_FACTS, CORE_FIRE, CORE_GIVE_UP, CORE_MESSAGE, CORE_CONNECTED, CORE_DEAD,
	CORE_RESTARTED, CORE_CLOSING, CORE_STOPPING, CORE_ADMIN, CORE_SWITCH, CORE_DIE, CORE_BOOT,
	CORE_BOOT_LOST, CORE_AGE
} CoreEvent;

typedef struct Step
{
	uint32_t	core;			/* after it */
	uint32_t	torn;			/* when something left before it was durable: the core, dead then */
	uint8_t		sent_count;
	uint8_t		promote;		/* to this timeline */
	uint8_t		rewind;			/* against this node */
	bool		demote;
	bool		hand_over;
	const char *broken;			/* an invariant */
	uint32_t	sent[12];
} Step;

extern Table messages;
extern void core_start(void);
extern uint32_t core_first(int node);
extern const Shared *core_shared(uint32_t core);
extern void core_step(uint32_t core, CoreEvent event, uint32_t param, uint64_t facts, Step *step);
extern uint32_t message_age(uint32_t message, int64_t by);

/* Who wrote a message to whom, as indexes. */
typedef struct Ends
{
	uint8_t		from;
	uint8_t		to;
	uint8_t		type;
} Ends;

extern const Ends *message_ends(uint32_t message);
extern void message_read(uint32_t message, QuorumMessage *to);
extern uint32_t core_count(void);
extern size_t core_bytes(void);
extern int	core_tell;			/* 1: print the notes of each step */

/* ---- world.c: a state, and what may happen in it ---------------------------- */

typedef struct World
{
	uint32_t	core[NODES];
	uint16_t	pg[NODES];
	uint32_t	net[NET];		/* ascending, zeroes last */
	uint8_t		leader[TERMS];	/* who led that term, index + 1 */
	uint8_t		acked[TERMS];	/* of each timeline: records up to the last acknowledged commit */
	uint8_t		promoted;		/* timelines that were begun, a bit each */
	uint8_t		commits;		/* what is left to happen */
	uint8_t		crashes;
	uint8_t		changes;
	uint8_t		switches;
	uint16_t	link;			/* pairs that are connected, a bit each */
	uint32_t	knew;			/* [a][b]: a spoke to an earlier life of b */
} World;

typedef enum ChoiceKind
{
	DO_TIME, DO_MESSAGE, DO_FIRE, DO_GIVE_UP, DO_FACTS, DO_COMMIT, DO_STREAM, DO_PROMOTE,
	DO_READ_LOG, DO_DEAD, DO_HELLO, DO_CRASH, DO_CLOSE, DO_RESTART, DO_STOP, DO_CHANGE,
	DO_SWITCH, DO_KINDS
} ChoiceKind;

typedef struct Choice
{
	uint8_t		kind;
	uint8_t		node;
	uint8_t		other;			/* a node, a message's place, a variant */
	uint8_t		torn;			/* 1: dies before what left was durable */
	uint8_t		deaf;			/* of what is answered at once they hear nothing, a bit each */
	uint8_t		mute;			/* ... and nobody hears these */
} Choice;

/* What came of a choice, before the network took what it can hold. */
typedef struct Outcome
{
	World		world;
	bool		torn;			/* a variant with a torn step exists */
	bool		beyond;			/* outside the scope */
	int			talked;			/* who took part in what was answered at once, a bit each */
	int			deaf;
	int			mute;
	int			sent_count;
	uint32_t	sent[SENT];
	const char *broken;
	char		why[200];
} Outcome;

extern void world_start(World *world);
extern int	world_choices(const World *world, Choice *choices, int limit);
extern void world_apply(const World *world, Choice choice, Outcome *outcome);
extern void world_check(Outcome *outcome);
extern bool world_serves(const World *world, int node);
extern const Pg *world_pg(const World *world, int node);
extern void world_set_pg(World *world, int node, const Pg *pg);
extern void world_core(Outcome *outcome, int node, CoreEvent event, uint32_t param, bool torn);
extern int	world_pair(int a, int b);
extern uint64_t world_facts(const World *world, int node);

/* ---- transitions.c ------------------------------------------------------- */

extern void transition(Outcome *outcome, Choice choice, const World *before);

/* ---- print.c ---------------------------------------------------------------- */

extern void print_choice(const World *world, Choice choice, FILE *to);
extern void print_world(const World *world, FILE *to);

/* ---- search.c --------------------------------------------------------------- */

typedef struct Result
{
	bool		found;			/* a counterexample */
	bool		whole;			/* nothing is left to explore */
	bool		empty;			/* nobody took over and served: it says nothing */
	long		states;
	long		transitions;
	int			depth;
	double		seconds;
} Result;

extern void search(Result *result);

#endif							/* MODEL_H */
