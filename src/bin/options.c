/*
 * options.c
 *	  Reads what people type: common options, names, answers.
 */
#include "command.h"

#include <signal.h>
#include <unistd.h>

#include "common/string.h"
#include "fe_utils/option_utils.h"

/* True when the option is one of COMMON_LONG; exits when its value is wrong. */
bool
common_option(Common *common, int option, char *value)
{
	switch (option)
	{
		case 'D':
			common->directory = value;
			return true;
		case 'd':
			common->dbname = value;
			return true;
		case 'h':
			common->host = value;
			return true;
		case 'p':
			common->port = value;
			return true;
		case 'U':
			common->username = value;
			return true;
		case 't':
			common->timeout = seconds_option("-t/--timeout", value, 30 * 86400);
			return true;
		case 'v':
			pg_logging_increase_verbosity();
			return true;
		case 1000:
			common->token = value;
			return true;
	}
	return false;
}

/* A number of seconds, or with a unit: 30, 30s, 5min, 1h, 2d. */
int
seconds_option(const char *name, const char *value, int max)
{
	static const struct
	{
		const char *unit;
		int			seconds;
	}			units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"min", 60}, {"h", 3600}, {"d", 86400}};
	char	   *end;
	long		number = strtol(value, &end, 10);

	for (size_t i = 0; i < lengthof(units); i++)
	{
		if (end == value || strcmp(end, units[i].unit) != 0)
			continue;
		if (number < 1 || number > max / units[i].seconds)
			break;
		return (int) number * units[i].seconds;
	}
	pg_log_error("%s must be a time between 1 and %d seconds, not \"%s\"", name, max, value);
	pg_log_error_hint("Write for example 30, 30s, 5min or 1h.");
	exit(EXIT_USAGE);
}

/* The answer; NULL at the end of the input.  The caller frees it. */
char *
ask_text(const char *prompt, bool echo)
{
	void		(*saved) (int);
	char	   *answer;

	/* Without an echo the terminal has to be put right again, so the prompt stays deaf. */
	if (!echo)
		return simple_prompt(prompt, false);
	/* Nothing is under way while somebody thinks: Ctrl-C simply ends the program. */
	saved = signal(SIGINT, SIG_DFL);
	fflush(stdout);
	fprintf(stderr, "%s", prompt);
	fflush(stderr);
	answer = pg_get_line(stdin, NULL);
	signal(SIGINT, saved);
	if (answer != NULL)
		(void) pg_strip_crlf(answer);
	return answer;
}

bool
ask_yes(const char *question)
{
	char	   *answer;
	bool		yes;

	if (!isatty(STDIN_FILENO))
	{
		pg_log_error("there is no terminal to ask \"%s\"", question);
		pg_log_error_hint("Use --yes to go on without being asked.");
		return false;
	}
	answer = ask_text(psprintf("%s [y/N] ", question), true);
	yes = answer != NULL && (strcmp(answer, "y") == 0 || strcmp(answer, "yes") == 0);
	free(answer);
	return yes;
}

/* As pgq_guc_valid_name() in the library. */
bool
valid_node_name(const char *name)
{
	size_t		length = strlen(name);

	if (length > 0 && length < 64 &&
		strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == length)
		return true;
	pg_log_error("\"%s\" is not a valid node name", name);
	pg_log_error_hint("Use lower case letters, digits, _ and -, at most 63 of them.");
	return false;
}

/* host:port or [address]:port; *port stays when none is given. */
bool
split_address(const char *address, char **host, int *port)
{
	const char *end = strrchr(address, ':');
	const char *start = address;
	size_t		length;

	if (address[0] == '[')
	{
		const char *bracket = strchr(address, ']');

		end = bracket != NULL ? bracket + 1 : NULL;
		if (end == NULL || (*end != '\0' && *end != ':'))
			goto wrong;
		start++;
		length = bracket - start;
	}
	else
	{
		if (end == NULL)
			end = address + strlen(address);
		length = end - address;
		if (memchr(address, ':', length) != NULL)
			goto wrong;
	}
	if (*end == ':')
	{
		char	   *rest;
		long		number = strtol(end + 1, &rest, 10);

		if (rest == end + 1 || *rest != '\0' || number < 1 || number > 65535)
			goto wrong;
		*port = (int) number;
	}
	if (length == 0)
		goto wrong;
	*host = pnstrdup(start, length);
	return true;

wrong:
	pg_log_error("\"%s\" is not a valid address", address);
	pg_log_error_hint("Write host:port, or [address]:port for IPv6.");
	return false;
}

int
default_quorum_port(int pg_port)
{
	return pg_port + (pg_port + QUORUM_PORT_OFFSET <= 65535 ? 1 : -1) * QUORUM_PORT_OFFSET;
}

void
refuse_root(const char *subcommand)
{
	if (geteuid() != 0)
		return;
	pg_log_error("\"%s %s\" cannot be run as root", progname, subcommand);
	pg_log_error_hint("Run it as the user that owns the server, for example: "
					  "sudo -u postgres %s %s …", progname, subcommand);
	exit(EXIT_USAGE);
}

char *
absolute_path(const char *path)
{
	char		here[MAXPGPATH];

	if (path[0] == '/')
		return pg_strdup(path);
	if (getcwd(here, sizeof(here)) == NULL)
		pg_fatal("could not get the current directory: %m");
	return psprintf("%s/%s", here, path);
}
