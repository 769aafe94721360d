/*
 * files.c
 *	  Small tools for files and directories; each logs a failure.
 *
 * Plain system calls: they are used in the postmaster, before anything else runs.
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/fd.h"

#include "files.h"

bool
pgq_file_remove(const char *path)
{
	struct stat status;
	DIR		   *dir;
	struct dirent *entry;

	if (lstat(path, &status) != 0)
		return errno == ENOENT || pgq_file_complain("stat", path);
	if (!S_ISDIR(status.st_mode))
		return unlink(path) == 0 || pgq_file_complain("remove file", path);

	dir = opendir(path);
	if (dir == NULL)
		return pgq_file_complain("open directory", path);
	while ((entry = readdir(dir)) != NULL)
	{
		char		inner[MAXPGPATH];

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
		if (!pgq_file_remove(inner))
			break;
	}
	closedir(dir);
	return rmdir(path) == 0 || pgq_file_complain("remove directory", path);
}

int64
pgq_file_size(const char *path)
{
	struct stat status;
	DIR		   *dir;
	struct dirent *entry;
	int64		size;

	if (lstat(path, &status) != 0)
		return 0;
	size = (int64) status.st_blocks * 512;
	dir = S_ISDIR(status.st_mode) ? opendir(path) : NULL;
	while (dir != NULL && (entry = readdir(dir)) != NULL)
	{
		char		inner[MAXPGPATH];

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
		size += pgq_file_size(inner);
	}
	if (dir != NULL)
		closedir(dir);
	return size;
}

/* The kernel copies, and shares the blocks where the file system can. */
bool
pgq_file_copy(const char *from, const char *to)
{
	int			source = BasicOpenFile(from, O_RDONLY | PG_BINARY);
	int			copy = BasicOpenFile(to, O_WRONLY | O_CREAT | O_TRUNC | PG_BINARY);
	ssize_t		got = -1;
	bool		copied;

	while (source >= 0 && copy >= 0 &&
		   (got = copy_file_range(source, NULL, copy, NULL, 1 << 30, 0)) > 0)
		;
	if (got < 0 && source >= 0 && copy >= 0 && lseek(copy, 0, SEEK_CUR) == 0)
	{
		char		buffer[65536];

		while ((got = read(source, buffer, sizeof(buffer))) > 0 &&
			   write(copy, buffer, got) == got)
			;
		if (got > 0)
			errno = ENOSPC;		/* what a short write means */
	}
	copied = got == 0 && pg_fsync(copy) == 0;
	if (!copied)
		pgq_file_complain("copy file", from);
	if (source >= 0)
		close(source);
	if (copy >= 0)
		close(copy);
	return copied;
}

bool
pgq_directory_sync(const char *path)
{
	return fsync_fname_ext(path, true, false, LOG) == 0;
}

bool
pgq_file_exists(const char *path)
{
	struct stat status;

	return lstat(path, &status) == 0;
}

bool
pgq_file_complain(const char *doing, const char *path)
{
	ereport(LOG,
			(errcode_for_file_access(),
			 errmsg("could not %s \"%s\": %m", doing, path)));
	return false;
}
