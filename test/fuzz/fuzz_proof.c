/*
 * fuzz_proof.c
 *	  Fuzz target: what a client that wants to stream says who it is (src/pg/proof.c).
 *
 * Anybody who may connect for replication can send it, before any MAC was looked at.
 */
#include "server.h"

#include "../../src/pg/proof.c"

ClientAuthentication_hook_type ClientAuthentication_hook;
bool		am_walsender;
int			MyProcPid;

/* As src/backend/utils/adt/encode.c, of an even number of digits that were looked at before. */
uint64
hex_decode(const char *text, size_t length, char *bytes)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < length; i += 2)
	{
		const char *high = memchr(digits, text[i], 16);
		const char *low = memchr(digits, text[i + 1], 16);

		fuzz_require(high != NULL && low != NULL);
		bytes[i / 2] = (char) ((high - digits) << 4 | (low - digits));
	}
	return length / 2;
}

static size_t
write_claim(char *text, size_t size, const PgqStreamClaim *claim, const uint8 *mac)
{
	size_t		length = (size_t) snprintf(text, size, "%u." UINT64_FORMAT ".", claim->from,
										   claim->count);

	for (int i = 0; i < PGQ_MAC_SIZE; i++)
		length += (size_t) snprintf(text + length, size - length, "%02x", mac[i]);
	return length;
}

bool
fuzz_one(const uint8_t *bytes, size_t size)
{
	char	   *text = malloc(size + 1);
	uint8	   *mac = malloc(PGQ_MAC_SIZE);
	PgqStreamClaim claim = {0};
	bool		valid;

	memcpy(text, bytes, size);
	text[size] = '\0';
	valid = read_claim(text, &claim, mac);
	if (valid)
	{
		char		again[PGQ_PROOF_SIZE];
		uint8		mac_again[PGQ_MAC_SIZE];
		PgqStreamClaim claim_again = {0};

		fuzz_require(claim.from != QUORUM_NO_NODE);
		(void) write_claim(again, sizeof(again), &claim, mac);
		fuzz_require(read_claim(again, &claim_again, mac_again));
		fuzz_require(claim_again.from == claim.from && claim_again.count == claim.count);
		fuzz_require(memcmp(mac_again, mac, PGQ_MAC_SIZE) == 0);
	}
	free(text);
	free(mac);
	return valid;
}

size_t
fuzz_seed(int number, uint8_t *bytes)
{
	static const PgqStreamClaim claims[] = {
		{.from = 1, .count = 1},
		{.from = PG_UINT32_MAX, .count = PG_UINT64_MAX},
		{.from = 15, .count = 0}
	};
	uint8		mac[PGQ_MAC_SIZE];
	size_t		length;

	if (number >= (int) lengthof(claims))
		return 0;
	for (int i = 0; i < PGQ_MAC_SIZE; i++)
		mac[i] = (uint8) (37 * i + number);
	length = write_claim((char *) bytes, FUZZ_INPUT_MAX, &claims[number], mac);

	/* other options follow */
	memcpy(bytes + length, " -c a=b", number == 2 ? 7 : 0);
	return length + (number == 2 ? 7 : 0);
}

size_t
fuzz_refused(int number, uint8_t *bytes)
{
	static const PgqStreamClaim one = {.from = 1, .count = 1};
	static const uint8 mac[PGQ_MAC_SIZE] = {0xab};
	size_t		length = write_claim((char *) bytes, FUZZ_INPUT_MAX, &one, mac);

	switch (number)
	{
		case 0:					/* a digit less */
			return length - 1;
		case 1:					/* a digit more */
			bytes[length] = '0';
			return length + 1;
		case 2:					/* nobody's */
			bytes[0] = '0';
			return length;
		case 3:
			bytes[1] = ',';
			return length;
		case 4:
			bytes[3] = ',';
			return length;
		case 5:
			bytes[4] = 'A';
			return length;
	}
	return 0;
}
