/*
 * program.h
 *	  Runs one of PostgreSQL's own programs as a child of the postmaster, to its end.
 */
#ifndef PGQ_PROGRAM_H
#define PGQ_PROGRAM_H

#include "postgres.h"

/* One line of what the program says, without its end. */
typedef void (*PgqProgramLine) (const char *line, void *arg);

/*
 * Is it installed beside the server?  path (MAXPGPATH bytes) says where it was looked for.
 */
extern bool pgq_program_find(const char *name, char *path);

/*
 * In the postmaster, before it has children.  arguments: NULL-terminated, without the
 * program's own name.  password: for libpq, NULL = none.  A shutdown signal ends the
 * program, then the server; the next start finds the journal.  True when the program
 * ended with status 0.
 */
extern bool pgq_program_run(const char *name, const char *const *arguments, const char *password,
							PgqProgramLine line, void *arg);

/* Wait, in the same way. */
extern void pgq_program_pause(int ms);

/*
 * No program of an earlier life of this server may still be at work; waits until it has
 * ended.  Programs run from here on hold the lock as long as they live.
 */
extern bool pgq_program_lock(const char *file);
extern void pgq_program_unlock(void);

#endif							/* PGQ_PROGRAM_H */
