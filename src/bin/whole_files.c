/*
 * whole_files.c
 *	  Reads and writes small files in one go.
 *
 * Without libpq: the witness uses it, too.
 */
#include "files.h"

#include <fcntl.h>
#include <unistd.h>

#include "lib/stringinfo.h"

char *
file_read(const char *path)
{
	FILE	   *in = fopen(path, "r");
	StringInfoData text;
	char		chunk[4096];
	size_t		length;

	if (in == NULL)
	{
		if (errno == ENOENT)
			return NULL;
		pg_fatal("could not open \"%s\": %m", path);
	}
	initStringInfo(&text);
	while ((length = fread(chunk, 1, sizeof(chunk), in)) > 0)
		appendBinaryStringInfo(&text, chunk, (int) length);
	if (ferror(in))
		pg_fatal("could not read \"%s\": %m", path);
	fclose(in);
	return text.data;
}

static void
sync_directory_of(const char *path)
{
	char	   *parent = pg_strdup(path);
	char	   *slash = strrchr(parent, '/');
	int			fd;

	if (slash != NULL)
		*slash = '\0';
	fd = open(slash != NULL ? parent : ".", O_RDONLY);
	if (fd >= 0)
	{
		(void) fsync(fd);
		close(fd);
	}
	free(parent);
}

void
file_write(const char *path, const char *text)
{
	char	   *temporary = psprintf("%s.pg_quorum.tmp", path);
	size_t		length = strlen(text);
	int			fd;

	(void) unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		pg_fatal("could not create \"%s\": %m", temporary);
	if (write(fd, text, length) != (ssize_t) length || fsync(fd) != 0 || close(fd) != 0 ||
		rename(temporary, path) != 0)
		pg_fatal("could not write \"%s\": %m", path);
	sync_directory_of(path);
	free(temporary);
}
