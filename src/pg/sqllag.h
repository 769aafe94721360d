/*
 * sqllag.h
 *	  How far standbys are behind: what quorum.lag() and the views show.
 */
#ifndef PGQ_SQLLAG_H
#define PGQ_SQLLAG_H

#include "shmem.h"

/*
 * From the end of the WAL of a primary (or of the upstream of a standby) to what
 * a standby has replayed: that much is missing in what a query sees there.
 */
typedef struct PgqLag
{
	bool		bytes_known;
	int64		bytes;
	bool		us_known;
	int64		us;
} PgqLag;

/* A member of the cluster, as this node knows. */
extern void pgq_lag_of_member(const QuorumView *view, const QuorumMemberView *member, PgqLag *lag);

/* This standby behind its upstream; not known while nothing streams. */
extern void pgq_lag_of_self(PgqLag *lag);

/* What can be streamed from here: flushed on a primary, received or replayed on a standby. */
extern XLogRecPtr pgq_sql_end_of_wal(void);

/* The published view of a member of a cluster; false on any other server. */
extern bool pgq_sql_view(QuorumView *view);

extern const QuorumMemberView *pgq_sql_find_member(const QuorumView *view, QuorumNodeId id);

#endif							/* PGQ_SQLLAG_H */
