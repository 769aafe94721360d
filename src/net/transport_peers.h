/*
 * transport_peers.h
 *	  What the transport knows: itself, its peers, its connections.
 */
#ifndef PGQ_TRANSPORT_PEERS_H
#define PGQ_TRANSPORT_PEERS_H

#include "transport_link.h"

#define PGQ_MAX_INCOMING		64
#define PGQ_MAX_STRANGERS		16	/* incoming connections without a Hello yet */
#define PGQ_OUT_BUFFER			(64 * 1024)
#define PGQ_MAX_BOOTS			32

#define PGQ_CONNECT_US			(1000 * 1000)
#define PGQ_HANDSHAKE_US		(2 * 1000 * 1000)
#define PGQ_STALL_US			(5 * 1000 * 1000)
#define PGQ_PROBE_US			(1000 * 1000)
#define PGQ_BACKOFF_MIN_US		(20 * 1000)
#define PGQ_BACKOFF_MAX_US		(1000 * 1000)
#define PGQ_COMPLAIN_US			(3 * 1000 * 1000)
#define PGQ_ACCEPT_PAUSE_US		(100 * 1000)

typedef enum PgqProbeOutcome
{
	PGQ_PROBE_IDLE,
	PGQ_PROBE_WAITING,
	PGQ_PROBE_REFUSED,
	PGQ_PROBE_NO_PROOF
} PgqProbeOutcome;

/* Fresh connections to both ports of a peer. */
typedef struct PgqProbe
{
	PgqSocket	sock[2];		/* quorum port, PostgreSQL's port */
	PgqProbeOutcome outcome[2]; /* both IDLE: no probe under way */
	uint64		deadline;
} PgqProbe;

typedef struct PgqPeer
{
	QuorumMember member;		/* id 0 = free slot */
	PgqAddress	address;
	PgqLink		link;			/* ours to it */
	uint64		dial_at;		/* when link is closed: not before */
	uint64		backoff;		/* before the next attempt but one */
	uint64		failing_since;	/* 0 = not failing */
	bool		complained;		/* in the log, about this failure */
	PgqProbe	probe;
} PgqPeer;

/* Boot nonces seen, so that a restart is noticed. */
typedef struct PgqBoot
{
	QuorumNodeId id;			/* 0 = free */
	uint64		nonce;
	uint64		previous;		/* 0 = none */
	uint64		seen_at;
	uint64		changed_at;
} PgqBoot;

typedef struct PgqTransport
{
	bool		started;
	bool		called;			/* a handler was called: the caller's deadline may be old */
	PgqIdentity identity;
	QuorumNodeId declined;		/* the id of an invitation that was not for this member */
	PgqTransportHandler handler;
	PgqSecrets	secrets;
	PgqSocket	listener[PGQ_MAX_LISTENERS];
	int			listener_count;
	uint64		accept_at;		/* 0 = accepting */
	PgqLink		in[PGQ_MAX_INCOMING];
	PgqPeer		peers[QUORUM_MAX_NODES];
	QuorumNodeId next_node_id;	/* of the member set: lower ids that it lacks have left */
	PgqBoot		boots[PGQ_MAX_BOOTS];
} PgqTransport;

extern PgqTransport *pgq_transport;

extern PgqPeer *pgq_peer_find(QuorumNodeId id);
extern void pgq_peers_update(const QuorumMemberSet *members, uint64 now);
extern bool pgq_is_zero_uuid(const uint8 *uuid);
extern bool pgq_is_invited_again(const PgqHello *hello);
extern bool pgq_is_invitation(const PgqLink *link);
extern PgqVerdict pgq_judge_hello(const PgqIdentity *who, QuorumNodeId target);
extern PgqVerdict pgq_judge_welcome(const PgqPeer *peer, const PgqIdentity *who);
extern const char *pgq_verdict_text(PgqVerdict verdict);
extern bool pgq_boot_is_obsolete(QuorumNodeId id, uint64 nonce, uint64 now);
extern bool pgq_boot_note(QuorumNodeId id, uint64 nonce, uint64 now);	/* true = restarted */

#endif							/* PGQ_TRANSPORT_PEERS_H */
