/*
 * rollback.h
 *	  What a rewind takes out of this node's log is kept aside, with a list to read.
 */
#ifndef PGQ_ROLLBACK_H
#define PGQ_ROLLBACK_H

#include "journal.h"

/*
 * pg_basebackup and pg_rewind skip names that begin like this.  Below it, a directory for
 * each rewind: the WAL from the fork to the end, history files, "list", and "about".
 */
#define PGQ_ROLLBACK_DIR	"pg_quorum/pgsql_tmp.rollback"

#define PGQ_ROLLBACK_ID_SIZE	64
#define PGQ_ROLLBACK_RELATIONS	100 /* named in "about"; the list has them all */
#define PGQ_ROLLBACK_RELATION_SIZE	40	/* "tablespace/database/relation" */

/* What "about" says of one of them; its id is the name of its directory. */
typedef struct PgqRollback
{
	char		id[PGQ_ROLLBACK_ID_SIZE];
	int64		asked_at;		/* TimestampTz */
	QuorumWalPos fork;
	QuorumWalPos end;
	QuorumTerm	term;			/* of the leader that the node was rewound against */
	char		source[QUORUM_NAME_SIZE];
	int64		commits;		/* transactions whose commit was taken out; < 0 = not known */
	int64		bytes;			/* of everything in the directory */
	int			relation_count;
	char		relations[PGQ_ROLLBACK_RELATIONS][PGQ_ROLLBACK_RELATION_SIZE];
} PgqRollback;

/*
 * In the postmaster, after a rewind: move the WAL that was kept for it, as far as it holds
 * what is gone, and write the list.  A failure is logged: it does not hold up the rewind.
 */
extern void pgq_rollback_keep(const PgqJournal *journal);

/* The id of what the rewind of this journal took out; PGQ_ROLLBACK_ID_SIZE bytes. */
extern void pgq_rollback_id(const PgqJournal *journal, char *id);

/* False when there is none of this id, or it is not whole. */
extern bool pgq_rollback_read(const char *id, PgqRollback *rollback);

/* Remove the oldest ones until quorum.rollback_keep_size and _age are respected. */
extern void pgq_rollback_trim(void);

/* The same from the worker, at most one file at a call: it must not be kept busy. */
extern void pgq_rollback_trim_step(void);

/* rollback_list.c: write path/list; adds what "about" tells of it to rollback. */
extern void pgq_rollback_write_list(const PgqJournal *journal, const char *path,
									PgqRollback *rollback);

#endif							/* PGQ_ROLLBACK_H */
