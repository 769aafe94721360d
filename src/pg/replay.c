/*
 * replay.c
 *	  Keeps replay from standing in the way of a change of leader (H34).
 *
 * A standby asks for a new walreceiver, and obeys a promote signal, only when its
 * startup process has replayed what it has.  A pause, or a query that replay has to
 * wait for, would stop the whole cluster for as long: while this node follows nobody,
 * a pause is ended and the queries in the way are cancelled as recovery itself does.
 *
 * A node that streams is left alone: its readers keep the delays that were configured.
 */
#include "postgres.h"

#include "access/xlogrecovery.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "storage/proc.h"
#include "storage/procsignal.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "replay.h"

#define PATIENCE_US		UINT64CONST(20000)	/* before the first, and between two cancellations */

/* Does an auxiliary process wait as only the startup process does, for somebody's query? */
static bool
replay_waits_for_queries(void)
{
	for (int i = 0; i < NUM_AUXILIARY_PROCS; i++)
	{
		const PGPROC *proc = &ProcGlobal->allProcs[MaxBackends + i];
		uint32		event;

		if (proc->pid == 0)
			continue;
		event = proc->wait_event_info;
		if (event == WAIT_EVENT_RECOVERY_CONFLICT_SNAPSHOT ||
			event == WAIT_EVENT_RECOVERY_CONFLICT_TABLESPACE ||
			(event & 0xFF000000U) == PG_WAIT_LOCK ||
			pgq_waits_for_pin(event))
			return true;
	}
	return false;
}

void
pgq_replay_unblock(const QuorumFacts *facts, bool elected, bool leader_known)
{
	static uint64 blocked_since;
	uint64		now = pgq_now_mono();

	if (facts->phase != QUORUM_PHASE_STANDBY || facts->streaming || facts->diverged ||
		(!elected && !leader_known))
	{
		blocked_since = 0;
		return;
	}
	if (GetRecoveryPauseState() != RECOVERY_NOT_PAUSED)
	{
		ereport(LOG,
				(errmsg("quorum: replay was paused and goes on"),
				 errdetail("The leader has changed; this node can neither follow nor promote while "
						   "replay is paused.")));
		SetRecoveryPause(false);
	}

	/* What passes by itself is not touched. */
	if (!replay_waits_for_queries())
		return;
	if (blocked_since == 0)
		blocked_since = now;
	if (now - blocked_since < PATIENCE_US)
		return;
	blocked_since = now;
	ereport(LOG,
			(errmsg("quorum: cancelling queries that replay waits for"),
			 errdetail("The leader has changed; this node can neither follow nor promote before it "
					   "has replayed its WAL.")));
	pgq_cancel_queries();
}
