/*
 * quorum_message.c
 *	  Messages and hard state as bytes: versioned, field by field, bounds checked.
 *
 * A decoder never trusts a length or an enum it reads: a string without its NUL, a
 * count beyond the arrays or an unknown kind makes the whole input invalid.
 *
 * What a later minor version may add (quorum_message.h) stands at the end of a message, a
 * state, or a block; a block carries its length.  A field that minor version n brought is
 * written last and read only when the input's minor version is at least n.
 */
#include "quorum_message.h"

#include <string.h>

#include "quorum_assert.h"

typedef struct Writer
{
	uint8_t    *bytes;
	size_t		size;
	size_t		used;
} Writer;

typedef struct Reader
{
	const uint8_t *bytes;
	size_t		size;
	size_t		used;
	int			minor;			/* of the input */
	bool		failed;
} Reader;

static void
put_bytes(Writer *w, const void *data, size_t length)
{
	quorum_assert(w->size - w->used >= length);
	memcpy(w->bytes + w->used, data, length);
	w->used += length;
}

static void
put_uint(Writer *w, uint64_t value, int width)
{
	uint8_t		raw[8];

	for (int i = 0; i < width; i++)
		raw[i] = (uint8_t) (value >> (8 * i));
	put_bytes(w, raw, (size_t) width);
}

static void
put_string(Writer *w, const char *text, size_t limit)
{
	size_t		length = 0;

	while (length + 1 < limit && text[length] != '\0')
		length++;
	put_uint(w, length, 2);
	put_bytes(w, text, length);
}

static void
get_bytes(Reader *r, void *data, size_t length)
{
	if (r->failed || r->size - r->used < length)
	{
		r->failed = true;
		memset(data, 0, length);
		return;
	}
	memcpy(data, r->bytes + r->used, length);
	r->used += length;
}

static uint64_t
get_uint(Reader *r, int width)
{
	uint8_t		raw[8] = {0};
	uint64_t	value = 0;

	get_bytes(r, raw, (size_t) width);
	for (int i = 0; i < width; i++)
		value |= (uint64_t) raw[i] << (8 * i);
	return value;
}

/* An unsigned value in [low, high], or the input is invalid. */
static uint64_t
get_range(Reader *r, int width, uint64_t low, uint64_t high)
{
	uint64_t	value = get_uint(r, width);

	if (value < low || value > high)
	{
		r->failed = true;
		return low;
	}
	return value;
}

static bool
get_bool(Reader *r)
{
	return get_range(r, 1, 0, 1) == 1;
}

/* A length of time: never negative, so that sums of two do not overflow a check. */
static QuorumTime
get_time(Reader *r)
{
	return (QuorumTime) get_range(r, 8, 0, (uint64_t) QUORUM_NEVER);
}

static void
get_string(Reader *r, char *text, size_t limit)
{
	size_t		length = (size_t) get_range(r, 2, 0, limit - 1);

	get_bytes(r, text, length);
	memset(text + length, 0, limit - length);
	for (size_t i = 0; i < length; i++)
	{
		if (text[i] == '\0')
			r->failed = true;
	}
}

/* Returns where the block begins, for put_block_end(). */
static size_t
put_block(Writer *w)
{
	put_uint(w, 0, 2);
	return w->used;
}

static void
put_block_end(Writer *w, size_t begin)
{
	size_t		length = w->used - begin;

	quorum_assert(length <= UINT16_MAX);
	w->bytes[begin - 2] = (uint8_t) length;
	w->bytes[begin - 1] = (uint8_t) (length >> 8);
}

static Reader
get_block(Reader *r)
{
	size_t		length = (size_t) get_uint(r, 2);
	Reader		block = {r->bytes + r->used, length, 0, r->minor, r->failed};

	if (r->failed || r->size - r->used < length)
	{
		r->failed = block.failed = true;
		return block;
	}
	r->used += length;
	return block;
}

/* Valid as a whole; only a later version may have said more than was read. */
static bool
is_read(const Reader *r)
{
	return !r->failed && (r->used == r->size || r->minor > QUORUM_FORMAT_MINOR);
}

static void
get_block_end(Reader *r, const Reader *block)
{
	if (!is_read(block))
		r->failed = true;
}

/*
 * What a made-up next version appends everywhere it may: the tests of an upgrade build a
 * second library with it.
 */
#if QUORUM_FORMAT_MINOR > 0
#define NEXT_MINOR_FIELD UINT64_C(0x7478656e)

static void
put_next(Writer *w)
{
	put_uint(w, NEXT_MINOR_FIELD, 8);
}

static void
get_next(Reader *r)
{
	if (r->minor >= 1)
		(void) get_range(r, 8, NEXT_MINOR_FIELD, NEXT_MINOR_FIELD);
}
#else
#define put_next(w) ((void) 0)
#define get_next(r) ((void) 0)
#endif

static void
put_position(Writer *w, QuorumWalPos position)
{
	put_uint(w, position.tli, 4);
	put_uint(w, position.lsn, 8);
}

static QuorumWalPos
get_position(Reader *r)
{
	QuorumWalPos position;

	position.tli = (QuorumTerm) get_uint(r, 4);
	position.lsn = get_uint(r, 8);
	return position;
}

static void
put_member(Writer *w, const QuorumMember *member)
{
	size_t		block = put_block(w);

	put_uint(w, member->id, 4);
	put_uint(w, (uint64_t) member->kind, 1);
	put_uint(w, (uint64_t) member->becomes, 1);
	put_uint(w, member->left_out, 1);
	put_uint(w, member->quorum_port, 2);
	put_uint(w, member->pg_port, 2);
	put_bytes(w, member->uuid, QUORUM_UUID_SIZE);
	put_string(w, member->name, QUORUM_NAME_SIZE);
	put_string(w, member->host, QUORUM_HOST_SIZE);
	put_next(w);
	put_block_end(w, block);
}

static void
get_member(Reader *r, QuorumMember *member)
{
	Reader		block = get_block(r);

	member->id = (QuorumNodeId) get_range(&block, 4, 1, UINT32_MAX);
	member->kind = (QuorumMemberKind) get_range(&block, 1, QUORUM_VOTER, QUORUM_LEARNER);
	member->becomes = (QuorumMemberKind) get_range(&block, 1, 0, QUORUM_WITNESS);
	member->left_out = get_bool(&block);
	member->quorum_port = (uint16_t) get_uint(&block, 2);
	member->pg_port = (uint16_t) get_uint(&block, 2);
	get_bytes(&block, member->uuid, QUORUM_UUID_SIZE);
	get_string(&block, member->name, QUORUM_NAME_SIZE);
	get_string(&block, member->host, QUORUM_HOST_SIZE);
	get_next(&block);
	get_block_end(r, &block);
}

static void
put_members(Writer *w, const QuorumMemberSet *set)
{
	size_t		block = put_block(w);

	quorum_assert(set->count >= 0);
	quorum_assert(set->count <= QUORUM_MAX_NODES);
	put_uint(w, set->id.term, 4);
	put_uint(w, set->id.version, 4);
	put_uint(w, set->next_node_id, 4);
	put_uint(w, (uint64_t) set->paused_until, 8);
	put_uint(w, (uint64_t) set->count, 1);
	for (int i = 0; i < set->count; i++)
		put_member(w, &set->members[i]);
	put_next(w);
	put_block_end(w, block);
}

static void
get_members(Reader *r, QuorumMemberSet *set)
{
	Reader		block = get_block(r);

	memset(set, 0, sizeof(*set));
	set->id.term = (QuorumTerm) get_uint(&block, 4);
	set->id.version = (uint32_t) get_uint(&block, 4);
	set->next_node_id = (QuorumNodeId) get_uint(&block, 4);
	set->paused_until = get_time(&block);
	set->count = (int) get_range(&block, 1, 0, QUORUM_MAX_NODES);
	for (int i = 0; i < set->count; i++)
	{
		get_member(&block, &set->members[i]);
		for (int j = 0; j < i; j++)
		{
			if (set->members[j].id == set->members[i].id)
				block.failed = true;
		}
	}
	get_next(&block);
	get_block_end(r, &block);
}

static void
put_gossip(Writer *w, const QuorumMessage *message)
{
	quorum_assert(message->gossip_count >= 0);
	quorum_assert(message->gossip_count <= QUORUM_MAX_NODES);
	put_uint(w, (uint64_t) message->gossip_count, 1);
	for (int i = 0; i < message->gossip_count; i++)
	{
		size_t		block = put_block(w);

		put_uint(w, message->gossip[i].id, 4);
		put_uint(w, message->gossip[i].priority, 1);
		put_position(w, message->gossip[i].position);
		put_uint(w, message->gossip[i].replay_lsn, 8);
		put_uint(w, message->gossip[i].recovering, 1);
		put_uint(w, (uint64_t) message->gossip[i].heard_ago_us, 8);
		put_next(w);
		put_block_end(w, block);
	}
}

static void
get_gossip(Reader *r, QuorumMessage *message)
{
	message->gossip_count = (int) get_range(r, 1, 0, QUORUM_MAX_NODES);
	for (int i = 0; i < message->gossip_count; i++)
	{
		Reader		block = get_block(r);

		message->gossip[i].id = (QuorumNodeId) get_uint(&block, 4);
		message->gossip[i].priority = (uint8_t) get_uint(&block, 1);
		message->gossip[i].position = get_position(&block);
		message->gossip[i].replay_lsn = get_uint(&block, 8);
		message->gossip[i].recovering = get_bool(&block);
		message->gossip[i].heard_ago_us = get_time(&block);
		get_next(&block);
		get_block_end(r, &block);
	}
}

static void
put_body(Writer *w, const QuorumMessage *message)
{
	switch (message->type)
	{
		case QUORUM_MSG_PRE_VOTE_REQUEST:
			put_uint(w, message->proposed_term, 4);
			break;
		case QUORUM_MSG_PRE_VOTE_REPLY:
		case QUORUM_MSG_VOTE_REPLY:
			put_uint(w, message->proposed_term, 4);
			put_uint(w, (uint64_t) message->verdict, 1);
			put_uint(w, (uint64_t) message->retry_after_us, 8);
			break;
		case QUORUM_MSG_VOTE_REQUEST:
			break;
		case QUORUM_MSG_HEARTBEAT:
			put_uint(w, (uint64_t) message->sent_at, 8);
			put_uint(w, (uint64_t) message->lease_us, 8);
			put_uint(w, message->gate_open, 1);
			put_uint(w, message->rewind_granted, 1);
			put_uint(w, message->quorum_lsn, 8);
			put_gossip(w, message);
			break;
		case QUORUM_MSG_HEARTBEAT_ACK:
		case QUORUM_MSG_STATUS:
			put_uint(w, (uint64_t) message->sent_at, 8);
			put_uint(w, (uint64_t) message->lease_us, 8);
			put_uint(w, message->stream_term, 4);
			put_uint(w, message->stream_flush, 8);
			put_uint(w, message->replay_lsn, 8);
			put_uint(w, message->priority, 1);
			put_uint(w, message->pg_port, 2);
			put_uint(w, message->recovering, 1);
			put_uint(w, message->diverged, 1);
			put_uint(w, message->space_low, 1);
			put_uint(w, message->asks, 1);
			break;
		case QUORUM_MSG_RESIGN:
			put_uint(w, (uint64_t) message->resign, 1);
			put_uint(w, message->node_id, 4);
			break;
		case QUORUM_MSG_MEMBERS:
			put_members(w, &message->members);
			break;
		case QUORUM_MSG_INVITE:
			put_bytes(w, message->cluster_id, QUORUM_UUID_SIZE);
			put_uint(w, message->system_identifier, 8);
			put_uint(w, message->node_id, 4);
			put_members(w, &message->members);
			break;
		case QUORUM_MSG_INVITE_REPLY:
			put_uint(w, message->accepted, 1);
			put_uint(w, message->pg_port, 2);
			put_bytes(w, message->uuid, QUORUM_UUID_SIZE);
			put_string(w, message->reason, QUORUM_REASON_SIZE);
			break;
	}
}

/* A later version may refuse for a reason of its own: refused is what counts. */
static QuorumVerdict
get_verdict(Reader *r)
{
	uint64_t	verdict = get_uint(r, 1);

	if (verdict > QUORUM_REFUSED_NOT_READY)
	{
		if (r->minor <= QUORUM_FORMAT_MINOR)
			r->failed = true;
		return QUORUM_REFUSED_NOT_READY;
	}
	return (QuorumVerdict) verdict;
}

static void
get_body(Reader *r, QuorumMessage *message)
{
	switch (message->type)
	{
		case QUORUM_MSG_PRE_VOTE_REQUEST:
			message->proposed_term = (QuorumTerm) get_uint(r, 4);
			break;
		case QUORUM_MSG_PRE_VOTE_REPLY:
		case QUORUM_MSG_VOTE_REPLY:
			message->proposed_term = (QuorumTerm) get_uint(r, 4);
			message->verdict = get_verdict(r);
			message->retry_after_us = get_time(r);
			break;
		case QUORUM_MSG_VOTE_REQUEST:
			break;
		case QUORUM_MSG_HEARTBEAT:
			message->sent_at = get_time(r);
			message->lease_us = get_time(r);
			message->gate_open = get_bool(r);
			message->rewind_granted = get_bool(r);
			message->quorum_lsn = get_uint(r, 8);
			get_gossip(r, message);
			break;
		case QUORUM_MSG_HEARTBEAT_ACK:
		case QUORUM_MSG_STATUS:
			message->sent_at = get_time(r);
			message->lease_us = get_time(r);
			message->stream_term = (QuorumTerm) get_uint(r, 4);
			message->stream_flush = get_uint(r, 8);
			message->replay_lsn = get_uint(r, 8);
			message->priority = (uint8_t) get_uint(r, 1);
			message->pg_port = (uint16_t) get_uint(r, 2);
			message->recovering = get_bool(r);
			message->diverged = get_bool(r);
			message->space_low = get_bool(r);
			message->asks = get_bool(r);
			break;
		case QUORUM_MSG_RESIGN:
			message->resign = (QuorumResignReason) get_range(r, 1, QUORUM_RESIGN_POSTMASTER_DIED,
															 QUORUM_RESIGN_HANDED_OVER);
			message->node_id = (QuorumNodeId) get_uint(r, 4);
			break;
		case QUORUM_MSG_MEMBERS:
			get_members(r, &message->members);
			break;
		case QUORUM_MSG_INVITE:
			get_bytes(r, message->cluster_id, QUORUM_UUID_SIZE);
			message->system_identifier = get_uint(r, 8);
			message->node_id = (QuorumNodeId) get_uint(r, 4);
			get_members(r, &message->members);
			break;
		case QUORUM_MSG_INVITE_REPLY:
			message->accepted = get_bool(r);
			message->pg_port = (uint16_t) get_uint(r, 2);
			get_bytes(r, message->uuid, QUORUM_UUID_SIZE);
			get_string(r, message->reason, QUORUM_REASON_SIZE);
			break;
	}
}

static void
put_version(Writer *w)
{
	put_uint(w, QUORUM_FORMAT_MAJOR, 1);
	put_uint(w, QUORUM_FORMAT_MINOR, 1);
}

static void
get_version(Reader *r)
{
	(void) get_range(r, 1, QUORUM_FORMAT_MAJOR, QUORUM_FORMAT_MAJOR);
	r->minor = (int) get_uint(r, 1);
}

size_t
quorum_message_encode(const QuorumMessage *message, uint8_t *bytes, size_t size)
{
	Writer		w = {bytes, size, 0};

	quorum_assert(size >= QUORUM_ENCODED_MAX);
	put_version(&w);
	put_uint(&w, (uint64_t) message->type, 1);
	put_uint(&w, message->from, 4);
	put_uint(&w, message->to, 4);
	put_uint(&w, message->term, 4);
	put_uint(&w, (uint64_t) message->role, 1);
	put_uint(&w, message->set_id.term, 4);
	put_uint(&w, message->set_id.version, 4);
	put_position(&w, message->position);
	put_body(&w, message);
	put_next(&w);
	quorum_assert(w.used <= QUORUM_ENCODED_MAX);
	return w.used;
}

bool
quorum_message_decode(QuorumMessage *message, const uint8_t *bytes, size_t size)
{
	Reader		r = {bytes, size, 0, 0, false};
	uint64_t	type;

	memset(message, 0, sizeof(*message));
	get_version(&r);
	type = get_uint(&r, 1);
	message->from = (QuorumNodeId) get_uint(&r, 4);
	message->to = (QuorumNodeId) get_uint(&r, 4);
	if (type > QUORUM_MSG_NEWEST && r.minor > QUORUM_FORMAT_MINOR)
		return !r.failed;
	if (type < QUORUM_MSG_STATUS || type > QUORUM_MSG_NEWEST)
		return false;
	message->type = (QuorumMessageType) type;
	message->term = (QuorumTerm) get_uint(&r, 4);
	message->role = (QuorumRole) get_range(&r, 1, QUORUM_ROLE_FOLLOWER, QUORUM_ROLE_LEADER);
	message->set_id.term = (QuorumTerm) get_uint(&r, 4);
	message->set_id.version = (uint32_t) get_uint(&r, 4);
	message->position = get_position(&r);
	if (r.failed)
		return false;
	get_body(&r, message);
	get_next(&r);
	return is_read(&r);
}

bool
quorum_message_other_major(const uint8_t *bytes, size_t size, int *major)
{
	*major = size > 0 ? bytes[0] : 0;
	return size > 0 && *major != QUORUM_FORMAT_MAJOR;
}

size_t
quorum_hard_state_encode(const QuorumHardState *hard, uint8_t *bytes, size_t size)
{
	Writer		w = {bytes, size, 0};

	quorum_assert(size >= QUORUM_ENCODED_MAX);
	put_version(&w);
	put_bytes(&w, hard->cluster_id, QUORUM_UUID_SIZE);
	put_uint(&w, hard->system_identifier, 8);
	put_uint(&w, hard->node_id, 4);
	put_bytes(&w, hard->uuid, QUORUM_UUID_SIZE);
	put_uint(&w, hard->term, 4);
	put_uint(&w, hard->vote, 4);
	put_uint(&w, hard->recovering, 1);
	put_uint(&w, (uint64_t) hard->promise_us, 8);
	put_position(&w, hard->ack_floor);
	put_members(&w, &hard->members);
	put_next(&w);
	quorum_assert(w.used <= QUORUM_ENCODED_MAX);
	return w.used;
}

bool
quorum_hard_state_decode(QuorumHardState *hard, const uint8_t *bytes, size_t size)
{
	Reader		r = {bytes, size, 0, 0, false};

	memset(hard, 0, sizeof(*hard));
	get_version(&r);
	get_bytes(&r, hard->cluster_id, QUORUM_UUID_SIZE);
	hard->system_identifier = get_uint(&r, 8);
	hard->node_id = (QuorumNodeId) get_range(&r, 4, 1, UINT32_MAX);
	get_bytes(&r, hard->uuid, QUORUM_UUID_SIZE);
	hard->term = (QuorumTerm) get_uint(&r, 4);
	hard->vote = (QuorumNodeId) get_uint(&r, 4);
	hard->recovering = get_bool(&r);
	hard->promise_us = get_time(&r);
	hard->ack_floor = get_position(&r);
	get_members(&r, &hard->members);
	get_next(&r);
	return is_read(&r);
}
