/*
 * transport_socket.h
 *	  Non-blocking TCP sockets, and waiting for them.
 */
#ifndef PGQ_TRANSPORT_SOCKET_H
#define PGQ_TRANSPORT_SOCKET_H

#include "host.h"

#include <sys/socket.h>

#define PGQ_MAX_LISTENERS	4
#define PGQ_MAX_ADDRESSES	4
#define PGQ_ADDRESS_TEXT	64

/* What a socket is waited for, and what it is ready for. */
#define PGQ_READABLE		1
#define PGQ_WRITABLE		2	/* or connected, or not: pgq_socket_connect_result() tells */

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
	uint32		wanted;			/* PGQ_READABLE | PGQ_WRITABLE; 0 = nothing now */
	uint32		watched;		/* the host's, for its wait: what it waits for now */
	int			pos;			/* the host's: where it has it; -1 = nowhere */
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
	struct PgqLookup *lookup;	/* under way; NULL = none */
	uint64		asked_at;		/* when it began */
	socklen_t	size[PGQ_MAX_ADDRESSES];
	struct sockaddr_storage at[PGQ_MAX_ADDRESSES];
} PgqAddress;

/* Make `sock` known to the wait loop, closed.  At most once per socket. */
extern void pgq_socket_init(PgqSocket *sock, PgqSocketKind kind, void *owner);
extern void pgq_socket_close(PgqSocket *sock);

/* Bind and listen on every address of host; how many, 0 and a report when none can be used. */
extern int	pgq_socket_listen(PgqSocket *socks, int max, const char *host, uint16 port,
							  PgqReport *why);

/* 0, or an errno; EMFILE and the like mean: wait before the next attempt. */
extern int	pgq_socket_accept(PgqSocket *listener, PgqSocket *sock,
							  struct sockaddr_storage *from);

/* 0 = under way or done, else an errno. */
extern int	pgq_socket_connect(PgqSocket *sock, const PgqAddress *address, int index, uint16 port);

/* 0 = connected, EINPROGRESS = not yet, else why not. */
extern int	pgq_socket_connect_result(const PgqSocket *sock);

/* address: all zero, or set before. */
extern void pgq_address_set(PgqAddress *address, const char *host);

/* False when there is no address to try yet.  again: those we have do not work. */
extern bool pgq_address_resolve(PgqAddress *address, bool again, uint64 now);
extern void pgq_address_rotate(PgqAddress *address);
extern void pgq_address_text(const struct sockaddr_storage *from, char *text, size_t size);

/* Called for each socket that is ready. */
typedef void (*PgqSocketReady) (PgqSocket *sock, uint32 events);

/* Close all, without forgetting any. */
extern void pgq_sockets_stop(void);

/* Before and after ready sockets are handed on: one that was opened meanwhile is not meant. */
extern void pgq_socket_begin_dispatch(void);
extern void pgq_socket_dispatch(PgqSocket *sock, uint32 events, PgqSocketReady ready);

#define PGQ_MAX_SOCKETS		256

extern PgqSocket *pgq_sockets[PGQ_MAX_SOCKETS];
extern int	pgq_socket_count;

/* ---- the host's part: src/pg/host_wait.c, src/witness/wait.c -------------------------- */

/* timeout_ms -1 = none; returns PGQ_WAIT_* bits as seen. */
extern int	pgq_host_wait(long timeout_ms, PgqSocketReady ready);

/* The descriptor of this socket is about to be closed. */
extern void pgq_host_wait_forget(PgqSocket *sock);
extern void pgq_host_wait_stop(void);

#endif							/* PGQ_TRANSPORT_SOCKET_H */
