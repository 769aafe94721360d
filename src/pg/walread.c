/*
 * walread.c
 *	  Which file of pg_wal recovery reads a segment from.
 */
#include "postgres.h"

#include <fcntl.h>

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
