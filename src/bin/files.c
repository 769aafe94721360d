/*
 * files.c
 *	  Reads and writes the few files of a data directory that a member needs.
 */
#include "files.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

void
settings_add(Settings *settings, const char *name, const char *value)
{
	if (settings->count == lengthof(settings->names))
		pg_fatal("too many settings");
	settings->names[settings->count] = name;
	settings->values[settings->count++] = value;
}

void
settings_parse(Settings *settings, const char *assignment)
{
	const char *equals = strchr(assignment, '=');

	if (equals == NULL || equals == assignment ||
		strspn(assignment, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") !=
		(size_t) (equals - assignment))
	{
		pg_log_error("\"%s\" is not a setting", assignment);
		pg_log_error_hint("Write NAME=VALUE.");
		exit(EXIT_USAGE);
	}
	settings_add(settings, pnstrdup(assignment, equals - assignment), equals + 1);
}

/* ---- configuration ---------------------------------------------------------------------- */

static bool
line_sets(const char *line, const char *name)
{
	size_t		length = strlen(name);

	while (*line == ' ' || *line == '\t')
		line++;
	return pg_strncasecmp(line, name, length) == 0 &&
		(line[length] == '=' || isspace((unsigned char) line[length]));
}

char *
conf_without(const char *text, const char *const *names)
{
	PQExpBuffer kept = createPQExpBuffer();

	while (text != NULL && *text != '\0')
	{
		const char *end = strchr(text, '\n');
		size_t		length = end != NULL ? (size_t) (end - text) + 1 : strlen(text);
		bool		drop = false;

		for (int i = 0; names[i] != NULL; i++)
			drop |= line_sets(text, names[i]);
		if (!drop)
			appendBinaryPQExpBuffer(kept, text, length);
		text += length;
	}
	return kept->data;
}

void
conf_append(PQExpBuffer text, const Settings *settings)
{
	if (text->len > 0 && text->data[text->len - 1] != '\n')
		appendPQExpBufferChar(text, '\n');
	for (int i = 0; i < settings->count; i++)
	{
		appendPQExpBuffer(text, "%s = '", settings->names[i]);
		for (const char *c = settings->values[i]; *c != '\0'; c++)
		{
			if (*c == '\'')
				appendPQExpBufferChar(text, '\'');
			else if (*c == '\\')
				appendPQExpBufferChar(text, '\\');
			appendPQExpBufferChar(text, *c == '\n' ? ' ' : *c);
		}
		appendPQExpBufferStr(text, "'\n");
	}
}

void
conf_change(const char *path, const char *const *drop, const Settings *settings)
{
	const char *names[lengthof(settings->names) + 1];
	PQExpBuffer text = createPQExpBuffer();
	char	   *old = file_read(path);

	if (drop != NULL && old != NULL)
		old = conf_without(old, drop);
	memcpy(names, settings->names, sizeof(settings->names));
	names[settings->count] = NULL;
	if (old != NULL)
		appendPQExpBufferStr(text, conf_without(old, names));
	conf_append(text, settings);
	file_write(path, text->data);
	destroyPQExpBuffer(text);
}

/* ---- secrets ---------------------------------------------------------------------------- */

char *
random_hex(int bytes)
{
	unsigned char raw[64];
	char	   *text = pg_malloc(2 * bytes + 1);

	if (bytes > (int) sizeof(raw) || getrandom(raw, bytes, 0) != bytes)
		pg_fatal("could not get random numbers");
	for (int i = 0; i < bytes; i++)
		sprintf(text + 2 * i, "%02x", raw[i]);
	return text;
}

char *
passfile_password(const char *directory, const char *user)
{
	char	   *text = file_read(psprintf("%s/" PASSWORD_FILE, directory));
	char	   *start = psprintf("*:*:*:%s:", user);
	char	   *line;

	while ((line = strsep(&text, "\n")) != NULL)
	{
		if (strncmp(line, start, strlen(start)) == 0)
			return pg_strdup(line + strlen(start));
	}
	return NULL;
}

void
passfile_write(const char *directory, const char *user, const char *password)
{
	file_write(psprintf("%s/" PASSWORD_FILE, directory),
			   psprintf("*:*:*:%s:%s\n", user, password));
}

bool
directory_is_empty(const char *path)
{
	DIR		   *dir = opendir(path);
	struct dirent *entry;
	bool		empty = true;

	if (dir == NULL)
	{
		if (errno == ENOENT)
			return true;
		pg_fatal("could not open directory \"%s\": %m", path);
	}
	while (empty && (entry = readdir(dir)) != NULL)
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
			strcmp(entry->d_name, "lost+found") == 0;
	closedir(dir);
	return empty;
}

/* ---- who may come in -------------------------------------------------------------------- */

/* A bare address needs a mask, a host name must not have one. */
static char *
hba_address(const char *network)
{
	if (strchr(network, '/') != NULL)
		return pg_strdup(network);
	if (strchr(network, ':') != NULL)
		return psprintf("%s/128", network);
	if (strspn(network, "0123456789.") == strlen(network))
		return psprintf("%s/32", network);
	return pg_strdup(network);
}

/* True when the file has changed. */
bool
hba_allow(const char *path, const char *user, const char *dbname, const char *const *networks,
		  int count)
{
	char	   *old = file_read(path);
	PQExpBuffer text = createPQExpBuffer();
	bool		changed = false;

	for (int i = 0; i < count; i++)
	{
		char	   *address = hba_address(networks[i]);
		char	   *lines = psprintf("host replication %s %s scram-sha-256\n"
									 "host %s %s %s scram-sha-256\n", user, address, dbname, user,
									 address);

		if (old != NULL && strstr(old, lines) != NULL)
			continue;
		if (!changed)
			appendPQExpBufferStr(text, "# members of the cluster, written by pg_quorum\n");
		appendPQExpBufferStr(text, lines);
		changed = true;
	}
	if (changed)
	{
		/* first: the first rule that fits counts */
		appendPQExpBufferStr(text, old != NULL ? old : "");
		file_write(path, text->data);
	}
	destroyPQExpBuffer(text);
	return changed;
}
