/*
 * rollback.c
 *	  Keeps what a rewind takes out of this node's log, within limits of size and age.
 *
 * It is the WAL from the fork to the end: transactions that were committed here, but
 * acknowledged to nobody, and transactions that were under way.  Nothing is decided from
 * it: it is for a person, who finds a list (rollback_list.c), and more with pg_waldump.
 */
#include "postgres.h"

#include <dirent.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "common/file_perm.h"
#include "storage/fd.h"
#include "utils/timestamp.h"

#include "files.h"
#include "guc.h"
#include "parking.h"
#include "rollback.h"

#define ROLLBACKS_MAX	1000
#define TRIM_INTERVAL_US	(60 * UINT64CONST(1000000))	/* between two looks of the worker */

/* Every name begins with the time, so that their order is that of the rewinds. */
#define STAMP_FORMAT	"%Y%m%dT%H%M%SZ"

static bool make_directory(const char *path);
static bool move_wal(const PgqJournal *journal, const char *path);
static void write_about(const PgqJournal *journal, const char *path,
						const PgqRollback *rollback);
static bool read_about(FILE *file, PgqRollback *rollback);
static bool find_victim(char *path);
static bool is_old(const char *name);
static bool remove_one_file(const char *path);
static int64 size_of(const char *path);
static int	compare_names(const void *a, const void *b);

/* ---- in the postmaster, after a rewind ------------------------------------------------- */

void
pgq_rollback_keep(const PgqJournal *journal)
{
	static PgqRollback rollback;
	char		path[MAXPGPATH];

	/* a clone of a node that had fallen behind takes nothing out */
	if (journal->end.tli == journal->fork.tli && journal->end.lsn <= journal->fork.lsn)
		return;

	memset(&rollback, 0, sizeof(rollback));
	pgq_rollback_id(journal, rollback.id);
	snprintf(path, sizeof(path), PGQ_ROLLBACK_DIR "/%s", rollback.id);
	if (pgq_rollback_keep_size > 0 && make_directory(path) && move_wal(journal, path))
	{
		pgq_rollback_write_list(journal, path, &rollback);
		write_about(journal, path, &rollback);
		(void) fsync_fname_ext(path, true, false, LOG);
		ereport(LOG,
				(errmsg("quorum: what this node held from %X/%X of timeline %u on is kept in \"%s\"",
						LSN_FORMAT_ARGS(journal->fork.lsn), journal->fork.tli, path)));
	}
	pgq_rollback_trim();
}

/* One for each rewind: a repeated one finds its directory again. */
void
pgq_rollback_id(const PgqJournal *journal, char *id)
{
	time_t		asked = (time_t) timestamptz_to_time_t(journal->asked_at);
	struct tm	utc;
	char		stamp[32];

	(void) gmtime_r(&asked, &utc);
	(void) strftime(stamp, sizeof(stamp), STAMP_FORMAT, &utc);
	snprintf(id, PGQ_ROLLBACK_ID_SIZE, "%s-%u-%X_%08X", stamp, journal->fork.tli,
			 LSN_FORMAT_ARGS(journal->fork.lsn));
}

static bool
make_directory(const char *path)
{
	if ((mkdir(PGQ_ROLLBACK_DIR, pg_dir_create_mode) == 0 || errno == EEXIST) &&
		(mkdir(path, pg_dir_create_mode) == 0 || errno == EEXIST))
		return true;
	ereport(LOG,
			(errcode_for_file_access(),
			 errmsg("could not create directory \"%s\": %m", path)));
	return false;
}

static bool
move_wal(const PgqJournal *journal, const char *path)
{
	DIR		   *dir = opendir(PGQ_PARKED_WAL);
	struct dirent *entry;
	bool		moved = dir != NULL;

	while (moved && (entry = readdir(dir)) != NULL)
	{
		char		from[MAXPGPATH];
		char		to[MAXPGPATH];
		TimeLineID	tli;
		XLogSegNo	segment;

		if (IsXLogFileName(entry->d_name))
		{
			XLogFromFileName(entry->d_name, &tli, &segment, wal_segment_size);
			if (segment < journal->fork.lsn / wal_segment_size ||
				segment > journal->end.lsn / wal_segment_size)
				continue;
		}
		else if (!IsTLHistoryFileName(entry->d_name))
			continue;
		snprintf(from, sizeof(from), PGQ_PARKED_WAL "/%s", entry->d_name);
		snprintf(to, sizeof(to), "%s/%s", path, entry->d_name);
		moved = rename(from, to) == 0;
	}
	if (!moved)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not move WAL to \"%s\": %m", path)));
	if (dir != NULL)
		closedir(dir);
	return moved;
}

/* ---- "about" --------------------------------------------------------------------------- */

static void
write_about(const PgqJournal *journal, const char *path, const PgqRollback *rollback)
{
	char		name[MAXPGPATH];
	FILE	   *file;

	snprintf(name, sizeof(name), "%s/about", path);
	file = fopen(name, "w");
	if (file == NULL)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", name)));
		return;
	}
	fprintf(file, "fork %u %X/%X\nend %u %X/%X\nterm %u\nsource %s\nasked " INT64_FORMAT "\n"
			"commits " INT64_FORMAT "\n",
			journal->fork.tli, LSN_FORMAT_ARGS(journal->fork.lsn),
			journal->end.tli, LSN_FORMAT_ARGS(journal->end.lsn),
			journal->term, journal->source_name, journal->asked_at, rollback->commits);
	for (int i = 0; i < rollback->relation_count; i++)
		fprintf(file, "relation %s\n", rollback->relations[i]);
	fflush(file);
	(void) pg_fsync(fileno(file));
	fclose(file);
}

bool
pgq_rollback_read(const char *id, PgqRollback *rollback)
{
	char		path[MAXPGPATH];
	FILE	   *file;
	bool		whole;

	memset(rollback, 0, sizeof(*rollback));

	/* names of our own only: the id comes from a user */
	if (strlen(id) >= sizeof(rollback->id) ||
		strspn(id, "0123456789ABCDEFTZ_-") != strlen(id) || id[0] == '\0')
		return false;
	strlcpy(rollback->id, id, sizeof(rollback->id));
	snprintf(path, sizeof(path), PGQ_ROLLBACK_DIR "/%s/about", id);
	file = fopen(path, "r");
	if (file == NULL)
		return false;
	whole = read_about(file, rollback);
	fclose(file);
	snprintf(path, sizeof(path), PGQ_ROLLBACK_DIR "/%s", id);
	rollback->bytes = size_of(path);
	return whole;
}

static bool
read_about(FILE *file, PgqRollback *rollback)
{
	char		line[256];
	uint32		hi;
	uint32		lo;
	bool		has_fork = false;
	bool		has_end = false;

	rollback->commits = -1;
	while (fgets(line, sizeof(line), file) != NULL)
	{
		char	   *relation = rollback->relations[rollback->relation_count];

		if (sscanf(line, "fork %u %X/%X", &rollback->fork.tli, &hi, &lo) == 3)
		{
			rollback->fork.lsn = ((uint64) hi << 32) | lo;
			has_fork = true;
		}
		else if (sscanf(line, "end %u %X/%X", &rollback->end.tli, &hi, &lo) == 3)
		{
			rollback->end.lsn = ((uint64) hi << 32) | lo;
			has_end = true;
		}
		else if (rollback->relation_count < PGQ_ROLLBACK_RELATIONS &&
				 sscanf(line, "relation %39s", relation) == 1)
			rollback->relation_count++;
		else if (sscanf(line, "term %u", &rollback->term) != 1 &&
				 sscanf(line, "source %63s", rollback->source) != 1 &&
				 sscanf(line, "asked " INT64_FORMAT, &rollback->asked_at) != 1)
			(void) sscanf(line, "commits " INT64_FORMAT, &rollback->commits);
		if (rollback->relation_count == PGQ_ROLLBACK_RELATIONS)
			break;
	}
	return has_fork && has_end;
}

/* ---- limits ---------------------------------------------------------------------------- */

void
pgq_rollback_trim(void)
{
	char		path[MAXPGPATH];

	for (int i = 0; i < ROLLBACKS_MAX && find_victim(path); i++)
	{
		if (!pgq_file_remove(path))
			return;
		ereport(LOG, (errmsg("quorum: removed \"%s\"", path)));
	}
}

void
pgq_rollback_trim_step(void)
{
	static uint64 next_look = 0;
	static char victim[MAXPGPATH] = "";
	uint64		now = pgq_now_mono();

	if (victim[0] == '\0')
	{
		if (now < next_look)
			return;
		next_look = now + TRIM_INTERVAL_US;
		if (!find_victim(victim))
		{
			victim[0] = '\0';
			return;
		}
	}
	if (remove_one_file(victim))
		return;
	if (rmdir(victim) == 0)
	{
		ereport(LOG, (errmsg("quorum: removed \"%s\"", victim)));
		next_look = now;		/* there may be more */
	}
	victim[0] = '\0';
}

/* The newest one stays whatever its size, but not whatever its age. */
static bool
find_victim(char *path)
{
	static char names[ROLLBACKS_MAX][PGQ_ROLLBACK_ID_SIZE];
	int			count = 0;
	int64		total = 0;
	DIR		   *dir = opendir(PGQ_ROLLBACK_DIR);
	struct dirent *entry;

	while (dir != NULL && count < ROLLBACKS_MAX && (entry = readdir(dir)) != NULL)
	{
		if (entry->d_name[0] != '.')
			strlcpy(names[count++], entry->d_name, sizeof(names[0]));
	}
	if (dir != NULL)
		closedir(dir);

	qsort(names, count, sizeof(names[0]), compare_names);
	for (int i = count - 1; i >= 0; i--)
	{
		snprintf(path, MAXPGPATH, PGQ_ROLLBACK_DIR "/%s", names[i]);
		total += size_of(path);
		if (is_old(names[i]))
			return true;
		if ((i < count - 1 || pgq_rollback_keep_size == 0) &&
			total > (int64) pgq_rollback_keep_size * 1024 * 1024)
			return true;
	}
	return false;
}

static bool
is_old(const char *name)
{
	struct tm	utc = {0};
	time_t		made;

	if (pgq_rollback_keep_age == 0 || strptime(name, STAMP_FORMAT, &utc) == NULL)
		return false;
	made = timegm(&utc);
	return time(NULL) - made > (time_t) pgq_rollback_keep_age * 60;
}

/* "about" first: what is on its way out is not shown any more. */
static bool
remove_one_file(const char *path)
{
	char		name[MAXPGPATH];
	DIR		   *dir;
	struct dirent *entry;
	bool		removed;

	snprintf(name, sizeof(name), "%s/about", path);
	removed = unlink(name) == 0;
	dir = opendir(path);
	while (!removed && dir != NULL && (entry = readdir(dir)) != NULL)
	{
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		removed = entry->d_name[0] != '.' && unlink(name) == 0;
	}
	if (dir != NULL)
		closedir(dir);
	return removed;
}

static int64
size_of(const char *path)
{
	DIR		   *dir = opendir(path);
	struct dirent *entry;
	int64		total = 0;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
	{
		char		name[MAXPGPATH];
		struct stat status;

		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (entry->d_name[0] != '.' && stat(name, &status) == 0)
			total += status.st_size;
	}
	if (dir != NULL)
		closedir(dir);
	return total;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}
