/*
 * main.c
 *	  The command pg_quorum: finds the subcommand that is asked for.
 *
 * Not here: what the subcommands do (cmd_*.c).
 */
#include "command.h"

#include <signal.h>

const char *progname;
char	   *program_path;

typedef struct Subcommand
{
	const char *name;
	int			(*run) (int argc, char **argv);
	const char *what;			/* one line of pg_quorum --help; NULL = heading */
} Subcommand;

static const Subcommand subcommands[] = {
	{"Make a cluster:", NULL, NULL},
	{"init", cmd_init, "turn a running server, or an empty directory, into a cluster of one"},
	{"join", cmd_join, "make this host a member: clone, configure, start, add"},
	{"witness", cmd_witness, "run a witness: the third vote for two servers with data"},
	{"token", cmd_token, "print the token that join needs once more"},
	{"Look:", NULL, NULL},
	{"status", cmd_status, "every member on one screen, also when some are down"},
	{"check", cmd_check, "would a failover work now, who wins, what is wrong"},
	{"uri", cmd_uri, "print the connection string for applications"},
	{"Change:", NULL, NULL},
	{"switchover", cmd_switchover, "hand over to another node"},
	{"remove", cmd_remove, "remove a member"},
	{"replace", cmd_replace, "remove a member that is gone, and join in its place"},
	{"set", cmd_set, "make a member a voter or a learner, or tell its new address"},
	{"pause", cmd_pause, "nobody takes over by itself for a while"},
	{"resume", cmd_resume, "end a pause"},
	{"force", cmd_force, "make a node leader without a majority: data may be lost"},
};

static void
help(void)
{
	printf("%s: PostgreSQL servers that elect.\n\nUsage:\n  %s SUBCOMMAND [OPTION]...\n",
		   progname, progname);
	for (size_t i = 0; i < lengthof(subcommands); i++)
	{
		if (subcommands[i].run == NULL)
			printf("\n%s\n", subcommands[i].name);
		else
			printf("  %-12s %s\n", subcommands[i].name, subcommands[i].what);
	}
	printf("\n%s SUBCOMMAND --help tells the options of each.\n"
		   "\nExit codes:\n"
		   "  0    done; status and check: healthy\n"
		   "  1    failed; status and check: degraded, the next fault may stop the cluster\n"
		   "  2    no leader serves\n"
		   "  3    no node could be asked\n"
		   "  4    wrong options\n"
		   "  5    the server must be restarted first\n"
		   "  130  interrupted\n", progname);
}

int
usage_error(const char *subcommand)
{
	if (subcommand != NULL)
		pg_log_error_hint("Try \"%s %s --help\" for more information.", progname, subcommand);
	else
		pg_log_error_hint("Try \"%s --help\" for more information.", progname);
	return EXIT_USAGE;
}

bool
interrupted(void)
{
	return CancelRequested;
}

static int
run(int argc, char **argv)
{
	for (size_t i = 0; i < lengthof(subcommands); i++)
	{
		if (subcommands[i].run != NULL && strcmp(argv[0], subcommands[i].name) == 0)
			return subcommands[i].run(argc, argv);
	}
	pg_log_error("there is no subcommand \"%s\"", argv[0]);
	return usage_error(NULL);
}

int
main(int argc, char **argv)
{
	char		path[MAXPGPATH];
	char	   *help_argv[] = {NULL, "--help", NULL};
	int			code;

	pg_logging_init(argv[0]);
	set_pglocale_pgservice(argv[0], PG_TEXTDOMAIN("pg_quorum"));
	progname = get_progname(argv[0]);
	program_path = find_my_exec(argv[0], path) == 0 ? path : argv[0];
	setvbuf(stdout, NULL, _IOLBF, 0);

	if (argc < 2)
	{
		pg_log_error("no subcommand given");
		return usage_error(NULL);
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
	{
		puts("pg_quorum " PGQ_VERSION " (PostgreSQL " PG_VERSION ")");
		return EXIT_FINE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0 ||
		(strcmp(argv[1], "help") == 0 && argc == 2))
	{
		help();
		return EXIT_FINE;
	}
	if (strcmp(argv[1], "help") == 0)
	{
		help_argv[0] = argv[2];
		return run(2, help_argv);
	}

	signal(SIGPIPE, SIG_IGN);	/* of a broken connection; stdout is checked at the end */
	setup_cancel_handler(NULL);
	code = run(argc - 1, argv + 1);
	if (fflush(stdout) != 0)
		code = code == EXIT_FINE ? EXIT_DEGRADED : code;
	return interrupted() ? EXIT_INTERRUPTED : code;
}
