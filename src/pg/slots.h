/*
 * slots.h
 *	  One physical slot per member, on every node: it keeps WAL for the member, and has one owner.
 */
#ifndef PGQ_SLOTS_H
#define PGQ_SLOTS_H

#include "shmem.h"

/* "quorum_<node id>": slot name and application_name of a member; size >= NAMEDATALEN. */
extern void pgq_slot_name(QuorumNodeId id, char *name);

/*
 * From the worker: create what is missing, move restart_lsn of idle slots to what
 * their members are known to hold, drop slots of nodes that left.  Cheap when there
 * is nothing to do.  Never throws: problems go to the log once per interval.
 */
extern void pgq_slots_keep(const QuorumView *view);

/* From the worker: false, and a line in the log, when it could not be dropped. */
extern bool pgq_slots_drop(const char *name);

/* What the slot of a member keeps for it here. */
typedef enum PgqWalState
{
	PGQ_WAL_UNKNOWN,			/* no slot */
	PGQ_WAL_RESERVED,
	PGQ_WAL_UNRESERVED,			/* the next checkpoint may remove it */
	PGQ_WAL_LOST				/* removed: the member cannot stream from here any more */
} PgqWalState;

typedef struct PgqSlotWal
{
	PgqWalState state;
	XLogRecPtr	from;			/* the slot's restart_lsn */
	bool		limited;		/* by max_slot_wal_keep_size */
	int64		left;			/* limited: bytes that can be written before it is unreserved */
	bool		low;			/* limited: not much is left */
} PgqSlotWal;

extern void pgq_slots_wal(const QuorumMemberView *member, PgqSlotWal *wal);

/* "reserved", "unreserved", "lost"; NULL when not known. */
extern const char *pgq_slots_wal_name(PgqWalState state);

/* From the worker: log and history name a member before its WAL goes, and when it is gone. */
extern void pgq_slots_warn(const QuorumView *view);

/* Does a stream hold the slot of this member without having proved to be the member's? */
extern bool pgq_slots_in_wrong_hands(QuorumNodeId id);

/* Who owns this slot, if it is the physical one of that name; 0 = nobody. */
struct ReplicationSlot;
extern pid_t pgq_member_slot_owner(struct ReplicationSlot *slot, const char *name);

#endif							/* PGQ_SLOTS_H */
