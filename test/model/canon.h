/*
 * canon.h
 *	  The one form of a core that stands for all that behave alike.
 */
#ifndef CANON_H
#define CANON_H

#include "model.h"

#define PACKED_MAX	8192

/* What fence() and publish() wrote, for the other processes of the node. */
typedef struct Published
{
	bool		gate_open;
	bool		hold_wal;
	uint8_t		role;
	uint8_t		leader;
	uint8_t		term;
	uint8_t		fence;
	uint8_t		need;
	uint8_t		rule;
	uint64_t	told;			/* facts that the core knows */
	QuorumTime	lease_until;
} Published;

/* All of a node but its PostgreSQL. */
typedef struct Local
{
	bool		alive;
	bool		same;			/* packed: the disk holds what the core holds */
	uint8_t		self;			/* index */
	Published	published;
	QuorumHardState disk;
	QuorumNode	node;
} Local;

extern void canon_hard(QuorumHardState *hard, int node);
extern void canon_init(Local *local);
extern void canon_local(Local *local);
extern size_t canon_pack(Local *local, uint8_t *bytes);
extern void canon_unpack(const uint8_t *bytes, size_t size, Local *local);
extern void canon_shared(const Local *local, Shared *shared);
extern void canon_message(QuorumMessage *message);

/* Before an event: do attempts come due, are waits given up? */
extern void canon_prepare(QuorumNode *node, bool fire, bool give_up);

/* `by` passes on the node's clock. */
extern void canon_age(Local *local, int64_t by);
extern void canon_tell(const QuorumNode *node, const QuorumNote *note);

#endif							/* CANON_H */
