/*
 * outside.c
 *	  Data of a data directory that lie outside of it: tablespaces, and WAL behind a link.
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
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "access/xlog_internal.h"
#include "catalog/catversion.h"
#include "common/file_perm.h"
#include "common/relpath.h"
#include "storage/fd.h"

#include "outside.h"
#include "parking.h"

#define NOTE_FILE		PGQ_REWIND_DIR "/outside"
#define NOTE_TEMP		PGQ_REWIND_DIR "/outside.tmp"
#define TABLESPACES		"pg_tblspc"
#define NEW_DIR			"pgsql_tmp.quorum_new"
#define IN_DIR			"pgsql_tmp.quorum_in"	/* the copy of the WAL, on its way in */
#define OLD_DIR			"pgsql_tmp.quorum_old"

typedef struct Outside
{
	char		name[32];		/* "pg_wal", or a tablespace's number */
	char		path[MAXPGPATH];
} Outside;

typedef struct OutsideList
{
	int			count;
	bool		overflow;
	Outside		entries[PGQ_OUTSIDE_MAX];
} OutsideList;

/* The source's tablespaces. */
static OutsideList theirs;

static bool find_links(const char *data, OutsideList *list);
static bool add_link(OutsideList *list, const char *name, const char *link);
static void add(OutsideList *list, const char *name, const char *path);
static const Outside *find(const OutsideList *list, const char *name);
static bool read_note(OutsideList *list);
static bool is_wal(const Outside *outside);
static void note_tablespace(const char *line, void *arg);
static bool has_place(const Outside *theirs, char *why);
static char *map_argument(const Outside *theirs, const char *ours);
static bool place_tablespace(const char *path);
static bool place_wal(const char *path);
static bool belongs_to_wal(const char *name);
static bool move_wal(const char *from, const char *to);
static bool replace_link(const char *link, const char *path);
static bool rename_entry(const char *from, const char *to);
static bool make_room(const Outside *outside);
static bool exists(const char *directory, const char *name);
static bool sync_directory(const char *path);
static bool complain(const char *doing, const char *path);

/* ---- what lies outside -------------------------------------------------------- */

bool
pgq_outside_note(void)
{
	static OutsideList list;
	FILE	   *file;
	bool		written;

	if (access(NOTE_FILE, F_OK) == 0)
		return true;
	if (!find_links(PGQ_PARKED_DATA, &list))
		return false;
	file = fopen(NOTE_TEMP, "w");
	if (file == NULL)
		return complain("create file", NOTE_TEMP);
	for (int i = 0; i < list.count; i++)
		fprintf(file, "%s %s\n", list.entries[i].name, list.entries[i].path);
	written = fflush(file) == 0 && pg_fsync(fileno(file)) == 0;
	if (fclose(file) != 0 || !written)
		return complain("write file", NOTE_TEMP);
	return durable_rename(NOTE_TEMP, NOTE_FILE, LOG) == 0;
}

static bool
find_links(const char *data, OutsideList *list)
{
	char		path[MAXPGPATH];
	DIR		   *dir;
	struct dirent *entry;
	bool		found;

	list->count = 0;
	list->overflow = false;
	snprintf(path, sizeof(path), "%s/" XLOGDIR, data);
	found = add_link(list, XLOGDIR, path);
	snprintf(path, sizeof(path), "%s/" TABLESPACES, data);
	dir = opendir(path);
	if (dir == NULL)
		return (found && errno == ENOENT) || complain("open directory", path);
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
add_link(OutsideList *list, const char *name, const char *link)
{
	char		path[MAXPGPATH];
	struct stat status;
	ssize_t		length;

	if (lstat(link, &status) != 0 || !S_ISLNK(status.st_mode))
		return true;
	length = readlink(link, path, sizeof(path) - 1);
	if (length < 0)
		return complain("read symbolic link", link);
	path[length] = '\0';
	add(list, name, path);
	return true;
}

static void
add(OutsideList *list, const char *name, const char *path)
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

static const Outside *
find(const OutsideList *list, const char *name)
{
	for (int i = 0; i < list->count; i++)
	{
		if (strcmp(list->entries[i].name, name) == 0)
			return &list->entries[i];
	}
	return NULL;
}

static bool
read_note(OutsideList *list)
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
		add(list, line, path);
	}
	fclose(file);
	return true;
}

static bool
is_wal(const Outside *outside)
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
	static OutsideList ours;
	const Outside *wal;

	if (!read_note(&ours))
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
		const Outside *our = find(&ours, theirs.entries[i].name);

		if (our == NULL && !has_place(&theirs.entries[i], why))
			return false;
		arguments[(*count)++] = map_argument(&theirs.entries[i],
											 our ? our->path : theirs.entries[i].path);
	}
	wal = find(&ours, XLOGDIR);
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
		add(arg, name, path + 1);
}

/* On a host of its own the leader's path is free; on the leader's host it is the leader's. */
static bool
has_place(const Outside *theirs, char *why)
{
	if (mkdir(theirs->path, pg_dir_create_mode) != 0 && errno != EEXIST)
	{
		snprintf(why, QUORUM_REASON_SIZE, "tablespace %s belongs at \"%.80s\", which cannot be made: %s",
				 theirs->name, theirs->path, strerror(errno));
		return false;
	}
	if (exists(theirs->path, TABLESPACE_VERSION_DIRECTORY))
	{
		snprintf(why, QUORUM_REASON_SIZE,
				 "tablespace %s belongs at \"%.80s\", where other data are", theirs->name,
				 theirs->path);
		return false;
	}
	return true;
}

/* In pg_basebackup's notation a '=' within a path is escaped. */
static char *
map_argument(const Outside *theirs, const char *ours)
{
	char	   *argument = palloc(4 * MAXPGPATH);
	size_t		length = strlen("--tablespace-mapping=");

	memcpy(argument, "--tablespace-mapping=", length);
	for (const char *c = theirs->path; *c != '\0'; c++)
	{
		if (*c == '=')
			argument[length++] = '\\';
		argument[length++] = *c;
	}
	argument[length++] = '=';
	for (const char *c = ours; *c != '\0'; c++)
	{
		if (*c == '=')
			argument[length++] = '\\';
		argument[length++] = *c;
	}
	strlcpy(argument + length, "/" NEW_DIR, 4 * MAXPGPATH - length);
	return argument;
}

bool
pgq_outside_fits(char *why)
{
	for (int i = 0; i < theirs.count; i++)
	{
		if (!exists(TABLESPACES, theirs.entries[i].name) && !has_place(&theirs.entries[i], why))
			return false;
	}
	return true;
}

bool
pgq_outside_clear(void)
{
	static OutsideList list;
	bool		cleared = read_note(&list);

	for (int i = 0; cleared && i < list.count; i++)
	{
		char		path[MAXPGPATH];

		snprintf(path, sizeof(path), "%s/" NEW_DIR, list.entries[i].path);
		cleared = pgq_parking_remove(path);
	}

	/* tablespaces that only the copy has */
	if (cleared && access(PGQ_PARKED_DATA "/" TABLESPACES, F_OK) == 0 &&
		find_links(PGQ_PARKED_DATA, &list))
	{
		for (int i = 0; cleared && i < list.count; i++)
		{
			size_t		length = strlen(list.entries[i].path);

			if (length > strlen(NEW_DIR) &&
				strcmp(list.entries[i].path + length - strlen(NEW_DIR), NEW_DIR) == 0)
				cleared = pgq_parking_remove(list.entries[i].path);
		}
	}
	return cleared;
}

bool
pgq_outside_make_room(void)
{
	static OutsideList list;
	bool		made = read_note(&list);

	for (int i = 0; made && i < list.count; i++)
		made = make_room(&list.entries[i]);
	return made;
}

/* The WAL of a copy is small, or grows while it is made: nothing to be said before. */
static bool
make_room(const Outside *outside)
{
	char		data[MAXPGPATH];
	struct statvfs space;
	int64		size;

	snprintf(data, sizeof(data), "%s/" TABLESPACE_VERSION_DIRECTORY, outside->path);
	if (is_wal(outside) || access(data, F_OK) != 0)
		return true;
	size = pgq_parking_size(data);
	if (statvfs(outside->path, &space) != 0 ||
		(int64) space.f_bavail * (int64) space.f_frsize >= size + size / 5)
		return true;
	ereport(LOG,
			(errmsg("quorum: there is no room to keep the old data in \"%s\" while they are cloned",
					outside->path)));
	return pgq_parking_remove(data);
}

/* ---- the copy takes its place ------------------------------------------------- */

bool
pgq_outside_place(void)
{
	static OutsideList list;
	bool		placed;

	/* of a rewind, which changes no links */
	if (access(NOTE_FILE, F_OK) != 0)
		return true;

	/* on its way back, or back already */
	if (access(PGQ_PARKED_DATA "/" TABLESPACES, F_OK) != 0)
		return true;
	placed = find_links(PGQ_PARKED_DATA, &list);
	for (int i = 0; placed && i < list.count; i++)
	{
		Outside    *outside = &list.entries[i];
		char		link[MAXPGPATH];
		char	   *end = strstr(outside->path, "/" NEW_DIR);

		if (end == NULL)
			continue;
		*end = '\0';
		snprintf(link, sizeof(link), "%s/%s%s", PGQ_PARKED_DATA,
				 is_wal(outside) ? "" : TABLESPACES "/", outside->name);
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
	return sync_directory(path) && pgq_parking_remove(new_dir);
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
			!sync_directory(path) || !rename_entry(copy, in) || !sync_directory(path))
			return complain("move aside the WAL in", path);
	}
	if (access(in, F_OK) == 0 &&
		(!move_wal(in, path) || !sync_directory(path) || !pgq_parking_remove(in)))
		return complain("move the WAL into", path);
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
	return (symlink(path, temp) == 0 || complain("create symbolic link", temp)) &&
		rename_entry(temp, link);
}

void
pgq_outside_clean(void)
{
	static const char *const left[] = {OLD_DIR, NEW_DIR, IN_DIR};
	static OutsideList list;
	static OutsideList now;

	if (access(NOTE_FILE, F_OK) != 0 || !read_note(&list) || !find_links(".", &now))
		return;
	for (int i = 0; i < list.count; i++)
	{
		char		path[MAXPGPATH];

		for (int j = 0; j < (int) lengthof(left); j++)
		{
			snprintf(path, sizeof(path), "%s/%s", list.entries[i].path, left[j]);
			(void) pgq_parking_remove(path);
		}

		/* a tablespace that the leader has dropped */
		snprintf(path, sizeof(path), "%s/" TABLESPACE_VERSION_DIRECTORY, list.entries[i].path);
		if (!is_wal(&list.entries[i]) && find(&now, list.entries[i].name) == NULL)
			(void) pgq_parking_remove(path);
	}
	(void) unlink(NOTE_FILE);
}

/* ---- small tools --------------------------------------------------------------- */

static bool
rename_entry(const char *from, const char *to)
{
	return rename(from, to) == 0 || complain("move", from);
}

static bool
exists(const char *directory, const char *name)
{
	char		path[MAXPGPATH];
	struct stat status;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return lstat(path, &status) == 0;
}

static bool
sync_directory(const char *path)
{
	return fsync_fname_ext(path, true, false, LOG) == 0;
}

static bool
complain(const char *doing, const char *path)
{
	ereport(LOG,
			(errcode_for_file_access(),
			 errmsg("could not %s \"%s\": %m", doing, path)));
	return false;
}
