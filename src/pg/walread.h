/*
 * walread.h
 *	  Reads WAL from the files of pg_wal that recovery would read it from.
 */
#ifndef PGQ_WALREAD_H
#define PGQ_WALREAD_H

#include "postgres.h"

#include "access/xlogdefs.h"

#include "timeline.h"

/* Pages of WAL, read as recovery would that follows the history up to a part of it. */
typedef struct PgqWalPages
{
	const PgqHistory *history;
	int			part;
	int			fd;				/* -1 = no segment is open */
	XLogSegNo	segno;
} PgqWalPages;

/* The first length bytes of the page; false when they cannot be read. */
extern bool pgq_walread_page(PgqWalPages *pages, XLogRecPtr page, char *buffer, int length);
extern void pgq_walread_close(PgqWalPages *pages);

/*
 * Opens the segment of the newest part of the history, up to this one, that begins no later and
 * has a file.  -1 when there is none, or it cannot be opened.
 */
extern int	pgq_walread_open(const PgqHistory *history, int part, XLogSegNo segno);

#endif							/* PGQ_WALREAD_H */
