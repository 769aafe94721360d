/*
 * cmd_init.c
 *	  pg_quorum init: a cluster of one, from a running server or an empty directory.
 *
 * Not here: what a server needs for that (setup.c).
 */
#include "setup.h"

#include <unistd.h>

#include "debian.h"

static void
help(void)
{
	printf("%s init: turn a running server, or an empty directory, into a cluster of one.\n\n"
		   "Usage:\n"
		   "  %s init [-D DIRECTORY] --address=HOST:PORT [OPTION]... [connection options]\n"
		   "  %s init --initdb -D DIRECTORY --address=HOST:PORT [OPTION]...\n\n"
		   "      --initdb           make a new server in the empty DIRECTORY\n"
		   "      --name=NAME        name of the node (default: the name of the host)\n"
		   "      --address=HOST[:PORT]  where other nodes reach this one; PORT is for the quorum\n"
		   "                         (default: that of PostgreSQL + 2000)\n"
		   "      --allow=NETWORK    let other nodes in from there: writes pg_hba.conf; repeatable\n"
		   "      --set=NAME=VALUE   another setting; repeatable\n"
		   "      --config-dir=DIR   /etc/postgresql/VERSION/NAME of a Debian cluster\n"
		   "                         (default: the one that names DIRECTORY)\n"
		   "      --log=FILE         log of the server (default: DIRECTORY/server.log)\n"
		   "      --restart          restart the server if that is needed\n"
		   "  -y, --yes              do not ask before changing settings\n"
		   "      --token-file=FILE  write the token there instead of printing it\n\n"
		   COMMON_HELP
		   "\nIt needs a superuser, and write access to the data directory for the secret.\n"
		   "Exit codes: 0 done, 1 failed, 3 no server there, 4 wrong options, 5 restart the\n"
		   "server, then run the same again.\n", progname, progname, progname);
}

/* ---- an empty directory ----------------------------------------------------------------- */

static bool
make_directory(Setup *setup, const Common *common)
{
	const char *arguments[16] = {program("initdb"), "-D", setup->server.directory, "-k",
	"--auth-local=peer", "--auth-host=scram-sha-256"};
	int			port = common->port != NULL ? atoi(common->port) : DEF_PGPORT;

	if (setup->host == NULL)
	{
		pg_log_error("the address of this node is not known");
		pg_log_error_hint("Use --address=HOST:PORT: the host as the other nodes know it.");
		return false;
	}
	if (!directory_is_empty(setup->server.directory))
	{
		pg_log_error("directory \"%s\" is not empty", setup->server.directory);
		pg_log_error_hint("Without --initdb a running server is turned into a cluster.");
		return false;
	}
	if (!port_is_free(port))
	{
		pg_log_error("port %d is in use on this host", port);
		pg_log_error_hint("Choose another one with --port.");
		return false;
	}
	if (common->username != NULL)
	{
		arguments[6] = "-U";
		arguments[7] = common->username;
	}
	printf("making a new server in %s\n", setup->server.directory);
	if (!run_program(arguments, NULL, NULL))
		return false;
	setup_new_directory(setup, port);
	printf("starting it\n");
	return server_start(&setup->server);
}

/* ---- a running server ------------------------------------------------------------------- */

static PGconn *
connect_to(const Setup *setup, const Common *given)
{
	static Endpoints endpoints;
	Common		common = *given;
	ConnSpec   *spec;

	if (setup->server.directory != NULL && common.host == NULL && common.dbname == NULL &&
		!server_address(setup->server.directory, &common.host, &common.port))
	{
		pg_log_error("no server runs in \"%s\"", setup->server.directory);
		pg_log_error_hint("Start it first, or use --initdb to make a new one there.");
		exit(EXIT_NOBODY);
	}
	if (common.timeout == 0)
		common.timeout = 30;
	endpoints_close(&endpoints);	/* it was restarted */
	spec = spec_make(&common, &endpoints);
	endpoints_ask(&endpoints, spec, "SELECT 1");
	if (interrupted())
		exit(EXIT_INTERRUPTED);
	if (endpoints.list[0].error != NULL)
	{
		pg_log_error("could not connect to %s: %s", endpoint_name(&endpoints.list[0]),
					 endpoints.list[0].error);
		pg_log_error_hint("Name the server with -D, or with -h and -p.");
		exit(EXIT_NOBODY);
	}
	return endpoints.list[0].conn;
}

/* The data directory of the server when it is on this host and ours. */
static void
find_directory(Setup *setup, PGconn *conn)
{
	PGresult   *result = query_ok(conn, "SELECT pg_catalog.current_setting('data_directory') AS d",
								  0, NULL, 10000);
	const char *directory = result != NULL ? field(result, 0, "d") : NULL;

	if (directory != NULL && access(directory, W_OK) == 0 && server_is_local(conn, directory))
	{
		setup->server.directory = pg_strdup(directory);
		find_config_directory(&setup->server);
	}
	else
		setup->server.directory = NULL;
	PQclear(result);
}

static bool
check_server(PGconn *conn)
{
	PGresult   *result = query_ok(conn, "SELECT pg_catalog.pg_is_in_recovery() AS standby, "
								  "pg_catalog.current_setting('is_superuser') AS super",
								  0, NULL, 10000);
	bool		fit = false;

	if (result == NULL)
		return false;
	if (is_true(field(result, 0, "standby")))
	{
		pg_log_error("this server is a standby");
		pg_log_error_hint("Run it on the primary; this one can join afterwards.");
	}
	else if (strcmp(field(result, 0, "super"), "on") != 0)
	{
		pg_log_error("role \"%s\" is no superuser", PQuser(conn));
		pg_log_error_hint("Connect as a superuser with -U.");
	}
	else
		fit = true;
	PQclear(result);
	return fit;
}

static bool
confirm(const Setup *setup, const Settings *changes, bool secrets)
{
	for (int i = 0; i < changes->count; i++)
		printf("  ALTER SYSTEM SET %s = '%s'\n", changes->names[i], changes->values[i]);
	if (secrets)
		printf("  new files %s and %s in the data directory\n", SECRET_FILE, PASSWORD_FILE);
	for (int i = 0; i < setup->network_count; i++)
		printf("  pg_hba.conf: %s may stream from %s\n", STREAM_ROLE, setup->networks[i]);
	if (changes->count == 0 && !secrets && setup->network_count == 0)
		return true;
	return setup->yes || ask_yes("Make these changes?");
}

static bool
allow_networks(const Setup *setup, PGconn *conn)
{
	PGresult   *result;

	if (setup->network_count == 0)
		return true;
	result = query_ok(conn, "SELECT pg_catalog.current_setting('hba_file') AS f", 0, NULL, 10000);
	if (result == NULL)
		return false;
	if (hba_allow(field(result, 0, "f"), STREAM_ROLE, PQdb(conn), setup->networks,
				  setup->network_count))
		PQclear(query_ok(conn, "SELECT pg_catalog.pg_reload_conf()", 0, NULL, 10000));
	PQclear(result);
	return true;
}

static void
warn_of_hba(PGconn *conn)
{
	PGresult   *result = query_ok(conn, "SELECT pg_catalog.count(*) AS rules FROM "
								  "pg_catalog.pg_hba_file_rules WHERE error IS NULL AND type LIKE "
								  "'host%' AND 'replication' = ANY (database) AND auth_method <> "
								  "'reject' AND address NOT IN ('127.0.0.1', '::1')",
								  0, NULL, 10000);

	if (result != NULL && strcmp(field(result, 0, "rules"), "0") == 0)
	{
		pg_log_warning("pg_hba.conf lets no other host in for replication");
		pg_log_warning_hint("Run this again with --allow=NETWORK, for example "
							"--allow=10.0.0.0/24.");
	}
	PQclear(result);
}

/* True when the settings in force are the ones that are written. */
static bool
restart_is_needed(PGconn *conn, const Settings *changes)
{
	PGresult   *result = query_ok(conn, "SELECT EXISTS (SELECT FROM pg_catalog.pg_settings WHERE "
								  "pending_restart) OR pg_catalog.current_setting('quorum.address',"
								  " true) IS NULL OR pg_catalog.current_setting("
								  "'shared_preload_libraries') !~ 'pg_quorum' AS pending",
								  0, NULL, 10000);
	bool		pending = result == NULL || is_true(field(result, 0, "pending"));

	PQclear(result);
	for (int i = 0; i < changes->count; i++)
		pending |= strcmp(changes->names[i], "shared_preload_libraries") == 0;
	return pending;
}

static int
init_running(Setup *setup, const Common *common)
{
	PGconn	   *conn = connect_to(setup, common);
	Settings	changes = {0};
	bool		secrets;

	if (!check_server(conn))
		return EXIT_DEGRADED;
	find_directory(setup, conn);
	if (!setup_plan(setup, conn, &changes))
		return EXIT_DEGRADED;
	secrets = setup->server.directory != NULL &&
		access(psprintf("%s/" SECRET_FILE, setup->server.directory), F_OK) != 0;
	if (!confirm(setup, &changes, secrets))
		return EXIT_DEGRADED;
	if (setup->server.directory != NULL)
		setup_secrets(setup);
	if (!setup_apply(conn, &changes) || !allow_networks(setup, conn))
		return EXIT_DEGRADED;
	if (restart_is_needed(conn, &changes))
	{
		if (!setup->restart || setup->server.directory == NULL)
		{
			printf("The settings are written. Restart the server, then run the same again%s.\n",
				   setup->server.directory != NULL ? " (--restart does both)" : "");
			return EXIT_RESTART;
		}
		printf("restarting the server\n");
		if (!server_restart(&setup->server))
			return EXIT_DEGRADED;
		conn = connect_to(setup, common);
	}
	if (!setup_finish(setup, conn))
		return EXIT_DEGRADED;
	if (setup->host == NULL || strncmp(setup->host, "127.", 4) != 0)
		warn_of_hba(conn);
	return print_join_line(conn, setup->server.directory, setup->token_file) ?
		EXIT_FINE : EXIT_DEGRADED;
}

/* -------------------------------------------------------------------------------------- */

static int
init(Setup *setup, Common *common, bool initdb)
{
	if (setup->name != NULL && !valid_node_name(setup->name))
		return EXIT_USAGE;
	setup->dbname = common->dbname != NULL && strchr(common->dbname, '=') == NULL ?
		common->dbname : "postgres";
	if (setup->server.directory != NULL || initdb)
		refuse_root("init");
	if (initdb)
	{
		if (setup->server.directory == NULL)
		{
			pg_log_error("--initdb needs -D");
			return usage_error("init");
		}
		if (!make_directory(setup, common))
			return interrupted() ? EXIT_INTERRUPTED : EXIT_DEGRADED;
		common->host = common->port = NULL;
		setup->yes = true;
		setup->network_count = 0;	/* done */
	}
	return init_running(setup, common);
}

static bool
init_option(Setup *setup, Common *common, bool *initdb, int option)
{
	char	   *host;

	switch (option)
	{
		case 'D':
			setup->server.directory = absolute_path(optarg);
			return true;
		case 'y':
			setup->yes = true;
			return true;
		case 1:
			*initdb = true;
			return true;
		case 2:
			setup->name = optarg;
			return true;
		case 3:
			if (!split_address(optarg, &host, &setup->quorum_port))
				return false;
			setup->host = host;
			return true;
		case 4:
			if (setup->network_count == lengthof(setup->networks))
				pg_fatal("too many networks");
			setup->networks[setup->network_count++] = optarg;
			return true;
		case 5:
			settings_parse(&setup->extra, optarg);
			return true;
		case 6:
			setup->server.config_directory = absolute_path(optarg);
			return true;
		case 7:
			setup->server.log = absolute_path(optarg);
			return true;
		case 8:
			setup->restart = true;
			return true;
		case 9:
			setup->token_file = optarg;
			return true;
	}
	return common_option(common, option, optarg);
}

int
cmd_init(int argc, char **argv)
{
	static struct option options[] = {
		COMMON_LONG,
		{"help", no_argument, NULL, '?'},
		{"yes", no_argument, NULL, 'y'},
		{"initdb", no_argument, NULL, 1},
		{"name", required_argument, NULL, 2},
		{"address", required_argument, NULL, 3},
		{"allow", required_argument, NULL, 4},
		{"set", required_argument, NULL, 5},
		{"config-dir", required_argument, NULL, 6},
		{"log", required_argument, NULL, 7},
		{"restart", no_argument, NULL, 8},
		{"token-file", required_argument, NULL, 9},
		{NULL, 0, NULL, 0}
	};
	Setup		setup = {0};
	Common		common = {0};
	bool		initdb = false;
	int			option;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0))
	{
		help();
		return EXIT_FINE;
	}
	if (getenv("PGDATA") != NULL)
		setup.server.directory = absolute_path(getenv("PGDATA"));
	while ((option = getopt_long(argc, argv, "y" COMMON_SHORT, options, NULL)) != -1)
	{
		if (!init_option(&setup, &common, &initdb, option))
			return usage_error("init");
	}
	if (optind < argc)
	{
		pg_log_error("too many arguments (first is \"%s\")", argv[optind]);
		return usage_error("init");
	}
	return init(&setup, &common, initdb);
}
