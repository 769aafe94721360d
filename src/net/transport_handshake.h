/*
 * transport_handshake.h
 *	  Proof of the secret in both directions, before the first frame.
 *
 * Each function finds one whole message in link->in; false = close the link.
 */
#ifndef PGQ_TRANSPORT_HANDSHAKE_H
#define PGQ_TRANSPORT_HANDSHAKE_H

#include "transport_peers.h"

extern bool pgq_send_challenge(PgqLink *link, uint64 now);
extern bool pgq_answer_challenge(PgqPeer *peer, uint64 now);
extern bool pgq_answer_hello(PgqLink *link, uint64 now);
extern bool pgq_take_welcome(PgqPeer *peer, uint64 now, const char **why);

#endif							/* PGQ_TRANSPORT_HANDSHAKE_H */
