/*
 * cmd_join.c
 *	  pg_quorum join: makes a new member on this host, from nothing to a voter.
 *
 * Every step can be repeated: a run that broke off after the copy goes on from there.
 * Not here: how the copy is made and configured (clone.c).
 */
#include "survey.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clone.h"
#include "debian.h"
#include "setup.h"

#define DEFAULT_JOIN_SECONDS 600

typedef struct Join
{
	Clone		clone;
	Token	   *token;
	Common		common;			/* how to reach the cluster: from the token */
	const char *host;			/* of the new node */
	int			quorum_port;
	const char *kind;
	const char *networks[48];
	int			network_count;
	int			wait_seconds;
	bool		overwrite;
	const char *replaces;		/* the member that leaves first; NULL = none */
	bool		yes;			/* also when it is still there */
} Join;

static void
help(void)
{
	printf("%s join: make a new member on this host: clone, configure, start, add.\n\n"
		   "Usage:\n  %s join -D DIRECTORY --name=NAME --address=HOST[:PORT] [OPTION]... TOKEN\n\n"
		   "TOKEN is what init or token printed on a member: @FILE, - for standard input, or the\n"
		   "text itself; without it PG_QUORUM_TOKEN is used.\n\n"
		   "  -D, --pgdata=DIRECTORY data directory to be made\n"
		   "      --name=NAME        name of the node (default: the name of the host)\n"
		   "      --address=HOST[:PORT]  where other nodes reach this one; PORT is for the quorum\n"
		   "                         (default: that of PostgreSQL + 2000)\n"
		   "  -p, --port=PORT        port of PostgreSQL here (default: 5432; that of the Debian\n"
		   "                         cluster)\n"
		   "      --kind=KIND        voter (default) or learner\n"
		   "      --allow=NETWORK    let other nodes in from there: writes pg_hba.conf; repeatable\n"
		   "      --set=NAME=VALUE   another setting; repeatable\n"
		   "      --config-dir=DIR   /etc/postgresql/VERSION/NAME of a stopped Debian cluster,\n"
		   "                         made with pg_createcluster (default: the one that names\n"
		   "                         DIRECTORY)\n"
		   "      --overwrite        the directory is not empty: keep it as DIRECTORY.before-join\n"
		   "      --log=FILE         log of the server (default: DIRECTORY/server.log)\n"
		   "      --wait=SECONDS     how long the node may take to catch up (default: 600)\n"
		   "  -t, --timeout=SECONDS  how long a node may take to answer\n"
		   "  -v, --verbose          say more\n\n"
		   "It can be run again when it was interrupted. Exit codes: 0 a member, 1 failed,\n"
		   "2 no leader, 3 nobody to ask, 4 wrong options.\n", progname, progname);
}

/* ---- before anything is done ------------------------------------------------------------ */

static bool
move_aside(Join *join)
{
	const char *directory = join->clone.server.directory;
	char	   *kept = psprintf("%s.before-join", directory);
	char	   *host;
	char	   *port;

	if (directory_is_empty(directory) || clone_is_there(&join->clone))
		return true;
	if (!join->overwrite)
	{
		pg_log_error("directory \"%s\" is not empty", directory);
		pg_log_error_hint("Name another one, or use --overwrite: it is then kept as \"%s\".", kept);
		return false;
	}
	if (server_address(directory, &host, &port))
	{
		pg_log_error("a server runs in \"%s\"", directory);
		pg_log_error_hint("Stop it first.");
		return false;
	}
	if (access(kept, F_OK) == 0)
	{
		pg_log_error("\"%s\" exists already", kept);
		pg_log_error_hint("Remove it, if it is not needed any more.");
		return false;
	}
	if (rename(directory, kept) != 0 || mkdir(directory, 0700) != 0)
		pg_fatal("could not rename \"%s\": %m", directory);
	printf("the old data directory is kept as %s\n", kept);
	return true;
}

static bool
check_here(Join *join)
{
	char		library[MAXPGPATH];

	get_pkglib_path(program_path, library);
	if (access(psprintf("%s/pg_quorum.so", library), R_OK) != 0)
	{
		pg_log_error("the library pg_quorum is not installed in \"%s\"", library);
		pg_log_error_hint("Install the same release as on the other nodes.");
		return false;
	}
	if (clone_is_there(&join->clone))
		return true;
	if (!port_is_free(join->clone.pg_port))
	{
		pg_log_error("port %d is in use on this host", join->clone.pg_port);
		pg_log_error_hint("Choose another one with --port, or stop what uses it.");
		return false;
	}
	if (!port_is_free(join->quorum_port))
	{
		pg_log_error("port %d, for the quorum, is in use on this host", join->quorum_port);
		pg_log_error_hint("Choose another one with --address=HOST:PORT.");
		return false;
	}
	return true;
}

static bool
is_replaced(const Join *join, const Member *member)
{
	return join->replaces != NULL && strcmp(member->name, join->replaces) == 0;
}

/* What add_member would refuse in the end is better said before the copy is made. */
static bool
check_leader(const Join *join, const Survey *survey, PGconn *leader)
{
	const Member *same = survey_member(survey, join->clone.name);

	if (PQserverVersion(leader) / 10000 != PG_VERSION_NUM / 10000)
	{
		pg_log_error("the cluster runs PostgreSQL %d, this is %d",
					 PQserverVersion(leader) / 10000, PG_VERSION_NUM / 10000);
		pg_log_error_hint("Use the command %s of PostgreSQL %d.", progname,
						  PQserverVersion(leader) / 10000);
		return false;
	}
	for (int i = 0; i < survey->count; i++)
	{
		const Member *member = &survey->members[i];

		if (member == same || is_replaced(join, member) || strcmp(member->host, join->host) != 0 ||
			atoi(member_row(member, "quorum_port")) != join->quorum_port)
			continue;
		pg_log_error("a member with the address %s exists already: \"%s\"", join->clone.address,
					 member->name);
		pg_log_error_hint("Choose another port with --address.");
		return false;
	}
	if (same == NULL || clone_is_there(&join->clone) || is_replaced(join, same))
		return true;
	/* Invited before, by a run that was interrupted: nobody has answered under that name. */
	if (!same->heard && strcmp(same->kind, "learner") == 0)
		return true;
	pg_log_error("a member named \"%s\" exists already", join->clone.name);
	pg_log_error_hint("Choose another name, or let \"%s replace\" remove the old one first.",
					  progname);
	return false;
}

/* ---- the steps -------------------------------------------------------------------------- */

/* The member whose place this one takes leaves; nothing to do when it has left, or is this one. */
static bool
remove_old(const Join *join, const Survey *survey, PGconn *leader)
{
	const Member *old = join->replaces != NULL ? survey_member(survey, join->replaces) : NULL;
	const char *values[] = {join->replaces, "60 s"};
	PGresult   *result;

	if (old == NULL || (clone_is_there(&join->clone) && strcmp(old->name, join->clone.name) == 0))
		return true;
	if (old == survey->leader)
	{
		pg_log_error("\"%s\" leads", old->name);
		pg_log_error_hint("Use \"%s switchover\" first, or join the new one before the old one is "
						  "removed.", progname);
		return false;
	}
	if (old->heard)
		pg_log_warning("\"%s\" is there; until the new one has caught up there is one voter less",
					   old->name);
	if (old->heard && !join->yes && !ask_yes("Remove it now?"))
		return false;
	result = query_ok(leader, "SELECT quorum.remove_member($1, $2::interval)", 2, values, 65000);
	if (result == NULL)
		return false;
	printf("%s is no member any more\n", join->replaces);
	return true;
}

static bool
copy(Join *join, const Survey *survey, PGconn *leader)
{
	Clone	   *clone = &join->clone;

	if (clone_is_there(clone))
	{
		printf("going on with the copy that is there\n");
		return true;
	}
	clone->leader_host = survey->leader->host;
	clone->leader_port = survey->leader->pg_port;
	if (!clone_read_settings(leader, &clone->cluster))
		return false;
	/* In Debian's layout pg_hba.conf is not copied: let in whoever is a member now. */
	for (int i = 0; i < survey->count && clone->server.config_directory != NULL; i++)
		join->networks[join->network_count++] = survey->members[i].host;
	clone->networks = join->networks;
	clone->network_count = join->network_count;
	if (!move_aside(join))
		return false;
	printf("copying %s (%s:%s) to %s\n", survey->leader->name, clone->leader_host,
		   clone->leader_port, clone->server.directory);
	if (clone_make(clone, join->token))
		return true;
	if (interrupted())
		printf("interrupted: nothing is left of the copy\n");
	return false;
}

static bool
start(Join *join)
{
	char	   *host;
	char	   *port;

	if (server_address(join->clone.server.directory, &host, &port))
		return true;
	printf("starting the server on port %d\n", join->clone.pg_port);
	return server_start(&join->clone.server);
}

static void
show_waiting(void *arg)
{
	static int	turn;

	(void) arg;
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r  waiting until it has caught up %c", "|/-\\"[turn++ % 4]);
}

static bool
is_full_member(const Join *join)
{
	Survey	   *survey = survey_take(&join->common);
	const Member *member = survey_member(survey, join->clone.name);
	bool		full = member != NULL && member->own != NULL &&
		strcmp(member->kind, join->kind) == 0;

	survey_free(survey);
	return full;
}

static bool
add(const Join *join, PGconn *leader)
{
	char	   *timeout = psprintf("%d s", join->wait_seconds);
	const char *values[] = {join->clone.name, join->clone.address, join->kind, timeout};
	PGresult   *result;
	bool		added;

	if (clone_is_there(&join->clone) && is_full_member(join))
		return true;
	printf("adding it as %s \"%s\"\n", join->kind, join->clone.name);
	result = query(leader, "SELECT quorum.add_member($1, $2, $3, $4::interval)", 4, values,
				   (join->wait_seconds + 10) * 1000, show_waiting, NULL);
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%-40s\r", "");
	if (interrupted() || result == NULL)
		return false;
	added = PQresultStatus(result) == PGRES_TUPLES_OK;
	if (!added)
		report_sql_error(result);
	PQclear(result);
	return added;
}

/* The node restarts in place when it becomes a member: wait until it answers as one. */
static bool
wait_until_member(const Join *join)
{
	time_t		give_up_at = time(NULL) + 60;

	while (!interrupted())
	{
		if (is_full_member(join))
			return true;
		if (time(NULL) > give_up_at)
			break;
		pg_usleep(200 * 1000);
	}
	if (!interrupted())
	{
		pg_log_error("\"%s\" is added, but does not answer from here", join->clone.name);
		pg_log_error_hint("See \"%s status\" and the log of the server.", progname);
	}
	return false;
}

static int
run(Join *join)
{
	Survey	   *survey;
	PGconn	   *leader = survey_leader(&survey, &join->common, 30);

	if (!check_leader(join, survey, leader) || !check_here(join) ||
		!remove_old(join, survey, leader) || !copy(join, survey, leader) || !start(join))
		return EXIT_DEGRADED;
	/* The copy may have taken long: whoever leads now has to add it. */
	survey_free(survey);
	leader = survey_leader(&survey, &join->common, 60);
	if (!add(join, leader) || !wait_until_member(join))
	{
		if (!interrupted())
			pg_log_error_hint("When the cause is mended, run the same command again: it goes on "
							  "where it stopped.");
		return EXIT_DEGRADED;
	}
	survey_free(survey);
	clone_forget_mark(&join->clone);
	printf("\"%s\" is a %s now\n", join->clone.name, join->kind);
	return EXIT_FINE;
}

/* -------------------------------------------------------------------------------------- */

static int
default_port(const LocalServer *server)
{
	const char *port = server->config_directory != NULL ?
		config_value(server->config_directory, "port") : NULL;

	return port != NULL && atoi(port) > 0 ? atoi(port) : DEF_PGPORT;
}

static bool
check_options(Join *join)
{
	Clone	   *clone = &join->clone;

	if (clone->server.directory == NULL)
	{
		pg_log_error("no data directory given");
		pg_log_error_hint("Use -D.");
		return false;
	}
	find_config_directory(&clone->server);
	if (clone->pg_port == 0)
		clone->pg_port = default_port(&clone->server);
	if (clone->name == NULL)
		clone->name = join->replaces != NULL ? join->replaces : default_node_name();
	if (!valid_node_name(clone->name))
		return false;
	if (join->host == NULL)
	{
		pg_log_error("the address of this node is not known");
		pg_log_error_hint("Use --address=HOST:PORT: the host as the other nodes know it.");
		return false;
	}
	if (strcmp(join->kind, "voter") != 0 && strcmp(join->kind, "learner") != 0)
	{
		pg_log_error("\"%s\" is not a kind of member that can be added", join->kind);
		pg_log_error_hint("Use voter or learner.");
		return false;
	}
	if (join->quorum_port == 0)
		join->quorum_port = default_quorum_port(clone->pg_port);
	if (join->quorum_port == clone->pg_port || join->quorum_port > 65535)
	{
		pg_log_error("port %d cannot be that of the quorum", join->quorum_port);
		pg_log_error_hint("Choose another one with --address=HOST:PORT.");
		return false;
	}
	clone->address = psprintf(strchr(join->host, ':') ? "[%s]:%d" : "%s:%d", join->host,
							  join->quorum_port);
	return true;
}

static bool
join_option(Join *join, int option, char *value)
{
	char	   *host;
	char	   *end;

	switch (option)
	{
		case 'D':
			join->clone.server.directory = absolute_path(value);
			return true;
		case 'p':
			join->clone.pg_port = (int) strtol(value, &end, 10);
			if (*end == '\0' && join->clone.pg_port > 0 && join->clone.pg_port <= 65535)
				return true;
			pg_log_error("\"%s\" is not a port", value);
			return false;
		case 't':
		case 'v':
			return common_option(&join->common, option, value);
		case 1:
			join->clone.name = value;
			return true;
		case 2:
			if (!split_address(value, &host, &join->quorum_port))
				return false;
			join->host = host;
			return true;
		case 3:
			join->kind = value;
			return true;
		case 4:
			if (join->network_count < 16)
				join->networks[join->network_count++] = value;
			return true;
		case 5:
			settings_parse(&join->clone.extra, value);
			return true;
		case 6:
			join->clone.server.config_directory = absolute_path(value);
			return true;
		case 7:
			join->overwrite = true;
			return true;
		case 8:
			join->clone.server.log = absolute_path(value);
			return true;
		case 'y':
			join->yes = true;
			return true;
		case 9:
			join->wait_seconds = seconds_option("--wait", value, 30 * 86400);
			return true;
	}
	return false;
}

int
cmd_join(int argc, char **argv)
{
	return join_in_place_of(NULL, argc, argv);
}

int
join_in_place_of(const char *old, int argc, char **argv)
{
	static struct option options[] = {
		{"pgdata", required_argument, NULL, 'D'},
		{"port", required_argument, NULL, 'p'},
		{"timeout", required_argument, NULL, 't'},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, '?'},
		{"name", required_argument, NULL, 1},
		{"address", required_argument, NULL, 2},
		{"kind", required_argument, NULL, 3},
		{"allow", required_argument, NULL, 4},
		{"set", required_argument, NULL, 5},
		{"config-dir", required_argument, NULL, 6},
		{"overwrite", no_argument, NULL, 7},
		{"log", required_argument, NULL, 8},
		{"wait", required_argument, NULL, 9},
		{"yes", no_argument, NULL, 'y'},
		{NULL, 0, NULL, 0}
	};
	Join		join = {.kind = "voter", .wait_seconds = DEFAULT_JOIN_SECONDS, .replaces = old};
	int			option;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0))
	{
		help();
		return EXIT_FINE;
	}
	if (getenv("PGDATA") != NULL)
		join.clone.server.directory = absolute_path(getenv("PGDATA"));
	while ((option = getopt_long(argc, argv, "D:p:t:vy", options, NULL)) != -1)
	{
		if (!join_option(&join, option, optarg))
			return usage_error(argv[0]);
	}
	if (optind + 1 < argc)
	{
		pg_log_error("too many arguments (first is \"%s\")", argv[optind + 1]);
		return usage_error(argv[0]);
	}
	refuse_root(argv[0]);
	if (!check_options(&join))
		return usage_error(argv[0]);
	join.token = token_read(optind < argc ? argv[optind] : NULL);
	/* It is read only once: the rest of the program gets it as text. */
	join.common.token = token_encode(join.token);
	return run(&join);
}
