/*
 * transport_peers.c
 *	  Which nodes this one talks to, and which identities it believes.
 *
 * It opens no connection; it only closes those that the member set does not allow any
 * more.  Rules S10 (two nodes with one name, a copied data directory), R10.
 */
#include "transport_peers.h"

#include "../core/quorum_members.h"
#include "transport_dial.h"

PgqPeer *
pgq_peer_find(QuorumNodeId id)
{
	if (id == QUORUM_NO_NODE || pgq_transport == NULL)
		return NULL;
	for (int i = 0; i < QUORUM_MAX_NODES; i++)
		if (pgq_transport->peers[i].member.id == id)
			return &pgq_transport->peers[i];
	return NULL;
}

/* ---- identities --------------------------------------------------------- */

void
pgq_identity_set(PgqIdentity *identity, const QuorumHardState *hard)
{
	identity->member = true;
	identity->node_id = hard->node_id;
	memcpy(identity->cluster_id, hard->cluster_id, QUORUM_UUID_SIZE);
	memcpy(identity->uuid, hard->uuid, QUORUM_UUID_SIZE);
	identity->system_identifier = hard->system_identifier;
}

bool
pgq_is_zero_uuid(const uint8 *uuid)
{
	for (int i = 0; i < QUORUM_UUID_SIZE; i++)
		if (uuid[i] != 0)
			return false;
	return true;
}

/* Both are members: of the same cluster, and is it the incarnation we know? */
static PgqVerdict
judge_member(const PgqIdentity *who)
{
	const PgqIdentity *self = &pgq_transport->identity;
	PgqPeer    *peer = pgq_peer_find(who->node_id);

	if (memcmp(who->cluster_id, self->cluster_id, QUORUM_UUID_SIZE) != 0)
		return PGQ_VERDICT_OTHER_CLUSTER;
	if (who->system_identifier != self->system_identifier)
		return PGQ_VERDICT_OTHER_SYSTEM;
	if (peer != NULL && !pgq_is_zero_uuid(peer->member.uuid) &&
		memcmp(who->uuid, peer->member.uuid, QUORUM_UUID_SIZE) != 0)
		return PGQ_VERDICT_OTHER_INCARNATION;
	return PGQ_VERDICT_ACCEPTED;
}

/*
 * May this dialler talk to us?  A node id that our member set has not given out yet is
 * no reason to refuse: the dialler's member set may be newer than ours.  One that it
 * has given out and does not have any more was removed, and must hear it.
 */
PgqVerdict
pgq_judge_hello(const PgqIdentity *who, QuorumNodeId target)
{
	const PgqIdentity *self = &pgq_transport->identity;
	PgqPeer    *peer = pgq_peer_find(who->node_id);

	if (who->member && who->node_id == QUORUM_NO_NODE)
		return PGQ_VERDICT_NO_MEMBER;
	if (!self->member)
		return who->member ? PGQ_VERDICT_ACCEPTED : PGQ_VERDICT_NO_MEMBER;
	if (target != self->node_id)
		return PGQ_VERDICT_OTHER_NODE;
	if (who->node_id == self->node_id)
		return PGQ_VERDICT_SAME_NODE;
	if (who->member && peer == NULL && who->node_id < pgq_transport->next_node_id)
		return PGQ_VERDICT_NO_MEMBER;
	if (who->member)
		return judge_member(who);
	/* an invited server that refuses to join says so before it is a member */
	return peer != NULL && pgq_is_zero_uuid(peer->member.uuid) ?
		PGQ_VERDICT_ACCEPTED : PGQ_VERDICT_NO_MEMBER;
}

/*
 * A member of our cluster wants to find a server that shall join, and finds us, who are one.
 * We may have been removed, and nobody could tell: its invitation says so (invitation.c).
 */
bool
pgq_is_invited_again(const PgqHello *hello)
{
	const PgqIdentity *self = &pgq_transport->identity;
	const PgqIdentity *who = &hello->who;

	return hello->invite && who->member && self->member &&
		hello->target != self->node_id && hello->target != pgq_transport->declined &&
		who->node_id != self->node_id && who->node_id != QUORUM_NO_NODE &&
		judge_member(who) == PGQ_VERDICT_ACCEPTED;
}

/* An incoming connection that is for another node than this member: it may bring an INVITE. */
bool
pgq_is_invitation(const PgqLink *link)
{
	return link->sock.kind == PGQ_SOCKET_IN && pgq_transport->identity.member &&
		link->target != pgq_transport->identity.node_id;
}

/* Is this the node we wanted to reach? */
PgqVerdict
pgq_judge_welcome(const PgqPeer *peer, const PgqIdentity *who)
{
	if (!who->member)
		return pgq_is_zero_uuid(peer->member.uuid) ?
			PGQ_VERDICT_ACCEPTED : PGQ_VERDICT_NO_MEMBER;
	if (who->node_id != peer->member.id)
		return PGQ_VERDICT_OTHER_NODE;
	return pgq_transport->identity.member ? judge_member(who) : PGQ_VERDICT_ACCEPTED;
}

const char *
pgq_verdict_text(PgqVerdict verdict)
{
	switch (verdict)
	{
		case PGQ_VERDICT_ACCEPTED:
			return "accepted";
		case PGQ_VERDICT_OTHER_CLUSTER:
			return "it belongs to another cluster";
		case PGQ_VERDICT_OTHER_SYSTEM:
			return "its data directory has another system identifier";
		case PGQ_VERDICT_OTHER_INCARNATION:
			return "another server joined the cluster under this node id";
		case PGQ_VERDICT_OTHER_NODE:
			return "another node answers at this address";
		case PGQ_VERDICT_SAME_NODE:
			return "it uses the node id of the node it talks to";
		case PGQ_VERDICT_NO_MEMBER:
			return "it is not a member of the cluster";
		case PGQ_VERDICT_OBSOLETE:
			return "it has been restarted since";
	}
	return "unknown reason";
}

/* ---- boots -------------------------------------------------------------- */

static PgqBoot *
find_boot(QuorumNodeId id)
{
	for (int i = 0; i < PGQ_MAX_BOOTS; i++)
		if (pgq_transport->boots[i].id == id)
			return &pgq_transport->boots[i];
	return NULL;
}

/*
 * Connections are not handled in the order they were made: a Hello that was waiting
 * here when its sender restarted must not look like another restart.
 */
bool
pgq_boot_is_obsolete(QuorumNodeId id, uint64 nonce, uint64 now)
{
	PgqBoot    *boot = find_boot(id);

	return boot != NULL && boot->previous != 0 && boot->previous == nonce &&
		now < boot->changed_at + PGQ_HANDSHAKE_US;
}

/* The entry used least lately that is no member's: there are more entries than members. */
static PgqBoot *
spare_boot(void)
{
	PgqBoot    *spare = NULL;

	for (int i = 0; i < PGQ_MAX_BOOTS; i++)
	{
		PgqBoot    *boot = &pgq_transport->boots[i];

		if (pgq_peer_find(boot->id) != NULL)
			continue;
		if (spare == NULL || boot->seen_at < spare->seen_at)
			spare = boot;
	}
	return spare;
}

bool
pgq_boot_note(QuorumNodeId id, uint64 nonce, uint64 now)
{
	PgqBoot    *boot = find_boot(id);
	bool		restarted;

	if (boot == NULL)
	{
		boot = spare_boot();
		memset(boot, 0, sizeof(*boot));
		boot->id = id;
		boot->nonce = nonce;
	}
	restarted = boot->nonce != nonce;
	if (restarted)
	{
		boot->previous = boot->nonce;
		boot->nonce = nonce;
		boot->changed_at = now;
	}
	boot->seen_at = now;
	return restarted;
}

StaticAssertDecl(PGQ_MAX_BOOTS > QUORUM_MAX_NODES, "members leave an entry to spare");

/* Numbers, so that a connection to it waits for no resolver. */
int
pgq_transport_addresses(QuorumNodeId peer, char *text, size_t size)
{
	PgqPeer    *found = peer != QUORUM_NO_NODE ? pgq_peer_find(peer) : NULL;
	size_t		used = 0;

	text[0] = '\0';
	for (int i = 0; found != NULL && i < found->address.count && used < size; i++)
	{
		char		one[PGQ_ADDRESS_TEXT];

		pgq_address_text(&found->address.at[i], one, sizeof(one));
		used += snprintf(text + used, size - used, "%s%s", i > 0 ? "," : "", one);
	}
	if (used >= size)
		text[0] = '\0';
	return text[0] != '\0' ? found->address.count : 0;
}

/* ---- member set --------------------------------------------------------- */

static void
drop_peer(PgqPeer *peer)
{
	for (int i = 0; i < PGQ_MAX_INCOMING; i++)
	{
		PgqLink    *link = &pgq_transport->in[i];

		if (link->phase == PGQ_LINK_UP && link->who.node_id == peer->member.id)
			pgq_link_close(link);
	}
	pgq_link_close(&peer->link);
	pgq_probe_cancel(peer);
	memset(&peer->member, 0, sizeof(peer->member));
}

static void
add_peer(const QuorumMember *member, uint64 now)
{
	for (int i = 0; i < QUORUM_MAX_NODES; i++)
	{
		PgqPeer    *peer = &pgq_transport->peers[i];

		if (peer->member.id != QUORUM_NO_NODE)
			continue;
		peer->member = *member;
		pgq_address_set(&peer->address, member->host);
		pgq_dial_soon(peer, now);
		peer->failing_since = 0;
		peer->complained = false;
		return;
	}
}

static void
update_peer(PgqPeer *peer, const QuorumMember *member, uint64 now)
{
	bool		moved = strcmp(peer->member.host, member->host) != 0 ||
		peer->member.quorum_port != member->quorum_port;

	peer->member = *member;
	if (moved)
	{
		pgq_link_close(&peer->link);
		pgq_probe_cancel(peer);
		pgq_address_set(&peer->address, member->host);
		pgq_dial_soon(peer, now);
	}
	else if (peer->link.phase == PGQ_LINK_UP &&
			 pgq_judge_welcome(peer, &peer->link.who) != PGQ_VERDICT_ACCEPTED)
	{
		pgq_link_close(&peer->link);
		pgq_dial_soon(peer, now);
	}
}

/* The identity is already the new one. */
void
pgq_peers_update(const QuorumMemberSet *members, uint64 now)
{
	QuorumNodeId self = pgq_transport->identity.node_id;

	for (int i = 0; i < QUORUM_MAX_NODES; i++)
	{
		PgqPeer    *peer = &pgq_transport->peers[i];
		int			index = quorum_members_find(members, peer->member.id);

		if (peer->member.id == QUORUM_NO_NODE)
			continue;
		if (index < 0 || peer->member.id == self)
			drop_peer(peer);
		else
			update_peer(peer, &members->members[index], now);
	}
	for (int i = 0; i < members->count; i++)
		if (members->members[i].id != self && pgq_peer_find(members->members[i].id) == NULL)
			add_peer(&members->members[i], now);
	for (int i = 0; i < PGQ_MAX_INCOMING; i++)
	{
		PgqLink    *link = &pgq_transport->in[i];

		if (link->phase == PGQ_LINK_UP &&
			pgq_judge_hello(&link->who, link->target) != PGQ_VERDICT_ACCEPTED)
			pgq_link_close(link);
	}
}
