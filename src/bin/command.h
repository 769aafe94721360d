/*
 * command.h
 *	  What the parts of the command pg_quorum share: exit codes, options, messages.
 */
#ifndef PGQ_COMMAND_H
#define PGQ_COMMAND_H

#include "postgres_fe.h"

#include <getopt.h>

#include "common/logging.h"
#include "fe_utils/cancel.h"
#include "libpq-fe.h"
#include "pqexpbuffer.h"

/* The same for every subcommand; documented in docs/command.md. */
typedef enum ExitCode
{
	EXIT_FINE = 0,				/* done; the cluster is healthy */
	EXIT_DEGRADED = 1,			/* no redundancy; or what was asked for failed */
	EXIT_NO_LEADER = 2,			/* nobody serves */
	EXIT_NOBODY = 3,			/* no node could be asked */
	EXIT_USAGE = 4,				/* wrong options */
	EXIT_RESTART = 5,			/* the server must be restarted first */
	EXIT_INTERRUPTED = 130
} ExitCode;

/* Where to connect, as given in options, environment or a token. */
typedef struct Common
{
	char	   *dbname;			/* name or connection string; NULL = default */
	char	   *host;
	char	   *port;
	char	   *username;
	char	   *token;			/* as given: text, @file or - */
	const char *directory;		/* data directory of a member on this host */
	int			timeout;		/* seconds that a node may take to answer; 0 = default */
} Common;

#define COMMON_SHORT "D:d:h:p:U:t:v"
#define COMMON_LONG \
	{"pgdata", required_argument, NULL, 'D'}, \
	{"dbname", required_argument, NULL, 'd'}, \
	{"host", required_argument, NULL, 'h'}, \
	{"port", required_argument, NULL, 'p'}, \
	{"username", required_argument, NULL, 'U'}, \
	{"timeout", required_argument, NULL, 't'}, \
	{"verbose", no_argument, NULL, 'v'}, \
	{"token", required_argument, NULL, 1000}

#define COMMON_HELP \
	"Where to connect; several hosts may be given, any member will do:\n" \
	"  -D, --pgdata=DIRECTORY a member on this host, and its role and password for the others\n" \
	"  -d, --dbname=CONNSTR   database, connection string or URI, without a password\n" \
	"  -h, --host=HOST[,…]    hosts, or the directory of the socket\n" \
	"  -p, --port=PORT[,…]    ports\n" \
	"  -U, --username=NAME    role\n" \
	"      --token=@FILE      the token of the cluster: @FILE, or - for standard input\n" \
	"  -t, --timeout=SECONDS  how long to wait for an answer\n" \
	"  -v, --verbose          say more\n" \
	"Passwords come from ~/.pgpass, PGPASSFILE, PGPASSWORD or a prompt.\n"

extern const char *progname;
#define QUORUM_PORT_OFFSET 2000 /* default of the quorum port: that of PostgreSQL and this */

extern char *program_path;		/* of this program, absolute */

/* main.c */
extern int	usage_error(const char *subcommand);
extern bool interrupted(void);

/* options.c */
extern bool common_option(Common *common, int option, char *value);
extern int	seconds_option(const char *name, const char *value, int max);
extern bool ask_yes(const char *question);
extern char *ask_text(const char *prompt, bool echo);
extern bool valid_node_name(const char *name);
extern bool split_address(const char *address, char **host, int *port);
extern int	default_quorum_port(int pg_port);
extern char *absolute_path(const char *path);

/* Exits with a hint: neither a server nor its files may belong to root. */
extern void refuse_root(const char *subcommand);

/* the subcommands: argv[0] is the name of the subcommand */
extern int	cmd_status(int argc, char **argv);
extern int	cmd_uri(int argc, char **argv);
extern int	cmd_init(int argc, char **argv);
extern int	cmd_join(int argc, char **argv);
extern int	cmd_token(int argc, char **argv);
extern int	cmd_switchover(int argc, char **argv);
extern int	cmd_pause(int argc, char **argv);
extern int	cmd_resume(int argc, char **argv);
extern int	cmd_force(int argc, char **argv);
extern int	cmd_set(int argc, char **argv);

/* cmd_join.c: the member `old` leaves first; NULL = nobody does. */
extern int	join_in_place_of(const char *old, int argc, char **argv);
extern int	cmd_remove(int argc, char **argv);
extern int	cmd_replace(int argc, char **argv);
extern int	cmd_check(int argc, char **argv);
extern int	cmd_witness(int argc, char **argv);

#endif							/* PGQ_COMMAND_H */
