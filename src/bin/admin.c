/*
 * admin.c
 *	  What the subcommands that call one function have in common.
 */
#include "admin.h"

bool
admin_options(Admin *admin, const AdminUsage *usage, int argc, char **argv, int *code)
{
	static struct option options[] = {
		COMMON_LONG,
		{"help", no_argument, NULL, '?'},
		{"yes", no_argument, NULL, 'y'},
		{"to", required_argument, NULL, 1},
		{"for", required_argument, NULL, 2},
		{"wait", required_argument, NULL, 2},
		{"kind", required_argument, NULL, 3},
		{"address", required_argument, NULL, 4},
		{NULL, 0, NULL, 0}
	};
	int			option;

	*code = EXIT_FINE;
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0))
	{
		printf("%s %s", progname, usage->text);
		printf("\n" COMMON_HELP);
		return false;
	}
	while ((option = getopt_long(argc, argv, "y" COMMON_SHORT, options, NULL)) != -1)
	{
		if (option == 'y')
			admin->yes = true;
		else if (option == 1)
			admin->to = optarg;
		else if (option == 2)
			admin->seconds = seconds_option("this option", optarg, 30 * 86400);
		else if (option == 3)
			admin->kind = optarg;
		else if (option == 4)
			admin->address = optarg;
		else if (!common_option(&admin->common, option, optarg))
		{
			*code = usage_error(usage->name);
			return false;
		}
	}
	if (usage->argument && optind < argc)
		admin->argument = argv[optind++];
	if (optind == argc && (admin->argument != NULL || !usage->argument))
		return true;
	if (optind < argc)
		pg_log_error("too many arguments (first is \"%s\")", argv[optind]);
	else
		pg_log_error("no name of a member given");
	*code = usage_error(usage->name);
	return false;
}

PGresult *
admin_call(PGconn *conn, const char *sql, int count, const char *const *values, int timeout_ms,
		   bool *lost)
{
	PGresult   *result = query(conn, sql, count, values, timeout_ms, NULL, NULL);

	*lost = PQstatus(conn) == CONNECTION_BAD;
	if (result == NULL || *lost)
		return NULL;
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		return result;
	if (has_sqlstate(result, "42883"))
	{
		pg_log_error("the extension in this database cannot do that yet");
		pg_log_error_hint("Install the newest release on every node, restart them, then run "
						  "ALTER EXTENSION pg_quorum UPDATE.");
	}
	else if (has_sqlstate(result, "42501"))
	{
		pg_log_error("role \"%s\" may not do that", PQuser(conn));
		pg_log_error_hint("Connect as a superuser with -U.");
	}
	else
		report_sql_error(result);
	PQclear(result);
	return NULL;
}
