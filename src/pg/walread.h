/*
 * walread.h
 *	  Which file of pg_wal recovery reads a segment from.
 */
#ifndef PGQ_WALREAD_H
#define PGQ_WALREAD_H

#include "postgres.h"

#include "access/xlogdefs.h"

#include "timeline.h"

/*
 * Opens the segment of the newest part of the history, up to this one, that begins no later and
 * has a file.  -1 when there is none, or it cannot be opened.
 */
extern int	pgq_walread_open(const PgqHistory *history, int part, XLogSegNo segno);

#endif							/* PGQ_WALREAD_H */
