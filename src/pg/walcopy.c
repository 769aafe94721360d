/*
 * walcopy.c
 *	  Sees to the copy of an older timeline's bytes that a timeline's first segment begins with.
 *
 * A walreceiver that changes to a timeline writes its first segment from the start: what the
 * same segment of the timeline before holds, then the timeline's own bytes.  Recovery reads a
 * segment from the newest timeline that has it.  So until the copy is as long as what it is
 * copied from it hides WAL that this node has acknowledged.
 *
 * At a boot the last checkpoint may be hidden: nothing can be replayed before a leader sends
 * the rest, and the node does not vote before it has.  Both files are read as recovery would,
 * from its redo position on; when the copy ends first, and is a copy as far as it goes, nothing
 * is lost with it, and it is removed.
 *
 * In a promotion the last record may be hidden, and the startup process ends in a PANIC.  There
 * the timeline stays in the history as one without bytes, and whoever follows is sent the end
 * of the one before from this copy (walsender.c): so it is finished, or made.
 *
 * The first runs in the postmaster, the second in the worker: no ERROR leaves this file.
 *
 * Rules: P6, S9 (whatever cannot be read, or is no copy, stays where it is).
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogarchive.h"
#include "access/xlogreader.h"
#include "storage/fd.h"
#include "utils/memutils.h"

#include "compat.h"
#include "timeline.h"
#include "walcopy.h"
#include "walfiles.h"
#include "walread.h"

/* What recovery would read of a segment if this part of the history had its newest file. */
typedef struct Candidate
{
	const PgqHistory *history;
	int			part;
	XLogSegNo	segno;
	XLogRecPtr	begin;			/* what recovery would read of it */
	XLogRecPtr	end;
	PgqWalPages pages;			/* while it is read */
} Candidate;

static bool copy_of(const PgqHistory *history, int part, XLogRecPtr redo, Candidate *copy,
					Candidate *source);
static bool finish_copy(const PgqHistory *history, int part, XLogRecPtr redo);
static void judge_copy(const PgqHistory *history, int part, XLogRecPtr redo);
static bool has_segment(const PgqHistory *history, int part, XLogSegNo segno);
static bool find_end(Candidate *candidate, XLogRecPtr redo, XLogRecPtr limit);
static void read_records(Candidate *candidate, XLogRecPtr redo, XLogRecPtr limit);
static int	read_page(XLogReaderState *reader, XLogRecPtr page, int wanted, XLogRecPtr record,
					  char *buffer);
static bool same_bytes(const Candidate *a, const Candidate *b, XLogRecPtr from, XLogRecPtr to);
static bool remove_segment(TimeLineID tli, XLogSegNo segno);
static bool copy_segment(TimeLineID from, TimeLineID to, XLogRecPtr end);
static bool copy_bytes(int source, int target, size_t length);

/* The oldest first: a copy that was taken away is not what a later one is compared with. */
void
pgq_walcopy_clean(XLogRecPtr redo)
{
	PgqHistory	history = {0};

	if (redo != InvalidXLogRecPtr && pgq_history_load(&history, pgq_walfiles_newest(true)))
	{
		for (int i = 1; i < history.count; i++)
			judge_copy(&history, i, redo);
	}
	free(history.parts);
}

bool
pgq_walcopy_finish(XLogRecPtr redo)
{
	PgqHistory	history = {0};
	bool		finished = true;

	if (redo != InvalidXLogRecPtr && pgq_history_load(&history, pgq_walfiles_newest(true)))
	{
		XLogRecPtr	end = history.parts[history.count - 1].begin;

		for (int i = 1; i < history.count; i++)
		{
			if (history.parts[i].begin == end)
				finished = finish_copy(&history, i, redo) && finished;
		}
	}
	free(history.parts);
	return finished;
}

/* False only when the copy is wanted and could not be made. */
static bool
finish_copy(const PgqHistory *history, int part, XLogRecPtr redo)
{
	XLogRecPtr	end = history->parts[part].begin;
	Candidate	copy;
	Candidate	source;

	if (!copy_of(history, part, redo, &copy, &source))
		return true;
	if (has_segment(history, part, copy.segno))
	{
		if (!find_end(&copy, redo, end))
			return false;
		if (copy.end >= end)
			return true;
	}
	if (!find_end(&source, redo, end))
		return false;
	if (source.end < end)
		return true;
	if (!copy_segment(history->parts[source.part].tli, history->parts[part].tli, end))
		return false;
	ereport(LOG,
			(errmsg("quorum: finished the copy of timeline %u that timeline %u begins with",
					history->parts[source.part].tli, history->parts[part].tli)));
	return true;
}

/*
 * The copy that a part of the history begins with, and what it is a copy of.  False when there is
 * nothing to copy: recovery begins behind the fork, or the timeline with a segment.
 */
static bool
copy_of(const PgqHistory *history, int part, XLogRecPtr redo, Candidate *copy, Candidate *source)
{
	XLogRecPtr	fork = history->parts[part].begin;

	if (fork <= redo || XLogSegmentOffset(fork, wal_segment_size) == 0)
		return false;

	memset(copy, 0, sizeof(*copy));
	copy->history = history;
	copy->part = part;
	XLByteToSeg(fork, copy->segno, wal_segment_size);
	*source = *copy;
	do
		source->part--;
	while (source->part >= 0 && !has_segment(history, source->part, source->segno));
	return source->part >= 0;
}

static void
judge_copy(const PgqHistory *history, int part, XLogRecPtr redo)
{
	XLogRecPtr	fork = history->parts[part].begin;
	Candidate	copy;
	Candidate	source;

	if (!copy_of(history, part, redo, &copy, &source) || !has_segment(history, part, copy.segno) ||
		!find_end(&copy, redo, fork) || copy.end >= fork ||
		!find_end(&source, redo, fork) || source.end <= copy.end)
		return;

	if (!same_bytes(&copy, &source, copy.begin, copy.end))
		ereport(LOG,
				(errmsg("quorum: timelines %u and %u differ before %X/%X, where they should be one",
						history->parts[part].tli, history->parts[source.part].tli,
						LSN_FORMAT_ARGS(copy.end)),
				 errdetail("Both files stay as they are.")));
	else if (remove_segment(history->parts[part].tli, copy.segno))
		ereport(LOG,
				(errmsg("quorum: removed a segment of timeline %u: its copy of timeline %u was not finished",
						history->parts[part].tli, history->parts[source.part].tli),
				 errdetail("Nothing behind %X/%X can be read of it, and what it was copied from ends at %X/%X.",
						   LSN_FORMAT_ARGS(copy.end), LSN_FORMAT_ARGS(source.end))));
}

static bool
has_segment(const PgqHistory *history, int part, XLogSegNo segno)
{
	char		path[MAXPGPATH];

	XLogFilePath(path, history->parts[part].tli, segno, wal_segment_size);
	return access(path, F_OK) == 0;
}

/* False when memory ran out. */
static bool
find_end(Candidate *candidate, XLogRecPtr redo, XLogRecPtr limit)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext volatile own = NULL;
	volatile bool found = false;

	candidate->pages = (PgqWalPages) {candidate->history, candidate->part, -1, 0};
	PG_TRY();
	{
		own = AllocSetContextCreate(caller, "pg_quorum copy of a segment", ALLOCSET_DEFAULT_SIZES);
		MemoryContextSwitchTo(own);
		read_records(candidate, redo, limit);
		found = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		ereport(LOG, (errmsg("quorum: WAL could not be read: out of memory")));
	}
	PG_END_TRY();

	MemoryContextSwitchTo(caller);
	if (own != NULL)
		MemoryContextDelete(own);
	pgq_walread_close(&candidate->pages);
	return found;
}

/*
 * A segment may begin within a record.  What is to be judged lies behind redo, and recovery
 * needs the segment that redo is in: so unless redo is in this one, the one before is here.
 */
static void
read_records(Candidate *candidate, XLogRecPtr redo, XLogRecPtr limit)
{
	XLogReaderState *reader;
	XLogRecPtr	start;
	XLogRecPtr	from = redo;
	char	   *error;

	XLogSegNoOffsetToRecPtr(candidate->segno, 0, wal_segment_size, start);
	candidate->begin = candidate->end = Max(start, redo);
	reader = XLogReaderAllocate(wal_segment_size, NULL,
								XL_ROUTINE(.page_read = read_page), candidate);
	if (reader == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));

	if (redo + wal_segment_size < start)
		from = pgq_find_next_record(reader, start - wal_segment_size, &error);
	if (from != InvalidXLogRecPtr)
	{
		XLogBeginRead(reader, from);
		while (candidate->end < limit && XLogReadRecord(reader, &error) != NULL)
			candidate->end = Max(candidate->end, reader->EndRecPtr);
	}
	XLogReaderFree(reader);
}

static int
read_page(XLogReaderState *reader, XLogRecPtr page, int wanted, XLogRecPtr record, char *buffer)
{
	Candidate  *candidate = reader->private_data;
	XLogSegNo	segno;

	(void) wanted;
	(void) record;
	XLByteToSeg(page, segno, wal_segment_size);
	if (segno > candidate->segno || !pgq_walread_page(&candidate->pages, page, buffer, XLOG_BLCKSZ))
		return XLREAD_FAIL;
	return XLOG_BLCKSZ;
}

static bool
same_bytes(const Candidate *a, const Candidate *b, XLogRecPtr from, XLogRecPtr to)
{
	int			fd_a = pgq_walread_open(a->history, a->part, a->segno);
	int			fd_b = pgq_walread_open(b->history, b->part, b->segno);
	bool		same = fd_a >= 0 && fd_b >= 0;

	while (same && from < to)
	{
		char		bytes_a[XLOG_BLCKSZ];
		char		bytes_b[XLOG_BLCKSZ];
		size_t		length = Min(to - from, XLOG_BLCKSZ);
		off_t		offset = XLogSegmentOffset(from, wal_segment_size);

		same = pread(fd_a, bytes_a, length, offset) == (ssize_t) length &&
			pread(fd_b, bytes_b, length, offset) == (ssize_t) length &&
			memcmp(bytes_a, bytes_b, length) == 0;
		from += length;
	}
	if (fd_a >= 0)
		close(fd_a);
	if (fd_b >= 0)
		close(fd_b);
	return same;
}

/* Durably, with what the archiver has noted about it.  A failure is logged. */
static bool
remove_segment(TimeLineID tli, XLogSegNo segno)
{
	char		name[MAXFNAMELEN];
	char		path[MAXPGPATH];

	XLogFileName(name, tli, segno, wal_segment_size);
	snprintf(path, sizeof(path), XLOGDIR "/%s", name);
	if (unlink(path) != 0)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not remove file \"%s\": %m", path)));
		return false;
	}
	StatusFilePath(path, name, ".ready");
	(void) unlink(path);
	StatusFilePath(path, name, ".done");
	(void) unlink(path);
	return pgq_walfiles_sync();
}

/*
 * Durably make the segment that end is in a file of another timeline: the same up to end, then
 * zeroes.  The archiver need not have it: the next timeline begins with the same.
 */
static bool
copy_segment(TimeLineID from, TimeLineID to, XLogRecPtr end)
{
	char		path[MAXPGPATH];
	char		name[MAXFNAMELEN];
	XLogSegNo	segno;
	int			source;
	int			target;
	bool		written;

	XLByteToSeg(end, segno, wal_segment_size);
	(void) unlink(PGQ_WALFILES_TEMP);
	XLogFilePath(path, from, segno, wal_segment_size);
	source = BasicOpenFile(path, O_RDONLY | PG_BINARY);
	target = BasicOpenFile(PGQ_WALFILES_TEMP, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY);

	written = source >= 0 && target >= 0 &&
		copy_bytes(source, target, XLogSegmentOffset(end, wal_segment_size)) &&
		ftruncate(target, wal_segment_size) == 0 && fsync(target) == 0;
	if (source >= 0)
		close(source);
	if (target >= 0 && close(target) != 0)
		written = false;

	/* not to be renamed .partial by the promotion (xlog.c) */
	XLogFileName(name, to, segno, wal_segment_size);
	if (written && XLogArchivingActive())
		XLogArchiveForceDone(name);

	XLogFilePath(path, to, segno, wal_segment_size);
	if (!written || rename(PGQ_WALFILES_TEMP, path) != 0)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", path)));
		(void) unlink(PGQ_WALFILES_TEMP);
		return false;
	}
	return pgq_walfiles_sync();
}

static bool
copy_bytes(int source, int target, size_t length)
{
	char		bytes[XLOG_BLCKSZ];

	while (length > 0)
	{
		size_t		part = Min(length, sizeof(bytes));

		errno = ENOSPC;			/* what a short write means */
		if (read(source, bytes, part) != (ssize_t) part ||
			write(target, bytes, part) != (ssize_t) part)
			return false;
		length -= part;
	}
	return true;
}
