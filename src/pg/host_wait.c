/*
 * host_wait.c
 *	  Waiting for sockets, the latch and the death of the postmaster at once.
 *
 * A WaitEventSet cannot lose an event, so it is made anew when a socket was opened or
 * closed.  Should that fail (no descriptor left on the host), every socket is tried
 * every few milliseconds instead: the worker must not die for want of an epoll.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"

#include "compat.h"
#include "transport.h"
#include "transport_log.h"
#include "transport_socket.h"

#define MAX_READY		32
#define WITHOUT_SET_MS	10

static WaitEventSet *set;
static int	set_latch_pos;

static void
drop_set(void)
{
	WaitEventSet *old = set;

	set = NULL;
	for (int i = 0; i < pgq_socket_count; i++)
		pgq_sockets[i]->pos = -1;
	if (old != NULL)
		FreeWaitEventSet(old);
}

void
pgq_host_wait_forget(PgqSocket *sock)
{
	if (sock->pos >= 0)
		drop_set();
}

void
pgq_host_wait_stop(void)
{
	drop_set();
}

static uint32
latch_events(uint32 wanted)
{
	return ((wanted & PGQ_READABLE) != 0 ? WL_SOCKET_READABLE : 0) |
		((wanted & PGQ_WRITABLE) != 0 ? WL_SOCKET_WRITEABLE : 0);
}

static uint32
socket_events(uint32 events)
{
	return ((events & WL_SOCKET_READABLE) != 0 ? PGQ_READABLE : 0) |
		((events & WL_SOCKET_WRITEABLE) != 0 ? PGQ_WRITABLE : 0);
}

static int
seen_events(uint32 events)
{
	return ((events & WL_LATCH_SET) != 0 ? PGQ_WAIT_WOKEN : 0) |
		((events & WL_POSTMASTER_DEATH) != 0 ? PGQ_WAIT_ORPHANED : 0);
}

static void
fill_set(void)
{
	set = pgq_create_wait_event_set(pgq_socket_count + 2);
	set_latch_pos = AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_POSTMASTER_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < pgq_socket_count; i++)
	{
		PgqSocket  *sock = pgq_sockets[i];

		if (sock->fd == PGINVALID_SOCKET || sock->wanted == 0)
			continue;
		sock->pos = AddWaitEventToSet(set, latch_events(sock->wanted), sock->fd, NULL, sock);
		sock->watched = sock->wanted;
	}
}

static bool
is_set_current(void)
{
	if (set == NULL)
		return false;
	for (int i = 0; i < pgq_socket_count; i++)
		if ((pgq_sockets[i]->pos >= 0) !=
			(pgq_sockets[i]->fd != PGINVALID_SOCKET && pgq_sockets[i]->wanted != 0))
			return false;
	return true;
}

/* False when there is no set to wait on. */
static bool
update_set(void)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool good = true;

	PG_TRY();
	{
		if (!is_set_current())
		{
			drop_set();
			fill_set();
		}
		else
			for (int i = 0; i < pgq_socket_count; i++)
			{
				PgqSocket  *sock = pgq_sockets[i];

				if (sock->pos < 0 || sock->watched == sock->wanted)
					continue;
				ModifyWaitEvent(set, sock->pos, latch_events(sock->wanted), NULL);
				sock->watched = sock->wanted;
			}
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		drop_set();
		good = false;
	}
	PG_END_TRY();
	return good;
}

static int
wait_without_set(long timeout_ms, PgqSocketReady ready)
{
	PgqReport	report;
	int			seen;

	pgq_report(&report, 0, "could not make a wait event set for the quorum port");
	pgq_report_hint(&report, "The system is out of file descriptors or memory.");
	pgq_log_report(PGQ_LOG_SOCKET, &report);
	if (timeout_ms < 0 || timeout_ms > WITHOUT_SET_MS)
		timeout_ms = WITHOUT_SET_MS;
	seen = WaitLatch(MyLatch, WL_LATCH_SET | WL_POSTMASTER_DEATH | WL_TIMEOUT, timeout_ms,
					 PG_WAIT_EXTENSION);
	pgq_socket_begin_dispatch();
	for (int i = 0; i < pgq_socket_count; i++)
		pgq_socket_dispatch(pgq_sockets[i], pgq_sockets[i]->wanted, ready);
	return seen_events((uint32) seen);
}

int
pgq_host_wait(long timeout_ms, PgqSocketReady ready)
{
	WaitEvent	events[MAX_READY];
	int			count;
	int			seen = 0;

	if (!update_set())
		return wait_without_set(timeout_ms, ready);

	count = WaitEventSetWait(set, timeout_ms, events, MAX_READY, PG_WAIT_EXTENSION);

	/* before 16 a set latch hides the sockets: a busy latch must not keep peers waiting */
	if (count == 1 && (events[0].events & WL_LATCH_SET) != 0)
	{
		seen |= PGQ_WAIT_WOKEN;
		ModifyWaitEvent(set, set_latch_pos, WL_LATCH_SET, NULL);
		count = WaitEventSetWait(set, 0, events, MAX_READY, PG_WAIT_EXTENSION);
		ModifyWaitEvent(set, set_latch_pos, WL_LATCH_SET, MyLatch);
	}
	pgq_socket_begin_dispatch();
	for (int i = 0; i < count; i++)
	{
		if (events[i].user_data == NULL)
			seen |= seen_events(events[i].events);
		else
			pgq_socket_dispatch(events[i].user_data, socket_events(events[i].events), ready);
	}
	return seen;
}
