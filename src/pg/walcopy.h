/*
 * walcopy.h
 *	  The first segment of a timeline begins with a copy of the one before.
 */
#ifndef PGQ_WALCOPY_H
#define PGQ_WALCOPY_H

#include "postgres.h"

#include "access/xlogdefs.h"

/*
 * P6: remove from pg_wal the segments that would hide a part of our log from recovery, which
 * begins at redo.  Nobody may be writing them.  Never raises an error; a failure is logged.
 */
extern void pgq_walcopy_clean(XLogRecPtr redo);

/*
 * P6: the newest history, of which no record has arrived, begins where our log ends.  Make the
 * copies whole that its timelines begin with, as the promotion and every follower read them.
 * False when one could not be made; that is logged.
 */
extern bool pgq_walcopy_finish(XLogRecPtr redo);

#endif							/* PGQ_WALCOPY_H */
