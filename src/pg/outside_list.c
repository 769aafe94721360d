/*
 * outside_list.c
 *	  The list of data that lie outside of a data directory: read from links, noted, read again.
 */
#include "postgres.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog_internal.h"
#include "storage/fd.h"

#include "files.h"
#include "outside.h"
#include "outside_list.h"
#include "parking.h"

#define NOTE_FILE		PGQ_REWIND_DIR "/outside"
#define NOTE_TEMP		PGQ_REWIND_DIR "/outside.tmp"

static bool add_link(PgqOutsideList *list, const char *name, const char *link);

bool
pgq_outside_note(void)
{
	static PgqOutsideList list;
	FILE	   *file;
	bool		written;

	if (pgq_outside_is_noted())
		return true;
	if (!pgq_outside_links(PGQ_PARKED_DATA, &list))
		return false;
	file = fopen(NOTE_TEMP, "w");
	if (file == NULL)
		return pgq_file_complain("create file", NOTE_TEMP);
	for (int i = 0; i < list.count; i++)
		fprintf(file, "%s %s\n", list.entries[i].name, list.entries[i].path);
	written = fflush(file) == 0 && pg_fsync(fileno(file)) == 0;
	if (fclose(file) != 0 || !written)
		return pgq_file_complain("write file", NOTE_TEMP);
	return durable_rename(NOTE_TEMP, NOTE_FILE, LOG) == 0;
}

bool
pgq_outside_links(const char *data, PgqOutsideList *list)
{
	char		path[MAXPGPATH];
	DIR		   *dir;
	struct dirent *entry;
	bool		found;

	list->count = 0;
	list->overflow = false;
	snprintf(path, sizeof(path), "%s/" XLOGDIR, data);
	found = add_link(list, XLOGDIR, path);
	snprintf(path, sizeof(path), "%s/" PGQ_TABLESPACES, data);
	dir = opendir(path);
	if (dir == NULL)
		return (found && errno == ENOENT) || pgq_file_complain("open directory", path);
	while (found && (errno = 0, entry = readdir(dir)) != NULL)
	{
		char		link[MAXPGPATH];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(link, sizeof(link), "%s/%s", path, entry->d_name);
		found = add_link(list, entry->d_name, link);
	}
	closedir(dir);
	return found && !list->overflow;
}

/* Whatever is no link is part of the data directory: a tablespace "in place", too. */
static bool
add_link(PgqOutsideList *list, const char *name, const char *link)
{
	char		path[MAXPGPATH];
	struct stat status;
	ssize_t		length;

	if (lstat(link, &status) != 0 || !S_ISLNK(status.st_mode))
		return true;
	length = readlink(link, path, sizeof(path) - 1);
	if (length < 0)
		return pgq_file_complain("read symbolic link", link);
	path[length] = '\0';
	pgq_outside_add(list, name, path);
	return true;
}

void
pgq_outside_add(PgqOutsideList *list, const char *name, const char *path)
{
	if (list->count == PGQ_OUTSIDE_MAX || strlen(path) + 64 > MAXPGPATH || strchr(path, '\n'))
	{
		list->overflow = true;
		return;
	}
	strlcpy(list->entries[list->count].name, name, sizeof(list->entries[0].name));
	strlcpy(list->entries[list->count].path, path, sizeof(list->entries[0].path));
	list->count++;
}

const PgqOutside *
pgq_outside_find(const PgqOutsideList *list, const char *name)
{
	for (int i = 0; i < list->count; i++)
	{
		if (strcmp(list->entries[i].name, name) == 0)
			return &list->entries[i];
	}
	return NULL;
}

bool
pgq_outside_read_note(PgqOutsideList *list)
{
	FILE	   *file = fopen(NOTE_FILE, "r");
	char		line[MAXPGPATH + 64];

	list->count = 0;
	list->overflow = false;
	if (file == NULL)
		return errno == ENOENT;
	while (fgets(line, sizeof(line), file) != NULL)
	{
		char	   *path = strchr(line, ' ');

		line[strcspn(line, "\n")] = '\0';
		if (path == NULL)
			continue;
		*path++ = '\0';
		pgq_outside_add(list, line, path);
	}
	fclose(file);
	return true;
}

bool
pgq_outside_is_noted(void)
{
	return access(NOTE_FILE, F_OK) == 0;
}

void
pgq_outside_forget_note(void)
{
	(void) unlink(NOTE_FILE);
}
