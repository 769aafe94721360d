/*
 * outside.c
 *	  A clone's data outside of the data directory: tablespaces, and WAL behind a link.
 *
 * Not here: how they are found and remembered (outside_list.c).
 *
 * A clone leaves them where this node had them, whatever the leader's paths are; a
 * tablespace that is new to this node goes where the leader has it, if nothing of
 * PostgreSQL is there.  The parents of these directories may not be writable, so the copy
 * is made inside of each, below a name that base backups and pg_rewind skip, and changes
 * places with the old data by renames.
 *
 *	<tablespace>/PG_15_...						the old data
 *	<tablespace>/pgsql_tmp.quorum_new/PG_15_...	the copy, until it is whole
 *	<tablespace>/pgsql_tmp.quorum_old/PG_15_...	the old data, until the copy has proved good
 *
 * Rules: H73, H105.
 */
#include "postgres.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "access/xlog_internal.h"
#include "catalog/catversion.h"
#include "common/file_perm.h"
#include "common/relpath.h"
#include "storage/fd.h"

#include "files.h"
#include "outside.h"
#include "outside_list.h"
#include "parking.h"

#define NEW_DIR			"pgsql_tmp.quorum_new"
#define IN_DIR			"pgsql_tmp.quorum_in"	/* the copy of the WAL, on its way in */
#define OLD_DIR			"pgsql_tmp.quorum_old"

/* The source's tablespaces. */
static PgqOutsideList theirs;

static bool is_wal(const PgqOutside *outside);
static void note_tablespace(const char *line, void *arg);
static bool has_place(const PgqOutside *theirs, char *why);
static char *map_argument(const PgqOutside *theirs, const char *ours);
static bool place_tablespace(const char *path);
static bool place_wal(const char *path);
static bool belongs_to_wal(const char *name);
static bool move_wal(const char *from, const char *to);
static bool replace_link(const char *link, const char *path);
static bool rename_entry(const char *from, const char *to);
static bool make_room(const PgqOutside *outside);
static bool is_in(const char *directory, const char *name);

static bool
is_wal(const PgqOutside *outside)
{
	return strcmp(outside->name, XLOGDIR) == 0;
}

/* ---- where the copy goes ------------------------------------------------------ */

void
pgq_outside_ask(PgqSourceFacts *facts)
{
	theirs.count = 0;
	theirs.overflow = false;
	facts->tablespace = note_tablespace;
	facts->tablespace_arg = &theirs;
}

bool
pgq_outside_arguments(const char **arguments, int *count, char *why)
{
	static PgqOutsideList ours;
	const PgqOutside *wal;

	if (!pgq_outside_read_note(&ours))
	{
		strlcpy(why, "what lies outside of the data directory is not known", QUORUM_REASON_SIZE);
		return false;
	}
	if (theirs.overflow)
	{
		snprintf(why, QUORUM_REASON_SIZE, "the leader has more than %d tablespaces, or long paths",
				 PGQ_OUTSIDE_MAX);
		return false;
	}
	for (int i = 0; i < theirs.count; i++)
	{
		const PgqOutside *our = pgq_outside_find(&ours, theirs.entries[i].name);

		if (our == NULL && !has_place(&theirs.entries[i], why))
			return false;
		arguments[(*count)++] = map_argument(&theirs.entries[i],
											 our ? our->path : theirs.entries[i].path);
	}
	wal = pgq_outside_find(&ours, XLOGDIR);
	if (wal != NULL)
		arguments[(*count)++] = psprintf("--waldir=%s/" NEW_DIR, wal->path);
	arguments[*count] = NULL;
	return true;
}

/* "<number> <path>"; those within the data directory have a relative path. */
static void
note_tablespace(const char *line, void *arg)
{
	char		name[32];
	const char *path = strchr(line, ' ');

	if (path != NULL && path[1] == '/' && sscanf(line, "%31[0-9]", name) == 1)
		pgq_outside_add(arg, name, path + 1);
}

/* On a host of its own the leader's path is free; on the leader's host it is the leader's. */
static bool
has_place(const PgqOutside *theirs, char *why)
{
	if (mkdir(theirs->path, pg_dir_create_mode) != 0 && errno != EEXIST)
	{
		snprintf(why, QUORUM_REASON_SIZE, "tablespace %s belongs at \"%.80s\", which cannot be made: %s",
				 theirs->name, theirs->path, strerror(errno));
		return false;
	}
	if (is_in(theirs->path, TABLESPACE_VERSION_DIRECTORY))
	{
		snprintf(why, QUORUM_REASON_SIZE,
				 "tablespace %s belongs at \"%.80s\", where other data are", theirs->name,
				 theirs->path);
		return false;
	}
	return true;
}

/* In pg_basebackup's notation a '=' within a path is escaped.  Returns the end. */
static char *
append_escaped(char *to, const char *path)
{
	for (; *path != '\0'; path++)
	{
		if (*path == '=')
			*to++ = '\\';
		*to++ = *path;
	}
	return to;
}

static char *
map_argument(const PgqOutside *theirs, const char *ours)
{
	char	   *argument = palloc(2 * (strlen(theirs->path) + strlen(ours)) + 64);
	char	   *end = append_escaped(stpcpy(argument, "--tablespace-mapping="), theirs->path);

	*end++ = '=';
	strcpy(append_escaped(end, ours), "/" NEW_DIR);
	return argument;
}

bool
pgq_outside_fits(char *why)
{
	for (int i = 0; i < theirs.count; i++)
	{
		if (!is_in(PGQ_TABLESPACES, theirs.entries[i].name) && !has_place(&theirs.entries[i], why))
			return false;
	}
	return true;
}

bool
pgq_outside_clear(void)
{
	static PgqOutsideList list;
	bool		cleared = pgq_outside_read_note(&list);

	for (int i = 0; cleared && i < list.count; i++)
	{
		char		path[MAXPGPATH];

		snprintf(path, sizeof(path), "%s/" NEW_DIR, list.entries[i].path);
		cleared = pgq_file_remove(path);
	}

	/* tablespaces that only the copy has */
	if (cleared && access(PGQ_PARKED_DATA "/" PGQ_TABLESPACES, F_OK) == 0 &&
		pgq_outside_links(PGQ_PARKED_DATA, &list))
	{
		for (int i = 0; cleared && i < list.count; i++)
		{
			size_t		length = strlen(list.entries[i].path);

			if (length > strlen(NEW_DIR) &&
				strcmp(list.entries[i].path + length - strlen(NEW_DIR), NEW_DIR) == 0)
				cleared = pgq_file_remove(list.entries[i].path);
		}
	}
	return cleared;
}

bool
pgq_outside_make_room(void)
{
	static PgqOutsideList list;
	bool		made = pgq_outside_read_note(&list);

	for (int i = 0; made && i < list.count; i++)
		made = make_room(&list.entries[i]);
	return made;
}

/* The WAL of a copy is small, or grows while it is made: nothing to be said before. */
static bool
make_room(const PgqOutside *outside)
{
	char		data[MAXPGPATH];
	struct statvfs space;
	int64		size;

	snprintf(data, sizeof(data), "%s/" TABLESPACE_VERSION_DIRECTORY, outside->path);
	if (is_wal(outside) || access(data, F_OK) != 0)
		return true;
	size = pgq_file_size(data);
	if (statvfs(outside->path, &space) != 0 ||
		(int64) space.f_bavail * (int64) space.f_frsize >= size + size / 5)
		return true;
	ereport(LOG,
			(errmsg("quorum: there is no room to keep the old data in \"%s\" while they are cloned",
					outside->path)));
	return pgq_file_remove(data);
}

/* ---- the copy takes its place ------------------------------------------------- */

bool
pgq_outside_place(void)
{
	static PgqOutsideList list;
	bool		placed;

	/* of a rewind, which changes no links */
	if (!pgq_outside_is_noted())
		return true;

	/* on its way back, or back already */
	if (access(PGQ_PARKED_DATA "/" PGQ_TABLESPACES, F_OK) != 0)
		return true;
	placed = pgq_outside_links(PGQ_PARKED_DATA, &list);
	for (int i = 0; placed && i < list.count; i++)
	{
		PgqOutside    *outside = &list.entries[i];
		char		link[MAXPGPATH];
		char	   *end = strstr(outside->path, "/" NEW_DIR);

		if (end == NULL)
			continue;
		*end = '\0';
		snprintf(link, sizeof(link), "%s/%s%s", PGQ_PARKED_DATA,
				 is_wal(outside) ? "" : PGQ_TABLESPACES "/", outside->name);
		placed = (is_wal(outside) ? place_wal(outside->path) : place_tablespace(outside->path)) &&
			replace_link(link, outside->path);
	}
	return placed;
}

static bool
place_tablespace(const char *path)
{
	char		copy[MAXPGPATH];
	char		data[MAXPGPATH];
	char		old[MAXPGPATH];
	char		new_dir[MAXPGPATH];

	snprintf(new_dir, sizeof(new_dir), "%s/" NEW_DIR, path);
	snprintf(copy, sizeof(copy), "%s/" TABLESPACE_VERSION_DIRECTORY, new_dir);
	snprintf(data, sizeof(data), "%s/" TABLESPACE_VERSION_DIRECTORY, path);
	snprintf(old, sizeof(old), "%s/" OLD_DIR, path);
	if (access(copy, F_OK) == 0)
	{
		if (access(data, F_OK) == 0 && !rename_entry(data, old))
			return false;
		if (!rename_entry(copy, data))
			return false;
	}
	return pgq_directory_sync(path) && pgq_file_remove(new_dir);
}

/* A directory's name says how far it is: nothing new is in before all of the old is out. */
static bool
place_wal(const char *path)
{
	char		copy[MAXPGPATH];
	char		old[MAXPGPATH];
	char		in[MAXPGPATH];

	snprintf(copy, sizeof(copy), "%s/" NEW_DIR, path);
	snprintf(old, sizeof(old), "%s/" OLD_DIR, path);
	snprintf(in, sizeof(in), "%s/" IN_DIR, path);
	if (access(copy, F_OK) == 0)
	{
		if ((mkdir(old, pg_dir_create_mode) != 0 && errno != EEXIST) || !move_wal(path, old) ||
			!pgq_directory_sync(path) || !rename_entry(copy, in) || !pgq_directory_sync(path))
			return pgq_file_complain("move aside the WAL in", path);
	}
	if (access(in, F_OK) == 0 &&
		(!move_wal(in, path) || !pgq_directory_sync(path) || !pgq_file_remove(in)))
		return pgq_file_complain("move the WAL into", path);
	return true;
}

/* Everything of ours: what else somebody keeps beside the WAL stays. */
static bool
belongs_to_wal(const char *name)
{
	return IsXLogFileName(name) || IsPartialXLogFileName(name) || IsTLHistoryFileName(name) ||
		IsBackupHistoryFileName(name) || strcmp(name, "archive_status") == 0 ||
		strcmp(name, "summaries") == 0 || strncmp(name, "xlogtemp.", 9) == 0 ||
		strncmp(name, "RECOVERY", 8) == 0;
}

static bool
move_wal(const char *from, const char *to)
{
	DIR		   *dir = opendir(from);
	struct dirent *entry;
	bool		moved = dir != NULL;

	while (moved && (errno = 0, entry = readdir(dir)) != NULL)
	{
		char		source[MAXPGPATH];
		char		target[MAXPGPATH];

		if (!belongs_to_wal(entry->d_name))
			continue;
		snprintf(source, sizeof(source), "%s/%s", from, entry->d_name);
		snprintf(target, sizeof(target), "%s/%s", to, entry->d_name);
		moved = rename_entry(source, target);
	}
	if (dir != NULL)
		closedir(dir);
	return moved;
}

static bool
replace_link(const char *link, const char *path)
{
	const char *temp = PGQ_PARKED_DATA "/pgsql_tmp.link";

	(void) unlink(temp);
	return (symlink(path, temp) == 0 || pgq_file_complain("create symbolic link", temp)) &&
		rename_entry(temp, link);
}

void
pgq_outside_clean(void)
{
	static const char *const left[] = {OLD_DIR, NEW_DIR, IN_DIR};
	static PgqOutsideList list;
	static PgqOutsideList now;

	if (!pgq_outside_is_noted() || !pgq_outside_read_note(&list) || !pgq_outside_links(".", &now))
		return;
	for (int i = 0; i < list.count; i++)
	{
		char		path[MAXPGPATH];

		for (int j = 0; j < (int) lengthof(left); j++)
		{
			snprintf(path, sizeof(path), "%s/%s", list.entries[i].path, left[j]);
			(void) pgq_file_remove(path);
		}

		/* a tablespace that the leader has dropped */
		snprintf(path, sizeof(path), "%s/" TABLESPACE_VERSION_DIRECTORY, list.entries[i].path);
		if (!is_wal(&list.entries[i]) && pgq_outside_find(&now, list.entries[i].name) == NULL)
			(void) pgq_file_remove(path);
	}
	pgq_outside_forget_note();
}

/* ---- small tools --------------------------------------------------------------- */

static bool
rename_entry(const char *from, const char *to)
{
	return rename(from, to) == 0 || pgq_file_complain("move", from);
}

static bool
is_in(const char *directory, const char *name)
{
	char		path[MAXPGPATH];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return pgq_file_exists(path);
}
