/*
 * token.c
 *	  Writes and reads the token.
 *
 * A token is base64 of lines "key value", with a check sum, so that one that was cut off
 * while copying is recognised.  It is as secret as the secret in it.
 */
#include "token.h"

#include <ctype.h>
#include <unistd.h>

#include "common/base64.h"
#include "common/string.h"
#include "lib/stringinfo.h"

#define TOKEN_PREFIX "pgq1."
#define TOKEN_BYTES_MAX 16384

/* One row for each line of the text, so that writing and reading cannot differ. */
static const struct
{
	const char *key;
	size_t		offset;
	bool		required;
}			fields[] = {
	{"hosts", offsetof(Token, hosts), true},
	{"ports", offsetof(Token, ports), true},
	{"dbname", offsetof(Token, dbname), true},
	{"user", offsetof(Token, user), true},
	{"password", offsetof(Token, password), false},
	{"secret", offsetof(Token, secret), true},
	{"conninfo", offsetof(Token, conninfo), false},
};

#define FIELD(token, i) (*(char **) ((char *) (token) + fields[i].offset))

static uint32
checksum(const char *text)
{
	uint32		sum = 2166136261u;	/* FNV-1a: against mishaps, not against people */

	for (; *text != '\0'; text++)
		sum = (sum ^ (unsigned char) *text) * 16777619u;
	return sum;
}

char *
token_encode(const Token *token)
{
	StringInfoData text;
	char	   *encoded;
	int			length;

	initStringInfo(&text);
	for (size_t i = 0; i < lengthof(fields); i++)
	{
		const char *value = FIELD(token, i);

		if (value == NULL || value[0] == '\0')
			continue;
		appendStringInfo(&text, "%s ", fields[i].key);
		/* a file of two secrets has two lines */
		for (; *value != '\0'; value++)
			appendStringInfoChar(&text, *value == '\n' ? '\t' : *value);
		appendStringInfoChar(&text, '\n');
	}
	encoded = pg_malloc(pg_b64_enc_len(text.len) + 1);
	length = pg_b64_encode((const void *) text.data, text.len, encoded,
						   pg_b64_enc_len(text.len));
	if (length < 0)
		pg_fatal("could not encode the token");
	encoded[length] = '\0';
	return psprintf(TOKEN_PREFIX "%08x.%s", checksum(encoded), encoded);
}

static pg_noinline void
bad_token(const char *why)
{
	pg_log_error("the token is not valid: %s", why);
	pg_log_error_hint("Copy the whole token, or let \"%s token\" print it again on a member.",
					  progname);
	exit(EXIT_USAGE);
}

static char *
read_stream(FILE *in, const char *name)
{
	char	   *text = pg_malloc(TOKEN_BYTES_MAX + 1);
	size_t		length = fread(text, 1, TOKEN_BYTES_MAX, in);

	if (ferror(in))
		pg_fatal("could not read %s: %m", name);
	text[length] = '\0';
	return text;
}

static char *
token_text(const char *given)
{
	FILE	   *in;
	char	   *text;

	if (given == NULL)
		given = getenv("PG_QUORUM_TOKEN");
	if (given == NULL)
	{
		pg_log_error("no token given");
		pg_log_error_hint("Give it as @FILE, as - for standard input, or in PG_QUORUM_TOKEN; "
						  "\"%s token\" prints it on a member.", progname);
		exit(EXIT_USAGE);
	}
	if (strcmp(given, "-") == 0)
	{
		if (isatty(STDIN_FILENO))
			fprintf(stderr, "Token: ");
		text = pg_get_line(stdin, NULL);
		return text != NULL ? text : pg_strdup("");
	}
	if (given[0] != '@')
		return pg_strdup(given);
	in = fopen(given + 1, "r");
	if (in == NULL)
		pg_fatal("could not open \"%s\": %m", given + 1);
	text = read_stream(in, given + 1);
	fclose(in);
	return text;
}

static void
parse_line(Token *token, char *line)
{
	char	   *value = strchr(line, ' ');

	if (value == NULL)
		return;
	*value++ = '\0';
	for (size_t i = 0; i < lengthof(fields); i++)
	{
		if (strcmp(line, fields[i].key) != 0)
			continue;
		FIELD(token, i) = pg_strdup(value);
		for (char *c = FIELD(token, i); *c != '\0'; c++)
			if (*c == '\t')
				*c = '\n';
	}
}

Token *
token_read(const char *given)
{
	Token	   *token = pg_malloc0(sizeof(Token));
	char	   *text = token_text(given);
	char	   *encoded;
	char	   *line;
	char	   *decoded;
	int			length = 0;

	/* line breaks that a terminal or a mail put in do not count */
	for (char *c = text; *c != '\0'; c++)
		if (!isspace((unsigned char) *c))
			text[length++] = *c;
	text[length] = '\0';

	if (strncmp(text, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) != 0)
		bad_token("it does not begin with " TOKEN_PREFIX);
	encoded = strchr(text + strlen(TOKEN_PREFIX), '.');
	if (encoded == NULL || checksum(encoded + 1) !=
		(uint32) strtoul(text + strlen(TOKEN_PREFIX), NULL, 16))
		bad_token("its check sum is wrong, it was changed or cut off");
	encoded++;
	length = pg_b64_dec_len((int) strlen(encoded));
	decoded = pg_malloc0(length + 1);
	length = pg_b64_decode(encoded, (int) strlen(encoded), (void *) decoded, length);
	if (length < 0)
		bad_token("it is not base64");
	decoded[length] = '\0';
	while ((line = strsep(&decoded, "\n")) != NULL)
		parse_line(token, line);
	for (size_t i = 0; i < lengthof(fields); i++)
		if (fields[i].required && FIELD(token, i) == NULL)
			bad_token(psprintf("it has no %s", fields[i].key));
	return token;
}
