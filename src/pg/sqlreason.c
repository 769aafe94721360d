/*
 * sqlreason.c
 *	  The texts of the views that say what is wrong, and why something is not so.
 */
#include "sqlreason.h"

#include "utils/timestamp.h"

#include "guc.h"
#include "sqllag.h"
#include "sqlrow.h"

static void
paused_text(const QuorumView *view, char *buffer)
{
	snprintf(buffer, QUORUM_REASON_SIZE, "%s until %s", QUORUM_PAUSED_TEXT,
			 timestamptz_to_str(pgq_wall_timestamp(view->paused_until)));
}

/* The others dial what the member set says, this node listens on its setting. */
static void
address_differs(const QuorumView *view, char *buffer)
{
	const QuorumMemberView *self = pgq_sql_find_member(view, view->node_id);
	char		host[QUORUM_HOST_SIZE];
	uint16		port;

	if (self == NULL || !pgq_guc_split_address(pgq_address, host, &port) ||
		(strcmp(host, self->member.host) == 0 && port == self->member.quorum_port))
		return;
	snprintf(buffer, QUORUM_REASON_SIZE,
			 "quorum.address is %.60s, but the cluster looks for this node at %.60s:%u",
			 pgq_address, self->member.host, self->member.quorum_port);
}

/* The most serious thing first. */
const char *
pgq_reason_of_node(const QuorumView *view, char *buffer)
{
	if (pgq_shared == NULL)
		return "pg_quorum is not in shared_preload_libraries";

	LWLockAcquire(pgq_shared->lock, LW_SHARED);
	strlcpy(buffer, pgq_shared->worker_pid != 0 ? pgq_shared->notice :
			"the worker of pg_quorum is not running: see the server log", QUORUM_REASON_SIZE);
	LWLockRelease(pgq_shared->lock);
	if (buffer[0] != '\0' || view == NULL)
		return buffer;

	SpinLockAcquire(&pgq_shared->stream_mutex);
	if (pgq_shared->stream.diverged || pgq_shared->stream.wal_missing)
		memcpy(buffer, pgq_shared->stream.reason, QUORUM_REASON_SIZE);
	SpinLockRelease(&pgq_shared->stream_mutex);
	if (buffer[0] == '\0' && strcmp(view->not_electable, QUORUM_PAUSED_TEXT) == 0)
		paused_text(view, buffer);
	else if (buffer[0] == '\0' && !view->electable)
		strlcpy(buffer, view->not_electable, QUORUM_REASON_SIZE);
	if (buffer[0] == '\0')
		address_differs(view, buffer);
	return buffer;
}

const char *
pgq_reason_not_electable(const QuorumView *view, const QuorumMemberView *member, char *buffer)
{
	if (view->paused_until != 0)
		paused_text(view, buffer);
	if (member->is_self && view->electable)
		return NULL;
	if (member->is_self)
		return strcmp(view->not_electable, QUORUM_PAUSED_TEXT) == 0 ? buffer : view->not_electable;
	if (member->member.kind == QUORUM_LEARNER)
		return "learner: does not vote";
	if (member->member.kind == QUORUM_WITNESS)
		return "witness: has no data";
	if (member->member.left_out)
		return "left out: commits go on without it until it has caught up";
	if (!member->heard)
		return member->heard_ago_us == QUORUM_NEVER ? "never heard" : "not heard for a lease";
	if (member->diverged)
		return "needs a rewind";
	if (member->recovering)
		return "recovering: its log may lack acknowledged commits";
	return view->paused_until != 0 && !member->is_leader ? buffer : NULL;
}

const char *
pgq_reason_not_counted(const QuorumView *view, const QuorumMemberView *member, const char *state)
{
	if (view->role != QUORUM_ROLE_LEADER)
		return "this node is not the leader";
	if (member->member.kind == QUORUM_LEARNER)
		return "learner: does not vote";
	if (!member->in_sync_rule)
		return "not in the rule for commits";
	if (strcmp(state, "streaming") != 0)
		return "still catching up";
	if (member->diverged)
		return "needs a rewind";
	if (member->stream_term != view->term)
		return "does not acknowledge WAL of this term";
	return NULL;
}
