/*
 * samples.c
 *	  Valid messages and states, to begin with; and what is true of any that was decoded.
 */
#include "samples.h"

#include <string.h>

#include "fuzz.h"

static void
sample_text(char *text, char letter, size_t size, bool full)
{
	memset(text, letter, full ? size - 1 : (size_t) fuzz_some(1, size - 1));
}

void
sample_set(QuorumMemberSet *set, bool full)
{
	memset(set, 0, sizeof(*set));
	set->id = (QuorumSetId) {(QuorumTerm) fuzz_some(0, 9), (uint32_t) fuzz_some(0, 9)};
	set->next_node_id = 20;
	set->paused_until = (QuorumTime) fuzz_some(0, INT64_MAX);
	set->count = full ? QUORUM_MAX_NODES : (int) fuzz_some(1, 3);
	for (int i = 0; i < set->count; i++)
	{
		QuorumMember *member = &set->members[i];

		member->id = (QuorumNodeId) i + 1;
		member->kind = (QuorumMemberKind) fuzz_some(QUORUM_VOTER, QUORUM_LEARNER);
		member->becomes = (QuorumMemberKind) fuzz_some(0, QUORUM_WITNESS);
		member->left_out = fuzz_some(0, 1) == 1;
		member->quorum_port = (uint16_t) fuzz_some(1, UINT16_MAX);
		member->pg_port = (uint16_t) fuzz_some(0, UINT16_MAX);
		member->uuid[fuzz_some(0, QUORUM_UUID_SIZE - 1)] = (uint8_t) fuzz_some(0, 255);
		sample_text(member->name, 'n', QUORUM_NAME_SIZE, full);
		sample_text(member->host, 'h', QUORUM_HOST_SIZE, full);
	}
}

/* Fields that a type does not send are not read either: fill them all. */
void
sample_message(QuorumMessage *message, QuorumMessageType type, bool full)
{
	memset(message, 0, sizeof(*message));
	message->type = type;
	message->from = 1;
	message->to = 2;
	message->term = (QuorumTerm) fuzz_some(0, UINT32_MAX);
	message->role = (QuorumRole) fuzz_some(QUORUM_ROLE_FOLLOWER, QUORUM_ROLE_LEADER);
	message->set_id = (QuorumSetId) {(QuorumTerm) fuzz_some(0, 9), (uint32_t) fuzz_some(0, 9)};
	message->position = (QuorumWalPos) {(QuorumTerm) fuzz_some(0, 9), fuzz_some(0, UINT64_MAX)};
	message->proposed_term = (QuorumTerm) fuzz_some(0, UINT32_MAX);
	message->verdict = (QuorumVerdict) fuzz_some(QUORUM_GRANTED, QUORUM_REFUSED_NOT_READY);
	message->retry_after_us = (QuorumTime) fuzz_some(0, INT64_MAX);
	message->sent_at = (QuorumTime) fuzz_some(0, INT64_MAX);
	message->lease_us = (QuorumTime) fuzz_some(0, INT64_MAX);
	message->gate_open = fuzz_some(0, 1) == 1;
	message->quorum_lsn = fuzz_some(0, UINT64_MAX);
	message->gossip_count = full ? QUORUM_MAX_NODES : (int) fuzz_some(0, 2);
	for (int i = 0; i < message->gossip_count; i++)
		message->gossip[i] = (QuorumGossip) {(QuorumNodeId) i, (uint8_t) fuzz_some(0, 255),
			message->position, fuzz_some(0, UINT64_MAX), fuzz_some(0, 1) == 1,
			(QuorumTime) fuzz_some(0, INT64_MAX)};
	message->stream_term = (QuorumTerm) fuzz_some(0, UINT32_MAX);
	message->stream_flush = fuzz_some(0, UINT64_MAX);
	message->priority = (uint8_t) fuzz_some(0, 255);
	message->pg_port = (uint16_t) fuzz_some(0, UINT16_MAX);
	message->asks = fuzz_some(0, 1) == 1;
	message->resign = (QuorumResignReason) fuzz_some(QUORUM_RESIGN_POSTMASTER_DIED,
													 QUORUM_RESIGN_HANDED_OVER);
	message->system_identifier = fuzz_some(0, UINT64_MAX);
	message->node_id = (QuorumNodeId) fuzz_some(1, 15);
	message->accepted = fuzz_some(0, 1) == 1;
	sample_text(message->reason, 'r', QUORUM_REASON_SIZE, full);
	sample_set(&message->members, full);
}

void
sample_hard_state(QuorumHardState *hard, bool full)
{
	memset(hard, 0, sizeof(*hard));
	memset(hard->cluster_id, 0xc1, sizeof(hard->cluster_id));
	hard->system_identifier = fuzz_some(0, UINT64_MAX);
	hard->node_id = (QuorumNodeId) fuzz_some(1, UINT32_MAX);
	memset(hard->uuid, 0x11, sizeof(hard->uuid));
	hard->term = (QuorumTerm) fuzz_some(0, UINT32_MAX);
	hard->vote = (QuorumNodeId) fuzz_some(0, UINT32_MAX);
	hard->recovering = fuzz_some(0, 1) == 1;
	hard->promise_us = (QuorumTime) fuzz_some(0, INT64_MAX);
	hard->ack_floor = (QuorumWalPos) {(QuorumTerm) fuzz_some(0, 9), fuzz_some(0, UINT64_MAX)};
	sample_set(&hard->members, full);
}

void
check_set(const QuorumMemberSet *set)
{
	fuzz_require(set->count >= 0 && set->count <= QUORUM_MAX_NODES);
	fuzz_require(set->paused_until >= 0);
	for (int i = 0; i < set->count; i++)
	{
		const QuorumMember *member = &set->members[i];

		fuzz_require(member->id != QUORUM_NO_NODE);
		fuzz_require(member->kind >= QUORUM_VOTER && member->kind <= QUORUM_LEARNER);
		fuzz_require(member->becomes <= QUORUM_WITNESS);
		fuzz_require(memchr(member->name, '\0', sizeof(member->name)) != NULL);
		fuzz_require(memchr(member->host, '\0', sizeof(member->host)) != NULL);
		for (int j = 0; j < i; j++)
			fuzz_require(set->members[j].id != member->id);
	}
}
