/*
 * walfiles.c
 *	  Keeps the files in pg_wal such that recovery picks a timeline we can follow.
 *
 * It does not read what a history says about positions (timeline.c) or a segment holds
 * (walcopy.c), and does not decide when a promotion happens (promote.c).  What the
 * postmaster calls works there: plain system calls, no ERROR.
 *
 * Rules: R15 (form of a placeholder), R16 (what may be deleted, and what never),
 * V6, H41 (no gaps on a leader).
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "storage/fd.h"

#include "timeline.h"
#include "walfiles.h"

/* Timelines that have something in pg_wal; grown with realloc, never shrunk. */
typedef struct TimelineList
{
	int			count;
	int			room;
	TimeLineID *tlis;
} TimelineList;

typedef enum WalFileKind
{
	WALFILE_OTHER,
	WALFILE_HISTORY,
	WALFILE_SEGMENT,			/* bytes of the timeline are, or may be, in it */
	WALFILE_PARTIAL				/* the archiver's copy of a segment that was left unfinished */
} WalFileKind;

static bool list_files(WalFileKind kind, TimelineList *list);
static WalFileKind classify(const char *name, TimeLineID *tli);
static bool list_has(const TimelineList *list, TimeLineID tli);
static bool list_add(TimelineList *list, TimeLineID tli);
static bool remove_history(TimeLineID tli, const char *why);
static void remove_from(const char *directory, TimeLineID keep);
static bool write_placeholder(TimeLineID tli);

TimeLineID
pgq_walfiles_newest(bool real_only)
{
	TimelineList list = {0};
	TimeLineID	newest = 1;

	(void) list_files(WALFILE_HISTORY, &list);
	for (int i = 0; i < list.count; i++)
	{
		if (list.tlis[i] > newest &&
			!(real_only && pgq_walfiles_is_placeholder(list.tlis[i])))
			newest = list.tlis[i];
	}
	free(list.tlis);
	return newest;
}

/* A file that cannot be read or understood is no placeholder: it must not be deleted as one. */
bool
pgq_walfiles_is_placeholder(TimeLineID tli)
{
	PgqHistory	history = {0};
	bool		placeholder;

	placeholder = tli > 1 && pgq_history_load(&history, tli) &&
		!pgq_history_has_parent(&history);
	free(history.parts);
	return placeholder;
}

bool
pgq_walfiles_fill(TimeLineID last)
{
	bool		written = false;

	for (TimeLineID tli = 2; tli <= last; tli++)
	{
		char		path[MAXPGPATH];

		TLHistoryFilePath(path, tli);
		if (access(path, F_OK) == 0)
			continue;
		if (!write_placeholder(tli))
			return false;
		written = true;
	}
	return !written || pgq_walfiles_sync();
}

/*
 * A history file makes recovery aim at its timeline.  One above the timeline our log
 * has reached and of which no WAL is here came from a leader that died before its WAL
 * did: following the next leader would be impossible (V6 ii).  Placeholders at the
 * end of the line have no parents, so recovery would aim at a timeline that leads
 * nowhere (V6 i).  One whose WAL we hold stays: we may be the only ones who have it.
 */
void
pgq_walfiles_clean(TimeLineID log_tli)
{
	TimelineList histories = {0};
	TimelineList segments = {0};
	TimeLineID	newest = Max(log_tli, 1);
	bool		removed = false;

	if (list_files(WALFILE_HISTORY, &histories) && list_files(WALFILE_SEGMENT, &segments))
	{
		for (int i = 0; i < histories.count; i++)
		{
			TimeLineID	tli = histories.tlis[i];

			if (pgq_walfiles_is_placeholder(tli))
				continue;
			if (tli > log_tli && !list_has(&segments, tli))
				removed |= remove_history(tli, "no WAL of it is here");
			else if (tli > newest)
				newest = tli;
		}
		for (int i = 0; i < histories.count; i++)
		{
			TimeLineID	tli = histories.tlis[i];

			if (tli > newest && pgq_walfiles_is_placeholder(tli))
				removed |= remove_history(tli, "it is a placeholder that nothing follows");
		}
	}
	free(histories.tlis);
	free(segments.tlis);
	if (removed)
		(void) pgq_walfiles_sync();
}

void
pgq_walfiles_forget_above(TimeLineID keep)
{
	remove_from(XLOGDIR, keep);
	remove_from(XLOGDIR "/archive_status", keep);
	(void) pgq_walfiles_sync();
}

bool
pgq_walfiles_sync(void)
{
	int			fd = BasicOpenFile(XLOGDIR, O_RDONLY | PG_BINARY);
	bool		synced = fd >= 0 && fsync(fd) == 0;

	if (!synced)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not fsync file \"%s\": %m", XLOGDIR)));
	if (fd >= 0)
		close(fd);
	return synced;
}

/* False when the directory could not be read to its end or memory ran out: then know nothing. */
static bool
list_files(WalFileKind kind, TimelineList *list)
{
	DIR		   *dir = opendir(XLOGDIR);
	struct dirent *entry;
	bool		complete = true;

	if (dir == NULL)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not open directory \"%s\": %m", XLOGDIR)));
		return false;
	}
	while (complete && (errno = 0, entry = readdir(dir)) != NULL)
	{
		TimeLineID	tli;

		if (classify(entry->d_name, &tli) == kind && !list_has(list, tli))
			complete = list_add(list, tli);
	}
	if (errno != 0)
		complete = false;
	closedir(dir);
	return complete;
}

static WalFileKind
classify(const char *name, TimeLineID *tli)
{
	char		digits[9];

	if (strspn(name, "0123456789ABCDEF") < 8)
		return WALFILE_OTHER;
	strlcpy(digits, name, sizeof(digits));
	*tli = (TimeLineID) strtoul(digits, NULL, 16);

	if (IsTLHistoryFileName(name))
		return WALFILE_HISTORY;
	if (IsXLogFileName(name))
		return WALFILE_SEGMENT;
	if (IsPartialXLogFileName(name))
		return WALFILE_PARTIAL;
	return WALFILE_OTHER;
}

static bool
list_has(const TimelineList *list, TimeLineID tli)
{
	for (int i = 0; i < list->count; i++)
	{
		if (list->tlis[i] == tli)
			return true;
	}
	return false;
}

static bool
list_add(TimelineList *list, TimeLineID tli)
{
	if (list->count == list->room)
	{
		int			room = list->room == 0 ? 64 : 2 * list->room;
		TimeLineID *tlis = realloc(list->tlis, room * sizeof(TimeLineID));

		if (tlis == NULL)
			return false;
		list->tlis = tlis;
		list->room = room;
	}
	list->tlis[list->count++] = tli;
	return true;
}

static bool
remove_history(TimeLineID tli, const char *why)
{
	char		path[MAXPGPATH];

	TLHistoryFilePath(path, tli);
	if (unlink(path) != 0)
	{
		if (errno != ENOENT)
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not remove file \"%s\": %m", path)));
		return false;
	}
	ereport(LOG,
			(errmsg("quorum: removed history file of timeline %u: %s", tli, why)));
	return true;
}

static void
remove_from(const char *directory, TimeLineID keep)
{
	DIR		   *dir = opendir(directory);
	struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
	{
		char		path[MAXPGPATH];
		char		name[MAXPGPATH];
		char	   *suffix;
		TimeLineID	tli;

		/* archive_status holds the same names with .ready or .done */
		strlcpy(name, entry->d_name, sizeof(name));
		suffix = strrchr(name, '.');
		if (suffix != NULL && (strcmp(suffix, ".ready") == 0 || strcmp(suffix, ".done") == 0))
			*suffix = '\0';
		if (classify(name, &tli) == WALFILE_OTHER || tli <= keep)
			continue;

		snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		if (unlink(path) == 0)
			ereport(LOG, (errmsg("quorum: removed \"%s\"", path)));
		else
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not remove file \"%s\": %m", path)));
	}
	closedir(dir);
}

/*
 * Written beside its name first: a crash must not leave an empty file behind that a
 * follower would fetch.  An existing file wins: it may be a real history.
 */
static bool
write_placeholder(TimeLineID tli)
{
	char		path[MAXPGPATH];
	char		text[64];
	int			length;
	int			fd;
	bool		written;

	TLHistoryFilePath(path, tli);
	length = snprintf(text, sizeof(text), "# pg_quorum: no leader in term %u\n", tli);

	(void) unlink(PGQ_WALFILES_TEMP);
	fd = BasicOpenFile(PGQ_WALFILES_TEMP, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY);
	if (fd >= 0)
		errno = ENOSPC;			/* what a short write means */
	written = fd >= 0 && write(fd, text, length) == length && fsync(fd) == 0;
	if (fd >= 0 && close(fd) != 0)
		written = false;
	if (written && link(PGQ_WALFILES_TEMP, path) != 0 && errno != EEXIST)
		written = false;
	if (!written)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", path)));
	(void) unlink(PGQ_WALFILES_TEMP);
	return written;
}
