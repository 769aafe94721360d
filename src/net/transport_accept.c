/*
 * transport_accept.c
 *	  Who may connect to the quorum port, before anything has been said.
 *
 * It bounds how many can wait here and for what they cost; what they say is looked at
 * in transport_handshake.c.
 */
#include "transport_accept.h"

#include "transport_handshake.h"
#include "transport_log.h"

/*
 * A slot for one more connection.  Those who have not said Hello may not take all of
 * them: the oldest stranger goes first.  NULL = full of authenticated ones.
 */
static PgqLink *
find_incoming_slot(void)
{
	PgqLink    *empty = NULL;
	PgqLink    *oldest = NULL;
	int			strangers = 0;

	for (int i = 0; i < PGQ_MAX_INCOMING; i++)
	{
		PgqLink    *link = &pgq_transport->in[i];

		if (link->phase == PGQ_LINK_CLOSED)
			empty = link;
		else if (link->phase == PGQ_LINK_HELLO)
		{
			strangers++;
			if (oldest == NULL || link->opened_at < oldest->opened_at)
				oldest = link;
		}
	}
	if (empty != NULL && strangers < PGQ_MAX_STRANGERS)
		return empty;
	pgq_log(PGQ_LOG_CROWD, "too many connections to the quorum port");
	if (oldest != NULL)
		pgq_link_close(oldest);
	return oldest;
}

static void
accept_one(PgqSocket *listener, uint64 now, int *error)
{
	PgqSocket	fresh = {.fd = PGINVALID_SOCKET,.pos = -1};
	struct sockaddr_storage from;
	PgqLink    *link;

	*error = pgq_socket_accept(listener, &fresh, &from);
	if (*error != 0)
		return;
	link = find_incoming_slot();
	if (link == NULL)
	{
		pgq_socket_close(&fresh);
		return;
	}
	link->sock.fd = fresh.fd;
	link->sock.fresh = true;
	pgq_link_open(link, PGQ_LINK_HELLO, now, now + PGQ_HANDSHAKE_US);
	link->from = from;
	if (!pgq_send_challenge(link, now))
		pgq_link_close(link);
}

static void
pause_accepting(int error, uint64 now)
{
	pgq_transport->accept_at = now + PGQ_ACCEPT_PAUSE_US;
	for (int i = 0; i < pgq_transport->listener_count; i++)
		pgq_transport->listener[i].wanted = 0;
	errno = error;
	pgq_log(PGQ_LOG_SOCKET, "could not accept a connection to the quorum port: %m");
}

void
pgq_accept_ready(PgqSocket *listener, uint64 now)
{
	for (int i = 0; i < PGQ_MAX_STRANGERS; i++)
	{
		int			error;

		accept_one(listener, now, &error);
		if (error == EAGAIN || error == EWOULDBLOCK)
			return;
		if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM)
		{
			pause_accepting(error, now);
			return;
		}
		/* anything else is about this one connection */
	}
}

void
pgq_accept_due(uint64 now)
{
	if (pgq_transport->accept_at == 0 || now < pgq_transport->accept_at)
		return;
	pgq_transport->accept_at = 0;
	for (int i = 0; i < pgq_transport->listener_count; i++)
		pgq_transport->listener[i].wanted = PGQ_READABLE;
}
