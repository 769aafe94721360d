/*
 * quorum_message.h
 *	  Messages and hard state as bytes: versioned, field by field, bounds checked.
 *
 * Integers are little-endian.  A decoder accepts any byte string and either fills
 * the whole struct or returns false; it never reads past `size`.
 *
 * Both begin with two bytes, major and minor version.  Nodes of one major version work
 * together: a later minor version only appends fields (to a message, a state, a member set,
 * a member, an entry of gossip), message types and reasons to refuse a vote.  An earlier one
 * skips what it does not know, and does not keep it: what a minor version adds to a member
 * set or a state may get lost wherever an earlier one writes it.  A change that cannot bear
 * that, or that moves, widens or reinterprets what is there, makes a new major version.
 */
#ifndef QUORUM_MESSAGE_H
#define QUORUM_MESSAGE_H

#include "quorum_types.h"

#define QUORUM_FORMAT_MAJOR		3

/* The tests of an upgrade build what could come next: see NEXT_MINOR_FIELD. */
#ifdef QUORUM_NEXT_MINOR
#define QUORUM_FORMAT_MINOR		1
#define QUORUM_MSG_NEWEST		12
#else
#define QUORUM_FORMAT_MINOR		0
#define QUORUM_MSG_NEWEST		QUORUM_MSG_INVITE_REPLY
#endif

/* A type that only a later minor version knows. */
#define QUORUM_MSG_UNKNOWN		((QuorumMessageType) 0)

/* No encoding is longer than this. */
#define QUORUM_ENCODED_MAX		8192

/* Return the number of bytes written; size must be at least QUORUM_ENCODED_MAX. */
extern size_t quorum_message_encode(const QuorumMessage *message, uint8_t *bytes, size_t size);

/*
 * A message of a type that only a later minor version knows is valid: QUORUM_MSG_UNKNOWN,
 * with from and to and nothing else.  It is to be ignored.
 */
extern bool quorum_message_decode(QuorumMessage *message, const uint8_t *bytes, size_t size);

/* Why it cannot be decoded: the sender is of another major version. */
extern bool quorum_message_other_major(const uint8_t *bytes, size_t size, int *major);

extern size_t quorum_hard_state_encode(const QuorumHardState *hard, uint8_t *bytes, size_t size);
extern bool quorum_hard_state_decode(QuorumHardState *hard, const uint8_t *bytes, size_t size);

#endif							/* QUORUM_MESSAGE_H */
