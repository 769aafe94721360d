/*
 * transport_probe.c
 *	  Proof that a peer is dead: both its ports refuse a fresh connection.
 *
 * One refused port is no proof: the worker may be gone while backends live, or the
 * other way round.  Silence is none either, nor is a refusal at an address that may
 * belong to another host.  What follows from the proof is decided elsewhere.
 */
#include "transport_dial.h"

void
pgq_probe_cancel(PgqPeer *peer)
{
	for (int i = 0; i < 2; i++)
	{
		pgq_socket_close(&peer->probe.sock[i]);
		peer->probe.outcome[i] = PGQ_PROBE_IDLE;
	}
}

/*
 * One of several addresses of a name may refuse although the node listens on another:
 * only the one that has led to the node before counts.  -1 = none.
 */
static int
certain_address(const PgqAddress *address)
{
	return address->count == 1 ? 0 : address->proven;
}

static PgqProbeOutcome
outcome_of(int error)
{
	if (error == EINPROGRESS)
		return PGQ_PROBE_WAITING;
	return error == ECONNREFUSED ? PGQ_PROBE_REFUSED : PGQ_PROBE_NO_PROOF;
}

static PgqProbeOutcome
start_one(PgqPeer *peer, PgqSocket *sock, int address, uint16 port)
{
	int			error;

	if (port == 0 || address < 0)
		return PGQ_PROBE_NO_PROOF;
	error = pgq_socket_connect(sock, &peer->address, address, port);
	return outcome_of(error == 0 ? EINPROGRESS : error);
}

void
pgq_probe_start(PgqPeer *peer, uint64 now)
{
	PgqProbe   *probe = &peer->probe;
	int			address = certain_address(&peer->address);

	if (probe->outcome[0] != PGQ_PROBE_IDLE)
		return;
	probe->deadline = now + PGQ_PROBE_US;
	probe->outcome[0] = start_one(peer, &probe->sock[0], address,
								  peer->member.quorum_port);
	probe->outcome[1] = start_one(peer, &probe->sock[1], address,
								  peer->member.pg_port);
}

void
pgq_probe_ready(PgqPeer *peer, PgqSocket *sock)
{
	PgqProbe   *probe = &peer->probe;
	int			i = sock == &probe->sock[0] ? 0 : 1;

	Assert(probe->outcome[i] == PGQ_PROBE_WAITING);
	probe->outcome[i] = outcome_of(pgq_socket_connect_result(sock));
	if (probe->outcome[i] != PGQ_PROBE_WAITING)
		pgq_socket_close(sock);
}

bool
pgq_probe_is_over(PgqPeer *peer, uint64 now, bool *dead)
{
	PgqProbe   *probe = &peer->probe;
	bool		waiting = probe->outcome[0] == PGQ_PROBE_WAITING ||
		probe->outcome[1] == PGQ_PROBE_WAITING;
	bool		disproved = probe->outcome[0] == PGQ_PROBE_NO_PROOF ||
		probe->outcome[1] == PGQ_PROBE_NO_PROOF;

	if (probe->outcome[0] == PGQ_PROBE_IDLE ||
		(waiting && !disproved && now < probe->deadline))
		return false;
	*dead = probe->outcome[0] == PGQ_PROBE_REFUSED && probe->outcome[1] == PGQ_PROBE_REFUSED;
	pgq_probe_cancel(peer);
	return true;
}

/* A probe that is decided wants to be told now. */
uint64
pgq_probe_deadline(void)
{
	uint64		next = PG_UINT64_MAX;

	for (int i = 0; i < QUORUM_MAX_NODES; i++)
	{
		PgqProbe   *probe = &pgq_transport->peers[i].probe;

		if (probe->outcome[0] == PGQ_PROBE_IDLE)
			continue;
		if (probe->outcome[0] == PGQ_PROBE_WAITING || probe->outcome[1] == PGQ_PROBE_WAITING)
			next = Min(next, probe->deadline);
		else
			next = 0;
	}
	return next;
}
