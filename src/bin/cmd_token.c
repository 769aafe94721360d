/*
 * cmd_token.c
 *	  pg_quorum token: tells how another host can join.
 */
#include "setup.h"

#include <unistd.h>

#include "token.h"

static void
help(void)
{
	printf("%s token: print the line with which another host joins.\n\n"
		   "Usage:\n  %s token [-D DIRECTORY] [--token-file=FILE] [connection options]\n\n"
		   "      --token-file=FILE  write the token there, readable by you only, instead of\n"
		   "                         printing it\n\n"
		   COMMON_HELP
		   "\nWhoever has the token can join the cluster: treat it like a password.\n"
		   "Run it as the owner of the server, on a host that is a member.\n", progname, progname);
}

/* Lists of hosts and ports of the members with data. */
static bool
fill_hosts(Token *token, PGconn *conn)
{
	PGresult   *rows = query_ok(conn, "SELECT pg_catalog.string_agg(host, ',' ORDER BY role = "
								"'leader' DESC, node_id) AS hosts, pg_catalog.string_agg("
								"pg_port::text, ',' ORDER BY role = 'leader' DESC, node_id) AS ports"
								" FROM quorum.members WHERE pg_port IS NOT NULL", 0, NULL, 10000);

	if (rows == NULL)
		return false;
	if (field(rows, 0, "hosts") == NULL)
	{
		pg_log_error("this server is no member of a cluster");
		pg_log_error_hint("Run \"%s init\" first.", progname);
		return false;
	}
	token->hosts = pg_strdup(field(rows, 0, "hosts"));
	token->ports = pg_strdup(field(rows, 0, "ports"));
	PQclear(rows);
	return true;
}

static bool
fill_secrets(Token *token, PGconn *conn, const char *directory)
{
	PGresult   *rows = query_ok(conn, "SELECT pg_catalog.current_setting('quorum.secret_file') AS f,"
								" pg_catalog.current_setting('quorum.conninfo') AS c,"
								" pg_catalog.current_setting('data_directory') AS d",
								0, NULL, 10000);
	const char *file;
	PQconninfoOption *options;

	if (rows == NULL)
		return false;
	file = field(rows, 0, "f");
	if (directory == NULL)
		directory = field(rows, 0, "d");
	if (file[0] != '/')
		file = psprintf("%s/%s", directory, file);
	token->secret = server_is_local(conn, directory) ? file_read(file) : NULL;
	if (token->secret == NULL)
	{
		pg_log_error("the secret of the cluster is not on this host, in \"%s\"", file);
		pg_log_error_hint("Run this on the host of a member, as the owner of the server, with -D.");
		return false;
	}
	token->conninfo = pg_strdup(field(rows, 0, "c"));
	options = PQconninfoParse(token->conninfo, NULL);
	for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
	{
		if (strcmp(o->keyword, "user") == 0 && o->val != NULL)
			token->user = pg_strdup(o->val);
	}
	if (token->user == NULL)
		token->user = pg_strdup(PQuser(conn));
	token->password = passfile_password(directory, token->user);
	PQclear(rows);
	return true;
}

bool
print_join_line(PGconn *conn, const char *directory, const char *token_file)
{
	Token		token = {0};
	char	   *text;

	token.dbname = pg_strdup(PQdb(conn));
	if (!fill_hosts(&token, conn) || !fill_secrets(&token, conn, directory))
		return false;
	text = token_encode(&token);
	if (token_file != NULL)
	{
		file_write(token_file, psprintf("%s\n", text));
		printf("On another host, with this file copied there:\n\n"
			   "  %s join -D DIRECTORY --name=NAME --address=HOST:PORT @%s\n\n", progname,
			   token_file);
		return true;
	}
	printf("On another host, as the user that shall own the server there:\n\n"
		   "  %s join -D DIRECTORY --name=NAME --address=HOST:PORT %s\n\n"
		   "The token is a secret: whoever has it can join the cluster. It can also come from\n"
		   "a file (@FILE), standard input (-) or PG_QUORUM_TOKEN.\n", progname, text);
	return true;
}

int
cmd_token(int argc, char **argv)
{
	static struct option options[] = {
		COMMON_LONG,
		{"help", no_argument, NULL, '?'},
		{"token-file", required_argument, NULL, 1},
		{NULL, 0, NULL, 0}
	};
	Common		common = {0};
	Endpoints	endpoints = {0};
	ConnSpec   *spec;
	const char *directory = getenv("PGDATA");
	const char *file = NULL;
	int			option;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0))
	{
		help();
		return EXIT_FINE;
	}
	while ((option = getopt_long(argc, argv, COMMON_SHORT, options, NULL)) != -1)
	{
		if (option == 'D')
			directory = optarg;
		else if (option == 1)
			file = optarg;
		else if (!common_option(&common, option, optarg))
			return usage_error("token");
	}
	if (optind < argc)
	{
		pg_log_error("too many arguments (first is \"%s\")", argv[optind]);
		return usage_error("token");
	}
	if (directory != NULL && common.host == NULL && common.dbname == NULL)
		(void) server_address(directory, &common.host, &common.port);
	spec = spec_make(&common, &endpoints);
	endpoints_ask(&endpoints, spec, "SELECT 1");
	if (endpoints.list[0].error != NULL)
	{
		pg_log_error("could not connect to %s: %s", endpoint_name(&endpoints.list[0]),
					 endpoints.list[0].error);
		return EXIT_NOBODY;
	}
	return print_join_line(endpoints.list[0].conn, directory, file) ? EXIT_FINE : EXIT_DEGRADED;
}
