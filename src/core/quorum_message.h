/*
 * quorum_message.h
 *	  Messages and hard state as bytes: versioned, field by field, bounds checked.
 *
 * Integers are little-endian.  A decoder accepts any byte string and either fills
 * the whole struct or returns false; it never reads past `size`.
 */
#ifndef QUORUM_MESSAGE_H
#define QUORUM_MESSAGE_H

#include "quorum_types.h"

#define QUORUM_WIRE_VERSION		1
#define QUORUM_STATE_VERSION	1

/* No encoding is longer than this. */
#define QUORUM_ENCODED_MAX		8192

/* Return the number of bytes written; size must be at least QUORUM_ENCODED_MAX. */
extern size_t quorum_message_encode(const QuorumMessage *message, uint8_t *bytes, size_t size);
extern bool quorum_message_decode(QuorumMessage *message, const uint8_t *bytes, size_t size);

extern size_t quorum_hard_state_encode(const QuorumHardState *hard, uint8_t *bytes, size_t size);
extern bool quorum_hard_state_decode(QuorumHardState *hard, const uint8_t *bytes, size_t size);

#endif							/* QUORUM_MESSAGE_H */
