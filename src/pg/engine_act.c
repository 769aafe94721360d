/*
 * engine_act.c
 *	  What the core asks this server to do: promote, demote, probe, hand over, rewind.
 *
 * An action is asked for as long as it is due: most of the work here is to do it once.
 */
#include "postgres.h"

#include <signal.h>

#include "storage/proc.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "engine.h"
#include "engine_parts.h"
#include "guc.h"
#include "promote.h"
#include "rewind.h"

#include "../core/quorum_members.h"

/* How often a rewind that could not be started is asked for again in one term, and said so. */
#define REWIND_RETRY_US		INT64CONST(1000000)
#define REWIND_SAY_US		INT64CONST(30000000)

/* How long the old leader stays up for whoever asked for a hand-over to get the answer. */
#define ANSWER_LIMIT_US		INT64CONST(200000)

static QuorumTerm promotion_failed_term;
static int	requester_pid;		/* who asked for the hand-over */

static bool answer_sent(void);
static void hand_over(QuorumTerm term);
static void rewind_against(const QuorumNode *node, QuorumNodeId leader, QuorumTerm term);

bool
pgq_engine_act(void *arg, const QuorumAction *action)
{
	const QuorumNode *node = arg;
	char		why[QUORUM_REASON_SIZE];

	switch (action->type)
	{
		case QUORUM_ACTION_PROMOTE:
			if (promotion_failed_term != action->term && !pgq_promote(action->term, why))
			{
				promotion_failed_term = action->term;
				ereport(LOG,
						(errmsg("quorum: cannot promote to timeline %u: %s", action->term, why)));
			}
			break;
		case QUORUM_ACTION_DEMOTE:
			pgq_request_restart(PGQ_RESTART_IMMEDIATE,
								"this node does not lead its cluster and must be a standby");
			break;
		case QUORUM_ACTION_PROBE:
			if (pgq_death_proof)
				pgq_transport_probe(action->peer);
			break;
		case QUORUM_ACTION_HAND_OVER:
			hand_over(action->term);
			break;
		case QUORUM_ACTION_REWIND:
			rewind_against(node, action->peer, action->term);
			break;
	}
	return true;
}

bool
pgq_engine_promotion_failed(QuorumTerm term)
{
	return promotion_failed_term != 0 && promotion_failed_term == term;
}

void
pgq_engine_note_requester(void)
{
	requester_pid = ProcGlobal->allProcs[pgq_shared->request.requester].pid;
}

/*
 * Whoever asked for the hand-over has read its outcome, and sent it on: a session waits for
 * its client only when nothing is left to be sent.  Or it is gone.
 */
static bool
answer_sent(void)
{
	const volatile PGPROC *requester;
	bool		collected;

	LWLockAcquire(pgq_shared->lock, LW_SHARED);
	collected = pgq_shared->request.collected;
	requester = &ProcGlobal->allProcs[pgq_shared->request.requester];
	LWLockRelease(pgq_shared->lock);
	return requester->pid != requester_pid || kill(requester_pid, 0) != 0 ||
		(collected && requester->wait_event_info == WAIT_EVENT_CLIENT_READ);
}

/*
 * The successor does not wait for this, so the answer to quorum.switchover() may leave
 * first.  Asked again until the server stops.  At once, not as planned: a shutdown
 * checkpoint would be a record that the successor does not have.
 */
static void
hand_over(QuorumTerm term)
{
	static QuorumTerm asked;
	static QuorumTime stop_at;
	QuorumTime	now = (QuorumTime) pgq_now_mono();

	if (asked != term)
	{
		asked = term;
		stop_at = now + ANSWER_LIMIT_US;
	}
	if (now >= stop_at || answer_sent())
		pgq_request_restart(PGQ_RESTART_IMMEDIATE, "it has handed its term over");
}

/* Asked again as long as the node is diverged. */
static void
rewind_against(const QuorumNode *node, QuorumNodeId leader, QuorumTerm term)
{
	static QuorumTerm tried;
	static QuorumTime again_at;
	static QuorumTime say_at;
	static char said[QUORUM_REASON_SIZE];
	int			index = quorum_members_find(&node->hard.members, leader);
	char		why[QUORUM_REASON_SIZE];
	QuorumTime	now = (QuorumTime) pgq_now_mono();

	if (index < 0 || (tried == term && now < again_at))
		return;
	tried = term;
	again_at = now + REWIND_RETRY_US;
	if (pgq_rewind_request(&node->hard.members.members[index], term, why))
		return;
	pgq_engine_notice(why);
	if (now < say_at && strcmp(said, why) == 0)
		return;
	say_at = now + REWIND_SAY_US;
	strlcpy(said, why, sizeof(said));
	ereport(LOG, (errmsg("quorum: no rewind: %s", why)));
}
