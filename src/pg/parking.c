/*
 * parking.c
 *	  Moves the data of a data directory aside, so that programs which replace every
 *	  file they find can work on them, and back.
 *
 * Not here: the programs, and when it is time (rewind.c).
 *
 * pg_rewind makes its target a copy of the source, with the configuration, the
 * certificates and the state of the source (V3, H63).  It is given a directory that holds
 * PostgreSQL's own data only.  Everything else, known to us or not, stays where it is and
 * is never written to, so there is no moment at which it could be lost; nor has the
 * parent of the data directory to be writable, which may be a mount point.
 *
 * What remains in place starts no server without us: pg_wal is the first to go and the
 * last to come back.  It does start a server up to _PG_init, which needs pg_control, so
 * the directory global is exchanged for one with a copy of that file, in one step.
 *
 * Plain system calls: everything runs in the postmaster, before anything else does.
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "common/file_perm.h"
#include "storage/fd.h"

#include "files.h"
#include "parking.h"

#define PARKED_OLD		PGQ_REWIND_DIR "/old"
#define PARKED_STUB		PGQ_REWIND_DIR "/global"
#define PARKED_LINK		PGQ_REWIND_DIR "/link"
#define CONTROL_FILE	"pg_control"
#define GLOBAL_MARK		"pg_filenode.map"	/* in every real global, not in our stub */

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE (1 << 1)
#endif

/*
 * PostgreSQL's own directories, in the order in which they leave.  Not in the list: global,
 * which is exchanged, and what other programs or extensions keep in the data directory.
 */
static const char *const data_entries[] = {
	"pg_wal", "backup_label", "tablespace_map", "pg_xact", "base", "pg_commit_ts", "pg_dynshmem",
	"pg_logical", "pg_multixact", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots",
	"pg_stat", "pg_stat_tmp", "pg_subtrans", "pg_tblspc", "pg_twophase"
};

static bool make_directory(const char *path);
static bool move_entry(const char *from_dir, const char *to_dir, const char *name);
static bool make_absolute(const char *path);
static bool make_stub(void);
static bool exchange(const char *a, const char *b);
static bool has_data(const char *global);
static bool sync_file_system(const char *path);

bool
pgq_parking_save(XLogRecPtr from, XLogRecPtr to)
{
	XLogSegNo	first = from / wal_segment_size;
	XLogSegNo	last = to / wal_segment_size;
	DIR		   *dir;
	struct dirent *entry;
	bool		saved = true;

	if (!pgq_file_remove(PGQ_PARKED_WAL) || !make_directory(PGQ_PARKED_WAL))
		return false;
	dir = opendir(XLOGDIR);
	if (dir == NULL)
		return pgq_file_complain("open directory", XLOGDIR);
	while (saved && (errno = 0, entry = readdir(dir)) != NULL)
	{
		char		source[MAXPGPATH];
		char		copy[MAXPGPATH];
		TimeLineID	tli;
		XLogSegNo	segment;

		if (IsXLogFileName(entry->d_name))
		{
			XLogFromFileName(entry->d_name, &tli, &segment, wal_segment_size);
			if (segment < first || segment > last)
				continue;
		}
		else if (!IsTLHistoryFileName(entry->d_name))
			continue;
		snprintf(source, sizeof(source), XLOGDIR "/%s", entry->d_name);
		snprintf(copy, sizeof(copy), PGQ_PARKED_WAL "/%s", entry->d_name);
		saved = pgq_file_copy(source, copy);
	}
	if (errno != 0)
		saved = false;
	closedir(dir);
	return saved &&
		pgq_file_copy(XLOG_CONTROL_FILE, PGQ_PARKED_WAL "/" CONTROL_FILE) &&
		pgq_directory_sync(PGQ_PARKED_WAL) && pgq_directory_sync(PGQ_REWIND_DIR);
}

bool
pgq_parking_restore_saved(void)
{
	DIR		   *dir = opendir(PGQ_PARKED_WAL);
	struct dirent *entry;
	bool		restored = true;

	if (dir == NULL)
		return pgq_file_complain("open directory", PGQ_PARKED_WAL);
	while (restored && (errno = 0, entry = readdir(dir)) != NULL)
	{
		char		source[MAXPGPATH];
		char		copy[MAXPGPATH];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(source, sizeof(source), PGQ_PARKED_WAL "/%s", entry->d_name);
		if (strcmp(entry->d_name, CONTROL_FILE) == 0)
			strlcpy(copy, PGQ_PARKED_DATA "/" XLOG_CONTROL_FILE, sizeof(copy));
		else
			snprintf(copy, sizeof(copy), PGQ_PARKED_DATA "/" XLOGDIR "/%s", entry->d_name);
		restored = pgq_file_copy(source, copy);
	}
	if (errno != 0)
		restored = false;
	closedir(dir);
	(void) unlink(PGQ_PARKED_DATA "/backup_label");
	return restored && pgq_directory_sync(PGQ_PARKED_DATA "/" XLOGDIR) &&
		pgq_directory_sync(PGQ_PARKED_DATA "/global") && pgq_directory_sync(PGQ_PARKED_DATA);
}

/* As the server does at a boot after a crash, with recovery_init_sync_method = syncfs. */
bool
pgq_parking_sync(void)
{
	DIR		   *dir = opendir(PGQ_PARKED_DATA "/pg_tblspc");
	struct dirent *entry;
	bool		synced;

	if (dir == NULL)
		return pgq_file_complain("open directory", PGQ_PARKED_DATA "/pg_tblspc");
	synced = sync_file_system(PGQ_PARKED_DATA) && sync_file_system(PGQ_PARKED_DATA "/" XLOGDIR);
	while (synced && (errno = 0, entry = readdir(dir)) != NULL)
	{
		char		path[MAXPGPATH];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), PGQ_PARKED_DATA "/pg_tblspc/%s", entry->d_name);
		synced = sync_file_system(path);
	}
	closedir(dir);
	return synced;
}

bool
pgq_parking_away(void)
{
	if (!make_directory(PGQ_PARKED_DATA))
		return false;
	for (int i = 0; i < (int) lengthof(data_entries); i++)
	{
		if (!move_entry(".", PGQ_PARKED_DATA, data_entries[i]))
			return false;

		/* this one alone keeps a server without us from starting */
		if (i == 0 && !(pgq_directory_sync(".") && pgq_directory_sync(PGQ_PARKED_DATA)))
			return false;
	}
	if (has_data("global") &&
		!(make_stub() && exchange("global", PARKED_STUB) &&
		  move_entry(PGQ_REWIND_DIR, PGQ_PARKED_DATA, "global")))
		return false;

	/* exchanged, then interrupted */
	if (has_data(PARKED_STUB) && !move_entry(PGQ_REWIND_DIR, PGQ_PARKED_DATA, "global"))
		return false;
	return pgq_file_copy("PG_VERSION", PGQ_PARKED_DATA "/PG_VERSION") &&
		pgq_directory_sync(PGQ_PARKED_DATA) && pgq_directory_sync(PGQ_REWIND_DIR) &&
		pgq_directory_sync(".");
}

bool
pgq_parking_back(void)
{
	if (!make_directory(PARKED_OLD) || !make_directory(PGQ_PARKED_DATA))
		return false;
	if (has_data(PGQ_PARKED_DATA "/global") &&
		!exchange("global", PGQ_PARKED_DATA "/global"))
		return false;

	/* interrupted on the way aside */
	if (has_data(PARKED_STUB) && !has_data("global") && !exchange("global", PARKED_STUB))
		return false;
	if (!has_data("global"))
		return pgq_file_complain("find the data of", "global");
	for (int i = (int) lengthof(data_entries) - 1; i >= 0; i--)
	{
		char		parked[MAXPGPATH];

		snprintf(parked, sizeof(parked), PGQ_PARKED_DATA "/%s", data_entries[i]);
		if (!pgq_file_exists(parked))
			continue;

		/* everything that recovery reads is there before the WAL is */
		if (i == 0 && !pgq_directory_sync("."))
			return false;
		if (!move_entry(".", PARKED_OLD, data_entries[i]) ||
			!move_entry(PGQ_PARKED_DATA, ".", data_entries[i]))
			return false;
	}
	return pgq_directory_sync(".") && pgq_directory_sync(PGQ_PARKED_DATA);
}

void
pgq_parking_clean(void)
{
	(void) pgq_file_remove(PARKED_STUB);
	(void) pgq_file_remove(PARKED_OLD);
	(void) pgq_file_remove(PGQ_PARKED_DATA);
	(void) pgq_file_remove(PGQ_PARKED_WAL);
	(void) pgq_file_remove(PGQ_REWIND_DIR "/damaged");
}

static bool
make_directory(const char *path)
{
	return mkdir(path, pg_dir_create_mode) == 0 || errno == EEXIST ||
		pgq_file_complain("create directory", path);
}

/* Nothing to move is fine: it has been moved before, or never was. */
static bool
move_entry(const char *from_dir, const char *to_dir, const char *name)
{
	char		from[MAXPGPATH];
	char		to[MAXPGPATH];

	snprintf(from, sizeof(from), "%s/%s", from_dir, name);
	snprintf(to, sizeof(to), "%s/%s", to_dir, name);
	return !pgq_file_exists(from) || (make_absolute(from) && rename(from, to) == 0) ||
		pgq_file_complain("move", from);
}

/* A relative link would lead nowhere from another place. */
static bool
make_absolute(const char *path)
{
	char		target[MAXPGPATH];
	char		absolute[PATH_MAX];
	ssize_t		length = readlink(path, target, sizeof(target) - 1);

	if (length <= 0 || target[0] == '/')
		return true;
	(void) unlink(PARKED_LINK);
	return realpath(path, absolute) != NULL && symlink(absolute, PARKED_LINK) == 0 &&
		rename(PARKED_LINK, path) == 0;
}

static bool
make_stub(void)
{
	return pgq_file_remove(PARKED_STUB) && make_directory(PARKED_STUB) &&
		pgq_file_copy(XLOG_CONTROL_FILE, PARKED_STUB "/" CONTROL_FILE) &&
		pgq_directory_sync(PARKED_STUB) && pgq_directory_sync(PGQ_REWIND_DIR);
}

/*
 * Where the file system cannot do it at once there is an instant without pg_control: a
 * crash right then needs a person, who is told so by the server that does not start.
 */
static bool
exchange(const char *a, const char *b)
{
	if (syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0)
		return pgq_directory_sync(".");
	if (errno != EINVAL && errno != ENOSYS)
		return pgq_file_complain("exchange directory", b);
	return (rename(a, PGQ_REWIND_DIR "/exchanged") == 0 && rename(b, a) == 0 &&
			rename(PGQ_REWIND_DIR "/exchanged", b) == 0 && pgq_directory_sync(".")) ||
		pgq_file_complain("exchange directory", b);
}

static bool
has_data(const char *global)
{
	char		path[MAXPGPATH];

	snprintf(path, sizeof(path), "%s/" GLOBAL_MARK, global);
	return pgq_file_exists(path);
}

static bool
sync_file_system(const char *path)
{
	int			fd = BasicOpenFile(path, O_RDONLY | PG_BINARY);
	bool		synced = fd >= 0 && syncfs(fd) == 0;

	if (!synced)
		pgq_file_complain("synchronize the file system of", path);
	if (fd >= 0)
		close(fd);
	return synced;
}
