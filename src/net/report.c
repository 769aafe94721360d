/*
 * report.c
 *	  Something to be told to a person: what, why, and what to do about it.
 *
 * Where it goes is the host's business.
 */
#include "host.h"

void
pgq_report(PgqReport *report, int error, const char *format,...)
{
	va_list		args;

	memset(report, 0, sizeof(*report));
	report->error = error;
	errno = error;
	va_start(args, format);
	vsnprintf(report->message, sizeof(report->message), format, args);
	va_end(args);
}

void
pgq_report_detail(PgqReport *report, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vsnprintf(report->detail, sizeof(report->detail), format, args);
	va_end(args);
}

void
pgq_report_hint(PgqReport *report, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vsnprintf(report->hint, sizeof(report->hint), format, args);
	va_end(args);
}

void
pgq_say(const char *format,...)
{
	PgqReport	report;
	va_list		args;

	memset(&report, 0, sizeof(report));
	va_start(args, format);
	vsnprintf(report.message, sizeof(report.message), format, args);
	va_end(args);
	pgq_host_log(&report);
}
