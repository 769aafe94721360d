/*
 * rollback.c
 *	  Keeps what a rewind takes out of this node's log, with a list to read.
 *
 * It is the WAL from the fork to the end: transactions that were committed here, but
 * acknowledged to nobody, and transactions that were under way.  Nothing reads it again:
 * the list is for a person, who may find more with pg_waldump.
 *
 * Relations are told by number (tablespace/database/relation), as the WAL knows no names;
 * counts are those of heap records, so what an UPDATE or a COPY did is told by rows.
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

#include "guc.h"
#include "parking.h"
#include "program.h"
#include "rollback.h"

#define LINES_MAX		100000	/* of a list: then it says that there is more */
#define TALLIES_MAX		4096	/* (transaction, relation) pairs not yet told */
#define ROLLBACKS_MAX	1000

/* What one transaction did to one relation. */
typedef struct Tally
{
	unsigned int xid;
	unsigned int tablespace;
	unsigned int database;
	unsigned int relation;
	unsigned int inserted;
	unsigned int updated;
	unsigned int deleted;
} Tally;

typedef struct RollbackList
{
	FILE	   *file;
	int			lines;
	int			count;			/* of tallies */
	bool		overflow;
	char		error[256];
	Tally		tallies[TALLIES_MAX];
} RollbackList;

static bool make_directory(const PgqJournal *journal, char *path);
static bool move_wal(const PgqJournal *journal, const char *path);
static void write_list(const PgqJournal *journal, const char *path);
static void write_about(const PgqJournal *journal, const char *path);
static void note_record(const char *line, void *arg);
static void count_rows(RollbackList *list, unsigned int xid, const char *description);
static Tally *find_tally(RollbackList *list, unsigned int xid, const char *relation);
static void tell_transaction(RollbackList *list, unsigned int xid, const char *lsn,
							 const char *fate);
static void tell_rest(RollbackList *list);
static int64 size_of(const char *path);
static int	compare_names(const void *a, const void *b);

void
pgq_rollback_keep(const PgqJournal *journal)
{
	char		path[MAXPGPATH];

	if (pgq_rollback_keep_size == 0 || !make_directory(journal, path))
		return;
	if (move_wal(journal, path))
	{
		write_list(journal, path);
		write_about(journal, path);
		(void) fsync_fname_ext(path, true, false, LOG);
		ereport(LOG,
				(errmsg("quorum: what this node held from %X/%X of timeline %u on is kept in \"%s\"",
						LSN_FORMAT_ARGS(journal->fork.lsn), journal->fork.tli, path)));
	}
	pgq_rollback_trim();
}

/* One for each rewind: a repeated one finds its directory again. */
static bool
make_directory(const PgqJournal *journal, char *path)
{
	pg_time_t	asked = timestamptz_to_time_t(journal->asked_at);
	struct tm	utc;
	char		stamp[32];

	(void) gmtime_r((time_t *) &asked, &utc);
	(void) strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &utc);
	snprintf(path, MAXPGPATH, PGQ_ROLLBACK_DIR "/%s-%u-%X_%08X", stamp, journal->fork.tli,
			 LSN_FORMAT_ARGS(journal->fork.lsn));
	if ((mkdir(PGQ_ROLLBACK_DIR, pg_dir_create_mode) != 0 && errno != EEXIST) ||
		(mkdir(path, pg_dir_create_mode) != 0 && errno != EEXIST))
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", path)));
		return false;
	}
	return true;
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

static void
write_about(const PgqJournal *journal, const char *path)
{
	char		name[MAXPGPATH];
	FILE	   *file;

	snprintf(name, sizeof(name), "%s/about", path);
	file = fopen(name, "w");
	if (file == NULL)
		return;
	fprintf(file, "fork %u %X/%X\nend %u %X/%X\nterm %u\nsource %s\nasked " INT64_FORMAT "\n",
			journal->fork.tli, LSN_FORMAT_ARGS(journal->fork.lsn),
			journal->end.tli, LSN_FORMAT_ARGS(journal->end.lsn),
			journal->term, journal->source_name, journal->asked_at);
	fclose(file);
}

/* pg_waldump reads one timeline; what is gone is on the last one, but for rare chains. */
static void
write_list(const PgqJournal *journal, const char *path)
{
	static RollbackList list;
	char		name[MAXPGPATH];
	char		timeline[16];
	char		start[32];
	char		end[32];
	const char *arguments[] = {"-p", path, "-t", timeline, "-s", start, "-e", end, NULL};

	memset(&list, 0, sizeof(list));
	snprintf(name, sizeof(name), "%s/list", path);
	list.file = fopen(name, "w");
	if (list.file == NULL)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", name)));
		return;
	}
	fprintf(list.file, "# transaction\tlsn\tfate\ttablespace/database/relation:inserted/updated/deleted ...\n");
	snprintf(timeline, sizeof(timeline), "%u", journal->end.tli);
	snprintf(start, sizeof(start), "%X/%X", LSN_FORMAT_ARGS(journal->fork.lsn));
	snprintf(end, sizeof(end), "%X/%X", LSN_FORMAT_ARGS(journal->end.lsn));
	(void) pgq_program_run("pg_waldump", arguments, NULL, note_record, &list);
	tell_rest(&list);
	if (list.error[0] != '\0')
		fprintf(list.file, "# %s\n", list.error);
	if (list.overflow)
		fprintf(list.file, "# there is more than this list tells: see pg_waldump\n");
	(void) pg_fsync(fileno(list.file));
	fclose(list.file);
}

/* "rmgr: Heap  len (rec/tot): 59/59, tx: 735, lsn: 0/030001A8, prev 0/03000170, desc: ..." */
static void
note_record(const char *line, void *arg)
{
	RollbackList	   *list = arg;
	unsigned int xid;
	char		manager[32];
	char		lsn[32];
	const char *fields = strstr(line, ", tx:");
	const char *description = strstr(line, ", desc: ");

	if (fields == NULL || description == NULL ||
		sscanf(line, "rmgr: %31s", manager) != 1 ||
		sscanf(fields, ", tx: %u, lsn: %31[0-9A-F/]", &xid, lsn) != 2)
	{
		if (strncmp(line, "pg_waldump: ", 12) == 0)
			strlcpy(list->error, line, sizeof(list->error));
		return;
	}
	description += strlen(", desc: ");
	if (strncmp(manager, "Heap", 4) == 0)
		count_rows(list, xid, description);
	else if (strcmp(manager, "Transaction") == 0 &&
			 (strncmp(description, "COMMIT", 6) == 0 || strncmp(description, "ABORT", 5) == 0 ||
			  strncmp(description, "PREPARE", 7) == 0))
	{
		char		fate[80];

		/* up to the time; the names of what was dropped and the like follow */
		strlcpy(fate, description, sizeof(fate));
		fate[strcspn(fate, ";")] = '\0';
		tell_transaction(list, xid, lsn, fate);
	}
}

static void
count_rows(RollbackList *list, unsigned int xid, const char *description)
{
	const char *relation = strstr(description, "rel ");
	unsigned int rows = 1;
	Tally	   *tally;

	if (xid == 0 || relation == NULL)
		return;
	if (strncmp(description, "INSERT", 6) != 0 && strncmp(description, "UPDATE", 6) != 0 &&
		strncmp(description, "HOT_UPDATE", 10) != 0 && strncmp(description, "DELETE", 6) != 0 &&
		strncmp(description, "MULTI_INSERT", 12) != 0)
		return;
	tally = find_tally(list, xid, relation);
	if (tally == NULL)
		return;
	if (description[0] == 'I')
		tally->inserted++;
	else if (description[0] == 'D')
		tally->deleted++;
	else if (description[0] == 'M')
	{
		/* "MULTI_INSERT 61 tuples" until 15, "MULTI_INSERT ntuples: 61" since 16 */
		const char *number = description + strcspn(description, "0123456789");

		(void) sscanf(number, "%u", &rows);
		tally->inserted += rows;
	}
	else
		tally->updated++;
}

static Tally *
find_tally(RollbackList *list, unsigned int xid, const char *relation)
{
	Tally		wanted = {.xid = xid};

	if (sscanf(relation, "rel %u/%u/%u", &wanted.tablespace, &wanted.database,
			   &wanted.relation) != 3)
		return NULL;

	/* the newest ones are the likeliest */
	for (int i = list->count - 1; i >= 0; i--)
	{
		Tally	   *tally = &list->tallies[i];

		if (tally->xid == xid && tally->relation == wanted.relation &&
			tally->database == wanted.database)
			return tally;
	}
	if (list->count == TALLIES_MAX)
	{
		list->overflow = true;
		return NULL;
	}
	list->tallies[list->count] = wanted;
	return &list->tallies[list->count++];
}

static void
tell_transaction(RollbackList *list, unsigned int xid, const char *lsn, const char *fate)
{
	int			kept = 0;

	if (list->lines >= LINES_MAX)
	{
		list->overflow = true;
		return;
	}
	list->lines++;
	fprintf(list->file, "%u\t%s\t%s\t", xid, lsn, fate);
	for (int i = 0; i < list->count; i++)
	{
		const Tally *tally = &list->tallies[i];

		if (tally->xid == xid)
			fprintf(list->file, " %u/%u/%u:%u/%u/%u", tally->tablespace, tally->database,
					tally->relation, tally->inserted, tally->updated, tally->deleted);
		else
			list->tallies[kept++] = *tally;
	}
	list->count = kept;
	fputc('\n', list->file);
}

/* Under way when the log ended; a subtransaction's fate is told by its parent's record. */
static void
tell_rest(RollbackList *list)
{
	while (list->count > 0 && list->lines < LINES_MAX)
		tell_transaction(list, list->tallies[0].xid, "-", "no end of its own");
}

void
pgq_rollback_trim(void)
{
	static char names[ROLLBACKS_MAX][64];
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

	/* names begin with the time; the newest one stays whatever its size */
	qsort(names, count, sizeof(names[0]), compare_names);
	for (int i = count - 1; i >= 0; i--)
	{
		char		path[MAXPGPATH];
		struct stat status;
		bool		old;

		snprintf(path, sizeof(path), PGQ_ROLLBACK_DIR "/%s", names[i]);
		total += size_of(path);
		old = pgq_rollback_keep_age > 0 && stat(path, &status) == 0 &&
			time(NULL) - status.st_mtime > (time_t) pgq_rollback_keep_age * 60;
		if (!old && (i == count - 1 || total <= (int64) pgq_rollback_keep_size * 1024 * 1024))
			continue;
		if (pgq_parking_remove(path))
			ereport(LOG, (errmsg("quorum: removed \"%s\"", path)));
	}
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
