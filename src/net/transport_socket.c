/*
 * transport_socket.c
 *	  Non-blocking TCP sockets.
 *
 * Nothing here knows who is at the other end.  Waiting is the host's business.
 *
 * The name of a peer is looked up beside the loop (transport_lookup.c): when the member
 * becomes known, and then only while it cannot be reached.  The own name is looked up once,
 * at the start, and waited for.
 */
#include "transport_socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "transport_log.h"
#include "transport_lookup.h"

#define LISTEN_BACKLOG		64
#define USER_TIMEOUT_MS		2000	/* unacknowledged data for that long: connection is dead */
#define KEEPALIVE_IDLE_S	5
#define KEEPALIVE_COUNT		3

/* A peer that was frozen shall not find megabytes of old news when it goes on. */
#define KERNEL_BUFFER		(64 * 1024)

#define RESOLVE_AGAIN_US	(30 * 1000 * 1000)
#define RESOLVE_SLOW_US		(1000 * 1000)

/* An option that this platform does not know is no reason to do without a connection. */
static void
set_option(pgsocket fd, int level, int option, int value)
{
	(void) setsockopt(fd, level, option, (const void *) &value, sizeof(value));
}

static bool
prepare(pgsocket fd)
{
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, SOL_SOCKET, SO_SNDBUF, KERNEL_BUFFER);
	set_option(fd, SOL_SOCKET, SO_RCVBUF, KERNEL_BUFFER);
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
#ifdef TCP_USER_TIMEOUT
	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
#endif
#ifdef TCP_KEEPIDLE
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
#endif
	return pg_set_noblock(fd) && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

/* close() that keeps the errno of what went wrong before. */
static int
give_up(pgsocket fd)
{
	int			saved = errno;

	closesocket(fd);
	return saved == 0 ? EIO : saved;
}

/* ---- all of them -------------------------------------------------------- */

PgqSocket  *pgq_sockets[PGQ_MAX_SOCKETS];
int			pgq_socket_count;

void
pgq_socket_init(PgqSocket *sock, PgqSocketKind kind, void *owner)
{
	Assert(pgq_socket_count < PGQ_MAX_SOCKETS);
	sock->fd = PGINVALID_SOCKET;
	sock->kind = kind;
	sock->owner = owner;
	sock->wanted = 0;
	sock->watched = 0;
	sock->pos = -1;
	sock->fresh = false;
	pgq_sockets[pgq_socket_count++] = sock;
}

void
pgq_socket_close(PgqSocket *sock)
{
	if (sock->fd == PGINVALID_SOCKET)
		return;
	/* its number may come back as another socket: nobody may wait on the old event */
	pgq_host_wait_forget(sock);
	closesocket(sock->fd);
	sock->fd = PGINVALID_SOCKET;
	sock->wanted = 0;
}

void
pgq_sockets_stop(void)
{
	for (int i = 0; i < pgq_socket_count; i++)
		pgq_socket_close(pgq_sockets[i]);
	pgq_host_wait_stop();
}

void
pgq_socket_begin_dispatch(void)
{
	for (int i = 0; i < pgq_socket_count; i++)
		pgq_sockets[i]->fresh = false;
}

/* A socket opened while others are dispatched is not the one that was reported. */
void
pgq_socket_dispatch(PgqSocket *sock, uint32 events, PgqSocketReady ready)
{
	events &= sock->wanted;
	if (sock->fd != PGINVALID_SOCKET && !sock->fresh && events != 0)
		ready(sock, events);
}

/* ---- listening ---------------------------------------------------------- */

static pgsocket
listen_on(const struct addrinfo *at)
{
	pgsocket	fd = socket(at->ai_family, SOCK_STREAM, 0);

	if (fd == PGINVALID_SOCKET)
		return PGINVALID_SOCKET;
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
#ifdef IPV6_V6ONLY
	if (at->ai_family == AF_INET6)
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
#endif
	if (!prepare(fd) || bind(fd, at->ai_addr, at->ai_addrlen) != 0 ||
		listen(fd, LISTEN_BACKLOG) != 0)
	{
		errno = give_up(fd);
		return PGINVALID_SOCKET;
	}
	return fd;
}

static void
cannot_listen(const char *host, uint16 port, int error, PgqReport *why)
{
	pgq_report(why, error, "could not listen for other nodes on \"%s\", port %u: %m", host, port);
	if (error == EADDRINUSE)
		pgq_report_hint(why, "If the previous process of this node uses the port, it ends soon.");
	else
		pgq_report_hint(why, "Check the address of this node: its host must be an address of this machine.");
}

int
pgq_socket_listen(PgqSocket *socks, int max, const char *host, uint16 port, PgqReport *why)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE,.ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	char		service[16];
	int			count = 0;
	int			error = EADDRNOTAVAIL;
	int			outcome;

	snprintf(service, sizeof(service), "%u", port);
	outcome = getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, service, &hints, &found);
	if (outcome != 0)
	{
		pgq_report(why, 0, "could not translate host \"%s\" of this node's address: %s",
				   host, gai_strerror(outcome));
		pgq_report_hint(why, "Its host must be an address of this machine.");
		return 0;
	}
	for (struct addrinfo *at = found; at != NULL && count < max; at = at->ai_next)
	{
		pgsocket	fd = listen_on(at);

		if (fd == PGINVALID_SOCKET)
		{
			error = errno;
			continue;
		}
		socks[count].fd = fd;
		socks[count].wanted = PGQ_READABLE;
		count++;
	}
	freeaddrinfo(found);
	if (count == 0)
		cannot_listen(host, port, error, why);
	return count;
}

int
pgq_socket_accept(PgqSocket *listener, PgqSocket *sock, struct sockaddr_storage *from)
{
	socklen_t	size = sizeof(*from);
	pgsocket	fd;

	memset(from, 0, sizeof(*from));
	fd = accept(listener->fd, (struct sockaddr *) from, &size);
	if (fd == PGINVALID_SOCKET)
		return errno;
	if (!prepare(fd))
		return give_up(fd);
	sock->fd = fd;
	sock->fresh = true;
	return 0;
}

/* ---- connecting --------------------------------------------------------- */

int
pgq_socket_connect(PgqSocket *sock, const PgqAddress *address, int index, uint16 port)
{
	struct sockaddr_storage at = address->at[index];
	socklen_t	size = address->size[index];
	pgsocket	fd;

	Assert(index >= 0 && index < address->count);
	Assert(sock->fd == PGINVALID_SOCKET);
	if (at.ss_family == AF_INET6)
		((struct sockaddr_in6 *) &at)->sin6_port = htons(port);
	else
		((struct sockaddr_in *) &at)->sin_port = htons(port);
	fd = socket(at.ss_family, SOCK_STREAM, 0);
	if (fd == PGINVALID_SOCKET)
		return errno;
	if (!prepare(fd))
		return give_up(fd);
	if (connect(fd, (struct sockaddr *) &at, size) != 0 &&
		errno != EINPROGRESS && errno != EINTR)
		return give_up(fd);
	sock->fd = fd;
	sock->fresh = true;
	sock->wanted = PGQ_WRITABLE;
	return 0;
}

/*
 * With a port out of the ephemeral range, connecting to the own host where nobody
 * listens can connect a socket to itself, and then keeps the peer from its port.
 */
static bool
is_connected_to_itself(pgsocket fd)
{
	struct sockaddr_storage near = {0};
	struct sockaddr_storage far = {0};
	socklen_t	near_size = sizeof(near);
	socklen_t	far_size = sizeof(far);

	return getsockname(fd, (struct sockaddr *) &near, &near_size) == 0 &&
		getpeername(fd, (struct sockaddr *) &far, &far_size) == 0 &&
		near_size == far_size && memcmp(&near, &far, near_size) == 0;
}

int
pgq_socket_connect_result(const PgqSocket *sock)
{
	struct sockaddr_storage far;
	socklen_t	far_size = sizeof(far);
	int			error = 0;
	socklen_t	error_size = sizeof(error);

	if (getsockopt(sock->fd, SOL_SOCKET, SO_ERROR, (void *) &error, &error_size) != 0)
		return errno;
	if (error != 0)
		return error;
	/* no error also means: not yet */
	if (getpeername(sock->fd, (struct sockaddr *) &far, &far_size) != 0)
		return errno == ENOTCONN ? EINPROGRESS : errno;
	return is_connected_to_itself(sock->fd) ? EADDRINUSE : 0;
}

/* ---- addresses ---------------------------------------------------------- */

void
pgq_address_set(PgqAddress *address, const char *host)
{
	if (address->lookup != NULL)
		pgq_lookup_forget(address->lookup);
	memset(address, 0, sizeof(*address));
	strlcpy(address->host, host, sizeof(address->host));
	address->proven = -1;
}

static void
take_addresses(PgqAddress *address, const struct addrinfo *found)
{
	address->count = 0;
	address->current = 0;
	address->proven = -1;
	for (; found != NULL && address->count < PGQ_MAX_ADDRESSES; found = found->ai_next)
	{
		if (found->ai_family != AF_INET && found->ai_family != AF_INET6)
			continue;
		memcpy(&address->at[address->count], found->ai_addr, found->ai_addrlen);
		address->size[address->count] = found->ai_addrlen;
		address->count++;
	}
}

static void
complain_of_lookup(const char *host, uint64 took)
{
	PgqReport	report;

	pgq_report(&report, 0, "looking up host \"%s\" of another node took %d ms",
			   host, (int) (took / 1000));
	pgq_report_hint(&report,
					"A node whose address is not known cannot be reached: use numeric addresses or /etc/hosts.");
	pgq_log_report(PGQ_LOG_SOCKET, &report);
}

/* What was asked before may have been answered since. */
static void
take_answer(PgqAddress *address, uint64 now)
{
	struct addrinfo *found = NULL;

	if (address->lookup == NULL || !pgq_lookup_over(address->lookup, &found))
		return;
	address->lookup = NULL;
	if (found != NULL)
	{
		take_addresses(address, found);
		freeaddrinfo(found);
	}
	address->resolve_at = now + RESOLVE_AGAIN_US;
	if (now - address->asked_at > RESOLVE_SLOW_US)
		complain_of_lookup(address->host, now - address->asked_at);
}

/* An old answer is better than none, and than a wait: it is kept until it fails. */
bool
pgq_address_resolve(PgqAddress *address, bool again, uint64 now)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST,.ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;

	take_answer(address, now);
	if (address->lookup != NULL || now < address->resolve_at || (address->count > 0 && !again))
		return address->count > 0;
	if (getaddrinfo(address->host, NULL, &hints, &found) == 0)
	{
		take_addresses(address, found);
		freeaddrinfo(found);
		address->resolve_at = PG_UINT64_MAX;	/* a number stays the same */
		return address->count > 0;
	}
	address->asked_at = now;
	address->lookup = pgq_lookup_start(address->host);
	return address->count > 0;
}

void
pgq_address_rotate(PgqAddress *address)
{
	if (address->count > 1)
		address->current = (address->current + 1) % address->count;
}

void
pgq_address_text(const struct sockaddr_storage *from, char *text, size_t size)
{
	socklen_t	length = from->ss_family == AF_INET6 ?
		sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

	if (getnameinfo((const struct sockaddr *) from, length, text, size, NULL, 0,
					NI_NUMERICHOST) != 0)
		strlcpy(text, "unknown address", size);
}
