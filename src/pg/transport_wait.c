/*
 * transport_wait.c
 *	  Waiting for sockets, the latch and the death of the postmaster at once.
 *
 * A WaitEventSet cannot lose an event, so it is made anew when a socket was opened or
 * closed.  Should that fail (no descriptor left on the host), every socket is tried
 * every few milliseconds instead: the worker must not die for want of an epoll.
 */
#include "postgres.h"

#include <unistd.h>

#include "compat.h"
#include "transport_log.h"
#include "transport_socket.h"

#define MAX_SOCKETS		256
#define MAX_READY		32
#define WITHOUT_SET_MS	10

static PgqSocket *sockets[MAX_SOCKETS];
static int	socket_count;

static WaitEventSet *set;
static Latch *set_latch;
static int	set_latch_pos;

void
pgq_socket_init(PgqSocket *sock, PgqSocketKind kind, void *owner)
{
	Assert(socket_count < MAX_SOCKETS);
	sock->fd = PGINVALID_SOCKET;
	sock->kind = kind;
	sock->owner = owner;
	sock->wanted = 0;
	sock->watched = 0;
	sock->pos = -1;
	sock->fresh = false;
	sockets[socket_count++] = sock;
}

static void
drop_set(void)
{
	WaitEventSet *old = set;

	set = NULL;
	set_latch = NULL;
	for (int i = 0; i < socket_count; i++)
		sockets[i]->pos = -1;
	if (old != NULL)
		FreeWaitEventSet(old);
}

void
pgq_socket_close(PgqSocket *sock)
{
	if (sock->fd == PGINVALID_SOCKET)
		return;
	/* its number may come back as another socket: nobody may wait on the old event */
	if (sock->pos >= 0)
		drop_set();
	closesocket(sock->fd);
	sock->fd = PGINVALID_SOCKET;
	sock->wanted = 0;
}

static void
fill_set(Latch *latch)
{
	set = pgq_create_wait_event_set(socket_count + 2);
	set_latch_pos = AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, latch, NULL);
	set_latch = latch;
	AddWaitEventToSet(set, WL_POSTMASTER_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < socket_count; i++)
	{
		PgqSocket  *sock = sockets[i];

		if (sock->fd == PGINVALID_SOCKET || sock->wanted == 0)
			continue;
		sock->pos = AddWaitEventToSet(set, sock->wanted, sock->fd, NULL, sock);
		sock->watched = sock->wanted;
	}
}

static bool
is_set_current(Latch *latch)
{
	if (set == NULL || set_latch != latch)
		return false;
	for (int i = 0; i < socket_count; i++)
		if ((sockets[i]->pos >= 0) !=
			(sockets[i]->fd != PGINVALID_SOCKET && sockets[i]->wanted != 0))
			return false;
	return true;
}

/* False when there is no set to wait on. */
static bool
update_set(Latch *latch)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool good = true;

	PG_TRY();
	{
		if (!is_set_current(latch))
		{
			drop_set();
			fill_set(latch);
		}
		else
			for (int i = 0; i < socket_count; i++)
				if (sockets[i]->pos >= 0 && sockets[i]->watched != sockets[i]->wanted)
				{
					ModifyWaitEvent(set, sockets[i]->pos, sockets[i]->wanted, NULL);
					sockets[i]->watched = sockets[i]->wanted;
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

/* A socket opened while others are dispatched is not the one that was reported. */
static void
dispatch(PgqSocket *sock, uint32 events, PgqSocketReady ready)
{
	events &= sock->wanted;
	if (sock->fd != PGINVALID_SOCKET && !sock->fresh && events != 0)
		ready(sock, events);
}

static void
begin_dispatch(void)
{
	for (int i = 0; i < socket_count; i++)
		sockets[i]->fresh = false;
}

static int
wait_without_set(Latch *latch, long timeout_ms, uint32 wait_event_info, PgqSocketReady ready)
{
	int			seen;

	pgq_log(PGQ_LOG_SOCKET,
			errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			errmsg("could not make a wait event set for the quorum port"),
			errhint("The system is out of file descriptors or memory."));
	if (timeout_ms < 0 || timeout_ms > WITHOUT_SET_MS)
		timeout_ms = WITHOUT_SET_MS;
	seen = WaitLatch(latch, WL_LATCH_SET | WL_POSTMASTER_DEATH | WL_TIMEOUT, timeout_ms,
					 wait_event_info);
	begin_dispatch();
	for (int i = 0; i < socket_count; i++)
		dispatch(sockets[i], sockets[i]->wanted, ready);
	return seen & (WL_LATCH_SET | WL_POSTMASTER_DEATH);
}

int
pgq_sockets_wait(Latch *latch, long timeout_ms, uint32 wait_event_info, PgqSocketReady ready)
{
	WaitEvent	events[MAX_READY];
	int			count;
	int			seen = 0;

	if (!update_set(latch))
		return wait_without_set(latch, timeout_ms, wait_event_info, ready);

	count = WaitEventSetWait(set, timeout_ms, events, MAX_READY, wait_event_info);

	/* before 16 a set latch hides the sockets: a busy latch must not keep peers waiting */
	if (count == 1 && (events[0].events & WL_LATCH_SET) != 0)
	{
		seen |= WL_LATCH_SET;
		ModifyWaitEvent(set, set_latch_pos, WL_LATCH_SET, NULL);
		count = WaitEventSetWait(set, 0, events, MAX_READY, wait_event_info);
		ModifyWaitEvent(set, set_latch_pos, WL_LATCH_SET, latch);
	}
	begin_dispatch();
	for (int i = 0; i < count; i++)
	{
		if (events[i].user_data == NULL)
			seen |= events[i].events & (WL_LATCH_SET | WL_POSTMASTER_DEATH);
		else
			dispatch(events[i].user_data, events[i].events, ready);
	}
	return seen;
}

void
pgq_sockets_stop(void)
{
	for (int i = 0; i < socket_count; i++)
		pgq_socket_close(sockets[i]);
	drop_set();
}
