/*
 * cmd_status.c
 *	  pg_quorum status: the whole cluster on one screen, or as JSON.
 *
 * Not here: who is asked, and what follows from the answers (survey.c).
 */
#include "survey.h"

#include <math.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define BAR_CELLS 10
#define COLUMNS 9

typedef struct Table
{
	char	   *cells[MEMBERS_MAX + 1][COLUMNS];
	int			rows;
} Table;

static void
help(void)
{
	printf("%s status: every member on one screen.\n\n"
		   "Usage:\n  %s status [--watch[=SECONDS]] [--json] [connection options]\n\n"
		   "      --json             print one JSON object, keys as in docs/command.md\n"
		   "      --watch[=SECONDS]  show it again and again, every second by default\n\n"
		   COMMON_HELP
		   "\nAny member will do, also when it is not the leader. A member that does not answer\n"
		   "is shown as another one sees it, marked with *.\n"
		   "\nExit codes: 0 healthy, 1 degraded (no redundancy), 2 no leader, 3 nobody to ask.\n",
		   progname, progname);
}

/* ---- for people ------------------------------------------------------------------------- */

static char *
human_bytes(double bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
	size_t		unit = 0;

	while (bytes >= 1024 && unit < lengthof(units) - 1)
	{
		bytes /= 1024;
		unit++;
	}
	return psprintf(unit == 0 || bytes >= 100 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

static char *
human_seconds(double seconds)
{
	if (seconds < 0.9995)
		return psprintf("%.0f ms", seconds * 1000);
	if (seconds < 100)
		return psprintf("%.1f s", seconds);
	if (seconds < 6000)
		return psprintf("%.0f min", seconds / 60);
	return psprintf(seconds < 360000 ? "%.0f h" : "%.0f d", seconds / (seconds < 360000 ? 3600 : 86400));
}

static const char *
role_text(const Member *member)
{
	const char *role = member_own(member, "role");

	if (member->own == NULL)
		role = member->heard ? member_row(member, "role") : NULL;
	return role != NULL ? role : "-";
}

/* One cell for each factor of four above 1 kB: a WAL segment is seven, 256 MB are nine. */
static char *
lag_text(const Member *member)
{
	const char *bytes = member_row(member, "lag_bytes");
	const char *seconds = member_row(member, "lag_seconds");
	char		bar[BAR_CELLS + 1];
	int			cells;

	if (strcmp(role_text(member), "leader") == 0 || strcmp(member->kind, "witness") == 0)
		return pg_strdup("");
	if (bytes == NULL)
		return pg_strdup("?");
	cells = atof(bytes) <= 0 ? 0 : 1 + (int) Max(0, log2(atof(bytes) / 1024.0) / 2);
	for (int i = 0; i < BAR_CELLS; i++)
		bar[i] = i < cells ? '#' : '.';
	bar[BAR_CELLS] = '\0';
	if (seconds == NULL)
		return psprintf("%s %s", bar, human_bytes(atof(bytes)));
	return psprintf("%s %s %s", bar, human_bytes(atof(bytes)), human_seconds(atof(seconds)));
}

static char *
heard_text(const Member *member)
{
	const char *seconds = member_row(member, "last_heard_seconds");

	if (member->own != NULL)
		return pg_strdup("now");
	return seconds != NULL ? human_seconds(atof(seconds)) : pg_strdup("never");
}

/* A witness never answers here: it has no PostgreSQL. */
static bool
is_silent(const Member *member)
{
	return member->own == NULL && (strcmp(member->kind, "witness") != 0 || !member->heard);
}

static void
add_member_row(Table *table, const Member *member)
{
	char	  **cell = table->cells[table->rows++];

	cell[0] = psprintf("%s%s", member->name, is_silent(member) ? "*" : "");
	cell[1] = pg_strdup(role_text(member));
	cell[2] = pg_strdup(member->kind);
	cell[3] = pg_strdup(member->state);
	cell[4] = pg_strdup(member->timeline != NULL ? member->timeline : "-");
	cell[5] = pg_strdup(member->lsn != NULL ? member->lsn : "-");
	cell[6] = lag_text(member);
	cell[7] = heard_text(member);
	cell[8] = pg_strdup(member->reason != NULL ? member->reason : "");
}

static int
screen_width(void)
{
	struct winsize size;

	if (!isatty(STDOUT_FILENO))
		return 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 40)
		return 0;
	return size.ws_col;
}

/* Columns as wide as their longest value; the last one ends with the screen. */
static void
print_table(const Table *table)
{
	int			width[COLUMNS] = {0};
	int			screen = screen_width();

	for (int r = 0; r < table->rows; r++)
		for (int c = 0; c < COLUMNS; c++)
			width[c] = Max(width[c], (int) strlen(table->cells[r][c]));
	for (int r = 0; r < table->rows; r++)
	{
		char		line[2048];
		int			used = 0;

		for (int c = 0; c < COLUMNS && used < (int) sizeof(line); c++)
			used += snprintf(line + used, sizeof(line) - used, " %-*s", width[c] + 1,
							 table->cells[r][c]);
		used = Min(used, (int) sizeof(line) - 1);
		if (screen > 0)
			used = Min(used, screen);
		while (used > 0 && line[used - 1] == ' ')
			used--;
		printf("%.*s\n", used, line);
	}
}

static const char *
verdict(const Survey *survey)
{
	switch (survey->code)
	{
		case EXIT_FINE:
			return "healthy";
		case EXIT_DEGRADED:
			return "degraded";
		case EXIT_NO_LEADER:
			return "no leader";
		default:
			return "unknown";
	}
}

static void
print_footnotes(const Survey *survey)
{
	for (int i = 0; i < survey->count; i++)
	{
		const Member *member = &survey->members[i];
		const char *teller = field(member->teller->results[0], 0, "node_name");

		if (is_silent(member))
			printf(" * %s does not answer here; this is what %s knows of it\n", member->name, teller);
	}
	for (int i = 0; i < survey->problem_count; i++)
		printf(" ! %s\n", survey->problems[i]);
}

static void
print_survey(const Survey *survey)
{
	static const char *const titles[COLUMNS] = {"name", "role", "kind", "state", "tli", "lsn",
	"lag", "heard", "reason"};
	Table	   *table = pg_malloc0(sizeof(Table));
	char		clock[32];
	time_t		now = time(NULL);

	strftime(clock, sizeof(clock), "%Y-%m-%d %H:%M:%S", localtime(&now));
	printf(" %s: leader %s, term %s, %d voters, %d elect a leader   %s\n\n", verdict(survey),
		   survey->leader ? survey->leader->name : "none", survey->term ? survey->term : "?",
		   survey->voters, survey->quorum, clock);
	for (int c = 0; c < COLUMNS; c++)
		table->cells[0][c] = pg_strdup(titles[c]);
	table->rows = 1;
	for (int i = 0; i < survey->count; i++)
		add_member_row(table, &survey->members[i]);
	print_table(table);
	printf("\n");
	print_footnotes(survey);
	for (int r = 0; r < table->rows; r++)
		for (int c = 0; c < COLUMNS; c++)
			free(table->cells[r][c]);
	free(table);
}

/* ---- for programs ----------------------------------------------------------------------- */

static void
json_string(const char *value)
{
	if (value == NULL)
	{
		printf("null");
		return;
	}
	putchar('"');
	for (; *value != '\0'; value++)
	{
		unsigned char c = (unsigned char) *value;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < ' ')
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void
json_field(const char *key, const char *value, bool quoted)
{
	printf(", \"%s\": ", key);
	if (quoted || value == NULL)
		json_string(value);
	else
		printf("%s", value);
}

static void
json_bool(const char *key, const char *value)
{
	json_field(key, value == NULL ? NULL : is_true(value) ? "true" : "false", false);
}

static void
json_member(const Member *member)
{
	printf("{\"name\": ");
	json_string(member->name);
	json_field("node_id", member_row(member, "node_id"), false);
	json_field("kind", member->kind, true);
	json_field("role", strcmp(role_text(member), "-") == 0 ? NULL : role_text(member), true);
	json_field("state", member->state, true);
	json_field("answers", member->own != NULL ? "true" : "false", false);
	json_field("reachable", member->heard ? "true" : "false", false);
	json_field("said_by", member->own != NULL ? member->name :
			   field(member->teller->results[0], 0, "node_name"), true);
	json_field("host", member->host, true);
	json_field("port", member->pg_port, false);
	json_field("quorum_port", member_row(member, "quorum_port"), false);
	json_field("version", member_own(member, "version"), true);
	json_field("timeline", member->timeline, false);
	json_field("lsn", member->lsn, true);
	json_field("lag_bytes", member_row(member, "lag_bytes"), false);
	json_field("lag_seconds", member_row(member, "lag_seconds"), false);
	json_field("last_heard_seconds", member_row(member, "last_heard_seconds"), false);
	json_field("priority", member_row(member, "priority"), false);
	json_bool("in_sync_rule", member_row(member, "in_sync_rule"));
	json_bool("left_out", member_row(member, "left_out"));
	json_bool("electable", member_row(member, "electable"));
	json_field("reason", member->reason, true);
	printf("}");
}

static void
print_json(const Survey *survey)
{
	printf("{\"status\": \"%s\", \"exit_code\": %d", verdict(survey), (int) survey->code);
	json_field("leader", survey->leader ? survey->leader->name : NULL, true);
	json_field("term", survey->term, false);
	json_field("paused_until", survey->paused_until, true);
	printf(", \"voters\": %d, \"quorum\": %d, \"members\": [", survey->voters, survey->quorum);
	for (int i = 0; i < survey->count; i++)
	{
		printf(i > 0 ? ",\n  " : "\n  ");
		json_member(&survey->members[i]);
	}
	printf("],\n \"problems\": [");
	for (int i = 0; i < survey->problem_count; i++)
	{
		printf(i > 0 ? ", " : "");
		json_string(survey->problems[i]);
	}
	printf("],\n \"unanswered\": [");
	for (int i = 0, n = 0; i < survey->endpoints.count; i++)
	{
		const Endpoint *e = &survey->endpoints.list[i];

		if (e->error == NULL)
			continue;
		printf(n++ > 0 ? ", {\"address\": " : "{\"address\": ");
		json_string(endpoint_name(e));
		json_field("error", e->error, true);
		printf("}");
	}
	printf("]}\n");
}

/* -------------------------------------------------------------------------------------- */

static int
show(const Common *common, bool json)
{
	Survey	   *survey = survey_take(common);
	ExitCode	code = survey->code;

	if (interrupted())
		code = EXIT_INTERRUPTED;
	else if (json)
		print_json(survey);
	else if (code == EXIT_NOBODY)
		survey_report_nobody(survey);
	else
		print_survey(survey);
	survey_free(survey);
	return code;
}

static int
watch(const Common *common, bool json, int seconds)
{
	int			code = EXIT_FINE;

	while (!interrupted())
	{
		if (!json && isatty(STDOUT_FILENO))
			printf("\033[H\033[2J");
		code = show(common, json);
		fflush(stdout);
		if (ferror(stdout))
			break;
		for (int i = 0; i < seconds * 20 && !interrupted(); i++)
			pg_usleep(50 * 1000);
	}
	return code;
}

int
cmd_status(int argc, char **argv)
{
	static struct option options[] = {
		COMMON_LONG,
		{"help", no_argument, NULL, '?'},
		{"json", no_argument, NULL, 1},
		{"watch", optional_argument, NULL, 2},
		{NULL, 0, NULL, 0}
	};
	Common		common = {0};
	bool		json = false;
	int			seconds = 0;
	int			option;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0))
	{
		help();
		return EXIT_FINE;
	}
	while ((option = getopt_long(argc, argv, COMMON_SHORT, options, NULL)) != -1)
	{
		if (option == 1)
			json = true;
		else if (option == 2)
			seconds = optarg != NULL ? seconds_option("--watch", optarg, 86400) : 1;
		else if (!common_option(&common, option, optarg))
			return usage_error("status");
	}
	if (optind < argc)
	{
		pg_log_error("too many arguments (first is \"%s\")", argv[optind]);
		return usage_error("status");
	}
	return seconds > 0 ? watch(&common, json, seconds) : show(&common, json);
}
