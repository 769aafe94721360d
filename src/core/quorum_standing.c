/*
 * quorum_standing.c
 *	  Whether this node may stand for election, and when it does.
 *
 * This only orders the attempts; the votes decide (quorum_election.c).
 *
 * Rules (docs/protocol.md):
 *	E1	A node stands only when its own promise is over, its log has been read (R5),
 *		it does not recover (S8), and it is a voter with data that is not left out (Y1).
 *	E5	The node with the longest log stands first: others wait rank times a step.
 */
#include "quorum_internal.h"

#define QUORUM_RANK_STEP_MIN_US		2000
#define QUORUM_RANK_STEP_MAX_US		50000
#define QUORUM_ROUND_MIN_US			50000
#define QUORUM_ROUND_MAX_US			1000000

static QuorumTime
clamp(QuorumTime value, QuorumTime low, QuorumTime high)
{
	return value < low ? low : value > high ? high : value;
}

QuorumTime
quorum_round_length(const QuorumNode *node)
{
	return clamp(node->config.heartbeat_us, QUORUM_ROUND_MIN_US, QUORUM_ROUND_MAX_US);
}

/*
 * E11: a vote has to be durable before it leaves, and the disk of a voter may be slow.  When
 * votes came too late for a round the next one lasts twice as long, and whoever gave one
 * waits as much longer before it stands itself.
 */
QuorumTime
quorum_vote_round_length(const QuorumNode *node)
{
	QuorumTime	length = quorum_round_length(node);
	QuorumTime	longest = node->config.lease_us / 2;

	for (int i = 0; i < node->lost_votes && 2 * length <= longest; i++)
		length *= 2;
	return length;
}

bool
quorum_may_stand(const QuorumNode *node, const char **reason)
{
	const char *why = NULL;

	if (node->closed)
		why = "the server is stopping";
	else if (node->removed)
		why = "it was removed from the cluster";
	else if (!quorum_is_voter(node))
		why = "it is not a voter";
	else if (quorum_is_witness(node))
		why = "it is a witness";
	else if (!quorum_members_is_in(&node->hard.members, node->hard.node_id))
		why = "the cluster goes on without it until it has caught up (left out)";
	else if (node->hard.recovering)
		why = "its log may lack committed records (recovering)";
	else if (!node->facts_known || node->facts.phase == QUORUM_PHASE_STARTING)
		why = "it has not yet read all of its WAL";
	else if (node->facts.phase == QUORUM_PHASE_PRIMARY)
		why = node->role == QUORUM_ROLE_LEADER ? NULL : "it has to restart as a standby first";
	else if (!quorum_walpos_known(node->facts.position))
		why = "the end of its log is not known";
	else if (node->facts.fsync_off)
		why = "fsync or full_page_writes is off";
	else if (!node->facts.promotable)
		why = "the timeline history on its disk does not fit its log";
	else if (node->facts.newest_tli > node->hard.term + QUORUM_TERM_GAP_MAX ||
			 node->hard.term > node->facts.position.tli + QUORUM_TERM_GAP_MAX)
		why = "too many terms have passed without a promotion";
	else if (quorum_pause_holds(node))
		why = QUORUM_PAUSED_TEXT;
	if (reason != NULL)
		*reason = why;
	return why == NULL;
}

/*
 * How many voters have a better claim?  Everybody compares the positions that the
 * leader last told everybody, its own too: while WAL flows the present one is ahead
 * of all old news.  This only orders the attempts; the votes decide.
 */
static int
own_rank(const QuorumNode *node)
{
	QuorumWalPos own = quorum_walpos_known(node->gossip_position) ?
		node->gossip_position : node->facts.position;
	int			rank = 0;

	for (int i = 0; i < node->hard.members.count; i++)
	{
		const QuorumMember *member = &node->hard.members.members[i];
		const QuorumPeer *peer = &node->peers[i];
		int			order;

		if (member->id == node->hard.node_id ||
			!quorum_members_is_in(&node->hard.members, member->id))
			continue;
		if (!quorum_walpos_known(peer->position) || peer->recovering)
			continue;
		order = quorum_walpos_compare(peer->position, own);
		if (order > 0 ||
			(order == 0 && peer->priority > node->config.priority) ||
			(order == 0 && peer->priority == node->config.priority &&
			 member->id < node->hard.node_id))
			rank++;
	}
	return rank;
}

static QuorumTime
rank_step(const QuorumNode *node)
{
	return clamp(node->config.heartbeat_us / 20, QUORUM_RANK_STEP_MIN_US,
				 QUORUM_RANK_STEP_MAX_US);
}

void
quorum_plan_election(QuorumNode *node)
{
	QuorumTime	step = rank_step(node);
	int			rank = own_rank(node);
	QuorumTime	from = node->now.mono > node->promise_until ? node->now.mono : node->promise_until;

	/* A switchover names its successor; the others stand only if it does not come. */
	if (node->successor != QUORUM_NO_NODE)
		rank = node->successor == node->hard.node_id ? 0 :
			rank + (int) (quorum_round_length(node) / step);
	node->election_at = from + rank * step;

	/*
	 * Who led or stood last and comes back from a boot lets the others go first: after a
	 * switchover the successor, after anything else somebody who did not just fail.  Whoever
	 * has followed a leader since did not just fail either: it stands in its turn, as a
	 * successor at once (T3).
	 */
	if (node->hard.term == node->boot_term && node->hard.vote == node->hard.node_id &&
		!node->has_followed && quorum_members_vote_count(&node->hard.members) > 1)
		node->election_at += quorum_round_length(node);
	if (rank > 0)
		node->election_at += quorum_random_between(&node->random, 0, step / 2);
}

/*
 * After a lost round: later each time, and by chance, so that two losers do not meet
 * again.  A pre-vote costs nothing and what refused it may be over in a moment; a lost
 * vote has cost a term.
 */
void
quorum_plan_retry(QuorumNode *node, bool cost_a_term)
{
	QuorumTime	longest = node->config.lease_us / 2;
	QuorumTime	wait = cost_a_term ? quorum_round_length(node) : rank_step(node);
	QuorumTime	hint = QUORUM_NEVER;

	for (int i = 0; i < node->lost_rounds && wait < longest; i++)
		wait *= 2;
	if (wait > longest)
		wait = longest;
	node->lost_rounds++;
	node->lost_votes += cost_a_term ? 1 : 0;
	node->election_at = node->now.mono + quorum_random_between(&node->random, wait / 2,
															   wait * 3 / 2);

	/* A voter told when its promise ends: asking right after is not too early. */
	for (int i = 0; i < node->hard.members.count; i++)
	{
		QuorumTime	at = node->peers[i].reply_retry_at;

		if (at != 0 && at < hint)
			hint = at;
	}
	if (hint < node->election_at)
		node->election_at = hint + quorum_random_between(&node->random, 500, 3000);
}
