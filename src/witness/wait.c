/*
 * wait.c
 *	  Waiting for sockets and signals at once, with poll.
 *
 * Signals are blocked but for the wait itself, so none can come in between the look at
 * its flag and the wait.
 */
#include "witness.h"

#include <poll.h>
#include <signal.h>

#include "transport_socket.h"

static volatile sig_atomic_t stop_wanted;
static volatile sig_atomic_t reload_wanted;
static sigset_t while_waiting;

static void
on_signal(int number)
{
	if (number == SIGHUP)
		reload_wanted = 1;
	else
		stop_wanted = 1;
}

void
witness_signals_start(void)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
	struct sigaction action;
	sigset_t	blocked;

	memset(&action, 0, sizeof(action));
	action.sa_handler = on_signal;
	sigemptyset(&action.sa_mask);
	sigemptyset(&blocked);
	for (size_t i = 0; i < lengthof(numbers); i++)
	{
		sigaddset(&blocked, numbers[i]);
		sigaction(numbers[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &blocked, &while_waiting);
	for (size_t i = 0; i < lengthof(numbers); i++)
		sigdelset(&while_waiting, numbers[i]);
}

bool
witness_shall_stop(void)
{
	return stop_wanted != 0;
}

bool
witness_shall_reload(void)
{
	bool		wanted = reload_wanted != 0;

	reload_wanted = 0;
	return wanted;
}

/* poll keeps nothing between two calls. */
void
pgq_host_wait_forget(PgqSocket *sock)
{
	(void) sock;
}

void
pgq_host_wait_stop(void)
{
}

static int
fill(struct pollfd *polled, PgqSocket **owners)
{
	int			count = 0;

	for (int i = 0; i < pgq_socket_count; i++)
	{
		PgqSocket  *sock = pgq_sockets[i];

		if (sock->fd == PGINVALID_SOCKET || sock->wanted == 0)
			continue;
		polled[count].fd = sock->fd;
		polled[count].events = (short) (((sock->wanted & PGQ_READABLE) != 0 ? POLLIN : 0) |
										((sock->wanted & PGQ_WRITABLE) != 0 ? POLLOUT : 0));
		polled[count].revents = 0;
		owners[count++] = sock;
	}
	return count;
}

/* An error shows when the socket is used, whatever it is used for. */
static uint32
ready_events(short seen)
{
	if ((seen & (POLLERR | POLLHUP | POLLNVAL)) != 0)
		return PGQ_READABLE | PGQ_WRITABLE;
	return ((seen & POLLIN) != 0 ? PGQ_READABLE : 0) | ((seen & POLLOUT) != 0 ? PGQ_WRITABLE : 0);
}

int
pgq_host_wait(long timeout_ms, PgqSocketReady ready)
{
	struct pollfd polled[PGQ_MAX_SOCKETS];
	PgqSocket  *owners[PGQ_MAX_SOCKETS];
	struct timespec limit = {timeout_ms / 1000, timeout_ms % 1000 * 1000000};
	int			count = fill(polled, owners);
	int			seen = ppoll(polled, (nfds_t) count, timeout_ms < 0 ? NULL : &limit,
							 &while_waiting);

	pgq_socket_begin_dispatch();
	for (int i = 0; i < count && seen > 0; i++)
		if (polled[i].revents != 0)
			pgq_socket_dispatch(owners[i], ready_events(polled[i].revents), ready);
	return stop_wanted != 0 || reload_wanted != 0 ? PGQ_WAIT_WOKEN : 0;
}
