/*
 * invitation.c
 *	  What a guest does with an invitation, be it a server or a witness.
 *
 * The leader's part is in the core (quorum_membership.c).
 */
#include "invitation.h"

#include "../core/quorum_members.h"
#include "state.h"
#include "transport_log.h"

static QuorumMessage refusal;	/* to be sent when the leader is connected; type 0 = none */
static PgqIdentity after_refusal;

bool
pgq_new_uuid(uint8 *uuid)
{
	if (!pg_strong_random(uuid, QUORUM_UUID_SIZE))
		return false;
	uuid[0] |= 1;				/* zero means "not yet joined" */
	return true;
}

/*
 * M8: nobody may have been able to tell a member that it was removed.  An invitation can: its
 * set is stored by a majority, or its leader would not send it, and an id that has left such a
 * set never comes back.  A set that is not newer is of a leader that has been replaced.
 */
bool
pgq_invitation_screen(const QuorumMessage *invite, bool running, QuorumHardState *hard)
{
	char		why[QUORUM_REASON_SIZE];
	PgqMembership membership = pgq_state_read(hard, why);
	bool		named;

	if (membership != PGQ_MEMBER)
	{
		memset(hard, 0, sizeof(*hard));
		return membership != PGQ_STATE_UNREADABLE && !running;
	}
	named = quorum_members_find(&invite->members, hard->node_id) >= 0;
	if (!named && quorum_set_id_compare(invite->members.id, hard->members.id) > 0)
		return true;
	pgq_log(PGQ_LOG_INVITATION, "node %u invites node %u, and finds this node, %u: %s",
			invite->from, invite->node_id, hard->node_id,
			named ? "it is a member already" : "it knows a newer member set");
	if (named)
		pgq_transport_decline(invite->node_id);
	return false;
}

const char *
pgq_invitation_flaw(const QuorumMessage *invite, const char *name, bool witness, char *buffer)
{
	int			index = quorum_members_find(&invite->members, invite->node_id);
	const QuorumMember *guest;

	if (index < 0 || quorum_members_find(&invite->members, invite->from) < 0)
		return "the invitation does not name its guest and its host";
	guest = &invite->members.members[index];
	if (strcmp(guest->name, name) != 0)
	{
		snprintf(buffer, QUORUM_REASON_SIZE, "the %s at that address has %s \"%s\"",
				 witness ? "witness" : "server", witness ? "the name" : "quorum.node_name", name);
		return buffer;
	}
	if (witness && guest->kind != QUORUM_WITNESS && guest->becomes != QUORUM_WITNESS)
		return "a witness answers at that address: it has no data, add it as a witness";
	if (!witness && (guest->kind == QUORUM_WITNESS || guest->becomes == QUORUM_WITNESS))
		return "a server with data answers at that address, not a witness";
	return NULL;
}

bool
pgq_invitation_accept(const QuorumMessage *invite, QuorumHardState *hard)
{
	memcpy(hard->cluster_id, invite->cluster_id, QUORUM_UUID_SIZE);
	hard->system_identifier = invite->system_identifier;
	hard->node_id = invite->node_id;
	if (invite->term > hard->term)
	{
		hard->term = invite->term;
		hard->vote = QUORUM_NO_NODE;
	}
	hard->members = invite->members;
	return pgq_new_uuid(hard->uuid) && pgq_state_write(hard);
}

void
pgq_invitation_refuse(const QuorumMessage *invite, const char *reason, const PgqIdentity *nobody)
{
	PgqIdentity identity = *nobody;

	after_refusal = *nobody;
	identity.member = true;
	identity.node_id = invite->node_id;

	/* Of another system or not: it answers as the guest it was taken for. */
	identity.system_identifier = invite->system_identifier;
	memcpy(identity.cluster_id, invite->cluster_id, QUORUM_UUID_SIZE);
	memset(&refusal, 0, sizeof(refusal));
	refusal.type = QUORUM_MSG_INVITE_REPLY;
	refusal.from = invite->node_id;
	refusal.to = invite->from;
	refusal.term = invite->term;
	refusal.accepted = false;
	strlcpy(refusal.reason, reason, sizeof(refusal.reason));
	pgq_say("quorum: invitation refused: %s", reason);
	pgq_transport_set_members(&identity, &invite->members);
}

void
pgq_invitation_connected(QuorumNodeId peer)
{
	QuorumMemberSet none;

	if (refusal.type == 0 || refusal.to != peer)
		return;
	pgq_transport_send(&refusal);
	pgq_transport_flush();
	memset(&refusal, 0, sizeof(refusal));
	memset(&none, 0, sizeof(none));
	pgq_transport_set_members(&after_refusal, &none);
}
