/*
 * fuzz_token.c
 *	  Fuzz target: the token that lets a new host in (src/bin/token.c).
 *
 * The input is the text inside, or after a '!' the token as it is: else the check sum and
 * base64 would let nothing through.
 */
#include "../../src/bin/token.c"

#include "fuzz.h"

static Token *token;			/* that was read */

static void
read_it(void *text)
{
	token = token_read(text);
}

static bool
same(const char *one, const char *other)
{
	/* an empty value is not written */
	return strcmp(one != NULL ? one : "", other != NULL ? other : "") == 0;
}

/* A carriage return or a tab comes back as what it stands for: so the second time counts. */
static void
check_round_trip(const Token *first)
{
	const Token *second;

	for (size_t i = 0; i < lengthof(fields); i++)
		if (fields[i].required && FIELD(first, i)[0] == '\0')
			return;
	fuzz_require(fuzz_survives(read_it, token_encode(first)));
	second = token;
	for (size_t i = 0; i < lengthof(fields); i++)
		fuzz_require(same(FIELD(first, i), FIELD(second, i)));
}

/* As token_encode() does with its lines. */
static char *
wrap(const char *text, size_t size)
{
	int			room = pg_b64_enc_len((int) size);
	char	   *encoded = pg_malloc0((size_t) room + 1);
	int			length = pg_b64_encode((const void *) text, (int) size, encoded, room);

	fuzz_require(length >= 0);
	encoded[length] = '\0';
	return psprintf(TOKEN_PREFIX "%08x.%s", checksum(encoded), encoded);
}

bool
fuzz_one(const uint8_t *bytes, size_t size)
{
	const char *text = (const char *) bytes;
	char	   *given;
	bool		taken;

	token = NULL;
	if (size > 0 && text[0] == '!')
		given = pnstrdup(text + 1, size - 1);
	else
		given = wrap(text, size);
	/* those two are not tokens but say where it is */
	taken = given[0] != '@' && strcmp(given, "-") != 0 && fuzz_survives(read_it, given);
	if (taken)
		check_round_trip(token);
	fuzz_release();
	return taken;
}

size_t
fuzz_seed(int number, uint8_t *bytes)
{
	static const char *const texts[] = {
		"hosts a,b\nports 5432,5433\ndbname d\nuser u\nsecret 0123456789abcdef\n",
		"hosts ::1\nports 5432\ndbname d d\nuser u\npassword p w\nsecret 01\t02\nconninfo sslmode=require a='b c'\n"
	};
	char	   *whole;
	size_t		size;

	if (number >= 2 * (int) lengthof(texts))
		return 0;
	size = strlen(texts[number / 2]);
	if (number % 2 == 0)
	{
		memcpy(bytes, texts[number / 2], size);
		return size;
	}
	whole = wrap(texts[number / 2], size);
	size = strlen(whole);
	bytes[0] = '!';
	memcpy(bytes + 1, whole, size);
	fuzz_release();
	return size + 1;
}

size_t
fuzz_refused(int number, uint8_t *bytes)
{
	static const char not_base64[] = "aG9zdHM#";
	char	   *whole;

	switch (number)
	{
		case 0:					/* the check sum is right, what it is of is not base64 */
			whole = psprintf("!" TOKEN_PREFIX "%08x.%s", checksum(not_base64), not_base64);
			break;
		case 1:					/* another check sum */
			whole = psprintf("!" TOKEN_PREFIX "%08x.%s", 0x12345678, "aG9zdHMg");
			break;
		case 2:					/* no secret */
			whole = pg_strdup("hosts a\nports 1\ndbname d\nuser u\n");
			break;
		case 3:
			whole = pg_strdup("@file");
			break;
		default:
			return 0;
	}
	memcpy(bytes, whole, strlen(whole));
	number = (int) strlen(whole);
	fuzz_release();
	return (size_t) number;
}
