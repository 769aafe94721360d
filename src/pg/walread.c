/*
 * walread.c
 *	  Reads WAL from the files of pg_wal that recovery would read it from.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "storage/fd.h"

#include "walread.h"

int
pgq_walread_open(const PgqHistory *history, int part, XLogSegNo segno)
{
	for (; part >= 0; part--)
	{
		char		path[MAXPGPATH];
		XLogSegNo	first;
		int			fd;

		XLByteToSeg(history->parts[part].begin, first, wal_segment_size);
		if (first > segno)
			continue;
		XLogFilePath(path, history->parts[part].tli, segno, wal_segment_size);
		fd = BasicOpenFile(path, O_RDONLY | PG_BINARY);
		if (fd >= 0 || errno != ENOENT)
			return fd;
	}
	return -1;
}

bool
pgq_walread_page(PgqWalPages *pages, XLogRecPtr page, char *buffer, int length)
{
	XLogSegNo	segno;

	XLByteToSeg(page, segno, wal_segment_size);
	if (pages->fd < 0 || pages->segno != segno)
	{
		pgq_walread_close(pages);
		pages->fd = pgq_walread_open(pages->history, pages->part, segno);
		pages->segno = segno;
	}
	return pages->fd >= 0 &&
		pread(pages->fd, buffer, length, XLogSegmentOffset(page, wal_segment_size)) == length;
}

void
pgq_walread_close(PgqWalPages *pages)
{
	if (pages->fd >= 0)
		close(pages->fd);
	pages->fd = -1;
}
