/*
 * conninfo.h
 *	  Reads connection strings of libpq's keyword form.
 */
#ifndef PGQ_CONNINFO_H
#define PGQ_CONNINFO_H

#include "postgres.h"

#include "utils/guc.h"

#define PGQ_KEYWORD_SIZE	64		/* of a keyword, with its NUL */
#define PGQ_VALUE_SIZE		1024	/* of its value, likewise; a longer one cannot be used */

/* Can it be used?  why_not and hint say what is wrong; both are constants. */
extern bool pgq_conninfo_valid(const char *text, const char **why_not, const char **hint);

/*
 * Take one keyword and its value off the text, as libpq reads them, and the white space behind
 * them; none may be in front.  False when there is none, or one that is too long.
 */
extern bool pgq_conninfo_next(const char **text, char *keyword, char *value);

/* The value of a keyword, "" when there is none; the last of two equal ones counts. */
extern void pgq_conninfo_get(const char *text, const char *keyword, char *value, size_t size);

/* Of quorum.conninfo: what could not be used is refused when it is set in a running server. */
extern bool pgq_conninfo_check_hook(char **value, void **extra, GucSource source);

#endif							/* PGQ_CONNINFO_H */
