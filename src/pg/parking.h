/*
 * parking.h
 *	  Moves the data of a data directory aside and back, files of their owner stay.
 */
#ifndef PGQ_PARKING_H
#define PGQ_PARKING_H

#include "postgres.h"

#include "access/xlogdefs.h"

#include "journal.h"

/* What pg_rewind and pg_basebackup work on; and what it needs to be tried again. */
#define PGQ_PARKED_DATA PGQ_REWIND_DIR "/data"
#define PGQ_PARKED_WAL	PGQ_REWIND_DIR "/wal"

/* All of these are durable when they return true, may be repeated, and log a failure. */

/*
 * Copy segments of WAL from the one that holds from to the one that holds to, history
 * files and pg_control to PGQ_PARKED_WAL.
 */
extern bool pgq_parking_save(XLogRecPtr from, XLogRecPtr to);

/* Everything in PGQ_PARKED_DATA, and in its tablespaces, is on disk. */
extern bool pgq_parking_sync(void);

/* Put these copies back into PGQ_PARKED_DATA: a second rewind starts as the first did. */
extern bool pgq_parking_restore_saved(void);

/*
 * Move the data to PGQ_PARKED_DATA.  What is left is a data directory whose server gets
 * as far as our library, and without our library no further than to the missing WAL.
 */
extern bool pgq_parking_away(void);

/* Move PGQ_PARKED_DATA into place; data that are there go to PGQ_REWIND_DIR/old. */
extern bool pgq_parking_back(void);

/* Remove everything in PGQ_REWIND_DIR but the journal. */
extern void pgq_parking_clean(void);

#endif							/* PGQ_PARKING_H */
