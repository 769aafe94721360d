/*
 * cmd_check.c
 *	  pg_quorum check: would a failover work now, who would win, what is wrong.
 *
 * One line for each finding: ok, WARN or FAIL, with a hint.  What was not tested is
 * said as well, so that silence never looks like success.
 */
#include "survey.h"

#include <math.h>

#define CHECK_TIMEOUT_MS	30000	/* it resolves the names of hosts */

typedef struct Report
{
	int			warnings;
	int			failures;
} Report;

/* One row for each node, from its own connection. */
static const char node_question[] =
"SELECT pg_catalog.current_setting('server_version') AS version,"
" pg_catalog.current_setting('quorum.lease_duration') AS lease,"
" pg_catalog.current_setting('max_connections') AS max_connections,"
" pg_catalog.pg_database_collation_actual_version((SELECT oid FROM pg_catalog.pg_database"
"  WHERE datname = pg_catalog.current_database())) AS collation_version,"
" (SELECT installed_version FROM pg_catalog.pg_available_extensions WHERE name = 'pg_quorum')"
"  AS objects,"
" (SELECT default_version FROM pg_catalog.pg_available_extensions WHERE name = 'pg_quorum')"
"  AS files,"
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

/* What the node finds itself; who is there and who would win is seen better from here. */
static void
check_node(const Survey *survey, const Member *m, Report *report)
{
	PGresult   *rows = query_ok(m->own->conn,
								"SELECT severity, topic, what, detail, hint FROM quorum.check()"
								" WHERE severity <> 'ok' AND topic NOT IN ('failover', 'members', 'versions')",
								0, NULL, Max(survey->spec->timeout_ms, CHECK_TIMEOUT_MS));

	if (rows == NULL)
		WARN(report, "%s: quorum.check() gives no answer - its settings are not tested", m->name);
	for (int i = 0; rows != NULL && i < PQntuples(rows); i++)
	{
		const char *detail = field(rows, i, "detail");
		const char *hint = field(rows, i, "hint");
		char		text[1024];

		/* every node would say it */
		if (strcmp(field(rows, i, "topic"), "pause") == 0 && m != survey->leader)
			continue;
		snprintf(text, sizeof(text), "%s: %s%s%s%s%s", m->name, field(rows, i, "what"),
				 detail != NULL ? " - " : "", detail != NULL ? detail : "",
				 hint != NULL ? " " : "", hint != NULL ? hint : "");
		if (strcmp(field(rows, i, "severity"), "error") == 0)
			FAIL(report, "%s", text);
		else
			WARN(report, "%s", text);
	}
	PQclear(rows);
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

/* The last step of an upgrade. */
static void
check_objects(const Survey *survey, PGresult *const *rows, Report *report)
{
	for (int i = 0; i < survey->count; i++)
	{
		const char *objects = rows[i] != NULL ? field(rows[i], 0, "objects") : NULL;
		const char *files = rows[i] != NULL ? field(rows[i], 0, "files") : NULL;

		if (objects == NULL || files == NULL || strcmp(objects, files) == 0)
			continue;
		WARN(report, "%s has pg_quorum %s, its SQL objects are those of %s - when every node has "
			 "it, ALTER EXTENSION pg_quorum UPDATE", survey->members[i].name, files, objects);
		return;
	}
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
			check_node(survey, m, report);
	}
	if (interrupted())
		return;
	check_same(survey, rows, "version", "the release", "update every node", report);
	check_same(survey, rows, "files", "the release of pg_quorum", "update every node", report);
	check_objects(survey, rows, report);
	check_same(survey, rows, "lease", "quorum.lease_duration", "set the same value everywhere",
			   report);
	check_same(survey, rows, "collation_version", "the version of the collation",
			   "indexes may be wrong after a failover; use the same operating system", report);
	check_same(survey, rows, "max_connections", "max_connections",
			   "a standby must not have less than its leader", report);
	check_clocks(survey, rows, report);
}

/* ---- what else -------------------------------------------------------------------------- */

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
	NOT_TESTED("passwords and certificates: the streams show that %s lets its followers in; whether "
			   "the others let each other in shows a switchover only, pg_hba.conf does not forbid it",
			   survey->leader ? survey->leader->name : "the leader");
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
	check_streams_from_here(survey);
	tell_untested(survey);
	printf("%d failures, %d warnings\n", report.failures, report.warnings);
	if (survey->leader == NULL)
		return EXIT_NO_LEADER;
	return report.failures + report.warnings > 0 ? EXIT_DEGRADED : EXIT_FINE;
}
