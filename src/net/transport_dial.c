/*
 * transport_dial.c
 *	  Our connections to the peers, until they are authenticated.
 *
 * When to try again: after 20 ms, doubling up to a second, with jitter so that nodes do
 * not keep step; at once when the peer shows that it is alive.  Accepting connections
 * and what is said on an authenticated one are in transport.c, probes in transport_probe.c.
 */
#include "transport_dial.h"

#include "common/pg_prng.h"
#include "transport_handshake.h"
#include "transport_log.h"

static void
schedule(PgqPeer *peer, uint64 now)
{
	double		jitter = 0.75 + 0.5 * pg_prng_double(&pg_global_prng_state);

	peer->backoff = Max(peer->backoff, PGQ_BACKOFF_MIN_US);
	peer->dial_at = now + (uint64) (jitter * peer->backoff);
	peer->backoff = Min(2 * peer->backoff, PGQ_BACKOFF_MAX_US);
}

void
pgq_dial_soon(PgqPeer *peer, uint64 now)
{
	peer->dial_at = now;
	peer->backoff = PGQ_BACKOFF_MIN_US;
}

/* A link that never lasts must not be made again and again without a pause. */
void
pgq_dial_again(PgqPeer *peer, uint64 now)
{
	if (now - peer->link.opened_at > PGQ_BACKOFF_MAX_US)
		peer->backoff = PGQ_BACKOFF_MIN_US;
	schedule(peer, now);
}

/*
 * A peer that starts later than this node, or restarts, is nothing to complain about;
 * one that stays away is, once.
 */
static void
dial_failed(PgqPeer *peer, const char *why, uint64 now)
{
	pgq_link_close(&peer->link);
	pgq_address_rotate(&peer->address);
	schedule(peer, now);
	if (peer->failing_since == 0)
		peer->failing_since = now;
	else if (!peer->complained && now >= peer->failing_since + PGQ_COMPLAIN_US)
	{
		peer->complained = true;
		pgq_say("could not reach node \"%s\" (%u) at host \"%s\", port %u: %s",
				peer->member.name, peer->member.id, peer->member.host,
				peer->member.quorum_port, why);
	}
}

static void
dial(PgqPeer *peer, uint64 now)
{
	bool		again = peer->failing_since != 0 && now >= peer->failing_since + PGQ_COMPLAIN_US;
	int			error;

	if (!pgq_address_resolve(&peer->address, again, now))
	{
		dial_failed(peer, peer->address.lookup != NULL ?
					"no answer yet to what the address of its host is" :
					"its host name cannot be translated to an address", now);
		return;
	}
	error = pgq_socket_connect(&peer->link.sock, &peer->address, peer->address.current,
							   peer->member.quorum_port);
	if (error != 0)
		dial_failed(peer, strerror(error), now);
	else
		pgq_link_open(&peer->link, PGQ_LINK_CONNECTING, now, now + PGQ_CONNECT_US);
}

void
pgq_dial_due(uint64 now)
{
	for (int i = 0; i < QUORUM_MAX_NODES; i++)
	{
		PgqPeer    *peer = &pgq_transport->peers[i];

		if (peer->member.id == QUORUM_NO_NODE || peer->link.phase == PGQ_LINK_UP)
			continue;
		if (peer->link.phase == PGQ_LINK_CLOSED)
		{
			if (now >= peer->dial_at)
				dial(peer, now);
		}
		else if (peer->link.broken)
			dial_failed(peer, "connection lost during the handshake", now);
		else if (now >= peer->link.deadline)
		{
			if (peer->link.phase != PGQ_LINK_CONNECTING)
				pgq_host_count(PGQ_COUNT_TIMEOUTS);
			dial_failed(peer, "no answer", now);
		}
	}
}

uint64
pgq_dial_deadline(void)
{
	uint64		next = PG_UINT64_MAX;

	for (int i = 0; i < QUORUM_MAX_NODES; i++)
	{
		PgqPeer    *peer = &pgq_transport->peers[i];

		if (peer->member.id == QUORUM_NO_NODE || peer->link.phase == PGQ_LINK_UP)
			continue;
		next = Min(next, peer->link.phase == PGQ_LINK_CLOSED ?
				   peer->dial_at : peer->link.deadline);
	}
	return next;
}

void
pgq_dial_alive(PgqPeer *peer, uint64 now)
{
	/* an attempt that has waited for long may be stuck in the kernel's own backoff */
	if (peer->link.phase == PGQ_LINK_CONNECTING &&
		now > peer->link.opened_at + PGQ_BACKOFF_MIN_US)
		pgq_link_close(&peer->link);
	if (peer->link.phase == PGQ_LINK_CLOSED)
		pgq_dial_soon(peer, now);
}

/* What a whole handshake message has in this phase. */
static size_t
expected_size(PgqLinkPhase phase)
{
	return phase == PGQ_LINK_CHALLENGE ? PGQ_CHALLENGE_SIZE : PGQ_WELCOME_SIZE;
}

static bool
connected(PgqPeer *peer, uint64 now)
{
	int			error = pgq_socket_connect_result(&peer->link.sock);

	if (error == 0)
	{
		peer->link.phase = PGQ_LINK_CHALLENGE;
		peer->link.deadline = now + PGQ_HANDSHAKE_US;
		peer->link.sock.wanted = PGQ_READABLE;
	}
	else if (error != EINPROGRESS)
		dial_failed(peer, strerror(error), now);
	return false;
}

bool
pgq_dial_ready(PgqPeer *peer, uint64 now)
{
	PgqLink    *link = &peer->link;
	const char *why = "it does not speak the protocol of the quorum port";
	bool		good;

	if (link->phase == PGQ_LINK_CONNECTING)
		return connected(peer, now);
	pgq_link_write(link, now);
	if (!pgq_link_fill(link))
	{
		dial_failed(peer, link->phase == PGQ_LINK_WELCOME ?
					"it closed the connection; the secrets may differ" :
					"it closed the connection", now);
		return false;
	}
	if (link->in_size < expected_size(link->phase))
		return false;
	if (link->phase == PGQ_LINK_CHALLENGE)
		good = pgq_answer_challenge(peer, now);
	else
		good = pgq_take_welcome(peer, now, &why);
	if (!good)
	{
		dial_failed(peer, why, now);
		return false;
	}
	pgq_link_consume(link, expected_size(link->phase));
	link->phase = link->phase == PGQ_LINK_CHALLENGE ? PGQ_LINK_WELCOME : PGQ_LINK_UP;
	if (link->phase != PGQ_LINK_UP)
		return false;
	peer->address.proven = peer->address.current;
	peer->failing_since = 0;
	peer->complained = false;
	return true;
}
