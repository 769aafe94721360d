/*
 * fuzz_conninfo.c
 *	  Fuzz target: connection strings (src/pg/conninfo.c, src/pg/source.c).
 *
 * libpq is asked, too: where it reads a value, and this server does, it is the same one; and
 * what is put together for client programs says what was put in.
 */
#include "server.h"

#include "../../src/pg/conninfo.c"
#undef HINT
#include "../../src/pg/source.c"

#include "libpq-fe.h"

char	   *pgq_conninfo;
bool		process_shared_preload_libraries_in_progress;

static const char *const keywords[] = {
	"user", "sslmode", "host", "hostaddr", "port", "dbname", "options", "application_name",
	"connect_timeout", "passfile"
};

static const char *
value_in(const PQconninfoOption *options, const char *keyword)
{
	for (; options->keyword != NULL; options++)
		if (strcmp(options->keyword, keyword) == 0)
			return options->val != NULL ? options->val : "";
	return "";
}

/* A value that is too long for us is none: nobody may think it was read. */
static void
check_values(const char *text, const PQconninfoOption *options)
{
	char	   *value = malloc(PGQ_VALUE_SIZE);

	for (size_t i = 0; i < lengthof(keywords); i++)
	{
		pgq_conninfo_get(text, keywords[i], value, PGQ_VALUE_SIZE);
		fuzz_require(strcmp(value, value_in(options, keywords[i])) == 0);
	}
	free(value);
}

static void
check_source(const char *text)
{
	static PgqSource source;
	PQconninfoOption *options;
	char	   *error = NULL;
	char		value[PGQ_VALUE_SIZE];

	pgq_conninfo = unconstify(char *, text);
	if (!pgq_source_make(&source, "10.0.0.1", 5432))
		return;
	options = PQconninfoParse(source.conninfo, &error);
	PQfreemem(error);
	if (options == NULL)
		return;					/* a keyword that libpq does not know */
	fuzz_require(strcmp(value_in(options, "host"), "10.0.0.1") == 0);
	fuzz_require(strcmp(value_in(options, "hostaddr"), "") == 0);
	fuzz_require(strcmp(value_in(options, "port"), "5432") == 0);
	fuzz_require(strcmp(value_in(options, "dbname"), "postgres") == 0);
	fuzz_require(strcmp(value_in(options, "target_session_attrs"), "primary") == 0);
	fuzz_require(strcmp(value_in(options, "password"), "") == 0);
	pgq_conninfo_get(text, "user", value, sizeof(value));
	fuzz_require(strcmp(value_in(options, "user"), value) == 0);
	PQconninfoFree(options);
}

bool
fuzz_one(const uint8_t *bytes, size_t size)
{
	char	   *text = malloc(size + 1);
	const char *why_not = NULL;
	const char *hint = NULL;
	bool		valid;

	memcpy(text, bytes, size);
	text[size] = '\0';
	valid = pgq_conninfo_valid(text, &why_not, &hint);
	fuzz_require(valid || (why_not != NULL && hint != NULL));
	if (valid)
	{
		PQconninfoOption *options = PQconninfoParse(text, NULL);

		if (options != NULL)
			check_values(text, options);
		PQconninfoFree(options);
		check_source(text);
	}
	free(text);
	return valid;
}

size_t
fuzz_seed(int number, uint8_t *bytes)
{
	static const char *const texts[] = {
		" ", "user=u", " user = 'a b' sslmode=require\tpassfile='it\\'s' ",
		"user=\\'x\\ y host=h port=1,2 password=p user=z", "options='-c a=\\\\b' dbname=''",
		"connect_timeout=10 application_name=n hostaddr=::1"
	};

	if (number >= (int) lengthof(texts))
		return 0;
	memcpy(bytes, texts[number], strlen(texts[number]));
	return strlen(texts[number]);
}

size_t
fuzz_refused(int number, uint8_t *bytes)
{
	static const char *const texts[] = {
		"postgres://h/d", "postgresql://h", "user", "=u", "user='", "user=u 'x'", "user='a"
	};
	size_t		length;

	if (number < (int) lengthof(texts))
	{
		memcpy(bytes, texts[number], strlen(texts[number]));
		return strlen(texts[number]);
	}
	if (number > (int) lengthof(texts))
		return 0;
	/* longer than any value may be: the rest of it is no keyword */
	length = 5 + PGQ_VALUE_SIZE;
	memset(bytes, 'v', length);
	memcpy(bytes, "user=", 5);
	memcpy(bytes + length, "host=x", 6);
	return length + 6;
}
