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

/*
 * In the postmaster, after a rewind: move the WAL that was kept for it, as far as it holds
 * what is gone, and write the list.  A failure is logged: it does not hold up the rewind.
 */
extern void pgq_rollback_keep(const PgqJournal *journal);

/* Remove the oldest ones until quorum.rollback_keep_size and _age are respected. */
extern void pgq_rollback_trim(void);

#endif							/* PGQ_ROLLBACK_H */
