/*
 * quorum_node.h
 *	  The consensus state machine of one node: events in, updates out.
 */
#ifndef QUORUM_NODE_H
#define QUORUM_NODE_H

#include "quorum_random.h"
#include "quorum_types.h"

/* What this node knows of a peer in its member set. */
typedef struct QuorumPeer
{
	QuorumNodeId id;			/* 0 = slot not in use */
	QuorumTime	heard_at;		/* mono; 0 = never since boot, directly */
	QuorumTerm	term;			/* its term, as last heard */
	QuorumSetId set_id;			/* member set it has stored, as last heard */
	QuorumWalPos position;
	QuorumWalPos last_position; /* what it was when it was lost; for views */
	QuorumLsn	replay_lsn;
	uint8_t		priority;
	uint16_t	pg_port;
	bool		recovering;
	QuorumTime	recovering_since;	/* mono: a leader told so then; 0 = its own word */
	bool		diverged;
	bool		space_low;
	QuorumTerm	stream_term;
	QuorumLsn	stream_flush;
	QuorumTime	acked_sent;		/* leader: own boot clock when the newest heartbeat left that it
								 * acknowledged in this term; 0 = none */
	QuorumTime	acked_until;	/* leader: own boot clock until which its promise surely lasts */
	bool		denies_leading; /* since our boot it told us, in our boot term or later, that it
								 * does not lead: no lease of before our boot can be its */
	QuorumTime	later_term_since;	/* mono: says a later term than ours since then; 0 = does not */
	bool		gone;			/* it resigned or died, and has said nothing since */
	bool		silent;			/* it led, and was lost because it had been silent for a lease */
	bool		returns;		/* ... but handed its term over and will be back in a moment */
	QuorumTime	unable_since;	/* leader: mono; it does not acknowledge WAL since; 0 = it does */
	QuorumTime	doubt_at;		/* leader: mono; when to look whether it is dead; 0 = no doubt */
	bool		replied;		/* to the (pre-)vote round under way */
	bool		granted;
	QuorumTime	gossip_heard_at;	/* mono; the leader heard it then; 0 = never */
	QuorumTime	reply_retry_at; /* mono; end of the promise it told in its refusal; 0 = none */
} QuorumPeer;

/* A vote request that waits for the position read behind the fence (S2). */
typedef struct QuorumPendingVote
{
	QuorumNodeId candidate;		/* 0 = none; own id = own candidacy */
	QuorumWalPos position;		/* the candidate's */
	QuorumSetId set_id;			/* the candidate's */
} QuorumPendingVote;

/* A change of the member set under way; the leader's business only. */
typedef struct QuorumChange
{
	enum
	{
		QUORUM_CHANGE_NONE,
		QUORUM_CHANGE_WAIT_LSN, /* joint rule in force, WAL up to lsn not yet held under it */
		QUORUM_CHANGE_WAIT_SET	/* new set published, not yet on both majorities */
	}			step;
	QuorumLsn	lsn;			/* WAIT_LSN */
	QuorumTime	give_up_at;		/* WAIT_LSN: mono */
	QuorumMemberSet old;		/* set before the change (its voters must store the new one too) */
	QuorumMemberSet next;		/* WAIT_LSN: set to be published */
} QuorumChange;

/* A switchover under way: the gate is shut until the target holds all WAL. */
typedef struct QuorumTransfer
{
	QuorumNodeId target;		/* 0 = none */
	QuorumLsn	lsn;			/* what the target must hold; 0 = not read yet */
	QuorumTime	give_up_at;		/* mono */
} QuorumTransfer;

typedef struct QuorumNode
{
	QuorumConfig config;
	QuorumHardState hard;
	bool		hard_dirty;		/* hard is ahead of the disk */
	QuorumRandom random;

	QuorumInstant now;			/* of the event at hand */
	QuorumRole	role;
	QuorumNodeId leader;		/* accepted leader of hard.term; 0 = none */
	bool		closed;			/* closing event seen: silent until restarted */
	QuorumTerm	boot_term;		/* hard.term at init */
	bool		has_followed;	/* a leader was accepted since */
	QuorumFacts facts;
	bool		facts_known;

	/* follower */
	QuorumTime	promise_until;	/* mono: no vote, no candidacy before; 0 = none */
	bool		boot_hold;		/* the promise is the one of before our boot */
	QuorumTerm	resigned_term;	/* its leader has given it up; 0 = none */
	bool		leader_closing; /* the leader stops as planned: its stream ends first */
	QuorumLsn	leader_lsn;		/* all that it can have acknowledged ends here; as last told */
	QuorumNodeId successor;		/* whom it wants to lead next; 0 = any */
	bool		removed;		/* a newer member set does not name this node */
	bool		chosen;			/* it led last, or who did named it or is behind: no pause holds it
								 * (E10) */
	QuorumTime	resumed_until;	/* wall: pauses up to then are over, as an operator told here */
	QuorumTime	pause_noted;	/* the pause that was told; 0 = none */
	bool		leader_gate_open;	/* as the leader says */
	bool		rewind_granted; /* likewise */
	bool		rewind_awaited; /* it recovers because of that alone: its log is whole (W3) */
	QuorumWalPos gossip_position;	/* own position, as the leader last told it to everybody */
	QuorumLsn	reported_flush; /* stream_flush of the last ack */
	QuorumTime	election_at;	/* mono: when to stand; QUORUM_NEVER = not planned */
	bool		floor_checked;	/* the log was compared with hard.ack_floor since boot */
	QuorumTime	probe_at;		/* mono: when to look again whether the leader is dead, whose
								 * connection broke; QUORUM_NEVER = no doubt */
	QuorumPendingVote pending_vote;
	QuorumTerm	following_noted;	/* last term told as FOLLOWING */
	bool		diverged_noted;

	/* candidates */
	QuorumTime	round_ends_at;	/* mono */
	int			lost_rounds;	/* since a leader was last known */
	int			lost_votes;		/* of those, the ones that had cost a term */

	/* leader */
	QuorumTime	elected_at;		/* mono */
	QuorumTime	heartbeat_at;	/* mono: next heartbeat */
	QuorumTime	heartbeat_sent; /* mono: last heartbeat to all */
	QuorumTime	lease_until;	/* boot; 0 = none yet */
	bool		promoted;
	QuorumLsn	gate_lsn;		/* a record of our own term ends here or before */
	bool		gate_open;
	QuorumNodeId rewinding;		/* whom the last rewind was granted */
	QuorumTime	rewinding_until;	/* mono: nobody else before */
	bool		opened;			/* the gate has been open in this term */
	QuorumLsn	quorum_lsn;		/* leader: held by the quorum; follower: as told */
	QuorumLsn	caught_up_lsn;	/* quorum_lsn when the heartbeat before the last one left */
	QuorumLsn	heartbeat_lsn;	/* quorum_lsn when the last heartbeat left */
	QuorumChange change;
	QuorumTransfer transfer;
	QuorumTerm	handed_over;	/* this node led it and gave it away; 0 = none since boot */
	QuorumTime	linger_until;	/* mono: it stays up until then to vote for its successor */
	QuorumOutcome outcome;
	QuorumTime	unfollowed_since;	/* mono: members hear us but do not stream; 0 = they do */
	QuorumTime	space_again_at; /* mono: no hand-over for want of space before */
	QuorumTime	take_in_at;		/* mono: nobody is taken in before */
	QuorumTime	outcome_until;	/* mono: whoever asked waits no longer */
	QuorumTime	invite_at;		/* mono: when to invite again */
	QuorumTime	invite_until;	/* mono: who has not answered by then is no member */

	QuorumFence published;		/* what the last fence said */
	QuorumPeer	peers[QUORUM_MAX_NODES];	/* same order as hard.members.members */
} QuorumNode;

/*
 * Start a node from what the disk holds.  `now` must be later than any instant of
 * an earlier life of this node on the same clocks, or the clocks must be new.
 */
extern void quorum_init(QuorumNode *node, const QuorumConfig *config, const QuorumHardState *hard,
						uint64_t seed, QuorumInstant now);

/* Never blocks, never allocates.  Pure: same node, same event, same result. */
extern void quorum_step(QuorumNode *node, const QuorumEvent *event, QuorumUpdate *update);

/* When, on the mono clock, the next QUORUM_EVENT_TICK is due; QUORUM_NEVER if none. */
extern QuorumTime quorum_next_deadline(const QuorumNode *node);

/* A snapshot for everyone else. */
extern void quorum_view(const QuorumNode *node, QuorumView *view);

#endif							/* QUORUM_NODE_H */
