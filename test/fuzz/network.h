/*
 * network.h
 *	  The network under fuzz_transport.c: connections that nobody else is at the end of.
 */
#ifndef FUZZ_NETWORK_H
#define FUZZ_NETWORK_H

#include "transport_peers.h"

#define CHANNELS		4		/* 0 .. 2 come in, 3 is ours to node 2 */
#define OURS			3
#define BYTES_MAX		65536

typedef struct Channel
{
	PgqLink    *link;
	int			fd;				/* of the connection we made; the link may have another one */
	bool		proved;			/* the right secret was said on it */
	bool		ended;
	QuorumNodeId id;			/* who says so */
	uint8		key[PGQ_MAC_SIZE];
	uint64		counter;
	int			good_frames;	/* sealed as they have to be, not yet delivered */
	uint8		bytes[BYTES_MAX];
	size_t		start;
	size_t		end;
} Channel;

/* And what they have in common. */
typedef struct Network
{
	uint64		clock_us;
	uint64		random_count;
	size_t		piece;			/* most bytes of one recv() */
	size_t		room;			/* what peers still read of us */
	PgqLink    *dispatched;		/* whose socket is being served */
	Channel		channels[CHANNELS];
} Network;

extern Network network;

extern Channel *network_channel_of(int fd);

/* Has anybody said what has not been read, on a connection that is still there? */
extern bool network_is_waiting(void);

/* What a channel says; what does not fit is lost. */
extern void network_say(Channel *channel, const void *bytes, size_t size);

#endif							/* FUZZ_NETWORK_H */
