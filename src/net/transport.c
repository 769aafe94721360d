/*
 * transport.c
 *	  Authenticated frames between the nodes of a cluster, over the quorum port.
 *
 * This file has the loop and what happens on authenticated connections.  It does not
 * know what a message means (src/core), nor does it stop anybody (fence.c).
 *
 * Rules:
 *	1	Nothing blocks, nothing is allocated and nothing is raised after the start.
 *	2	Handlers are called from pgq_transport_wait only: the functions that a handler
 *		may call in turn leave what they find to the next turn of the loop.
 *	3	After a handler was called, the caller's deadline is old: return, do not wait.
 *	4	Bad input costs a connection or a frame, a counter and at most one log line.
 */
#include "transport.h"

#include <limits.h>

#include "transport_accept.h"
#include "transport_dial.h"
#include "transport_handshake.h"
#include "transport_log.h"

PgqTransport *pgq_transport;

static void
lose(PgqLink *link)
{
	QuorumNodeId peer = link->who.node_id;
	bool		was_up = link->phase == PGQ_LINK_UP && !pgq_is_invitation(link);

	pgq_link_close(link);
	if (was_up && peer != QUORUM_NO_NODE)
	{
		pgq_transport->called = true;
		pgq_transport->handler.lost(peer);
	}
}

static void
lose_outgoing(PgqPeer *peer, uint64 now)
{
	pgq_dial_again(peer, now);
	lose(&peer->link);
}

/* ---- authenticated connections ------------------------------------------ */

/*
 * Only one connection per node: its newer one tells that it has given up the older.  But
 * whoever looks for another node here, too, goes on talking to us.
 */
static void
lose_older_links(PgqLink *link, bool restarted, uint64 now)
{
	QuorumNodeId id = link->who.node_id;
	PgqPeer    *peer;

	for (int i = 0; i < PGQ_MAX_INCOMING; i++)
	{
		PgqLink    *other = &pgq_transport->in[i];

		if (other != link && other->phase == PGQ_LINK_UP && other->who.node_id == id &&
			(other->target == link->target || other->who.boot_nonce != link->who.boot_nonce))
			lose(other);
	}
	peer = pgq_peer_find(id);
	if (peer == NULL)
		return;
	if (restarted && peer->link.phase == PGQ_LINK_UP &&
		peer->link.who.boot_nonce != link->who.boot_nonce)
		lose_outgoing(peer, now);
}

static void
incoming_is_up(PgqLink *link, uint64 now)
{
	QuorumNodeId id = link->who.node_id;
	bool		restarted = link->who.member &&
		pgq_boot_note(id, link->who.boot_nonce, now);
	PgqPeer    *peer;

	link->phase = PGQ_LINK_UP;
	if (link->who.member)
		pgq_transport->handler.incarnation(id, link->who.boot_nonce);
	lose_older_links(link, restarted, now);
	peer = pgq_peer_find(id);
	if (peer != NULL)
		pgq_dial_alive(peer, now);
	if (restarted)
	{
		pgq_transport->called = true;
		pgq_transport->handler.restarted(id);
	}
}

static void
outgoing_is_up(PgqPeer *peer, uint64 now)
{
	QuorumNodeId id = peer->member.id;

	pgq_transport->called = true;
	if (peer->link.who.member)
		pgq_transport->handler.incarnation(id, peer->link.who.boot_nonce);
	if (peer->link.who.member && pgq_boot_note(id, peer->link.who.boot_nonce, now))
		pgq_transport->handler.restarted(id);
	peer = pgq_peer_find(id);
	if (peer != NULL && peer->link.phase == PGQ_LINK_UP)
		pgq_transport->handler.connected(id);
}

/* May this message go up?  Whoever is not a member yet may only talk about joining. */
static bool
is_message_for_us(const PgqLink *link, const QuorumMessage *message)
{
	if (!pgq_transport->identity.member || pgq_is_invitation(link))
		return message->type == QUORUM_MSG_INVITE;
	return link->who.member || message->type == QUORUM_MSG_INVITE_REPLY;
}

static void
complain_about_message(const PgqLink *link, const uint8 *payload, size_t size)
{
	PgqReport	report;
	int			major;

	pgq_host_count(PGQ_COUNT_REJECTED_GARBAGE);
	if (quorum_message_other_major(payload, size, &major))
	{
		pgq_report(&report, 0, "node %u speaks version %d of the protocol, this node version %d",
				   link->who.node_id, major, QUORUM_FORMAT_MAJOR);
		pgq_report_hint(&report, "Install the same release of pg_quorum on all nodes.");
	}
	else
		pgq_report(&report, 0, "dropped a malformed message of node %u", link->who.node_id);
	pgq_log_report(PGQ_LOG_GARBAGE, &report);
}

static void
take_message(PgqLink *link, const uint8 *payload, size_t size)
{
	static QuorumMessage message;

	if (!quorum_message_decode(&message, payload, size) ||
		message.from != link->who.node_id || message.to != link->target)
	{
		complain_about_message(link, payload, size);
		return;
	}
	pgq_host_count(PGQ_COUNT_FRAMES_IN);
	if (message.type != QUORUM_MSG_UNKNOWN && is_message_for_us(link, &message))
	{
		pgq_transport->called = true;
		pgq_transport->handler.message(&message);
	}
}

/* The frame is consumed before its message goes up: the handler may close the link. */
static bool
take_frame(PgqLink *link, size_t size)
{
	static uint8 payload[QUORUM_ENCODED_MAX];
	PgqFrameCheck check = pgq_frame_check(link->in, size, link->counter + 1, link->key);

	if (check == PGQ_FRAME_FORGED)
	{
		pgq_host_count(PGQ_COUNT_REJECTED_AUTH);
		pgq_log(PGQ_LOG_AUTH,
				"dropped the connection of node %u: a frame is forged, repeated or out of order",
				link->who.node_id);
		return false;
	}
	if (check == PGQ_FRAME_GARBAGE)
	{
		pgq_host_count(PGQ_COUNT_REJECTED_GARBAGE);
		pgq_log(PGQ_LOG_GARBAGE,
				"dropped the connection of node %u: unknown version or type of frame",
				link->who.node_id);
		return false;
	}
	link->counter++;
	memcpy(payload, link->in + PGQ_FRAME_HEADER, size - PGQ_FRAME_MIN);
	pgq_link_consume(link, size);
	take_message(link, payload, size - PGQ_FRAME_MIN);
	return true;
}

/* Take the whole frames that are there; false = close the link. */
static bool
take_frames(PgqLink *link)
{
	while (link->phase == PGQ_LINK_UP && link->in_size >= 4)
	{
		size_t		size = pgq_frame_size(link->in);

		if (size == 0)
		{
			pgq_host_count(PGQ_COUNT_REJECTED_GARBAGE);
			pgq_log(PGQ_LOG_GARBAGE,
					"dropped the connection of node %u: impossible length of a frame",
						   link->who.node_id);
			return false;
		}
		if (link->in_size < size)
			return true;
		if (!take_frame(link, size))
			return false;
	}
	return true;
}

static bool
take_hello(PgqLink *link, uint64 now)
{
	if (link->in_size < PGQ_HELLO_SIZE)
		return true;
	if (!pgq_answer_hello(link, now))
		return false;
	pgq_link_consume(link, PGQ_HELLO_SIZE);
	incoming_is_up(link, now);
	return take_frames(link);
}

/* ---- ready sockets ------------------------------------------------------ */

static void
incoming_ready(PgqLink *link, uint64 now)
{
	bool		good;

	pgq_link_write(link, now);
	good = !link->broken && pgq_link_fill(link);
	if (good && link->phase == PGQ_LINK_HELLO)
		good = take_hello(link, now);
	else if (good)
		good = take_frames(link);
	if (!good)
		lose(link);
}

/* Nothing is said on our own connection after the Welcome. */
static void
outgoing_ready(PgqPeer *peer, uint32 events, uint64 now)
{
	PgqLink    *link = &peer->link;

	if (link->phase != PGQ_LINK_UP)
	{
		if (pgq_dial_ready(peer, now))
			outgoing_is_up(peer, now);
		return;
	}
	if ((events & PGQ_WRITABLE) != 0)
		pgq_link_write(link, now);
	if ((events & PGQ_READABLE) != 0 && !pgq_link_fill(link))
		link->broken = true;
	if (link->in_size > 0)
	{
		pgq_host_count(PGQ_COUNT_REJECTED_GARBAGE);
		link->broken = true;
	}
	if (link->broken)
		lose_outgoing(peer, now);
}

static void
socket_ready(PgqSocket *sock, uint32 events)
{
	uint64		now = pgq_now_mono();

	switch (sock->kind)
	{
		case PGQ_SOCKET_LISTEN:
			pgq_accept_ready(sock, now);
			break;
		case PGQ_SOCKET_IN:
			incoming_ready(sock->owner, now);
			break;
		case PGQ_SOCKET_OUT:
			outgoing_ready(sock->owner, events, now);
			break;
		case PGQ_SOCKET_PROBE:
			pgq_probe_ready(sock->owner, sock);
			break;
	}
}

/* ---- what is due -------------------------------------------------------- */

static void
incoming_due(uint64 now)
{
	for (int i = 0; i < PGQ_MAX_INCOMING; i++)
	{
		PgqLink    *link = &pgq_transport->in[i];

		if (link->phase == PGQ_LINK_HELLO && now >= link->deadline)
		{
			pgq_host_count(PGQ_COUNT_TIMEOUTS);
			pgq_log(PGQ_LOG_TIMEOUT,
					"a connection to the quorum port took too long to say who it is");
			pgq_link_close(link);
		}
		else if (link->phase != PGQ_LINK_CLOSED && link->broken)
			lose(link);
	}
	pgq_accept_due(now);
}

static bool
is_stalled(const PgqLink *link, uint64 now)
{
	return link->out_end > link->out_start && now >= link->written_at + PGQ_STALL_US;
}

static void
outgoing_due(uint64 now)
{
	for (int i = 0; i < QUORUM_MAX_NODES; i++)
	{
		PgqPeer    *peer = &pgq_transport->peers[i];

		if (peer->link.phase != PGQ_LINK_UP)
			continue;
		if (is_stalled(&peer->link, now))
			pgq_log(PGQ_LOG_SLOW,
					"node \"%s\" (%u) has not read from its connection for %d seconds",
						   peer->member.name, peer->member.id, PGQ_STALL_US / 1000000);
		else if (!peer->link.broken)
			continue;
		lose_outgoing(peer, now);
	}
}

static void
probes_due(uint64 now)
{
	for (int i = 0; i < QUORUM_MAX_NODES; i++)
	{
		PgqPeer    *peer = &pgq_transport->peers[i];
		bool		dead;

		if (pgq_probe_is_over(peer, now, &dead) && dead)
		{
			pgq_transport->called = true;
			pgq_transport->handler.dead(peer->member.id);
		}
	}
}

static uint64
own_deadline(void)
{
	uint64		next = Min(pgq_dial_deadline(), pgq_probe_deadline());

	for (int i = 0; i < PGQ_MAX_INCOMING; i++)
		if (pgq_transport->in[i].phase == PGQ_LINK_HELLO)
			next = Min(next, pgq_transport->in[i].deadline);
	for (int i = 0; i < QUORUM_MAX_NODES; i++)
	{
		PgqLink    *link = &pgq_transport->peers[i].link;

		if (link->phase == PGQ_LINK_UP && link->out_end > link->out_start)
			next = Min(next, link->written_at + PGQ_STALL_US);
	}
	if (pgq_transport->accept_at != 0)
		next = Min(next, pgq_transport->accept_at);
	return next;
}

/* ---- for the host ------------------------------------------------------- */

static long
milliseconds_until(uint64 deadline, uint64 now)
{
	if (deadline >= (uint64) PG_INT64_MAX)
		return -1;
	if (deadline <= now)
		return 0;
	/* up, or the last part of a millisecond would be spent spinning */
	return (long) Min((deadline - now + 999) / 1000, INT_MAX);
}

int
pgq_transport_wait(QuorumTime deadline)
{
	uint64		now = pgq_now_mono();
	uint64		log_deadline;
	uint64		until;

	pgq_transport->called = false;
	incoming_due(now);
	outgoing_due(now);
	pgq_dial_due(now);
	probes_due(now);
	log_deadline = pgq_log_flush(now);

	until = Min((uint64) Max(deadline, 0), Min(own_deadline(), log_deadline));
	if (pgq_transport->called)
		until = 0;
	return pgq_host_wait(milliseconds_until(until, now), socket_ready);
}

void
pgq_transport_send(const QuorumMessage *message)
{
	PgqPeer    *peer = pgq_peer_find(message->to);
	static uint8 frame[PGQ_FRAME_MAX];
	uint64		now = pgq_now_mono();
	uint8	   *room;
	size_t		size;

	if (peer == NULL || peer->link.phase != PGQ_LINK_UP || peer->link.broken)
		return;
	size = quorum_message_encode(message, frame + PGQ_FRAME_HEADER, QUORUM_ENCODED_MAX);
	room = pgq_link_reserve(&peer->link, PGQ_FRAME_MIN + size);
	if (room == NULL)
	{
		pgq_host_count(PGQ_COUNT_DROPPED_SLOW);
		pgq_log(PGQ_LOG_SLOW,
				"node \"%s\" (%u) does not read fast enough: a message was dropped",
					   peer->member.name, peer->member.id);
		return;
	}
	memcpy(room + PGQ_FRAME_HEADER, frame + PGQ_FRAME_HEADER, size);
	size = pgq_frame_seal(room, size, peer->link.counter + 1, peer->link.key);
	if (size == 0)
	{
		peer->link.broken = true;
		return;
	}
	peer->link.counter++;
	pgq_host_count(PGQ_COUNT_FRAMES_OUT);
	pgq_link_commit(&peer->link, size, now);
}

void
pgq_transport_flush(void)
{
	if (pgq_transport == NULL || !pgq_transport->started)
		return;
	for (int i = 0; i < QUORUM_MAX_NODES; i++)
		if (pgq_transport->peers[i].link.phase == PGQ_LINK_UP)
			pgq_link_write(&pgq_transport->peers[i].link, pgq_now_mono());
}

void
pgq_transport_decline(QuorumNodeId invited)
{
	pgq_transport->declined = invited;
	for (int i = 0; i < PGQ_MAX_INCOMING; i++)
	{
		PgqLink    *link = &pgq_transport->in[i];

		if (link->phase == PGQ_LINK_UP && link->target == invited)
			pgq_link_close(link);
	}
}

void
pgq_transport_probe(QuorumNodeId id)
{
	PgqPeer    *peer = pgq_peer_find(id);

	if (peer != NULL)
		pgq_probe_start(peer, pgq_now_mono());
}

static bool
is_same_identity(const PgqIdentity *one, const PgqIdentity *other)
{
	return one->member == other->member && one->node_id == other->node_id &&
		one->system_identifier == other->system_identifier &&
		one->boot_nonce == other->boot_nonce &&
		memcmp(one->cluster_id, other->cluster_id, QUORUM_UUID_SIZE) == 0 &&
		memcmp(one->uuid, other->uuid, QUORUM_UUID_SIZE) == 0;
}

void
pgq_transport_set_members(const PgqIdentity *identity, const QuorumMemberSet *members)
{
	uint64		now = pgq_now_mono();

	/* what our connections proved about this node is not true any more */
	if (!is_same_identity(identity, &pgq_transport->identity))
		for (int i = 0; i < QUORUM_MAX_NODES; i++)
		{
			pgq_link_close(&pgq_transport->peers[i].link);
			pgq_dial_soon(&pgq_transport->peers[i], now);
		}
	pgq_transport->identity = *identity;
	pgq_transport->next_node_id = members->next_node_id;
	pgq_peers_update(members, now);
}

/* All memory of the transport, once. */
static void
allocate(void)
{
	pgq_transport = pgq_host_alloc(sizeof(PgqTransport));
	for (int i = 0; i < PGQ_MAX_LISTENERS; i++)
		pgq_socket_init(&pgq_transport->listener[i], PGQ_SOCKET_LISTEN, NULL);
	for (int i = 0; i < PGQ_MAX_INCOMING; i++)
		pgq_link_init(&pgq_transport->in[i], PGQ_SOCKET_IN, &pgq_transport->in[i],
					  PGQ_FRAME_MAX, PGQ_WELCOME_SIZE + PGQ_CHALLENGE_SIZE);
	for (int i = 0; i < QUORUM_MAX_NODES; i++)
	{
		PgqPeer    *peer = &pgq_transport->peers[i];

		pgq_link_init(&peer->link, PGQ_SOCKET_OUT, peer, PGQ_WELCOME_SIZE, PGQ_OUT_BUFFER);
		pgq_socket_init(&peer->probe.sock[0], PGQ_SOCKET_PROBE, peer);
		pgq_socket_init(&peer->probe.sock[1], PGQ_SOCKET_PROBE, peer);
	}
}

bool
pgq_transport_start(const PgqIdentity *identity, const char *host, uint16 port,
					const char *secret_file, const PgqTransportHandler *handler, PgqReport *why)
{
	if (pgq_transport == NULL)
		allocate();
	Assert(!pgq_transport->started);
	pgq_transport->identity = *identity;
	pgq_transport->handler = *handler;
	if (!pgq_secrets_load(secret_file, &pgq_transport->secrets, why) || !pgq_frame_start(why))
		return false;
	pgq_transport->listener_count =
		pgq_socket_listen(pgq_transport->listener, PGQ_MAX_LISTENERS, host, port, why);
	pgq_transport->started = pgq_transport->listener_count > 0;
	return pgq_transport->started;
}

bool
pgq_transport_reload_secret(const char *secret_file, PgqReport *why)
{
	PgqSecrets	secrets;
	bool		good = pgq_secrets_load(secret_file, &secrets, why);

	if (good)
		pgq_transport->secrets = secrets;
	explicit_bzero(&secrets, sizeof(secrets));
	return good;
}

const PgqSecrets *
pgq_transport_secrets(void)
{
	return &pgq_transport->secrets;
}

void
pgq_transport_stop(void)
{
	if (pgq_transport == NULL || !pgq_transport->started)
		return;
	for (int i = 0; i < PGQ_MAX_INCOMING; i++)
		pgq_link_close(&pgq_transport->in[i]);
	for (int i = 0; i < QUORUM_MAX_NODES; i++)
	{
		pgq_link_close(&pgq_transport->peers[i].link);
		pgq_probe_cancel(&pgq_transport->peers[i]);
		memset(&pgq_transport->peers[i].member, 0, sizeof(QuorumMember));
	}
	pgq_sockets_stop();
	pgq_frame_stop();
	explicit_bzero(&pgq_transport->secrets, sizeof(pgq_transport->secrets));
	pgq_transport->started = false;
}
