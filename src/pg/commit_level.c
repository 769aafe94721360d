/*
 * commit_level.c
 *	  What an acknowledged commit is worth: quorum.commit and quorum.max_lag.
 *
 * Asynchronous commits are acknowledged when this node has them and the quorum is at most
 * quorum.max_lag behind.  Who is elected holds what the quorum holds, so
 * what a failover takes back is never more than that much WAL, however long the others
 * were away.  Gate and lease are asked for as ever: two nodes never both acknowledge.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "commit_level.h"

enum
{
	COMMIT_QUORUM,
	COMMIT_ASYNC
};

static const struct config_enum_entry levels[] = {
	{"quorum", COMMIT_QUORUM, false},
	{"async", COMMIT_ASYNC, false},
	{NULL, 0, false}
};

static int	commit_level = COMMIT_QUORUM;
static int	max_lag_kb = 16 * 1024;

void
pgq_commit_level_init(void)
{
	DefineCustomEnumVariable("quorum.commit", "What an acknowledged commit is worth.",
							 "quorum: a quorum of the voters holds it; async: the leader holds it, "
							 "and a failover takes back at most quorum.max_lag.",
							 &commit_level, COMMIT_QUORUM, levels, PGC_SUSET, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("quorum.max_lag",
							"How far the quorum may be behind an asynchronous commit.",
							"The most WAL that a failover takes back of what was acknowledged.",
							&max_lag_kb, 16 * 1024, 0, MAX_KILOBYTES, PGC_SUSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
}

bool
pgq_commit_level_is_async(void)
{
	return commit_level == COMMIT_ASYNC;
}

XLogRecPtr
pgq_commit_level_floor(XLogRecPtr lsn)
{
	uint64		lag = (uint64) max_lag_kb * 1024;

	return lsn > lag ? lsn - lag : 1;
}
