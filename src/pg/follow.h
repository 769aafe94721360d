/*
 * follow.h
 *	  Which leader this node's walreceiver may follow.
 */
#ifndef PGQ_FOLLOW_H
#define PGQ_FOLLOW_H

#include "shmem.h"

/*
 * From the walreceiver: point the stream report at the accepted leader.  False when
 * there is none, when it is this node, or when our log does not fit that term's.
 */
extern bool pgq_follow_take_leader(QuorumMember *leader, QuorumTerm *term);

/* palloc'd connection string for a leader; NULL when quorum.conninfo cannot be used. */
extern char *pgq_follow_conninfo(const QuorumMember *leader);

/*
 * The timeline that recovery aims at although no record of it has arrived, for a log
 * that ends at (tli, lsn); 0 = none.
 */
extern TimeLineID pgq_follow_adopted_timeline(TimeLineID tli, XLogRecPtr lsn);

/* Does an empty segment of a newer timeline hide WAL behind the end of the log? */
extern bool pgq_follow_hides_wal(TimeLineID tli, XLogRecPtr lsn);

#endif							/* PGQ_FOLLOW_H */
