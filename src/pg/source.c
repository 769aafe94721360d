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

#include "access/xlog.h"
#include "access/xlog_internal.h"

#include "conninfo.h"
#include "guc.h"
#include "program.h"
#include "slots.h"
#include "source.h"

/* What a line tells is its first word: the order is nobody's. */
#define LEADS_SQL \
	"SELECT 'leads ' || pg_walfile_name(pg_current_wal_lsn()) || ' ' || timeline_id" \
	" FROM pg_control_checkpoint()"
#define TABLESPACES_SQL \
	" UNION ALL SELECT 'tablespace ' || oid || ' ' || pg_tablespace_location(oid)" \
	" FROM pg_tablespace WHERE oid >= 16384"
#define HISTORY_SQL \
	" UNION ALL SELECT 'history ' || replace(convert_from(pg_read_binary_file('pg_wal/' ||" \
	" left(pg_walfile_name(pg_current_wal_lsn()), 8) || '.history', 0, 65535, true), 'LATIN1')," \
	" E'\\n', E'\\nhistory ')"

static bool copy_options(PgqSource *source, const char *options);
static void append_option(PgqSource *source, const char *keyword, const char *value);
static bool ask(const PgqSource *source, const char *sql, char *line);
static void note_line(const char *line, void *arg);
static void note_answer(const char *line, void *arg);

/* What psql says: an answer or a complaint. */
typedef struct Answer
{
	PgqSourceFacts *facts;
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

	/*
	 * pg_rewind lists files with a query that looks costly enough to be compiled for a
	 * second.  The gate of a new leader may wait for just this node: it reads files there,
	 * not rows, and is served before the gate opens (W1).
	 */
	append_option(source, "options",
				  "-c statement_timeout=0 -c idle_session_timeout=0 -c jit=off"
				  " -c quorum.read_consistency=local");
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
pgq_source_ask(const PgqSource *source, PgqSourceFacts *facts, char *why)
{
	Answer		answer = {.facts = facts, .why = why};
	char		sql[1024];
	const char *arguments[] = {"-XAtqw", "-d", source->conninfo, "-c", sql, NULL};
	bool		answered;

	snprintf(sql, sizeof(sql), LEADS_SQL "%s%s", facts->tablespace ? TABLESPACES_SQL : "",
			 facts->history ? HISTORY_SQL : "");
	why[0] = '\0';
	facts->term = 0;
	if (facts->history)
		facts->history[0] = '\0';
	answered = pgq_program_run("psql", arguments, source->secret[0] != '\0' ? source->secret : NULL,
							   note_answer, &answer);
	if (!answered || facts->term == 0)
	{
		if (why[0] == '\0')
			strlcpy(why, "the leader could not be asked", QUORUM_REASON_SIZE);
		return PGQ_SOURCE_SILENT;
	}
	return facts->checkpoint_term == facts->term ? PGQ_SOURCE_LEADS : PGQ_SOURCE_NOT_READY;
}

bool
pgq_source_has_wal(const PgqSource *source, TimeLineID tli, TimeLineID other_tli, XLogRecPtr lsn)
{
	char		why[QUORUM_REASON_SIZE] = "";
	char		segment[MAXFNAMELEN];
	char		other[MAXFNAMELEN];
	char		sql[300];
	XLogSegNo	number;

	XLByteToSeg(lsn, number, wal_segment_size);
	XLogFileName(segment, tli, number, wal_segment_size);
	XLogFileName(other, other_tli, number, wal_segment_size);

	snprintf(sql, sizeof(sql), "SELECT ((pg_stat_file('pg_wal/%s', true)).size IS NOT NULL"
			 " OR (pg_stat_file('pg_wal/%s', true)).size IS NOT NULL)::int", segment, other);
	return ask(source, sql, why) && strcmp(why, "1") == 0;
}

void
pgq_source_renew_slot(const PgqSource *source, QuorumNodeId id)
{
	char		why[QUORUM_REASON_SIZE] = "";
	char		name[NAMEDATALEN];
	char		sql[256];

	pgq_slot_name(id, name);
	snprintf(sql, sizeof(sql), "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
			 " WHERE slot_name = '%s' AND NOT active AND wal_status = 'lost'", name);
	if (!ask(source, sql, why))
		ereport(LOG,
				(errmsg("quorum: the slot \"%s\" on the leader has lost its WAL and could not be dropped: %s",
						name, why)));
}

/* line: the last one of the answer, QUORUM_REASON_SIZE bytes. */
static bool
ask(const PgqSource *source, const char *sql, char *line)
{
	const char *arguments[] = {"-XAtqw", "-d", source->conninfo, "-c", sql, NULL};

	return pgq_program_run("psql", arguments, source->secret[0] != '\0' ? source->secret : NULL,
						   note_line, line);
}

static void
note_line(const char *line, void *arg)
{
	strlcpy(arg, line, QUORUM_REASON_SIZE);
}

static void
note_answer(const char *line, void *arg)
{
	Answer	   *answer = arg;
	PgqSourceFacts *facts = answer->facts;
	unsigned int current;
	unsigned int checkpoint;

	if (sscanf(line, "leads %8X%*s %u", &current, &checkpoint) == 2)
	{
		facts->term = current;
		facts->checkpoint_term = checkpoint;
	}
	else if (strncmp(line, "tablespace ", 11) == 0 && facts->tablespace)
		facts->tablespace(line + 11, facts->tablespace_arg);
	else if (strncmp(line, "history ", 8) == 0 && facts->history)
	{
		strlcat(facts->history, line + 8, PGQ_SOURCE_HISTORY_SIZE);
		strlcat(facts->history, "\n", PGQ_SOURCE_HISTORY_SIZE);
	}
	else if (answer->why[0] == '\0')
		strlcpy(answer->why, line, QUORUM_REASON_SIZE);
}

/* All of them but the password, which is passed on where others cannot read it. */
static bool
copy_options(PgqSource *source, const char *options)
{
	char		keyword[PGQ_KEYWORD_SIZE];
	char		value[PGQ_VALUE_SIZE];

	while (isspace((unsigned char) *options))
		options++;
	while (*options != '\0')
	{
		if (!pgq_conninfo_next(&options, keyword, value))
			return false;
		if (strcmp(keyword, "password") != 0)
			append_option(source, keyword, value);
		else if (strlcpy(source->secret, value, sizeof(source->secret)) >= sizeof(source->secret))
			return false;
	}
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
