/*
 * network.c
 *	  The network under fuzz_transport.c: connections that nobody else is at the end of.
 *
 * Time, random numbers and what a connect() leads to are made up, too: an input always does
 * the same.
 */
#include "network.h"

#include <netdb.h>
#include <pthread.h>
#include <sys/socket.h>

#include "fuzz.h"

/* What the network does, as the linker leads it here (--wrap). */
extern ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags);
extern ssize_t __wrap_send(int fd, const void *buffer, size_t size, int flags);
extern int	__wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
extern int	__wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
							   struct addrinfo **found);
extern int	__real_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
							   struct addrinfo **found);
extern void __wrap_freeaddrinfo(struct addrinfo *found);
extern bool __wrap_pg_strong_random(void *bytes, size_t size);
extern int	__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
								  void *(*routine) (void *), void *arg);

Network		network;

uint64
pgq_now_mono(void)
{
	return network.clock_us;
}

uint64
pgq_now_boot(void)
{
	return network.clock_us;
}

uint64
pgq_now_wall(void)
{
	return network.clock_us;
}

bool
__wrap_pg_strong_random(void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8 *) bytes)[i] = (uint8) (network.random_count >> (8 * (i % 8)));
	network.random_count++;
	return true;
}

Channel *
network_channel_of(int fd)
{
	for (int i = 0; i < CHANNELS; i++)
		if (network.channels[i].fd == fd)
			return &network.channels[i];
	return NULL;
}

ssize_t
__wrap_recv(int fd, void *buffer, size_t size, int flags)
{
	Channel    *channel = network_channel_of(fd);
	size_t		length;

	(void) flags;
	fuzz_require(channel != NULL);
	fuzz_require(size > 0);
	length = Min(Min(size, network.piece), channel->end - channel->start);
	if (length == 0 && !channel->ended)
	{
		errno = EAGAIN;
		return -1;
	}
	memcpy(buffer, channel->bytes + channel->start, length);
	channel->start += length;
	return (ssize_t) length;
}

ssize_t
__wrap_send(int fd, const void *buffer, size_t size, int flags)
{
	size_t		length = Min(size, network.room);
	static uint8 sent[PGQ_OUT_BUFFER];

	(void) fd;
	(void) flags;
	fuzz_require(size <= sizeof(sent));
	memcpy(sent, buffer, size); /* all of it can be read */
	if (length == 0)
	{
		errno = EAGAIN;
		return -1;
	}
	network.room -= length;
	return (ssize_t) length;
}

int
__wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
	(void) fd;
	(void) address;
	(void) size;
	errno = ECONNREFUSED;
	return -1;
}

/* Nobody is asked for a name. */
int
__wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
				   struct addrinfo **found)
{
	static struct addrinfo *here;

	if (strcmp(node, "127.0.0.1") != 0)
		return EAI_NONAME;
	if (here == NULL)
		fuzz_require(__real_getaddrinfo(node, service, hints, &here) == 0);
	*found = here;
	return 0;
}

void
__wrap_freeaddrinfo(struct addrinfo *found)
{
	(void) found;
}

/* At once: an input always does the same. */
int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
					  void *(*routine) (void *), void *arg)
{
	(void) thread;
	(void) attributes;
	(void) routine(arg);
	return 0;
}

static bool
has_more(const Channel *channel)
{
	return channel->start < channel->end || channel->ended;
}

bool
network_is_waiting(void)
{
	for (int i = 0; i < CHANNELS; i++)
	{
		const Channel *channel = &network.channels[i];

		if (channel->link != NULL && channel->link->sock.fd == channel->fd && has_more(channel))
			return true;
	}
	return false;
}

int
pgq_host_wait(long timeout_ms, PgqSocketReady ready)
{
	(void) timeout_ms;
	pgq_socket_begin_dispatch();
	for (int i = 0; i < CHANNELS; i++)
	{
		Channel    *channel = &network.channels[i];
		PgqLink    *link = channel->link;

		if (link == NULL || link->sock.fd != channel->fd ||
			(!has_more(channel) && network.room == 0))
			continue;
		network.dispatched = link;
		pgq_socket_dispatch(&link->sock, PGQ_READABLE | PGQ_WRITABLE, ready);
		network.dispatched = NULL;
	}
	return 0;
}

void
pgq_host_wait_forget(PgqSocket *sock)
{
	(void) sock;
}

void
pgq_host_wait_stop(void)
{
}

void
network_say(Channel *channel, const void *bytes, size_t size)
{
	size = Min(size, BYTES_MAX - channel->end);
	memcpy(channel->bytes + channel->end, bytes, size);
	channel->end += size;
}
