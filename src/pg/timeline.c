/*
 * timeline.c
 *	  Reads timeline history files into a table that can be asked about positions.
 *
 * Not readTimeLineHistory() of the server: that one allocates, and ends the
 * process when a file is damaged; the worker must survive both.  Here a file that
 * cannot be understood is simply not loaded (S9: when in doubt, less).
 *
 * Rules: V4 (bytes are never claimed for a timeline that has none of them), R15
 * (a placeholder is a file without a parent).
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog_internal.h"
#include "storage/fd.h"

#include "stream.h"
#include "timeline.h"

/* A line holds two numbers and a reason; a cluster fails over for years before this is reached. */
#define HISTORY_BYTES_MAX	(4 * 1024 * 1024)

static bool history_add(PgqHistory *history, TimeLineID tli, XLogRecPtr begin, XLogRecPtr end);
static bool history_parse_line(PgqHistory *history, TimeLineID target, const char *line);
static char *history_read_file(TimeLineID tli, size_t *length);

/* stream.h's promise: the worker and the walreceiver ask about few timelines, mostly one. */
TimeLineID
pgq_timeline_of(TimeLineID tli, XLogRecPtr lsn)
{
	static PgqHistory cached;
	static TimeLineID cached_tli = 0;

	if (tli == 0 || lsn == InvalidXLogRecPtr)
		return 0;

	if (cached_tli != tli)
	{
		cached_tli = 0;
		if (!pgq_history_load(&cached, tli))
			return 0;

		/* a placeholder may yet be replaced by a history: do not remember it */
		if (tli == 1 || pgq_history_has_parent(&cached))
			cached_tli = tli;
	}
	return pgq_history_timeline_of(&cached, lsn);
}

bool
pgq_history_parse(PgqHistory *history, TimeLineID tli, const char *text, size_t length)
{
	const char *end = text + length;
	XLogRecPtr	begin;

	history->count = 0;
	while (text < end)
	{
		const char *newline = memchr(text, '\n', end - text);
		size_t		line_length = (newline ? newline : end) - text;
		char		line[128];	/* the numbers come first, the reason may be cut */
		size_t		kept = Min(sizeof(line) - 1, line_length);

		/* not strlcpy(): it looks for a NUL, and the text has none */
		memcpy(line, text, kept);
		line[kept] = '\0';
		if (!history_parse_line(history, tli, line))
		{
			history->count = 0;
			return false;
		}
		text += line_length + (newline ? 1 : 0);
	}

	begin = history->count > 0 ? history->parts[history->count - 1].end : InvalidXLogRecPtr;
	return history_add(history, tli, begin, InvalidXLogRecPtr);
}

bool
pgq_history_load(PgqHistory *history, TimeLineID tli)
{
	char	   *text;
	size_t		length;
	bool		parsed;

	if (tli == 1)
		return pgq_history_parse(history, tli, "", 0);

	history->count = 0;
	text = history_read_file(tli, &length);
	if (text == NULL)
		return false;
	parsed = pgq_history_parse(history, tli, text, length);
	free(text);
	return parsed;
}

bool
pgq_history_contains(const PgqHistory *history, TimeLineID tli, XLogRecPtr lsn)
{
	for (int i = 0; i < history->count; i++)
	{
		const PgqTimelinePart *part = &history->parts[i];

		if (part->tli == tli)
			return part->end == InvalidXLogRecPtr || lsn <= part->end;
	}
	return false;
}

bool
pgq_history_has(const PgqHistory *history, TimeLineID tli)
{
	for (int i = 0; i < history->count; i++)
	{
		if (history->parts[i].tli == tli)
			return true;
	}
	return false;
}

TimeLineID
pgq_history_timeline_of(const PgqHistory *history, XLogRecPtr lsn)
{
	for (int i = history->count - 1; i >= 0; i--)
	{
		/* begin is the first byte of the part, lsn - 1 the last byte asked about */
		if (lsn > history->parts[i].begin)
			return history->parts[i].tli;
	}
	return 0;
}

static bool
history_add(PgqHistory *history, TimeLineID tli, XLogRecPtr begin, XLogRecPtr end)
{
	if (history->count == history->room)
	{
		int			room = history->room == 0 ? 16 : 2 * history->room;
		PgqTimelinePart *parts = realloc(history->parts, room * sizeof(PgqTimelinePart));

		if (parts == NULL)
		{
			history->count = 0;
			return false;
		}
		history->parts = parts;
		history->room = room;
	}
	history->parts[history->count].tli = tli;
	history->parts[history->count].begin = begin;
	history->parts[history->count].end = end;
	history->count++;
	return true;
}

/* As readTimeLineHistory(): "<parent timeline> <switchpoint> <reason>", blank, or a comment. */
static bool
history_parse_line(PgqHistory *history, TimeLineID target, const char *line)
{
	const PgqTimelinePart *last;
	uint32		tli;
	uint32		high;
	uint32		low;
	XLogRecPtr	end;
	XLogRecPtr	begin;

	line += strspn(line, " \t\r\f\v");
	if (*line == '\0' || *line == '#')
		return true;

	if (sscanf(line, "%u %X/%X", &tli, &high, &low) != 3)
		return false;
	end = ((uint64) high << 32) | low;

	last = history->count > 0 ? &history->parts[history->count - 1] : NULL;
	begin = last ? last->end : InvalidXLogRecPtr;
	if (tli == 0 || tli >= target || (last && tli <= last->tli) || end < begin)
		return false;
	if (end == InvalidXLogRecPtr)
		return false;			/* would be a part without an end: it has no other use */
	return history_add(history, tli, begin, end);
}

/* malloc'd text of a history file in pg_wal; NULL when there is none or it cannot be read. */
static char *
history_read_file(TimeLineID tli, size_t *length)
{
	char		path[MAXPGPATH];
	struct stat st;
	char	   *text = NULL;
	ssize_t		got;
	int			fd;

	TLHistoryFilePath(path, tli);
	fd = BasicOpenFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0)
		return NULL;

	if (fstat(fd, &st) == 0 && st.st_size <= HISTORY_BYTES_MAX)
		text = malloc(st.st_size + 1);
	if (text != NULL)
	{
		got = read(fd, text, st.st_size);
		if (got != st.st_size)
		{
			free(text);
			text = NULL;
		}
		else
			*length = got;
	}
	close(fd);
	return text;
}
