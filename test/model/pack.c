/*
 * pack.c
 *	  A node as few bytes and back: member sets by number, runs of zeroes by length.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "canon.h"

typedef struct Piece
{
	size_t		from;
	size_t		to;
	bool		set;			/* a member set */
	bool		alive;			/* only of a node that lives */
	bool		disk;			/* not when the disk holds what the core holds */
} Piece;

#define AT(field)	offsetof(Local, field)
#define SET(field, is_disk) \
	{AT(field), AT(field) + sizeof(QuorumMemberSet), true, !(is_disk), is_disk}

static const Piece pieces[] = {
	{0, AT(disk), false, false, false},
	{AT(disk), AT(disk.members), false, false, true},
	SET(disk.members, true),
	{AT(node), AT(node.hard.members), false, true, false},
	SET(node.hard.members, false),
	{AT(node.hard.members) + sizeof(QuorumMemberSet), AT(node.change.old), false, true, false},
	SET(node.change.old, false),
	SET(node.change.next, false),
	{AT(node.change.next) + sizeof(QuorumMemberSet), AT(node.outcome.reason), false, true, false},
	{AT(node.outcome.reason) + QUORUM_REASON_SIZE, AT(node.peers), false, true, false},
	{AT(node.peers), AT(node.peers) + NODES * sizeof(QuorumPeer), false, true, false},
};

static Table sets;

static bool
wanted(const Local *local, const Piece *piece)
{
	if (piece->disk)
		return !local->same;
	return local->alive || !piece->alive;
}

size_t
canon_pack(Local *local, uint8_t *bytes)
{
	static uint8_t raw[PACKED_MAX];
	size_t		size = 0;
	size_t		out = 0;

	local->same = local->alive &&
		memcmp(&local->disk, &local->node.hard, sizeof(QuorumHardState)) == 0;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
	{
		const Piece *piece = &pieces[i];
		const uint8_t *from = (const uint8_t *) local + piece->from;
		uint32_t	set;

		if (!wanted(local, piece))
			continue;
		if (piece->set)
		{
			set = intern(&sets, from, sizeof(QuorumMemberSet));
			from = (const uint8_t *) &set;
			memcpy(raw + size, from, sizeof(set));
			size += sizeof(set);
			continue;
		}
		memcpy(raw + size, from, piece->to - piece->from);
		size += piece->to - piece->from;
	}
	for (size_t i = 0; i < size;)
	{
		size_t		run = 0;

		while (i + run < size && raw[i + run] == 0 && run < 255)
			run++;
		if (run > 0)
		{
			bytes[out++] = 0;
			bytes[out++] = (uint8_t) run;
			i += run;
		}
		else
			bytes[out++] = raw[i++];
	}
	return out;
}

void
canon_unpack(const uint8_t *bytes, size_t size, Local *local)
{
	static uint8_t raw[PACKED_MAX];
	size_t		count = 0;
	size_t		at = 0;

	for (size_t i = 0; i < size; i++)
	{
		if (bytes[i] != 0)
			raw[count++] = bytes[i];
		else
		{
			i++;
			memset(raw + count, 0, bytes[i]);
			count += bytes[i];
		}
	}
	memset(local, 0, sizeof(*local));
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
	{
		const Piece *piece = &pieces[i];
		uint8_t    *to = (uint8_t *) local + piece->from;
		uint32_t	set;

		/* the first piece says whether the others are there */
		if (!wanted(local, piece))
			continue;
		if (piece->set)
		{
			size_t		set_size;

			memcpy(&set, raw + at, sizeof(set));
			at += sizeof(set);
			memcpy(to, interned(&sets, set, &set_size), sizeof(QuorumMemberSet));
			continue;
		}
		memcpy(to, raw + at, piece->to - piece->from);
		at += piece->to - piece->from;
	}
	if (at != count)
		abort();
	if (local->same)
		local->disk = local->node.hard;
}
