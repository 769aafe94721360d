/*
 * transport_link.c
 *	  One connection: a socket and its buffers.
 *
 * It moves bytes; what they mean is decided in transport_handshake.c and transport.c.
 * A link that fails while something is sent is only marked broken: the sender is in
 * the middle of a step of the core, which must not be told of a loss just then.
 */
#include "transport_link.h"

void
pgq_link_init(PgqLink *link, PgqSocketKind kind, void *owner,
			  size_t in_capacity, size_t out_capacity)
{
	memset(link, 0, sizeof(*link));
	pgq_socket_init(&link->sock, kind, owner);
	link->in = pgq_host_alloc(in_capacity);
	link->in_capacity = in_capacity;
	link->out = pgq_host_alloc(out_capacity);
	link->out_capacity = out_capacity;
}

static void
set_interest(PgqLink *link)
{
	if (link->phase == PGQ_LINK_CONNECTING)
		link->sock.wanted = PGQ_WRITABLE;
	else
		link->sock.wanted = PGQ_READABLE |
			(link->out_end > link->out_start ? PGQ_WRITABLE : 0);
}

void
pgq_link_open(PgqLink *link, PgqLinkPhase phase, uint64 now, uint64 deadline)
{
	Assert(link->phase == PGQ_LINK_CLOSED);
	Assert(link->sock.fd != PGINVALID_SOCKET);
	link->phase = phase;
	link->broken = false;
	link->opened_at = now;
	link->deadline = deadline;
	link->written_at = now;
	memset(&link->who, 0, sizeof(link->who));
	link->target = QUORUM_NO_NODE;
	link->secret = 0;
	memset(&link->nonces, 0, sizeof(link->nonces));
	memset(link->key, 0, sizeof(link->key));
	link->counter = 0;
	link->in_size = 0;
	link->out_start = 0;
	link->out_end = 0;
	set_interest(link);
}

void
pgq_link_close(PgqLink *link)
{
	pgq_socket_close(&link->sock);
	link->phase = PGQ_LINK_CLOSED;
	link->broken = false;
	link->in_size = 0;
	link->out_start = 0;
	link->out_end = 0;
	explicit_bzero(link->key, sizeof(link->key));
}

bool
pgq_link_fill(PgqLink *link)
{
	ssize_t		got;

	Assert(link->in_size < link->in_capacity);
	got = recv(link->sock.fd, link->in + link->in_size,
			   link->in_capacity - link->in_size, 0);
	if (got > 0)
	{
		link->in_size += got;
		return true;
	}
	return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

void
pgq_link_consume(PgqLink *link, size_t size)
{
	Assert(size <= link->in_size);
	link->in_size -= size;
	memmove(link->in, link->in + size, link->in_size);
}

uint8 *
pgq_link_reserve(PgqLink *link, size_t size)
{
	if (link->out_capacity - link->out_end < size)
	{
		memmove(link->out, link->out + link->out_start, link->out_end - link->out_start);
		link->out_end -= link->out_start;
		link->out_start = 0;
	}
	return link->out_capacity - link->out_end < size ? NULL : link->out + link->out_end;
}

void
pgq_link_commit(PgqLink *link, size_t size, uint64 now)
{
	Assert(link->out_capacity - link->out_end >= size);
	if (link->out_start == link->out_end)
		link->written_at = now;
	link->out_end += size;
	pgq_link_write(link, now);
}

void
pgq_link_write(PgqLink *link, uint64 now)
{
	while (link->out_start < link->out_end && !link->broken)
	{
		ssize_t		done = send(link->sock.fd, link->out + link->out_start,
								link->out_end - link->out_start, MSG_NOSIGNAL);

		if (done > 0)
		{
			link->out_start += done;
			link->written_at = now;
		}
		else if (done < 0 && errno == EINTR)
			continue;
		else if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		else
			link->broken = true;
	}
	if (link->out_start == link->out_end)
		link->out_start = link->out_end = 0;
	set_interest(link);
}
