/*
 * cmd_uri.c
 *	  pg_quorum uri: the connection string for applications.
 */
#include "survey.h"

#include <ctype.h>

typedef struct UriOptions
{
	const char *format;			/* uri, conninfo, jdbc */
	const char *database;		/* of the application */
	const char *user;			/* of the application; NULL = not named */
	bool		read_only;
} UriOptions;

static void
help(void)
{
	printf("%s uri: print the connection string for applications.\n\n"
		   "Usage:\n  %s uri [OPTION]... [connection options]\n\n"
		   "      --database=NAME    database of the application (default: the one asked)\n"
		   "      --user=NAME        role of the application (default: not named)\n"
		   "      --format=FORMAT    uri (default), conninfo or jdbc\n"
		   "      --read-only        for reads: standbys first, which may be behind\n\n"
		   COMMON_HELP
		   "\nIt names every member with data, the leader first, and no password. Clients try\n"
		   "them in turn and stay where they can write.\n", progname, progname);
}

static void
append_percent(PQExpBuffer text, const char *value)
{
	for (; *value != '\0'; value++)
	{
		if (isalnum((unsigned char) *value) || strchr("-._~", *value) != NULL)
			appendPQExpBufferChar(text, *value);
		else
			appendPQExpBuffer(text, "%%%02X", (unsigned char) *value);
	}
}

static void
append_quoted(PQExpBuffer text, const char *keyword, const char *value)
{
	appendPQExpBuffer(text, " %s='", keyword);
	for (; *value != '\0'; value++)
	{
		if (*value == '\'' || *value == '\\')
			appendPQExpBufferChar(text, '\\');
		appendPQExpBufferChar(text, *value);
	}
	appendPQExpBufferChar(text, '\'');
}

/* The members with data, the leader first; NULL-terminated. */
static int
order(const Survey *survey, const Member **list)
{
	int			n = 0;

	if (survey->leader != NULL)
		list[n++] = survey->leader;
	for (int i = 0; i < survey->count; i++)
	{
		const Member *member = &survey->members[i];

		if (member != survey->leader && member->pg_port != NULL &&
			strcmp(member->kind, "witness") != 0)
			list[n++] = member;
	}
	return n;
}

static void
print_conninfo(const Survey *survey, const UriOptions *wanted)
{
	const Member *list[MEMBERS_MAX];
	int			count = order(survey, list);
	PQExpBuffer text = createPQExpBuffer();

	appendPQExpBufferStr(text, "host=");
	for (int i = 0; i < count; i++)
		appendPQExpBuffer(text, "%s%s", i > 0 ? "," : "", list[i]->host);
	appendPQExpBufferStr(text, " port=");
	for (int i = 0; i < count; i++)
		appendPQExpBuffer(text, "%s%s", i > 0 ? "," : "", list[i]->pg_port);
	append_quoted(text, "dbname", wanted->database);
	if (wanted->user != NULL)
		append_quoted(text, "user", wanted->user);
	appendPQExpBuffer(text, " target_session_attrs=%s connect_timeout=3",
					  wanted->read_only ? "prefer-standby" : "read-write");
	puts(text->data);
	destroyPQExpBuffer(text);
}

static void
print_uri(const Survey *survey, const UriOptions *wanted)
{
	bool		jdbc = strcmp(wanted->format, "jdbc") == 0;
	const Member *list[MEMBERS_MAX];
	int			count = order(survey, list);
	PQExpBuffer text = createPQExpBuffer();

	appendPQExpBufferStr(text, jdbc ? "jdbc:postgresql://" : "postgresql://");
	if (wanted->user != NULL && !jdbc)
	{
		append_percent(text, wanted->user);
		appendPQExpBufferChar(text, '@');
	}
	for (int i = 0; i < count; i++)
		appendPQExpBuffer(text, strchr(list[i]->host, ':') ? "%s[%s]:%s" : "%s%s:%s",
						  i > 0 ? "," : "", list[i]->host, list[i]->pg_port);
	appendPQExpBufferChar(text, '/');
	append_percent(text, wanted->database);
	if (jdbc)
		appendPQExpBuffer(text, "?targetServerType=%s&connectTimeout=3",
						  wanted->read_only ? "preferSecondary" : "primary");
	else
		appendPQExpBuffer(text, "?target_session_attrs=%s&connect_timeout=3",
						  wanted->read_only ? "prefer-standby" : "read-write");
	if (jdbc && wanted->user != NULL)
	{
		appendPQExpBufferStr(text, "&user=");
		append_percent(text, wanted->user);
	}
	puts(text->data);
	destroyPQExpBuffer(text);
}

static int
print_it(const Common *common, UriOptions *wanted)
{
	Survey	   *survey = survey_take(common);

	if (interrupted())
		return EXIT_INTERRUPTED;
	if (survey->reference == NULL)
	{
		survey_report_nobody(survey);
		return EXIT_NOBODY;
	}
	if (survey->leader == NULL)
		pg_log_warning("no leader serves at the moment; the string names all members all the same");
	if (wanted->database == NULL)
		wanted->database = spec_value(survey->spec, "dbname");
	if (strcmp(wanted->format, "conninfo") == 0)
		print_conninfo(survey, wanted);
	else
		print_uri(survey, wanted);
	survey_free(survey);
	return EXIT_FINE;
}

int
cmd_uri(int argc, char **argv)
{
	static struct option options[] = {
		COMMON_LONG,
		{"help", no_argument, NULL, '?'},
		{"database", required_argument, NULL, 1},
		{"user", required_argument, NULL, 2},
		{"format", required_argument, NULL, 3},
		{"read-only", no_argument, NULL, 4},
		{NULL, 0, NULL, 0}
	};
	Common		common = {0};
	UriOptions	wanted = {"uri", NULL, NULL, false};
	int			option;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0))
	{
		help();
		return EXIT_FINE;
	}
	while ((option = getopt_long(argc, argv, COMMON_SHORT, options, NULL)) != -1)
	{
		if (option == 1)
			wanted.database = optarg;
		else if (option == 2)
			wanted.user = optarg;
		else if (option == 3)
			wanted.format = optarg;
		else if (option == 4)
			wanted.read_only = true;
		else if (!common_option(&common, option, optarg))
			return usage_error("uri");
	}
	if (optind < argc)
	{
		pg_log_error("too many arguments (first is \"%s\")", argv[optind]);
		return usage_error("uri");
	}
	if (strcmp(wanted.format, "uri") != 0 && strcmp(wanted.format, "conninfo") != 0 &&
		strcmp(wanted.format, "jdbc") != 0)
	{
		pg_log_error("there is no format \"%s\"", wanted.format);
		pg_log_error_hint("Use uri, conninfo or jdbc.");
		return usage_error("uri");
	}
	return print_it(&common, &wanted);
}
