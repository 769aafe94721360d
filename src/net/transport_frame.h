/*
 * transport_frame.h
 *	  The bytes of the quorum port: handshake messages, frames, and their MACs.
 *
 * Integers are little-endian.  After the acceptor's Challenge and the dialler's
 * Hello, the acceptor answers with a Welcome; from then on the dialler sends frames:
 *
 *	  Challenge  magic[8] version u8, nonce[32]
 *	  Hello		 magic[8] version u8, flags u8 (1 member, 2 invite), target u32, identity,
 *				 nonce[32], mac[32]
 *	  Welcome	 magic[8] version u8, flags u8 (1 member), verdict u8, identity, mac[32]
 *	  identity	 cluster_id[16] system_identifier u64, node_id u32, uuid[16], boot_nonce u64
 *	  frame		 length u32 (of all that follows), version u8, type u8, counter u64,
 *				 payload, mac[32]
 *
 * Every mac is HMAC-SHA256.  Hello and Welcome: keyed by the secret, over a label, the
 * acceptor's nonce, the dialler's nonce and all bytes before the mac.  Frames: keyed by
 * HMAC(secret, label, both nonces, dialler's id, target id), over all bytes before the mac.
 */
#ifndef PGQ_TRANSPORT_FRAME_H
#define PGQ_TRANSPORT_FRAME_H

#include "../core/quorum_message.h"
#include "transport.h"

#define PGQ_WIRE_VERSION	1

#define PGQ_MAC_SIZE		32
#define PGQ_NONCE_SIZE		32
#define PGQ_MAGIC_SIZE		8
#define PGQ_IDENTITY_SIZE	(2 * QUORUM_UUID_SIZE + 8 + 4 + 8)

#define PGQ_CHALLENGE_SIZE	(PGQ_MAGIC_SIZE + 1 + PGQ_NONCE_SIZE)
#define PGQ_HELLO_SIZE		(PGQ_MAGIC_SIZE + 2 + 4 + PGQ_IDENTITY_SIZE + \
							 PGQ_NONCE_SIZE + PGQ_MAC_SIZE)
#define PGQ_WELCOME_SIZE	(PGQ_MAGIC_SIZE + 3 + PGQ_IDENTITY_SIZE + PGQ_MAC_SIZE)

#define PGQ_FRAME_HEADER	(4 + 1 + 1 + 8)
#define PGQ_FRAME_MIN		(PGQ_FRAME_HEADER + PGQ_MAC_SIZE)
#define PGQ_FRAME_MAX		(PGQ_FRAME_MIN + QUORUM_ENCODED_MAX)
#define PGQ_FRAME_MESSAGE	1	/* the only type of frame so far */

#define PGQ_SECRET_MIN		16
#define PGQ_SECRET_MAX		1024
#define PGQ_SECRETS			2

typedef struct PgqSecrets
{
	int			count;			/* 1 or 2; item[0] is used for what we send */
	struct
	{
		size_t		size;
		uint8		bytes[PGQ_SECRET_MAX];
	}			item[PGQ_SECRETS];
} PgqSecrets;

/* Both nonces of a connection. */
typedef struct PgqNonces
{
	uint8		acceptor[PGQ_NONCE_SIZE];
	uint8		dialler[PGQ_NONCE_SIZE];
} PgqNonces;

/* What an acceptor thinks of a Hello. */
typedef enum PgqVerdict
{
	PGQ_VERDICT_ACCEPTED = 0,
	PGQ_VERDICT_OTHER_CLUSTER,
	PGQ_VERDICT_OTHER_SYSTEM,
	PGQ_VERDICT_OTHER_INCARNATION,	/* same node id, other uuid than in the member set */
	PGQ_VERDICT_OTHER_NODE,		/* not the node the dialler looked for */
	PGQ_VERDICT_SAME_NODE,		/* dialler claims the acceptor's own id */
	PGQ_VERDICT_NO_MEMBER,		/* dialler is neither a member nor invited */
	PGQ_VERDICT_OBSOLETE		/* an earlier incarnation than the one already heard */
} PgqVerdict;

typedef struct PgqHello
{
	bool		invite;			/* dialler expects to find a server that shall join */
	QuorumNodeId target;		/* node the dialler wants to reach */
	PgqIdentity who;
} PgqHello;

typedef struct PgqWelcome
{
	PgqVerdict	verdict;
	PgqIdentity who;
} PgqWelcome;

typedef enum PgqFrameCheck
{
	PGQ_FRAME_GOOD,
	PGQ_FRAME_FORGED,			/* MAC or counter */
	PGQ_FRAME_GARBAGE			/* version or type */
} PgqFrameCheck;

/* One context for all MACs of this process. */
extern bool pgq_frame_start(PgqReport *why);
extern void pgq_frame_stop(void);

/* False and a report with a hint when the file cannot be used. */
extern bool pgq_secrets_load(const char *path, PgqSecrets *secrets, PgqReport *why);

/* Writers return false when no MAC could be made; readers look at the form only. */
extern void pgq_challenge_write(uint8 *bytes, const PgqNonces *nonces);
extern bool pgq_challenge_read(const uint8 *bytes, PgqNonces *nonces);

extern bool pgq_hello_write(uint8 *bytes, const PgqHello *hello, const PgqNonces *nonces,
							const PgqSecrets *secrets);
extern bool pgq_hello_read(const uint8 *bytes, PgqHello *hello, PgqNonces *nonces);

/* Index of the secret the Hello was made with; -1 = none of them. */
extern int	pgq_hello_verify(const uint8 *bytes, const PgqNonces *nonces,
							 const PgqSecrets *secrets);

extern bool pgq_welcome_write(uint8 *bytes, const PgqWelcome *welcome, const PgqNonces *nonces,
							  const PgqSecrets *secrets, int secret);
extern bool pgq_welcome_read(const uint8 *bytes, PgqWelcome *welcome);
extern bool pgq_welcome_verify(const uint8 *bytes, const PgqNonces *nonces,
							   const PgqSecrets *secrets, int secret);

extern bool pgq_session_key(uint8 *key, const PgqNonces *nonces, QuorumNodeId dialler,
							QuorumNodeId target, const PgqSecrets *secrets, int secret);

/*
 * What a member proves when it asks a leader for its log: which incarnation of which node
 * asks which incarnation of which other one, and for which time.
 */
typedef struct PgqStreamClaim
{
	uint64		system_identifier;
	QuorumNodeId from;
	QuorumNodeId to;
	uint64		from_boot;
	uint64		to_boot;
	uint64		count;			/* proofs made by this incarnation of the node, this one included */
} PgqStreamClaim;

extern bool pgq_stream_mac(uint8 *mac, const PgqStreamClaim *claim, const PgqSecrets *secrets,
						   int secret);

/* Was mac made with one of the secrets? */
extern bool pgq_stream_verify(const uint8 *mac, const PgqStreamClaim *claim,
							  const PgqSecrets *secrets);

/* Whole size of the frame that starts with these four bytes; 0 = no frame does. */
extern size_t pgq_frame_size(const uint8 *bytes);

/*
 * Turn the payload that stands at bytes + PGQ_FRAME_HEADER into a frame; returns its
 * size, 0 when no MAC could be made.
 */
extern size_t pgq_frame_seal(uint8 *bytes, size_t payload_size, uint64 counter,
							 const uint8 *key);
extern PgqFrameCheck pgq_frame_check(const uint8 *bytes, size_t size, uint64 counter,
									 const uint8 *key);

#endif							/* PGQ_TRANSPORT_FRAME_H */
