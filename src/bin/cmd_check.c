/*
 * cmd_check.c
 *	  pg_quorum check: would a failover work now, who would win, what is wrong.
 *
 * One line for each finding: ok, WARN or FAIL, with a hint.  What was not tested is
 * said as well, so that silence never looks like success.
 */
#include "survey.h"

#include <math.h>

typedef struct Report
{
	int			warnings;
	int			failures;
} Report;

/* One row for each node, from its own connection. */
static const char node_question[] =
"SELECT pg_catalog.current_setting('server_version') AS version,"
" pg_catalog.current_setting('quorum.lease_duration') AS lease,"
" pg_catalog.current_setting('quorum.death_proof') AS death_proof,"
" pg_catalog.current_setting('quorum.allow_local_commit') AS allow_local_commit,"
" pg_catalog.current_setting('max_wal_senders') AS max_wal_senders,"
" pg_catalog.current_setting('max_replication_slots') AS max_replication_slots,"
" pg_catalog.current_setting('max_connections') AS max_connections,"
" pg_catalog.current_setting('data_checksums') AS checksums,"
" pg_catalog.current_setting('wal_log_hints') AS wal_log_hints,"
" pg_catalog.pg_database_collation_actual_version((SELECT oid FROM pg_catalog.pg_database"
"  WHERE datname = pg_catalog.current_database())) AS collation_version,"
" (SELECT pg_catalog.string_agg(datname, ', ') FROM pg_catalog.pg_database WHERE datcollversion"
"  <> pg_catalog.pg_database_collation_actual_version(oid)) AS stale_collations,"
" (SELECT pg_catalog.string_agg(name, ', ') FROM pg_catalog.pg_settings WHERE pending_restart)"
"  AS pending,"
" (SELECT pg_catalog.string_agg(slot_name || ' (' || wal_status || ')', ', ') FROM"
"  pg_catalog.pg_replication_slots WHERE wal_status IN ('lost', 'unreserved')) AS bad_slots,"
" extract(epoch FROM pg_catalog.clock_timestamp())::float8 AS clock";

static void
help(void)
{
	printf("%s check: would a failover work now, who would win, what is wrong.\n\n"
		   "Usage:\n  %s check [connection options]\n\n" COMMON_HELP
		   "\nExit codes: 0 all is well, 1 something is wrong, 2 no leader, 3 nobody to ask.\n",
		   progname, progname);
}

static void pg_attribute_printf(2, 3)
say(const char *level, const char *format,...)
{
	va_list		args;

	printf("%-5s", level);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

#define OK(...) say("ok", __VA_ARGS__)
#define NOT_TESTED(...) say("--", __VA_ARGS__)
#define WARN(report, ...) ((report)->warnings++, say("WARN", __VA_ARGS__))
#define FAIL(report, ...) ((report)->failures++, say("FAIL", __VA_ARGS__))

/* ---- who would win ---------------------------------------------------------------------- */

static double
lsn_number(const char *lsn)
{
	unsigned int high;
	unsigned int low;

	if (lsn == NULL || sscanf(lsn, "%X/%X", &high, &low) != 2)
		return -1;
	return high * 4294967296.0 + low;
}

static int
number_of(const Member *member, const char *column)
{
	const char *value = member_row(member, column);

	return value != NULL ? atoi(value) : 0;
}

/* More WAL wins, then priority; what is on its way may still change it. */
static const Member *
would_win(const Survey *survey)
{
	const Member *best = NULL;

	for (int i = 0; i < survey->count; i++)
	{
		const Member *m = &survey->members[i];
		double		more;

		if (m == survey->leader || !m->heard || !is_true(member_row(m, "electable")))
			continue;
		if (best == NULL)
		{
			best = m;
			continue;
		}
		more = number_of(m, "timeline") - number_of(best, "timeline");
		if (more == 0)
			more = lsn_number(m->lsn) - lsn_number(best->lsn);
		if (more == 0)
			more = number_of(m, "priority") - number_of(best, "priority");
		if (more > 0)
			best = m;
	}
	return best;
}

static void
check_failover(const Survey *survey, Report *report)
{
	const Member *winner = would_win(survey);

	if (survey->leader == NULL)
		FAIL(report, "no leader serves - see %s status", progname);
	else
		OK("%s leads in term %s", survey->leader->name, survey->term);
	if (survey->voters < 3)
		WARN(report, "%d voters cannot lose one - join another node", survey->voters);
	else if (survey->leader != NULL && survey->voters_heard - 1 < survey->quorum)
		FAIL(report, "%d of %d voters are there: without the leader nobody is elected - bring the "
			 "others back", survey->voters_heard, survey->voters);
	if (survey->leader == NULL)
		return;
	if (winner != NULL && survey->voters_heard - 1 >= survey->quorum)
		OK("a failover would work now; %s would win (WAL to %s, priority %d)", winner->name,
		   winner->lsn ? winner->lsn : "?", number_of(winner, "priority"));
	else
		FAIL(report, "a failover would not work now");
}

static void
check_members(const Survey *survey, Report *report)
{
	for (int i = 0; i < survey->count; i++)
	{
		const Member *m = &survey->members[i];
		const char *reason = m->reason ? m->reason : "no reason known";

		if (!m->heard)
			FAIL(report, "%s is unreachable: %s - start it, or remove it", m->name, reason);
		else if (m->own == NULL && strcmp(m->kind, "witness") != 0)
			WARN(report, "%s could not be asked from here: %s - its settings are not tested",
				 m->name, reason);
		else if (m != survey->leader && m->own != NULL && strcmp(m->state, "streams") != 0)
			FAIL(report, "%s %s: %s", m->name, m->state, reason);
		else if (m != survey->leader && strcmp(m->kind, "voter") == 0 &&
				 !is_true(member_row(m, "electable")))
			FAIL(report, "%s could not take over: %s", m->name,
				 member_row(m, "reason") ? member_row(m, "reason") : "no reason known");
		else if (m->own != NULL && m != survey->leader)
			OK("%s streams, %s bytes behind", m->name,
			   member_row(m, "lag_bytes") ? member_row(m, "lag_bytes") : "?");
	}
}

/* ---- each node -------------------------------------------------------------------------- */

static void
check_node(const Member *m, const PGresult *row, int members, Report *report)
{
	int			streams = Min(atoi(field(row, 0, "max_wal_senders")),
							  atoi(field(row, 0, "max_replication_slots")));

	if (streams < members)
		FAIL(report, "%s: max_wal_senders or max_replication_slots is %d, too few for %d members - "
			 "set both to 10", m->name, streams, members);
	if (strcmp(field(row, 0, "checksums"), "on") != 0 &&
		strcmp(field(row, 0, "wal_log_hints"), "on") != 0)
		FAIL(report, "%s: neither data checksums nor wal_log_hints - set wal_log_hints = on",
			 m->name);
	if (field(row, 0, "pending") != NULL)
		WARN(report, "%s: changed, but in force only after a restart: %s", m->name,
			 field(row, 0, "pending"));
	if (field(row, 0, "bad_slots") != NULL)
		FAIL(report, "%s: WAL is gone, or about to go, for slots %s - max_slot_wal_keep_size",
			 m->name, field(row, 0, "bad_slots"));
	if (field(row, 0, "stale_collations") != NULL)
		WARN(report, "%s: the collations of %s have another version than when it was made - "
			 "REINDEX, then ALTER DATABASE … REFRESH COLLATION VERSION", m->name,
			 field(row, 0, "stale_collations"));
	if (is_true(field(row, 0, "allow_local_commit")) ||
		strcmp(field(row, 0, "allow_local_commit"), "on") == 0)
		WARN(report, "%s: quorum.allow_local_commit is on - such commits can be lost", m->name);
}

/* The same on every node, or else said with both values. */
static void
check_same(const Survey *survey, PGresult *const *rows, const char *column, const char *what,
		   const char *hint, Report *report)
{
	int			first = -1;

	for (int i = 0; i < survey->count; i++)
	{
		const char *value = field(rows[i], 0, column);

		if (value == NULL)
			continue;
		if (first < 0)
			first = i;
		else if (strcmp(value, field(rows[first], 0, column)) != 0)
		{
			WARN(report, "%s differs: %s on %s, %s on %s - %s", what,
				 field(rows[first], 0, column), survey->members[first].name, value,
				 survey->members[i].name, hint);
			return;
		}
	}
	if (first >= 0)
		OK("%s is the same on every node that answers: %s", what, field(rows[first], 0, column));
}

/* Asked one after another, so that a slow answer looks like a clock that is ahead. */
static void
check_clocks(const Survey *survey, PGresult *const *rows, Report *report)
{
	double		low = 0;
	double		high = 0;

	for (int i = 0; i < survey->count; i++)
	{
		const char *clock = field(rows[i], 0, "clock");

		if (clock == NULL)
			continue;
		low = low == 0 ? atof(clock) : Min(low, atof(clock));
		high = Max(high, atof(clock));
	}
	if (high - low > 5)
		WARN(report, "clocks differ by up to %.0f s - run a time service; only logs suffer",
			 high - low);
	else
		OK("clocks agree within %.1f s", high - low);
}

static void
check_nodes(const Survey *survey, Report *report)
{
	PGresult   *rows[MEMBERS_MAX] = {NULL};

	for (int i = 0; i < survey->count && !interrupted(); i++)
	{
		const Member *m = &survey->members[i];

		if (m->own == NULL)
			continue;
		rows[i] = query_ok(m->own->conn, node_question, 0, NULL, survey->spec->timeout_ms);
		if (rows[i] != NULL)
			check_node(m, rows[i], survey->count, report);
	}
	if (interrupted())
		return;
	check_same(survey, rows, "version", "the release", "update every node", report);
	check_same(survey, rows, "lease", "quorum.lease_duration", "set the same value everywhere",
			   report);
	check_same(survey, rows, "collation_version", "the version of the collation",
			   "indexes may be wrong after a failover; use the same operating system", report);
	check_same(survey, rows, "max_connections", "max_connections",
			   "a standby must not have less than its leader", report);
	check_clocks(survey, rows, report);
}

/* ---- what else -------------------------------------------------------------------------- */

/* Findings of the extension itself, if this release has them. */
static void
check_extension(const Survey *survey, Report *report)
{
	PGconn	   *conn = survey->reference->conn;
	PGresult   *rows = query_ok(conn, "SELECT pg_catalog.to_regproc('quorum.check') AS f", 0, NULL,
								survey->spec->timeout_ms);
	bool		there = rows != NULL && field(rows, 0, "f") != NULL;

	PQclear(rows);
	if (!there)
		return;
	rows = query_ok(conn, "SELECT * FROM quorum.check()", 0, NULL, 30000);
	for (int i = 0; rows != NULL && i < PQntuples(rows); i++)
	{
		const char *level = field(rows, i, "level");

		if (level == NULL || pg_strcasecmp(level, "ok") == 0)
			OK("%s", field(rows, i, "finding"));
		else if (pg_strncasecmp(level, "fail", 4) == 0)
			FAIL(report, "%s - %s", field(rows, i, "finding"), field(rows, i, "hint"));
		else
			WARN(report, "%s - %s", field(rows, i, "finding"), field(rows, i, "hint"));
	}
	PQclear(rows);
}

/* Would a stream be let in?  From this host and as this role only, which is said. */
static void
check_streams_from_here(const Survey *survey)
{
	static Endpoints endpoints;

	spec_set(survey->spec, "replication", "true");
	for (int i = 0; i < survey->count; i++)
	{
		if (survey->members[i].own != NULL && survey->members[i].pg_port != NULL)
			endpoints_add(&endpoints, survey->members[i].host, survey->members[i].pg_port);
	}
	endpoints_ask(&endpoints, survey->spec, "IDENTIFY_SYSTEM");
	for (int i = 0; i < endpoints.count && !interrupted(); i++)
	{
		const Endpoint *e = &endpoints.list[i];

		if (e->error == NULL)
			OK("%s lets a stream in from this host as role %s", endpoint_name(e), PQuser(e->conn));
		else
			NOT_TESTED("whether %s lets streams in could not be tested from here: %s",
					   endpoint_name(e), e->error);
	}
	spec_set(survey->spec, "replication", NULL);
}

static void
tell_untested(const Survey *survey)
{
	NOT_TESTED("pg_hba.conf: the streams show that %s lets its followers in; whether the others "
			   "let each other in shows a switchover only",
			   survey->leader ? survey->leader->name : "the leader");
	NOT_TESTED("free disk space is not tested: no server tells it");
}

int
cmd_check(int argc, char **argv)
{
	static struct option options[] = {
		COMMON_LONG,
		{"help", no_argument, NULL, '?'},
		{NULL, 0, NULL, 0}
	};
	Common		common = {0};
	Report		report = {0};
	Survey	   *survey;
	int			option;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0))
	{
		help();
		return EXIT_FINE;
	}
	while ((option = getopt_long(argc, argv, COMMON_SHORT, options, NULL)) != -1)
	{
		if (!common_option(&common, option, optarg))
			return usage_error("check");
	}
	if (optind < argc)
	{
		pg_log_error("too many arguments (first is \"%s\")", argv[optind]);
		return usage_error("check");
	}
	survey = survey_take(&common);
	if (interrupted())
		return EXIT_INTERRUPTED;
	if (survey->reference == NULL)
	{
		survey_report_nobody(survey);
		return EXIT_NOBODY;
	}
	check_failover(survey, &report);
	check_members(survey, &report);
	check_nodes(survey, &report);
	check_extension(survey, &report);
	check_streams_from_here(survey);
	tell_untested(survey);
	printf("%d failures, %d warnings\n", report.failures, report.warnings);
	if (survey->leader == NULL)
		return EXIT_NO_LEADER;
	return report.failures + report.warnings > 0 ? EXIT_DEGRADED : EXIT_FINE;
}
