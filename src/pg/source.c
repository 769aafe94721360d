/*
 * source.c
 *	  The leader as client programs reach it: connection string, and whether it leads.
 *
 * Not here: what is fetched from it (rewind.c), nor who it is (the worker, journal.c).
 *
 * Rules: H70 (never a deposed source), H71 (no timeouts of the source), H46.
 */
#include "postgres.h"

#include <ctype.h>

#include "guc.h"
#include "program.h"
#include "source.h"

#define ASK_SQL "SELECT pg_walfile_name(pg_current_wal_lsn()), timeline_id FROM pg_control_checkpoint()"

static bool copy_options(PgqSource *source, const char *options);
static bool read_option(const char **text, char *keyword, size_t keyword_size,
						char *value, size_t value_size);
static void append_option(PgqSource *source, const char *keyword, const char *value);
static bool ask(const PgqSource *source, const char *sql, PgqProgramLine line, void *arg);
static void note_answer(const char *line, void *arg);
static void note_history(const char *line, void *arg);

/* What psql says: an answer or a complaint. */
typedef struct Answer
{
	QuorumTerm	term;
	QuorumTerm	checkpoint_term;
	char	   *text;			/* of a history file */
	char	   *why;
} Answer;

bool
pgq_source_make(PgqSource *source, const char *host, uint16 port)
{
	char		number[16];

	memset(source, 0, sizeof(*source));
	append_option(source, "connect_timeout", "10");
	append_option(source, "keepalives_idle", "5");
	append_option(source, "keepalives_interval", "2");
	append_option(source, "keepalives_count", "3");
	append_option(source, "tcp_user_timeout", "10000");
	append_option(source, "options", "-c statement_timeout=0 -c idle_session_timeout=0");
	if (!copy_options(source, pgq_conninfo ? pgq_conninfo : ""))
		return false;

	/* the last of two equal keywords counts */
	append_option(source, "host", host);
	append_option(source, "hostaddr", "");
	snprintf(number, sizeof(number), "%u", port);
	append_option(source, "port", number);
	append_option(source, "dbname", "postgres");
	append_option(source, "application_name", "pg_quorum");
	append_option(source, "target_session_attrs", "primary");
	return strlen(source->conninfo) < sizeof(source->conninfo) - 1;
}

PgqSourceAnswer
pgq_source_ask(const PgqSource *source, QuorumTerm *term, char *why)
{
	Answer		answer = {.why = why};

	why[0] = '\0';
	if (!ask(source, ASK_SQL, note_answer, &answer) || answer.term == 0)
	{
		if (why[0] == '\0')
			strlcpy(why, "the leader could not be asked", QUORUM_REASON_SIZE);
		return PGQ_SOURCE_SILENT;
	}
	*term = answer.term;
	return answer.checkpoint_term == answer.term ? PGQ_SOURCE_LEADS : PGQ_SOURCE_NOT_READY;
}

bool
pgq_source_read_history(const PgqSource *source, TimeLineID tli, char *text, char *why)
{
	Answer		answer = {.why = why, .text = text};
	char		sql[128];

	why[0] = '\0';
	text[0] = '\0';
	snprintf(sql, sizeof(sql),
			 "SELECT convert_from(pg_read_binary_file('pg_wal/%08X.history'), 'LATIN1')", tli);
	if (ask(source, sql, note_history, &answer))
		return true;
	strlcpy(why, text[0] != '\0' ? text : "the leader could not be asked", QUORUM_REASON_SIZE);
	why[strcspn(why, "\n")] = '\0';
	return false;
}

static bool
ask(const PgqSource *source, const char *sql, PgqProgramLine line, void *arg)
{
	const char *arguments[] = {"-XAtqw", "-F", " ", "-d", source->conninfo, "-c", sql, NULL};

	return pgq_program_run("psql", arguments, source->secret[0] != '\0' ? source->secret : NULL,
						   line, arg);
}

static void
note_answer(const char *line, void *arg)
{
	Answer	   *answer = arg;
	unsigned int current;
	unsigned int checkpoint;

	if (sscanf(line, "%8X%*s %u", &current, &checkpoint) == 2)
	{
		answer->term = current;
		answer->checkpoint_term = checkpoint;
	}
	else if (answer->why[0] == '\0')
		strlcpy(answer->why, line, QUORUM_REASON_SIZE);
}

static void
note_history(const char *line, void *arg)
{
	Answer	   *answer = arg;

	strlcat(answer->text, line, PGQ_SOURCE_HISTORY_SIZE);
	strlcat(answer->text, "\n", PGQ_SOURCE_HISTORY_SIZE);
}

/* All of them but the password, which is passed on where others cannot read it. */
static bool
copy_options(PgqSource *source, const char *options)
{
	char		keyword[64];
	char		value[1024];

	while (isspace((unsigned char) *options))
		options++;
	while (*options != '\0')
	{
		if (!read_option(&options, keyword, sizeof(keyword), value, sizeof(value)))
			return false;
		if (strcmp(keyword, "password") == 0)
			strlcpy(source->secret, value, sizeof(source->secret));
		else
			append_option(source, keyword, value);
	}
	return true;
}

/* One "keyword = value" as libpq reads it, and the white space behind it. */
static bool
read_option(const char **text, char *keyword, size_t keyword_size, char *value, size_t value_size)
{
	const char *c = *text;
	size_t		length = 0;
	bool		quoted;

	while (*c != '\0' && *c != '=' && !isspace((unsigned char) *c) && length + 1 < keyword_size)
		keyword[length++] = *c++;
	keyword[length] = '\0';
	while (isspace((unsigned char) *c))
		c++;
	if (length == 0 || *c++ != '=')
		return false;
	while (isspace((unsigned char) *c))
		c++;

	quoted = *c == '\'';
	if (quoted)
		c++;
	for (length = 0; *c != '\0' && length + 1 < value_size; c++)
	{
		if (quoted ? *c == '\'' : isspace((unsigned char) *c))
			break;
		if (*c == '\\' && c[1] != '\0')
			c++;
		value[length++] = *c;
	}
	value[length] = '\0';
	if (quoted && *c++ != '\'')
		return false;
	while (isspace((unsigned char) *c))
		c++;
	*text = c;
	return true;
}

static void
append_option(PgqSource *source, const char *keyword, const char *value)
{
	char		text[2200];
	size_t		length;

	length = snprintf(text, sizeof(text), "%s%s='", source->conninfo[0] != '\0' ? " " : "",
					  keyword);
	for (; *value != '\0' && length + 4 < sizeof(text); value++)
	{
		if (*value == '\'' || *value == '\\')
			text[length++] = '\\';
		text[length++] = *value;
	}
	text[length++] = '\'';
	text[length] = '\0';
	strlcat(source->conninfo, text, sizeof(source->conninfo));
}
