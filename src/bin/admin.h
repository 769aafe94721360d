/*
 * admin.h
 *	  Subcommands that call one function of the extension.
 */
#ifndef PGQ_ADMIN_H
#define PGQ_ADMIN_H

#include "survey.h"

/* What such a subcommand was told. */
typedef struct Admin
{
	Common		common;
	const char *argument;		/* name of a member; NULL = none */
	const char *to;				/* --to */
	const char *kind;			/* --kind */
	const char *address;		/* --address */
	int			seconds;		/* --for, --wait; 0 = default */
	bool		yes;
} Admin;

typedef struct AdminUsage
{
	const char *name;
	bool		argument;		/* takes the name of a member */
	const char *text;			/* of --help, after the name of the program */
} AdminUsage;

/* False: *code is what the program ends with. */
extern bool admin_options(Admin *admin, const AdminUsage *usage, int argc, char **argv, int *code);

/*
 * Calls a function of the extension.  Errors are reported, also that this release has
 * no such function.  *lost is set when the connection ended before the answer.
 */
extern PGresult *admin_call(PGconn *conn, const char *sql, int count, const char *const *values,
							int timeout_ms, bool *lost);

/*
 * Hands over, waits until the new leader serves, tells how long it took: name of the
 * new leader, NULL with a message.
 */
extern char *admin_switchover(const Admin *admin, int seconds);

#endif							/* PGQ_ADMIN_H */
