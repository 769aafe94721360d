/*
 * fuzz_message.c
 *	  Fuzz target: messages between nodes (src/core/quorum_message.c).
 *
 * What decodes has fields within their bounds, and encodes to the bytes it came from; with
 * one byte less it is refused.
 */
#include "fuzz.h"
#include "samples.h"

#include <stdlib.h>
#include <string.h>

#include "quorum_message.h"

static void
check_fields(const QuorumMessage *message)
{
	fuzz_require(message->type >= QUORUM_MSG_STATUS && message->type <= QUORUM_MSG_NEWEST);
	fuzz_require(message->role <= QUORUM_ROLE_LEADER);
	fuzz_require(message->verdict <= QUORUM_REFUSED_NOT_READY);
	fuzz_require(message->retry_after_us >= 0);
	fuzz_require(message->sent_at >= 0);
	fuzz_require(message->lease_us >= 0);
	fuzz_require(message->resign <= QUORUM_RESIGN_HANDED_OVER);
	fuzz_require(message->gossip_count >= 0 && message->gossip_count <= QUORUM_MAX_NODES);
	for (int i = 0; i < message->gossip_count; i++)
		fuzz_require(message->gossip[i].heard_ago_us >= 0);
	fuzz_require(memchr(message->reason, '\0', sizeof(message->reason)) != NULL);
	check_set(&message->members);
}

/* Of this version every byte has a meaning, so none may be missing. */
static void
check_prefixes(const uint8_t *bytes, size_t size)
{
	static QuorumMessage message;

	for (size_t less = 1; less <= size; less *= 2)
	{
		uint8_t    *prefix = malloc(size - less + 1);

		memcpy(prefix, bytes, size - less);
		fuzz_require(!quorum_message_decode(&message, prefix, size - less));
		free(prefix);
	}
}

bool
fuzz_one(const uint8_t *bytes, size_t size)
{
	static QuorumMessage message;
	static QuorumMessage again;
	static uint8_t first[QUORUM_ENCODED_MAX];
	static uint8_t second[QUORUM_ENCODED_MAX];
	size_t		length;
	int			major;

	if (!quorum_message_decode(&message, bytes, size))
		return false;
	fuzz_require(!quorum_message_other_major(bytes, size, &major));
	if (message.type == QUORUM_MSG_UNKNOWN)
	{
		fuzz_require(bytes[1] > QUORUM_FORMAT_MINOR);
		return true;
	}
	check_fields(&message);

	length = quorum_message_encode(&message, first, sizeof(first));
	fuzz_require(quorum_message_decode(&again, first, length));
	fuzz_require(quorum_message_encode(&again, second, sizeof(second)) == length);
	fuzz_require(memcmp(first, second, length) == 0);
	if (bytes[1] == QUORUM_FORMAT_MINOR)
	{
		fuzz_require(length == size && memcmp(first, bytes, size) == 0);
		check_prefixes(bytes, size);
	}
	return true;
}

size_t
fuzz_seed(int number, uint8_t *bytes)
{
	QuorumMessage message;

	fuzz_dice((uint64_t) number);
	if (number >= 4 * QUORUM_MSG_INVITE_REPLY)
		return 0;
	sample_message(&message, (QuorumMessageType) (number % QUORUM_MSG_INVITE_REPLY + 1),
				   number < QUORUM_MSG_INVITE_REPLY);
	return quorum_message_encode(&message, bytes, FUZZ_INPUT_MAX);
}

size_t
fuzz_refused(int number, uint8_t *bytes)
{
	(void) number;
	(void) bytes;
	return 0;
}
