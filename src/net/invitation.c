/*
 * invitation.c
 *	  What a guest does with an invitation, be it a server or a witness.
 *
 * The leader's part is in the core (quorum_membership.c).
 */
#include "invitation.h"

#include "../core/quorum_members.h"
#include "state.h"

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
