/*
 * follow.h
 *	  Which leader this node's walreceiver may follow.
 */
#ifndef PGQ_FOLLOW_H
#define PGQ_FOLLOW_H

#include "shmem.h"

/* From _PG_init, postmaster only. */
extern void pgq_follow_init(void);

/* From the walreceiver: without a worker nobody tells whom to follow; see that it runs. */
extern void pgq_follow_want_worker(void);

/*
 * From the walreceiver: point the stream report at the accepted leader.  False when
 * there is none, when it is this node, or when our log does not fit that term's.
 */
extern bool pgq_follow_take_leader(QuorumMember *leader, QuorumTerm *term);

/* The leader that the view names, if it has data and may be followed. */
extern bool pgq_follow_find_leader(const QuorumView *view, QuorumMember *leader);

/* This process has no stream yet; (0, NULL): it ends.  What was promised stays (log_end). */
extern void pgq_follow_report_process(pid_t pid, Latch *latch);

/* The first line of why a connection failed. */
extern void pgq_follow_report_failure(const char *err);

/* palloc'd connection string for the stream of a leader; NULL and a palloc'd reason. */
extern char *pgq_follow_stream_conninfo(const QuorumMember *leader, char **why);

/*
 * In a process that copies logical slots (17): how to reach the accepted leader, NULL when
 * there is none.
 */
extern char *pgq_follow_database_conninfo(const char *appname);

#endif							/* PGQ_FOLLOW_H */
