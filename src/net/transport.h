/*
 * transport.h
 *	  Authenticated frames between the nodes of a cluster, over the quorum port.
 *
 * One connection from this node to each peer, for what this node says; what the
 * peer says comes in on the connection it made.  Nothing here ever blocks, and
 * nothing here knows what a message means.
 */
#ifndef PGQ_TRANSPORT_H
#define PGQ_TRANSPORT_H

#include "host.h"

/* What happens on the wire, in the order it happens.  Called from pgq_transport_wait. */
typedef struct PgqTransportHandler
{
	void		(*message) (const QuorumMessage *message);
	void		(*connected) (QuorumNodeId peer);	/* our connection to peer is authenticated */
	void		(*lost) (QuorumNodeId peer);	/* a connection from or to peer broke */
	void		(*incarnation) (QuorumNodeId peer, uint64 boot_nonce);	/* that answers now */
	void		(*restarted) (QuorumNodeId peer);	/* peer said hello with another boot nonce */
	void		(*dead) (QuorumNodeId peer);	/* outcome of a probe: both ports refused */
	void		(*disowned) (QuorumNodeId peer);	/* peer says that this node has left */
} PgqTransportHandler;

typedef struct PgqIdentity
{
	bool		member;			/* false: only INVITE is accepted and nobody is dialled */
	QuorumNodeId node_id;
	uint8		cluster_id[QUORUM_UUID_SIZE];
	uint8		uuid[QUORUM_UUID_SIZE];
	uint64		system_identifier;
	uint64		boot_nonce;
} PgqIdentity;

/* A member's, but for the boot nonce, which is of the program. */
extern void pgq_identity_set(PgqIdentity *identity, const QuorumHardState *hard);

/*
 * Listen and get ready.  False and a report when the secret file cannot be used or
 * the address cannot be bound.  secret: up to two accepted secrets, the first is used
 * for what we send.
 */
extern bool pgq_transport_start(const PgqIdentity *identity, const char *host, uint16 port,
								const char *secret_file, const PgqTransportHandler *handler,
								PgqReport *why);

/* Read the secrets anew, for connections that are made from now on; false: the old ones stay. */
extern bool pgq_transport_reload_secret(const char *secret_file, PgqReport *why);

struct PgqSecrets;
extern const struct PgqSecrets *pgq_transport_secrets(void);

/* Identity or member set changed: dial the new ones, drop those that are gone. */
extern void pgq_transport_set_members(const PgqIdentity *identity, const QuorumMemberSet *members);

/* Queue a message for message->to.  Dropped when there is no connection or the peer is slow. */
extern void pgq_transport_send(const QuorumMessage *message);

/*
 * This member is not the node that was invited under this id: whoever looks for that one here
 * is told so from now on.
 */
extern void pgq_transport_decline(QuorumNodeId invited);

/* Write out what is queued as far as the sockets take it, now (used before exit). */
extern void pgq_transport_flush(void);

/* What the host of a peer resolves to, "address,address"; how many, 0 = not known. */
extern int	pgq_transport_addresses(QuorumNodeId peer, char *text, size_t size);

/* Try both ports of a peer with fresh connections; dead() is called if both refuse. */
extern void pgq_transport_probe(QuorumNodeId peer);

#define PGQ_WAIT_WOKEN		1	/* by the latch of the worker, or a signal */
#define PGQ_WAIT_ORPHANED	2	/* the postmaster is gone */

/*
 * Wait until a socket, whoever wakes this process, or the deadline (mono clock, as
 * pgq_now_mono; PG_INT64_MAX = none) and handle what came in on sockets.  Returns
 * PGQ_WAIT_* bits as seen.
 */
extern int	pgq_transport_wait(QuorumTime deadline);

extern void pgq_transport_stop(void);

#endif							/* PGQ_TRANSPORT_H */
