/*
 * transport_link.h
 *	  One connection: a socket, its buffers, and how far its handshake is.
 */
#ifndef PGQ_TRANSPORT_LINK_H
#define PGQ_TRANSPORT_LINK_H

#include "transport_frame.h"
#include "transport_socket.h"

typedef enum PgqLinkPhase
{
	PGQ_LINK_CLOSED,
	PGQ_LINK_CONNECTING,		/* out: connect is under way */
	PGQ_LINK_CHALLENGE,			/* out: waits for the Challenge */
	PGQ_LINK_WELCOME,			/* out: Hello sent, waits for the Welcome */
	PGQ_LINK_HELLO,				/* in: Challenge sent, waits for the Hello */
	PGQ_LINK_UP					/* both ends have proved that they know the secret */
} PgqLinkPhase;

typedef struct PgqLink
{
	PgqSocket	sock;
	PgqLinkPhase phase;
	bool		broken;			/* cannot be used any more, to be closed by the loop */
	uint64		opened_at;
	uint64		deadline;		/* of the handshake */
	uint64		written_at;		/* last time something could be written, or nothing had to be */
	struct sockaddr_storage from;	/* in: address of the dialler */

	/* the other end, as it proved to be */
	PgqIdentity who;
	QuorumNodeId target;		/* node id the dialler looks for */

	int			secret;			/* index of the secret in use */
	PgqNonces	nonces;
	uint8		key[PGQ_MAC_SIZE];
	uint64		counter;		/* of the last frame */

	uint8	   *in;
	size_t		in_capacity;
	size_t		in_size;
	uint8	   *out;			/* bytes out_start .. out_end wait to be written */
	size_t		out_capacity;
	size_t		out_start;
	size_t		out_end;
} PgqLink;

/* Buffers are made once, for the life of the process. */
extern void pgq_link_init(PgqLink *link, PgqSocketKind kind, void *owner,
						  size_t in_capacity, size_t out_capacity);

/* link->sock has just been opened. */
extern void pgq_link_open(PgqLink *link, PgqLinkPhase phase, uint64 now, uint64 deadline);
extern void pgq_link_close(PgqLink *link);

/* Read once; false at the end of the stream or on an error. */
extern bool pgq_link_fill(PgqLink *link);
extern void pgq_link_consume(PgqLink *link, size_t size);

/* Room for `size` more bytes to be sent; NULL when the buffer is full. */
extern uint8 *pgq_link_reserve(PgqLink *link, size_t size);

/* Send what was written to the reserved room, as far as the socket takes it. */
extern void pgq_link_commit(PgqLink *link, size_t size, uint64 now);
extern void pgq_link_write(PgqLink *link, uint64 now);

#endif							/* PGQ_TRANSPORT_LINK_H */
