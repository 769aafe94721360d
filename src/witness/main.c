/*
 * main.c
 *	  pg_quorum_witness: votes, keeps promises, has no data.
 *
 * "pg_quorum witness" becomes this program, which needs no libpq and so little memory.  It
 * stays in the foreground, for systemd or Docker to look after.
 */
#include "witness.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/pg_prng.h"
#include "../bin/files.h"
#include "../bin/token.h"

#define OPTIONS_MAX			32

/* What the shared parts of the command call it in their hints. */
const char *progname = "pg_quorum";

typedef struct Witness
{
	const char *directory;
	const char *token;			/* as given; NULL = none */
	bool		status;
	const char *options[OPTIONS_MAX];	/* names and values in turn */
	int			count;
} Witness;

static void
help(void)
{
	printf("witness: the third vote for two servers with data; it has none itself.\n\n"
		   "Usage:\n  pg_quorum witness -D DIRECTORY [OPTION]...\n"
		   "  pg_quorum witness -D DIRECTORY --status\n\n"
		   "  -D, --directory=DIR    its own directory; made when it is not there\n"
		   "      --name=NAME        its name in the cluster\n"
		   "      --address=HOST:PORT where the other nodes reach it\n"
		   "      --secret-file=FILE file with the secret of the cluster\n"
		   "                         (default: pg_quorum.secret in DIR)\n"
		   "      --token=@FILE      take the secret out of the token of \"pg_quorum init\"; @FILE, or -\n"
		   "                         for standard input\n"
		   "      --lease-duration=T quorum.lease_duration of the servers (default: 2s)\n"
		   "      --death-proof=on|off quorum.death_proof of the servers (default: on)\n"
		   "      --status           what the witness of this directory knows\n"
		   "\nThe same can stand in DIR/witness.conf, as name = value; options come first.\n"
		   "SIGHUP reads that file and the secret again, SIGTERM ends it. Log: standard error.\n"
		   "To make it a member, on the leader: SELECT quorum.add_member('NAME', 'HOST:PORT',\n"
		   "kind => 'witness').\n"
		   "Exit codes: 0 stopped as asked, 1 failed, 4 wrong options; --status: 0 it knows a\n"
		   "leader, 2 it knows none, 3 it does not run.\n");
}

/* The secret out of a token, once: whoever changes the file later has the last word. */
static void
write_secret(const char *secret, const WitnessSettings *settings)
{
	if (secret != NULL && access(settings->secret_file, F_OK) != 0)
		file_write(settings->secret_file, psprintf("%s\n", secret));
}

static int
loop(const Witness *witness)
{
	WitnessSettings settings;
	int			seen = 0;

	while (!witness_shall_stop() && seen >= 0)
	{
		witness_status_write();
		seen = witness_node_wait();
		if (seen < 0 || !witness_shall_reload())
			continue;
		pgq_say("received SIGHUP, reading " WITNESS_CONF " and the secret again");
		if (witness_configure(&settings, witness->options, witness->count))
			witness_node_reconfigure(&settings);
		else
			pgq_say("the settings stay as they are");
	}
	return seen < 0 ? EXIT_DEGRADED : EXIT_FINE;
}

static int
run(Witness *witness)
{
	WitnessSettings settings;
	const char *secret = NULL;
	int			code;

	umask(0077);
	if (witness->token != NULL)
		secret = token_read(witness->token)->secret;
	if (!witness_enter(witness->directory, true) ||
		!witness_configure(&settings, witness->options, witness->count))
		return EXIT_USAGE;
	if (!witness_lock())
		return EXIT_DEGRADED;
	write_secret(secret, &settings);
	pg_prng_strong_seed(&pg_global_prng_state);
	witness_signals_start();
	pgq_say("witness \"%s\" listens on %s, port %d, pg_quorum %s", settings.name, settings.host,
			settings.port, PGQ_VERSION);
	if (!witness_node_start(&settings))
		return EXIT_DEGRADED;
	witness_notify("READY=1");
	code = loop(witness);
	witness_notify("STOPPING=1");
	if (code == EXIT_FINE)
	{
		witness_node_stop();
		pgq_say("witness \"%s\" stops", settings.name);
	}
	return code;
}

/* Options with the name of a setting become that setting. */
static void
take_setting(Witness *witness, const char *name, const char *value)
{
	if (witness->count + 2 > OPTIONS_MAX)
		pg_fatal("too many options");
	witness->options[witness->count++] = name;
	witness->options[witness->count++] = value;
}

static bool
parse(Witness *witness, int argc, char **argv)
{
	static const struct option long_options[] = {
		{"directory", required_argument, NULL, 'D'},
		{"help", no_argument, NULL, '?'},
		{"name", required_argument, NULL, 1},
		{"address", required_argument, NULL, 2},
		{"secret-file", required_argument, NULL, 3},
		{"lease-duration", required_argument, NULL, 4},
		{"death-proof", required_argument, NULL, 5},
		{"token", required_argument, NULL, 6},
		{"status", no_argument, NULL, 7},
		{NULL, 0, NULL, 0}
	};
	static const char *const names[] = {
		NULL, "name", "address", "secret_file", "lease_duration", "death_proof"
	};
	int			option;

	while ((option = getopt_long(argc, argv, "D:", long_options, NULL)) != -1)
	{
		if (option == 'D')
			witness->directory = optarg;
		else if (option == 3)
			take_setting(witness, names[option], absolute_path(optarg));
		else if (option >= 1 && option <= 5)
			take_setting(witness, names[option], optarg);
		else if (option == 6)
			witness->token = optarg;
		else if (option == 7)
			witness->status = true;
		else
			return false;
	}
	if (optind < argc)
		pg_log_error("too many arguments: \"%s\"", argv[optind]);
	else if (witness->directory == NULL)
	{
		pg_log_error("no directory given");
		pg_log_error_hint("Use -D.");
	}
	else
		return true;
	return false;
}

int
main(int argc, char **argv)
{
	Witness		witness = {0};

	pg_logging_init(argv[0]);
	signal(SIGPIPE, SIG_IGN);
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0))
	{
		help();
		return EXIT_FINE;
	}
	if (!parse(&witness, argc, argv))
	{
		pg_log_error_hint("Try \"pg_quorum witness --help\" for more information.");
		return EXIT_USAGE;
	}
	if (witness.status)
		return witness_enter(witness.directory, false) ? witness_status_print() : EXIT_NOBODY;
	refuse_root("witness");
	return run(&witness);
}
