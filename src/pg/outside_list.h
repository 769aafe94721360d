/*
 * outside_list.h
 *	  The list of data that lie outside of a data directory: read from links, noted, read again.
 */
#ifndef PGQ_OUTSIDE_LIST_H
#define PGQ_OUTSIDE_LIST_H

#include "outside.h"

#define PGQ_TABLESPACES	"pg_tblspc"

typedef struct PgqOutside
{
	char		name[32];		/* "pg_wal", or a tablespace's number */
	char		path[MAXPGPATH];
} PgqOutside;

typedef struct PgqOutsideList
{
	int			count;
	bool		overflow;
	PgqOutside	entries[PGQ_OUTSIDE_MAX];
} PgqOutsideList;

/* What of the data in this directory lies outside of it. */
extern bool pgq_outside_links(const char *data, PgqOutsideList *list);

/* Sets overflow when there is no room, or the path cannot be noted. */
extern void pgq_outside_add(PgqOutsideList *list, const char *name, const char *path);

/* NULL = not in the list. */
extern const PgqOutside *pgq_outside_find(const PgqOutsideList *list, const char *name);

/* What pgq_outside_note() wrote down; an empty list when it did not. */
extern bool pgq_outside_read_note(PgqOutsideList *list);

extern bool pgq_outside_is_noted(void);
extern void pgq_outside_forget_note(void);

#endif							/* PGQ_OUTSIDE_LIST_H */
