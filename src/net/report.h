/*
 * report.h
 *	  Something to be told to a person: what, why, and what to do about it.
 *
 * Who fails fills one in and returns false; who called decides whether that is an
 * error, a line in the log, or the end of the program.
 */
#ifndef PGQ_REPORT_H
#define PGQ_REPORT_H

#define PGQ_REPORT_SIZE		512

typedef struct PgqReport
{
	int			error;			/* errno; 0 = none was to blame */
	char		message[PGQ_REPORT_SIZE];
	char		detail[PGQ_REPORT_SIZE];	/* may be empty */
	char		hint[PGQ_REPORT_SIZE];	/* likewise */
} PgqReport;

/* The first begins anew, the others add to it.  %m is the errno of the call. */
extern void pgq_report(PgqReport *report, int error, const char *format,...)
			pg_attribute_printf(3, 4);
extern void pgq_report_detail(PgqReport *report, const char *format,...)
			pg_attribute_printf(2, 3);
extern void pgq_report_hint(PgqReport *report, const char *format,...)
			pg_attribute_printf(2, 3);

/* A report of one sentence, straight to the log. */
extern void pgq_say(const char *format,...) pg_attribute_printf(1, 2);

#endif							/* PGQ_REPORT_H */
