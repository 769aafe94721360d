/*
 * transport_socket.h
 *	  Non-blocking TCP sockets of the worker, and waiting for them.
 */
#ifndef PGQ_TRANSPORT_SOCKET_H
#define PGQ_TRANSPORT_SOCKET_H

#include "postgres.h"

#include <sys/socket.h>

#include "../core/quorum_types.h"
#include "storage/latch.h"

#define PGQ_MAX_LISTENERS	4
#define PGQ_MAX_ADDRESSES	4
#define PGQ_ADDRESS_TEXT	64

typedef enum PgqSocketKind
{
	PGQ_SOCKET_LISTEN,
	PGQ_SOCKET_IN,				/* owner: PgqLink */
	PGQ_SOCKET_OUT,				/* owner: PgqPeer */
	PGQ_SOCKET_PROBE			/* owner: PgqPeer */
} PgqSocketKind;

typedef struct PgqSocket
{
	pgsocket	fd;				/* PGINVALID_SOCKET = closed */
	PgqSocketKind kind;
	void	   *owner;
	uint32		wanted;			/* WL_SOCKET_* to wait for; 0 = none now */
	uint32		watched;		/* as the wait event set has it */
	int			pos;			/* in the wait event set; -1 = not in it */
	bool		fresh;			/* opened since the last wait: no event can be about it */
} PgqSocket;

/* A host, and what its name resolves to. */
typedef struct PgqAddress
{
	char		host[QUORUM_HOST_SIZE];
	int			count;
	int			current;		/* index to try next */
	int			proven;			/* index that led to the right node last; -1 = none yet */
	uint64		resolve_at;		/* not to be resolved before */
	socklen_t	size[PGQ_MAX_ADDRESSES];
	struct sockaddr_storage at[PGQ_MAX_ADDRESSES];
} PgqAddress;

/* Make `sock` known to the wait loop, closed.  At most once per socket. */
extern void pgq_socket_init(PgqSocket *sock, PgqSocketKind kind, void *owner);
extern void pgq_socket_close(PgqSocket *sock);

/* Bind and listen on every address of host; ereport(ERROR) when none can be used. */
extern int	pgq_socket_listen(PgqSocket *socks, int max, const char *host, uint16 port);

/* 0, or an errno; EMFILE and the like mean: wait before the next attempt. */
extern int	pgq_socket_accept(PgqSocket *listener, PgqSocket *sock,
							  struct sockaddr_storage *from);

/* 0 = under way or done, else an errno. */
extern int	pgq_socket_connect(PgqSocket *sock, const PgqAddress *address, int index, uint16 port);

/* 0 = connected, EINPROGRESS = not yet, else why not. */
extern int	pgq_socket_connect_result(const PgqSocket *sock);

extern void pgq_address_set(PgqAddress *address, const char *host);

/* False when there is no address to try.  again: those we have do not work. */
extern bool pgq_address_resolve(PgqAddress *address, bool again, uint64 now);
extern void pgq_address_rotate(PgqAddress *address);
extern void pgq_address_text(const struct sockaddr_storage *from, char *text, size_t size);

/* Called for each socket that is ready. */
typedef void (*PgqSocketReady) (PgqSocket *sock, uint32 events);

/* timeout_ms -1 = none; returns WL_LATCH_SET and WL_POSTMASTER_DEATH as seen. */
extern int	pgq_sockets_wait(Latch *latch, long timeout_ms, uint32 wait_event_info,
							 PgqSocketReady ready);
extern void pgq_sockets_stop(void);

#endif							/* PGQ_TRANSPORT_SOCKET_H */
