/*
 * config.c
 *	  The settings of a witness: witness.conf in its directory, and options.
 *
 * One name = value a line, # begins a comment, quotes around a value may be there.  The
 * same names serve as options: --secret-file is secret_file.
 */
#include "witness.h"

#include <ctype.h>

#include "../bin/files.h"

#define LEASE_MS_MIN		100
#define LEASE_MS_MAX		(10 * 60 * 1000)

static bool
set_address(WitnessSettings *settings, const char *value)
{
	char	   *host;

	if (!split_address(value, &host, &settings->port))
		return false;
	if (strlen(host) >= sizeof(settings->host))
	{
		pg_log_error("host name \"%s\" is too long", host);
		return false;
	}
	strlcpy(settings->host, host, sizeof(settings->host));
	free(host);
	return true;
}

/* As quorum.lease_duration: milliseconds, or with a unit. */
static bool
set_lease(WitnessSettings *settings, const char *value)
{
	char	   *unit;
	double		number = strtod(value, &unit);

	if (unit != value && strcmp(unit, "s") == 0)
		number *= 1000;
	else if (unit == value || (*unit != '\0' && strcmp(unit, "ms") != 0))
		number = -1;
	if (number >= LEASE_MS_MIN && number <= LEASE_MS_MAX)
	{
		settings->lease_ms = (int) number;
		return true;
	}
	pg_log_error("lease_duration must be between %d ms and %d ms, not \"%s\"", LEASE_MS_MIN,
				 LEASE_MS_MAX, value);
	pg_log_error_hint("Write for example 2s or 500ms, as quorum.lease_duration on the servers.");
	return false;
}

static bool
set_flag(bool *flag, const char *name, const char *value)
{
	*flag = strcmp(value, "on") == 0;
	if (*flag || strcmp(value, "off") == 0)
		return true;
	pg_log_error("%s must be on or off, not \"%s\"", name, value);
	return false;
}

bool
witness_set(WitnessSettings *settings, const char *name, const char *value, const char *where)
{
	bool		good = true;

	if (strcmp(name, "name") == 0)
	{
		good = valid_node_name(value);
		strlcpy(settings->name, value, sizeof(settings->name));
	}
	else if (strcmp(name, "address") == 0)
		good = set_address(settings, value);
	else if (strcmp(name, "secret_file") == 0)
		strlcpy(settings->secret_file, value, sizeof(settings->secret_file));
	else if (strcmp(name, "lease_duration") == 0)
		good = set_lease(settings, value);
	else if (strcmp(name, "death_proof") == 0)
		good = set_flag(&settings->death_proof, name, value);
	else
	{
		pg_log_error("a witness has no setting \"%s\"", name);
		pg_log_error_hint("It has name, address, secret_file, lease_duration and death_proof.");
		good = false;
	}
	if (!good && where != NULL)
		pg_log_error_detail("It stands in %s.", where);
	return good;
}

static char *
trimmed(char *text)
{
	char	   *end;

	while (isspace((unsigned char) *text))
		text++;
	end = text + strlen(text);
	while (end > text && isspace((unsigned char) end[-1]))
		end--;
	*end = '\0';
	return text;
}

/* The text may be quoted; what follows an unquoted # is a comment. */
static char *
value_of(char *text)
{
	char	   *end;

	text = trimmed(text);
	if (*text == '\'' && (end = strchr(text + 1, '\'')) != NULL)
	{
		*end = '\0';
		return text + 1;
	}
	text[strcspn(text, "#")] = '\0';
	return trimmed(text);
}

static bool
read_line(WitnessSettings *settings, char *line, int number)
{
	char		where[64];
	char	   *equals = strchr(line, '=');

	line = trimmed(line);
	if (*line == '\0' || *line == '#')
		return true;
	if (equals == NULL)
	{
		pg_log_error("line %d of " WITNESS_CONF " has no \"=\"", number);
		pg_log_error_hint("Write name = value.");
		return false;
	}
	*equals = '\0';
	snprintf(where, sizeof(where), "line %d of " WITNESS_CONF, number);
	return witness_set(settings, trimmed(line), value_of(equals + 1), where);
}

static bool
read_conf(WitnessSettings *settings)
{
	char	   *text = file_read(WITNESS_CONF);
	char	   *rest = text;
	char	   *line;
	int			number = 0;
	bool		good = true;

	while (rest != NULL && good && (line = strsep(&rest, "\n")) != NULL)
		good = read_line(settings, line, ++number);
	free(text);
	return good;
}

static bool
is_complete(const WitnessSettings *settings)
{
	const char *missing = NULL;

	if (settings->name[0] == '\0')
		missing = "name";
	else if (settings->host[0] == '\0')
		missing = "address";
	if (missing == NULL)
		return true;
	pg_log_error("the %s of the witness is not known", missing);
	pg_log_error_hint("Use --name=NAME and --address=HOST:PORT, or write %s into " WITNESS_CONF ".",
					  missing);
	return false;
}

bool
witness_configure(WitnessSettings *settings, const char *const *options, int count)
{
	memset(settings, 0, sizeof(*settings));
	settings->port = default_quorum_port(DEF_PGPORT);
	settings->lease_ms = 2000;
	settings->death_proof = true;
	strlcpy(settings->secret_file, WITNESS_SECRET, sizeof(settings->secret_file));
	if (!read_conf(settings))
		return false;
	for (int i = 0; i + 1 < count; i += 2)
		if (!witness_set(settings, options[i], options[i + 1], NULL))
			return false;
	return is_complete(settings);
}
