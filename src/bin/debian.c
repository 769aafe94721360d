/*
 * debian.c
 *	  Servers that pg_createcluster made: configuration in one place, data in another.
 *
 * Not here: how they are started (local.c).
 */
#include "debian.h"

#include <ctype.h>
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"

/* The value of "name = 'value'  # comment"; NULL when the line sets something else. */
static char *
line_value(const char *line, const char *name)
{
	size_t		length = strlen(name);
	const char *end;

	line += strspn(line, " \t");
	if (pg_strncasecmp(line, name, length) != 0)
		return NULL;
	line += length;
	if (*line != '=' && !isspace((unsigned char) *line))
		return NULL;
	line += strspn(line, " \t");
	if (*line == '=')
		line++;
	line += strspn(line, " \t");
	if (*line == '\'')
	{
		end = strchr(++line, '\'');
		return end != NULL ? pnstrdup(line, end - line) : NULL;
	}
	length = strcspn(line, " \t#\r");
	return length > 0 ? pnstrdup(line, length) : NULL;
}

char *
config_value(const char *config_directory, const char *name)
{
	char	   *text = file_read(psprintf("%s/postgresql.conf", config_directory));
	char	   *line;
	char	   *value = NULL;

	while (text != NULL && (line = strsep(&text, "\n")) != NULL)
	{
		char	   *found = line_value(line, name);

		if (found != NULL)
			value = found;
	}
	return value;
}

static bool
same_directory(const char *a, const char *b)
{
	struct stat of_a;
	struct stat of_b;

	return stat(a, &of_a) == 0 && stat(b, &of_b) == 0 &&
		of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

void
find_config_directory(LocalServer *server)
{
	const char *root = getenv("PG_CLUSTER_CONF_ROOT");	/* as in postgresql-common */
	char	   *of_version = psprintf("%s/%d", root != NULL ? root : "/etc/postgresql",
									  PG_VERSION_NUM / 10000);
	DIR		   *dir;
	struct dirent *entry;

	if (server->config_directory != NULL || server->directory == NULL ||
		access(psprintf("%s/postgresql.conf", server->directory), F_OK) == 0)
		return;
	dir = opendir(of_version);
	while (dir != NULL && server->config_directory == NULL && (entry = readdir(dir)) != NULL)
	{
		char	   *config = psprintf("%s/%s", of_version, entry->d_name);
		char	   *data;

		if (entry->d_name[0] == '.' ||
			access(psprintf("%s/postgresql.conf", config), R_OK) != 0)
			continue;
		data = config_value(config, "data_directory");
		if (data != NULL && same_directory(data, server->directory))
			server->config_directory = config;
	}
	if (dir != NULL)
		closedir(dir);
}
