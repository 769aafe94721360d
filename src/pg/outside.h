/*
 * outside.h
 *	  Data of a data directory that lie outside of it: tablespaces, and WAL behind a link.
 */
#ifndef PGQ_OUTSIDE_H
#define PGQ_OUTSIDE_H

#include "journal.h"
#include "source.h"

/* Tablespaces and WAL, and as many arguments of the program that copies. */
#define PGQ_OUTSIDE_MAX	64

/*
 * Write down, durably, what of PGQ_PARKED_DATA lies outside.  Once for each clone: later
 * the old data need not be there any more.
 */
extern bool pgq_outside_note(void);

/* What the source has said of its tablespaces (source.h); the last answer counts. */
extern void pgq_outside_ask(PgqSourceFacts *facts);

/*
 * Where the source's data belong on this host, as arguments for pg_basebackup: beside the
 * old data, in the same directories.  Appends to arguments, NULL-terminated.  False when
 * there is no place; why (QUORUM_REASON_SIZE bytes) says for what.
 */
extern bool pgq_outside_arguments(const char **arguments, int *count, char *why);

/* Remove what an unfinished copy has left there. */
extern bool pgq_outside_clear(void);

/* Where there is no room for both, the old data go.  False when they could not be removed. */
extern bool pgq_outside_make_room(void);

/*
 * The copy takes the place of the old data; repeated, it goes on where it was.  The links in
 * PGQ_PARKED_DATA then are what the old ones were.
 */
extern bool pgq_outside_place(void);

/* The old data are needed no more. */
extern void pgq_outside_clean(void);

/*
 * With the data in place: tablespaces of the source that this node has none of, is there a
 * place for them?  pg_rewind would follow the source's path, whatever is there.
 */
extern bool pgq_outside_fits(char *why);

#endif							/* PGQ_OUTSIDE_H */
