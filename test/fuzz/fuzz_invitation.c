/*
 * fuzz_invitation.c
 *	  Fuzz target: what a guest makes of an invitation (src/net/invitation.c).
 *
 * The first two bytes: is the guest a witness, and as which of the members it sees itself.
 * The others are the message.
 */
#include "invitation.h"

#include "../../src/core/quorum_members.h"
#include "../../src/core/quorum_message.h"
#include "fuzz.h"
#include "samples.h"
#include "state.h"
#include "transport_log.h"

static QuorumHardState stored;
static QuorumHardState member;	/* what the guest is so far */
static bool is_stored;
static bool is_sent;
static bool is_declined;

/* ---- what invitation.c calls ------------------------------------------------ */

PgqMembership
pgq_state_read(QuorumHardState *hard, char *why)
{
	*why = '\0';
	*hard = member;
	return member.node_id != QUORUM_NO_NODE ? PGQ_MEMBER : PGQ_NO_MEMBER;
}

bool
pgq_log_due(PgqLogKind kind)
{
	(void) kind;
	return true;
}

void
pgq_transport_decline(QuorumNodeId invited)
{
	(void) invited;
	is_declined = true;
}

bool
pgq_state_write(const QuorumHardState *hard)
{
	static QuorumHardState again;
	static uint8 bytes[QUORUM_ENCODED_MAX];

	/* what is stored can be read again */
	fuzz_require(quorum_hard_state_decode(&again, bytes,
										  quorum_hard_state_encode(hard, bytes, sizeof(bytes))));
	stored = again;
	is_stored = true;
	return true;
}

void
pgq_transport_set_members(const PgqIdentity *identity, const QuorumMemberSet *members)
{
	(void) identity;
	check_set(members);
}

void
pgq_transport_send(const QuorumMessage *message)
{
	static QuorumMessage again;
	static uint8 bytes[QUORUM_ENCODED_MAX];
	size_t		size = quorum_message_encode(message, bytes, sizeof(bytes));

	fuzz_require(quorum_message_decode(&again, bytes, size));
	fuzz_require(again.type == QUORUM_MSG_INVITE_REPLY && !again.accepted);
	is_sent = true;
}

void
pgq_transport_flush(void)
{
}

/* ---- the target ------------------------------------------------------------- */

/* Node 2 or 5, with an older set or the same one: only who was removed lets it in. */
static void
screen(const QuorumMessage *invite)
{
	static QuorumHardState hard;
	QuorumSetId id = invite->members.id;

	memset(&member, 0, sizeof(member));
	fuzz_require(pgq_invitation_screen(invite, false, &hard));
	for (member.node_id = 2; member.node_id <= 5; member.node_id += 3)
	{
		bool		named = quorum_members_find(&invite->members, member.node_id) >= 0;

		member.members.id = id;
		is_declined = false;
		fuzz_require(!pgq_invitation_screen(invite, true, &hard));
		fuzz_require(is_declined == named);
		if (id.version == 0)
			continue;
		member.members.id.version = id.version - 1;
		fuzz_require(pgq_invitation_screen(invite, true, &hard) == !named);
		fuzz_require(hard.node_id == member.node_id);
	}
}

static void
accept(const QuorumMessage *invite)
{
	static QuorumHardState hard;

	memset(&hard, 0, sizeof(hard));
	hard.term = 7;
	hard.vote = 3;
	is_stored = false;
	fuzz_require(pgq_invitation_accept(invite, &hard));
	fuzz_require(is_stored);
	fuzz_require(stored.term >= 7);
	fuzz_require(stored.term > 7 || stored.vote == 3);
	fuzz_require(stored.node_id == invite->node_id);
}

static void
refuse(const QuorumMessage *invite, const char *flaw)
{
	PgqIdentity nobody = {0};

	is_sent = false;
	pgq_invitation_refuse(invite, flaw, &nobody);
	pgq_invitation_connected(invite->from);
	fuzz_require(is_sent || invite->from == QUORUM_NO_NODE);
}

bool
fuzz_one(const uint8_t *bytes, size_t size)
{
	static QuorumMessage invite;
	char	   *buffer;
	const char *name = "n1";
	const char *flaw;
	bool		witness;

	if (size < 2 || !quorum_message_decode(&invite, bytes + 2, size - 2) ||
		invite.type != QUORUM_MSG_INVITE)
		return false;
	witness = (bytes[0] & 1) != 0;
	if (bytes[1] < invite.members.count)
		name = invite.members.members[bytes[1]].name;

	screen(&invite);
	buffer = malloc(QUORUM_REASON_SIZE);
	flaw = pgq_invitation_flaw(&invite, name, witness, buffer);
	if (flaw == NULL)
	{
		int			index = quorum_members_find(&invite.members, invite.node_id);
		const QuorumMember *guest = &invite.members.members[index];

		fuzz_require(index >= 0);
		fuzz_require(strcmp(guest->name, name) == 0);
		fuzz_require(witness == (guest->kind == QUORUM_WITNESS ||
								 guest->becomes == QUORUM_WITNESS));
		accept(&invite);
	}
	else
	{
		fuzz_require(strlen(flaw) > 0 && strlen(flaw) < QUORUM_REASON_SIZE);

		/* who is not in the set has no name to be compared */
		fuzz_require(flaw != buffer ||
					 quorum_members_find(&invite.members, invite.node_id) >= 0);
		refuse(&invite, flaw);
	}
	free(buffer);
	return flaw == NULL;
}

size_t
fuzz_seed(int number, uint8_t *bytes)
{
	static QuorumMessage invite;
	const QuorumMember *guest;

	if (number >= 12)
		return 0;
	fuzz_dice((uint64_t) number);
	sample_message(&invite, QUORUM_MSG_INVITE, number < 4);
	invite.node_id = (QuorumNodeId) fuzz_some(1, (uint64_t) invite.members.count);
	invite.from = 1;
	guest = &invite.members.members[invite.node_id - 1];
	bytes[0] = guest->kind == QUORUM_WITNESS || guest->becomes == QUORUM_WITNESS;
	bytes[1] = (uint8) (invite.node_id - 1);
	return 2 + quorum_message_encode(&invite, bytes + 2, FUZZ_INPUT_MAX - 2);
}

size_t
fuzz_refused(int number, uint8_t *bytes)
{
	(void) number;
	(void) bytes;
	return 0;
}
