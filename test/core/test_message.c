/*
 * test_message.c
 *	  Messages and hard state survive encoding; no bytes from outside do harm.
 */
#include "harness.h"

#include <stdlib.h>

#include "quorum_random.h"

/* next_version.c */
extern size_t next_message_encode(const QuorumMessage *message, uint8_t *bytes, size_t size);
extern bool next_message_decode(QuorumMessage *message, const uint8_t *bytes, size_t size);
extern size_t next_hard_state_encode(const QuorumHardState *hard, uint8_t *bytes, size_t size);
extern bool next_hard_state_decode(QuorumHardState *hard, const uint8_t *bytes, size_t size);

#define NEXT_TYPE	((QuorumMessageType) 12)

/* Where the minor version and the type stand. */
#define MINOR_AT	1
#define TYPE_AT		2

static QuorumRandom dice;

static uint64_t
some(int64_t low, int64_t high)
{
	return (uint64_t) quorum_random_between(&dice, low, high);
}

static void
fill_set(QuorumMemberSet *set)
{
	set->id = (QuorumSetId) {(QuorumTerm) some(0, UINT32_MAX), (uint32_t) some(0, UINT32_MAX)};
	set->next_node_id = (QuorumNodeId) some(1, 99);
	set->paused_until = (QuorumTime) some(0, INT64_MAX);
	set->count = (int) some(0, QUORUM_MAX_NODES);
	for (int i = 0; i < set->count; i++)
	{
		QuorumMember *member = &set->members[i];

		member->id = (QuorumNodeId) i + 1;
		member->kind = (QuorumMemberKind) some(QUORUM_VOTER, QUORUM_LEARNER);
		member->becomes = (QuorumMemberKind) some(0, QUORUM_WITNESS);
		member->left_out = some(0, 1) == 1;
		member->quorum_port = (uint16_t) some(0, UINT16_MAX);
		member->pg_port = (uint16_t) some(0, UINT16_MAX);
		member->uuid[some(0, 15)] = (uint8_t) some(0, 255);
		memset(member->name, 'n', some(0, QUORUM_NAME_SIZE - 1));
		memset(member->host, 'h', some(0, QUORUM_HOST_SIZE - 1));
	}
}

static void
fill_body(QuorumMessage *message)
{
	switch (message->type)
	{
		case QUORUM_MSG_PRE_VOTE_REPLY:
		case QUORUM_MSG_VOTE_REPLY:
			message->verdict = (QuorumVerdict) some(QUORUM_GRANTED, QUORUM_REFUSED_NOT_READY);
			message->retry_after_us = (QuorumTime) some(0, INT64_MAX);
			/* FALLTHROUGH */
		case QUORUM_MSG_PRE_VOTE_REQUEST:
			message->proposed_term = (QuorumTerm) some(0, UINT32_MAX);
			break;
		case QUORUM_MSG_HEARTBEAT:
			message->sent_at = (QuorumTime) some(0, INT64_MAX);
			message->lease_us = (QuorumTime) some(0, INT64_MAX);
			message->gate_open = some(0, 1) == 1;
			message->rewind_granted = some(0, 1) == 1;
			message->quorum_lsn = quorum_random_next(&dice);
			message->gossip_count = (int) some(0, QUORUM_MAX_NODES);
			for (int i = 0; i < message->gossip_count; i++)
				message->gossip[i] = (QuorumGossip) {(QuorumNodeId) some(0, 99),
					(uint8_t) some(0, 255), {(QuorumTerm) some(0, 99), some(0, INT64_MAX)},
				some(0, INT64_MAX), some(0, 1) == 1, (QuorumTime) some(0, INT64_MAX)};
			break;
		case QUORUM_MSG_HEARTBEAT_ACK:
		case QUORUM_MSG_STATUS:
			message->sent_at = (QuorumTime) some(0, INT64_MAX);
			message->lease_us = (QuorumTime) some(0, INT64_MAX);
			message->stream_term = (QuorumTerm) some(0, UINT32_MAX);
			message->stream_flush = quorum_random_next(&dice);
			message->replay_lsn = quorum_random_next(&dice);
			message->priority = (uint8_t) some(0, 255);
			message->pg_port = (uint16_t) some(0, UINT16_MAX);
			message->recovering = some(0, 1) == 1;
			message->diverged = some(0, 1) == 1;
			message->space_low = some(0, 1) == 1;
			message->asks = some(0, 1) == 1;
			break;
		case QUORUM_MSG_RESIGN:
			message->resign = (QuorumResignReason) some(QUORUM_RESIGN_POSTMASTER_DIED,
														QUORUM_RESIGN_LATER_TERM);
			message->node_id = (QuorumNodeId) some(0, 99);
			break;
		case QUORUM_MSG_INVITE:
			message->cluster_id[3] = 7;
			message->system_identifier = quorum_random_next(&dice);
			message->node_id = (QuorumNodeId) some(1, 99);
			/* FALLTHROUGH */
		case QUORUM_MSG_MEMBERS:
			fill_set(&message->members);
			break;
		case QUORUM_MSG_INVITE_REPLY:
			message->accepted = some(0, 1) == 1;
			message->pg_port = (uint16_t) some(0, UINT16_MAX);
			message->uuid[15] = (uint8_t) some(0, 255);
			memset(message->reason, 'r', some(0, QUORUM_REASON_SIZE - 1));
			break;
		case QUORUM_MSG_VOTE_REQUEST:
			break;
	}
}

static void
fill(QuorumMessage *message, int type)
{
	memset(message, 0, sizeof(*message));
	message->type = (QuorumMessageType) type;
	message->from = (QuorumNodeId) some(0, UINT32_MAX);
	message->to = (QuorumNodeId) some(0, UINT32_MAX);
	message->term = (QuorumTerm) some(0, UINT32_MAX);
	message->role = (QuorumRole) some(QUORUM_ROLE_FOLLOWER, QUORUM_ROLE_LEADER);
	message->set_id = (QuorumSetId) {(QuorumTerm) some(0, 99), (uint32_t) some(0, 99)};
	message->position = (QuorumWalPos) {(QuorumTerm) some(0, 99), quorum_random_next(&dice)};
	fill_body(message);
}

/* The input lies at the very end of its memory, so that reading past it shows under ASan. */
static bool
decode_exact(QuorumMessage *message, const uint8_t *bytes, size_t size)
{
	uint8_t    *copy = malloc(size + 1);
	bool		good;

	memcpy(copy, bytes, size);
	copy = realloc(copy, size > 0 ? size : 1);
	good = quorum_message_decode(message, copy, size);
	free(copy);
	return good;
}

static void
try_type(int type)
{
	static QuorumMessage message;
	static QuorumMessage back;
	uint8_t		bytes[QUORUM_ENCODED_MAX];
	uint8_t		again[QUORUM_ENCODED_MAX];
	bool		round_trip = true;
	bool		truncated = true;
	bool		longer = true;
	bool		flipped = true;
	char		claim[80];

	for (int i = 0; i < 50; i++)
	{
		size_t		size;

		fill(&message, type);
		size = quorum_message_encode(&message, bytes, sizeof(bytes));
		round_trip = round_trip && decode_exact(&back, bytes, size) &&
			memcmp(&message, &back, sizeof(message)) == 0;
		for (size_t cut = 0; cut < size && i < 5; cut++)
			truncated = truncated && !decode_exact(&back, bytes, cut);
		bytes[size] = 0;
		longer = longer && !decode_exact(&back, bytes, size + 1);

		/* A flipped bit gives another message or none; what is accepted encodes again. */
		for (size_t bit = 0; bit < 8 * size && i < 5; bit++)
		{
			bytes[bit / 8] ^= (uint8_t) (1 << (bit % 8));
			if (decode_exact(&back, bytes, size))
			{
				size_t		length = quorum_message_encode(&back, again, sizeof(again));

				again[MINOR_AT] = bytes[MINOR_AT];
				flipped = flipped && length == size && memcmp(bytes, again, size) == 0;
			}
			bytes[bit / 8] ^= (uint8_t) (1 << (bit % 8));
		}
	}
	snprintf(claim, sizeof(claim), "type %d comes back as it was sent", type);
	test_claim(round_trip, claim);
	snprintf(claim, sizeof(claim), "type %d cut off at any byte is refused", type);
	test_claim(truncated, claim);
	snprintf(claim, sizeof(claim), "type %d with a byte too many is refused", type);
	test_claim(longer, claim);
	snprintf(claim, sizeof(claim), "type %d with a flipped bit is refused or is what it says",
			 type);
	test_claim(flipped, claim);
}

static bool
garbage_does_no_harm(void)
{
	static QuorumMessage message;
	uint8_t		bytes[600];

	for (int i = 0; i < 20000; i++)
	{
		size_t		size = some(0, sizeof(bytes));

		for (size_t b = 0; b < size; b++)
			bytes[b] = (uint8_t) quorum_random_next(&dice);
		if (size > TYPE_AT)
		{
			bytes[0] = QUORUM_FORMAT_MAJOR;
			bytes[MINOR_AT] = (uint8_t) some(0, 2);
			bytes[TYPE_AT] = (uint8_t) some(0, 13);
		}
		(void) decode_exact(&message, bytes, size);
	}
	return true;
}

/* Any bytes that claim to be of a later version: lengths of blocks lie in all ways. */
static bool
lies_do_no_harm(void)
{
	static QuorumMessage message;
	static QuorumMessage back;
	uint8_t		bytes[QUORUM_ENCODED_MAX];
	bool		bounded = true;

	for (int i = 0; i < 20000; i++)
	{
		size_t		size;

		fill(&message, (int) some(QUORUM_MSG_STATUS, QUORUM_MSG_INVITE_REPLY));
		size = next_message_encode(&message, bytes, sizeof(bytes));
		for (int hits = (int) some(1, 4); hits > 0; hits--)
			bytes[some(MINOR_AT, (int64_t) size - 1)] = (uint8_t) some(0, 255);
		if (!decode_exact(&back, bytes, size - some(0, 3)))
			continue;
		bounded = bounded && back.members.count <= QUORUM_MAX_NODES &&
			back.gossip_count <= QUORUM_MAX_NODES && back.type <= QUORUM_MSG_INVITE_REPLY &&
			memchr(back.reason, 0, sizeof(back.reason)) != NULL;
		for (int m = 0; m < back.members.count; m++)
			bounded = bounded && back.members.members[m].id != QUORUM_NO_NODE &&
				memchr(back.members.members[m].name, 0, QUORUM_NAME_SIZE) != NULL &&
				memchr(back.members.members[m].host, 0, QUORUM_HOST_SIZE) != NULL;
	}
	return bounded;
}

static void
fill_hard_state(QuorumHardState *hard)
{
	memset(hard, 0, sizeof(*hard));
	hard->cluster_id[0] = (uint8_t) some(0, 255);
	hard->system_identifier = quorum_random_next(&dice);
	hard->node_id = (QuorumNodeId) some(1, 99);
	hard->term = (QuorumTerm) some(0, UINT32_MAX);
	hard->vote = (QuorumNodeId) some(0, 99);
	hard->recovering = some(0, 1) == 1;
	hard->promise_us = (QuorumTime) some(0, INT64_MAX);
	hard->ack_floor = (QuorumWalPos) {(QuorumTerm) some(0, 99), quorum_random_next(&dice)};
	fill_set(&hard->members);
}

static void
try_hard_state(void)
{
	static QuorumHardState hard;
	static QuorumHardState back;
	uint8_t		bytes[QUORUM_ENCODED_MAX];
	bool		round_trip = true;
	bool		truncated = true;
	size_t		size = 0;

	for (int i = 0; i < 50; i++)
	{
		fill_hard_state(&hard);
		size = quorum_hard_state_encode(&hard, bytes, sizeof(bytes));
		round_trip = round_trip && quorum_hard_state_decode(&back, bytes, size) &&
			memcmp(&hard, &back, sizeof(hard)) == 0;
		for (size_t cut = 0; cut < size && i < 5; cut++)
			truncated = truncated && !quorum_hard_state_decode(&back, bytes, cut);
	}
	test_claim(round_trip, "hard state comes back as it was written");
	test_claim(truncated, "hard state cut off at any byte is refused");
}

/* What either version says the other one understands. */
static void
try_versions(int type)
{
	static QuorumMessage message;
	static QuorumMessage back;
	uint8_t		bytes[QUORUM_ENCODED_MAX];
	bool		newer_read = true;
	bool		older_read = true;
	bool		own_read = true;
	bool		truncated = true;
	char		claim[80];

	for (int i = 0; i < 50; i++)
	{
		size_t		size;

		fill(&message, type);
		size = next_message_encode(&message, bytes, sizeof(bytes));
		newer_read = newer_read && decode_exact(&back, bytes, size) &&
			memcmp(&message, &back, sizeof(message)) == 0;
		own_read = own_read && next_message_decode(&back, bytes, size) &&
			memcmp(&message, &back, sizeof(message)) == 0;
		for (size_t cut = 0; cut < size && i < 5; cut++)
			truncated = truncated && !next_message_decode(&back, bytes, cut);
		size = quorum_message_encode(&message, bytes, sizeof(bytes));
		older_read = older_read && next_message_decode(&back, bytes, size) &&
			memcmp(&message, &back, sizeof(message)) == 0;
	}
	snprintf(claim, sizeof(claim), "type %d of the next version is understood", type);
	test_claim(newer_read, claim);
	snprintf(claim, sizeof(claim), "type %d is understood by the next version", type);
	test_claim(older_read, claim);
	snprintf(claim, sizeof(claim), "type %d among nodes of the next version", type);
	test_claim(own_read && truncated, claim);
}

static void
try_unknown(void)
{
	static QuorumMessage message;
	static QuorumMessage back;
	uint8_t		bytes[QUORUM_ENCODED_MAX];
	int			major;
	size_t		size;

	fill(&message, NEXT_TYPE);
	size = next_message_encode(&message, bytes, sizeof(bytes));
	test_claim(decode_exact(&back, bytes, size) && back.type == QUORUM_MSG_UNKNOWN &&
			   back.from == message.from && back.to == message.to && back.term == 0,
			   "a type that only the next version knows is unknown, not invalid");
	bytes[MINOR_AT] = QUORUM_FORMAT_MINOR;
	test_claim(!decode_exact(&back, bytes, size), "... but invalid in this version");
	test_claim(!quorum_message_other_major(bytes, size, &major), "and of the same major version");

	fill(&message, QUORUM_MSG_VOTE_REPLY);
	message.verdict = (QuorumVerdict) 99;
	size = next_message_encode(&message, bytes, sizeof(bytes));
	test_claim(decode_exact(&back, bytes, size) && back.verdict == QUORUM_REFUSED_NOT_READY,
			   "a reason to refuse that only the next version knows refuses");
	size = quorum_message_encode(&message, bytes, sizeof(bytes));
	test_claim(!decode_exact(&back, bytes, size), "... and is invalid in this version");

	message.verdict = QUORUM_GRANTED;
	size = quorum_message_encode(&message, bytes, sizeof(bytes));
	bytes[0]++;
	test_claim(!decode_exact(&back, bytes, size), "a message of another major version is refused");
	test_claim(quorum_message_other_major(bytes, size, &major) && major == QUORUM_FORMAT_MAJOR + 1,
			   "... and that is what is said of it");
}

/* The library is replaced by a newer one and back again. */
static void
try_hard_state_versions(void)
{
	static QuorumHardState hard;
	static QuorumHardState back;
	uint8_t		bytes[QUORUM_ENCODED_MAX];
	bool		upgrade = true;
	bool		downgrade = true;
	bool		other = true;

	for (int i = 0; i < 50; i++)
	{
		size_t		size;

		fill_hard_state(&hard);
		size = quorum_hard_state_encode(&hard, bytes, sizeof(bytes));
		upgrade = upgrade && next_hard_state_decode(&back, bytes, size) &&
			memcmp(&hard, &back, sizeof(hard)) == 0;
		size = next_hard_state_encode(&hard, bytes, sizeof(bytes));
		downgrade = downgrade && quorum_hard_state_decode(&back, bytes, size) &&
			memcmp(&hard, &back, sizeof(hard)) == 0;
		bytes[0]--;
		other = other && !quorum_hard_state_decode(&back, bytes, size);
	}
	test_claim(upgrade, "hard state is read by the next version");
	test_claim(downgrade, "hard state of the next version is read");
	test_claim(other, "hard state of another major version is refused");
}

static void
try_twins(void)
{
	static QuorumMessage message;
	uint8_t		bytes[QUORUM_ENCODED_MAX];
	size_t		size;

	fill(&message, QUORUM_MSG_MEMBERS);
	message.members.count = 2;
	message.members.members[0].id = message.members.members[1].id = 5;
	message.members.members[0].kind = message.members.members[1].kind = QUORUM_VOTER;
	size = quorum_message_encode(&message, bytes, sizeof(bytes));
	test_claim(!quorum_message_decode(&message, bytes, size), "a set with one id twice is refused");
}

static void
try_largest(void)
{
	static QuorumMessage message;
	uint8_t		bytes[QUORUM_ENCODED_MAX];

	fill(&message, QUORUM_MSG_INVITE);
	message.members.count = QUORUM_MAX_NODES;
	for (int i = 0; i < QUORUM_MAX_NODES; i++)
	{
		message.members.members[i].id = (QuorumNodeId) i + 1;
		message.members.members[i].kind = QUORUM_VOTER;
		memset(message.members.members[i].name, 'n', QUORUM_NAME_SIZE - 1);
		memset(message.members.members[i].host, 'h', QUORUM_HOST_SIZE - 1);
	}
	test_claim(next_message_encode(&message, bytes, sizeof(bytes)) <= QUORUM_ENCODED_MAX / 2,
			   "the largest message fits, with room for what may come");
}

int
main(void)
{
	quorum_random_seed(&dice, 42);
	for (int type = QUORUM_MSG_STATUS; type <= QUORUM_MSG_INVITE_REPLY; type++)
	{
		try_type(type);
		try_versions(type);
	}
	try_unknown();
	test_claim(garbage_does_no_harm(), "garbage does no harm");
	test_claim(lies_do_no_harm(), "what claims to be of a later version stays in its bounds");
	try_hard_state();
	try_hard_state_versions();
	try_twins();
	try_largest();
	return test_done();
}
