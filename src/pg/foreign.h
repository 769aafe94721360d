/*
 * foreign.h
 *	  Whether somebody has written to this member's log who was not elected to.
 */
#ifndef PGQ_FOREIGN_H
#define PGQ_FOREIGN_H

#include "journal.h"

/*
 * In the postmaster, before anything else reads the data.  When it has, that is logged, and
 * journal asks for a copy of the data; hard is what the state file says.
 */
extern bool pgq_foreign_log(QuorumHardState *hard, PgqJournal *journal);

#endif							/* PGQ_FOREIGN_H */
