/*
 * rollback_list.c
 *	  Makes the list of what a rewind took out, from what pg_waldump says of the WAL.
 *
 * Relations are told by number (tablespace/database/relation), as the WAL knows no names;
 * counts are those of heap records, so what an UPDATE or a COPY did is told by rows.  What
 * a subtransaction did is told with its parent, when the parent's record names it.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/xlog_internal.h"
#include "storage/fd.h"

#include "program.h"
#include "rollback.h"
#include "timeline.h"

#define LINES_MAX		100000	/* of a list: then it says that there is more */
#define TALLIES_MAX		4096	/* (transaction, relation) pairs not yet told */
#define HISTORY_SIZE	(256 * 1024)

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
	PgqRollback *rollback;
	int			lines;
	int			count;			/* of tallies */
	bool		overflow;
	char		error[256];
	Tally		tallies[TALLIES_MAX];
} RollbackList;

static void read_wal(const PgqJournal *journal, const char *path, RollbackList *list);
static bool load_history(TimeLineID tli, const char *path, PgqHistory *history);
static void dump(const char *path, TimeLineID tli, XLogRecPtr begin, XLogRecPtr end,
				 RollbackList *list);
static void note_record(const char *line, void *arg);
static void count_rows(RollbackList *list, unsigned int xid, const char *description);
static Tally *find_tally(RollbackList *list, const Tally *wanted);
static void adopt_children(RollbackList *list, unsigned int xid, const char *description);
static void adopt_child(RollbackList *list, unsigned int xid, unsigned int child);
static void tell_transaction(RollbackList *list, unsigned int xid, const char *lsn,
							 const char *fate);
static void name_relation(PgqRollback *rollback, const Tally *tally);
static void tell_rest(RollbackList *list);

void
pgq_rollback_write_list(const PgqJournal *journal, const char *path, PgqRollback *rollback)
{
	static RollbackList list;
	char		name[MAXPGPATH];

	memset(&list, 0, sizeof(list));
	list.rollback = rollback;
	snprintf(name, sizeof(name), "%s/list", path);
	list.file = fopen(name, "w");
	if (list.file == NULL)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", name)));
		rollback->commits = -1;
		return;
	}
	fprintf(list.file, "# transaction\tlsn\tfate\ttablespace/database/relation:inserted/updated/deleted ...\n");
	read_wal(journal, path, &list);
	tell_rest(&list);
	if (list.error[0] != '\0')
		fprintf(list.file, "# %s\n", list.error);
	if (list.overflow)
		fprintf(list.file, "# there is more than this list tells: see pg_waldump\n");
	fflush(list.file);
	(void) pg_fsync(fileno(list.file));
	fclose(list.file);
}

/* pg_waldump reads one timeline; what is gone may be on several, when leaders died fast. */
static void
read_wal(const PgqJournal *journal, const char *path, RollbackList *list)
{
	static PgqHistory history;

	if (journal->fork.tli == journal->end.tli ||
		!load_history(journal->end.tli, path, &history))
	{
		dump(path, journal->end.tli, journal->fork.lsn, journal->end.lsn, list);
		return;
	}
	for (int i = 0; i < history.count; i++)
	{
		const PgqTimelinePart *part = &history.parts[i];
		XLogRecPtr	begin = Max(part->begin, journal->fork.lsn);
		XLogRecPtr	end = part->end == InvalidXLogRecPtr ? journal->end.lsn :
			Min(part->end, journal->end.lsn);

		if (part->tli >= journal->fork.tli && begin < end)
			dump(path, part->tli, begin, end, list);
	}
}

/* The one kept beside the WAL: what is in pg_wal by now is the leader's. */
static bool
load_history(TimeLineID tli, const char *path, PgqHistory *history)
{
	static char text[HISTORY_SIZE];
	char		name[MAXPGPATH];
	int			fd;
	ssize_t		length;

	snprintf(name, sizeof(name), "%s/%08X.history", path, tli);
	fd = BasicOpenFile(name, O_RDONLY | PG_BINARY);
	if (fd < 0)
		return false;
	length = read(fd, text, sizeof(text));
	close(fd);
	return length > 0 && pgq_history_parse(history, tli, text, length);
}

static void
dump(const char *path, TimeLineID tli, XLogRecPtr begin, XLogRecPtr end, RollbackList *list)
{
	char		timeline[16];
	char		from[32];
	char		to[32];
	const char *arguments[] = {"-p", path, "-t", timeline, "-s", from, "-e", to, NULL};

	snprintf(timeline, sizeof(timeline), "%u", tli);
	snprintf(from, sizeof(from), "%X/%X", LSN_FORMAT_ARGS(begin));
	snprintf(to, sizeof(to), "%X/%X", LSN_FORMAT_ARGS(end));
	(void) pgq_program_run("pg_waldump", arguments, NULL, note_record, list);
}

/* "rmgr: Heap  len (rec/tot): 59/59, tx: 735, lsn: 0/030001A8, prev 0/03000170, desc: ..." */
static void
note_record(const char *line, void *arg)
{
	RollbackList *list = arg;
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

		/* the name of a prepared transaction may hold a tab, which ends a field of the list */
		for (char *c = fate; *c != '\0'; c++)
			if (*c == '\t')
				*c = ' ';
		adopt_children(list, xid, description);
		if (description[0] == 'C')
			list->rollback->commits++;
		tell_transaction(list, xid, lsn, fate);
	}
}

static void
count_rows(RollbackList *list, unsigned int xid, const char *description)
{
	const char *relation = strstr(description, "rel ");
	unsigned int rows = 1;
	Tally		wanted = {.xid = xid};
	Tally	   *tally;

	if (xid == 0 || relation == NULL ||
		sscanf(relation, "rel %u/%u/%u", &wanted.tablespace, &wanted.database,
			   &wanted.relation) != 3)
		return;
	if (strncmp(description, "INSERT", 6) != 0 && strncmp(description, "UPDATE", 6) != 0 &&
		strncmp(description, "HOT_UPDATE", 10) != 0 && strncmp(description, "DELETE", 6) != 0 &&
		strncmp(description, "MULTI_INSERT", 12) != 0)
		return;
	tally = find_tally(list, &wanted);
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

/* The one of this transaction and relation, a new one if need be; NULL: no room. */
static Tally *
find_tally(RollbackList *list, const Tally *wanted)
{
	/* the newest ones are the likeliest */
	for (int i = list->count - 1; i >= 0; i--)
	{
		Tally	   *tally = &list->tallies[i];

		if (tally->xid == wanted->xid && tally->relation == wanted->relation &&
			tally->database == wanted->database)
			return tally;
	}
	if (list->count == TALLIES_MAX)
	{
		list->overflow = true;
		return NULL;
	}
	list->tallies[list->count] = *wanted;
	return &list->tallies[list->count++];
}

/* "...; subxacts: 736 737; ...": what they did is what the parent did. */
static void
adopt_children(RollbackList *list, unsigned int xid, const char *description)
{
	const char *text = strstr(description, "; subxacts:");
	unsigned int child;
	int			length;

	if (text == NULL)
		return;
	text += strlen("; subxacts:");
	while (sscanf(text, " %u%n", &child, &length) == 1)
	{
		adopt_child(list, xid, child);
		text += length;
	}
}

static void
adopt_child(RollbackList *list, unsigned int xid, unsigned int child)
{
	int			kept = 0;

	for (int i = 0; i < list->count; i++)
	{
		Tally		tally = list->tallies[i];
		int			same = kept;

		if (tally.xid == child)
			tally.xid = xid;
		for (int j = 0; tally.xid == xid && same == kept && j < kept; j++)
		{
			if (list->tallies[j].xid == xid && list->tallies[j].relation == tally.relation &&
				list->tallies[j].database == tally.database)
				same = j;
		}
		if (same < kept)
		{
			list->tallies[same].inserted += tally.inserted;
			list->tallies[same].updated += tally.updated;
			list->tallies[same].deleted += tally.deleted;
		}
		else
			list->tallies[kept++] = tally;
	}
	list->count = kept;
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
		{
			fprintf(list->file, " %u/%u/%u:%u/%u/%u", tally->tablespace, tally->database,
					tally->relation, tally->inserted, tally->updated, tally->deleted);
			name_relation(list->rollback, tally);
		}
		else
			list->tallies[kept++] = *tally;
	}
	list->count = kept;
	fputc('\n', list->file);
}

static void
name_relation(PgqRollback *rollback, const Tally *tally)
{
	char		name[PGQ_ROLLBACK_RELATION_SIZE];

	snprintf(name, sizeof(name), "%u/%u/%u", tally->tablespace, tally->database,
			 tally->relation);
	for (int i = 0; i < rollback->relation_count; i++)
	{
		if (strcmp(rollback->relations[i], name) == 0)
			return;
	}
	if (rollback->relation_count < PGQ_ROLLBACK_RELATIONS)
		strlcpy(rollback->relations[rollback->relation_count++], name, sizeof(name));
}

/* Under way when the log ended. */
static void
tell_rest(RollbackList *list)
{
	while (list->count > 0 && list->lines < LINES_MAX)
		tell_transaction(list, list->tallies[0].xid, "-", "no end of its own");
}
