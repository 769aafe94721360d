/*
 * join.c
 *	  How a server becomes a member: by bootstrap, or by accepting an invitation.
 *
 * Runs in the worker.  What happens to the member set afterwards is the core's
 * business (quorum_membership.c).
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "storage/latch.h"
#include "storage/proc.h"

#include "engine.h"
#include "guc.h"
#include "history.h"
#include "invitation.h"
#include "join.h"
#include "restart.h"
#include "state.h"
#include "transport_log.h"

static uint64 request_id;		/* the request at work; 0 = none */
static PgqRequestType request_type;

static void
answer(bool failed, int sqlerrcode, const char *reason, const char *hint, QuorumNodeId node_id)
{
	PgqRequest *request = &pgq_shared->request;

	LWLockAcquire(pgq_shared->lock, LW_EXCLUSIVE);
	if (request->id == request_id)
	{
		request->failed = failed;
		request->sqlerrcode = sqlerrcode;
		strlcpy(request->reason, reason, sizeof(request->reason));
		strlcpy(request->hint, hint, sizeof(request->hint));
		request->node_id = node_id;
		request->done = true;
		SetLatch(&ProcGlobal->allProcs[request->requester].procLatch);
	}
	LWLockRelease(pgq_shared->lock);
	request_id = 0;
}

/* A running primary becomes the leader of a cluster of one, in the term it writes. */
static void
bootstrap(void)
{
	static QuorumHardState hard;
	QuorumMember *self = &hard.members.members[0];
	char		msg[QUORUM_REASON_SIZE];
	char		detail[QUORUM_REASON_SIZE];
	char		hint[QUORUM_REASON_SIZE];
	PgqIdentity identity;

	hint[0] = '\0';
	if (pgq_engine_running())
	{
		answer(true, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
			   "this server is a member of a cluster already", "", 0);
		return;
	}
	if (RecoveryInProgress())
	{
		answer(true, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
			   "a standby cannot found a cluster", "Run it on the primary.", 0);
		return;
	}
	if (!pgq_guc_check(msg, detail, hint))
	{
		answer(true, ERRCODE_INVALID_PARAMETER_VALUE, msg, hint, 0);
		return;
	}

	memset(&hard, 0, sizeof(hard));
	if (!pgq_new_uuid(hard.cluster_id) || !pgq_new_uuid(hard.uuid))
		elog(FATAL, "could not get random numbers");
	hard.system_identifier = GetSystemIdentifier();
	hard.node_id = 1;
	hard.vote = 1;
	hard.term = GetWALInsertionTimeLine();
	hard.members.id.term = hard.term;
	hard.members.id.version = 1;
	hard.members.next_node_id = 2;
	hard.members.count = 1;
	self->id = 1;
	self->kind = QUORUM_VOTER;
	self->pg_port = (uint16) PostPortNumber;
	memcpy(self->uuid, hard.uuid, QUORUM_UUID_SIZE);
	strlcpy(self->name, pgq_node_name, sizeof(self->name));
	if (!pgq_guc_split_address(pgq_address, self->host, &self->quorum_port) ||
		!pgq_state_write(&hard))
	{
		answer(true, ERRCODE_IO_ERROR, "the state of the new cluster could not be written",
			   "See the server log.", 0);
		return;
	}

	/* From here on every restart is the restart of a member: as a standby (V7). */
	pgq_restart_mark_standby();
	pg_atomic_write_u64(&pgq_shared->fence_term, hard.term);
	pgq_engine_start(&hard, true);
	pgq_engine_identity(&identity);
	pgq_transport_set_members(&identity, &hard.members);
	pgq_engine_notice("");
}

/* The gate of a new cluster is open: its rules apply from now on. */
static void
finish_bootstrap(void)
{
	if (!pgq_engine_running() || !pgq_engine_view()->gate_open)
		return;
	pg_atomic_write_u32(&pgq_shared->member, 1);
	answer(false, 0, "", "", 1);
}

/* What the core decides about. */
static void
ask_core(const PgqRequest *request)
{
	static const QuorumAdminType asked[] = {
		[PGQ_REQUEST_ADD_MEMBER] = QUORUM_ADMIN_ADD_MEMBER,
		[PGQ_REQUEST_REMOVE_MEMBER] = QUORUM_ADMIN_REMOVE_MEMBER,
		[PGQ_REQUEST_SWITCHOVER] = QUORUM_ADMIN_SWITCHOVER,
		[PGQ_REQUEST_CHANGE_KIND] = QUORUM_ADMIN_CHANGE_KIND,
		[PGQ_REQUEST_CHANGE_ADDRESS] = QUORUM_ADMIN_CHANGE_ADDRESS,
		[PGQ_REQUEST_PAUSE] = QUORUM_ADMIN_PAUSE,
		[PGQ_REQUEST_FORCE] = QUORUM_ADMIN_FORCE
	};
	QuorumAdmin admin;

	if (!pgq_engine_running())
	{
		answer(true, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
			   "this server is not a member of a cluster",
			   "Run quorum.bootstrap() on the primary first.", 0);
		return;
	}
	memset(&admin, 0, sizeof(admin));
	admin.type = asked[request->type];
	admin.request_id = request->id;
	admin.kind = request->kind;
	admin.quorum_port = request->quorum_port;
	admin.limit_us = request->limit_us;
	strlcpy(admin.name, request->name, sizeof(admin.name));
	strlcpy(admin.host, request->host, sizeof(admin.host));
	pgq_engine_admin(&admin);
}

static void
finish_ask(void)
{
	const QuorumOutcome *outcome = &pgq_engine_view()->outcome;

	if (!pgq_engine_running() || outcome->request_id != request_id || !outcome->done)
		return;
	if (outcome->failed)
		answer(true, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, outcome->reason, "",
			   outcome->node_id);
	else
		answer(false, 0, "", "", outcome->node_id);
}

/* Take a new request out of the mailbox; a copy, so that no lock is held while it runs. */
static bool
take_request(PgqRequest *request)
{
	bool		fresh;

	LWLockAcquire(pgq_shared->lock, LW_EXCLUSIVE);
	fresh = pgq_shared->request.type != PGQ_REQUEST_NONE && !pgq_shared->request.taken &&
		!pgq_shared->request.done;
	if (fresh)
	{
		pgq_shared->request.taken = true;
		*request = pgq_shared->request;
	}
	LWLockRelease(pgq_shared->lock);
	return fresh;
}

void
pgq_join_requests(void)
{
	PgqRequest	request;

	if (request_id == 0 && take_request(&request))
	{
		request_id = request.id;
		request_type = request.type;
		if (request.type == PGQ_REQUEST_BOOTSTRAP)
			bootstrap();
		else
			ask_core(&request);
	}
	if (request_id == 0)
		return;
	if (request_type == PGQ_REQUEST_BOOTSTRAP)
		finish_bootstrap();
	else
		finish_ask();
}

/* Why this server does not accept; NULL when it does.  buffer: QUORUM_REASON_SIZE bytes. */
static const char *
refuse_invitation(const QuorumMessage *invite, char *buffer)
{
	char		detail[QUORUM_REASON_SIZE];
	char		hint[QUORUM_REASON_SIZE];
	const char *flaw = pgq_invitation_flaw(invite, pgq_node_name, false, buffer);

	if (flaw != NULL)
		return flaw;
	if (invite->system_identifier != GetSystemIdentifier())
		return "the server is no copy of this cluster: its system identifier differs";
	if (!RecoveryInProgress())
		return "the server is not a standby";
	if (!pgq_guc_check(buffer, detail, hint))
		return buffer;
	return NULL;
}

void
pgq_join_connected(QuorumNodeId peer)
{
	pgq_invitation_connected(peer);
}

static void
refuse(const QuorumMessage *invite, const char *reason)
{
	PgqIdentity nobody;

	memset(&nobody, 0, sizeof(nobody));
	nobody.system_identifier = GetSystemIdentifier();
	nobody.boot_nonce = pgq_shared->boot_nonce;
	pgq_invitation_refuse(invite, reason, &nobody);
}

void
pgq_join_invited(const QuorumMessage *invite)
{
	static QuorumHardState hard;
	static bool accepted;
	char		buffer[QUORUM_REASON_SIZE];
	const char *why;
	bool		again;

	if (accepted || !pgq_invitation_screen(invite, pgq_engine_running(), &hard))
		return;

	/* Who led when it was removed becomes a standby first. */
	if (pgq_engine_running() && !RecoveryInProgress())
	{
		pgq_log(PGQ_LOG_INVITATION, "invited as node %u, when this server is a standby",
				invite->node_id);
		return;
	}

	/* A member that was removed has ended before it is another one. */
	if (pgq_engine_running())
		pgq_engine_closing(QUORUM_CLOSING_SHUTDOWN);
	again = hard.node_id != QUORUM_NO_NODE;
	why = refuse_invitation(invite, buffer);
	if (why != NULL)
	{
		refuse(invite, why);
		return;
	}
	if (!pgq_invitation_accept(invite, &hard))
	{
		refuse(invite, "its state file could not be written");
		return;
	}

	/* A copied directory brings the story of the node it was copied from. */
	accepted = true;
	if (!again)
		pgq_history_forget();
	ereport(LOG, (errmsg("quorum: invited as node %u, joining", hard.node_id)));

	/* The leader invites again; the member that boots answers. */
	pgq_request_restart(PGQ_RESTART_FAST, "this server joins its cluster");
}
