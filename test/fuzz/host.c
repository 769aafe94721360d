/*
 * host.c
 *	  What src/net and the programs need of the program around them: here, of a fuzz target.
 *
 * What they say is put together, as it would be for a log, then dropped.
 */
#include "host.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/hmac.h"
#include "common/logging.h"

#include "fuzz.h"

enum pg_log_level __pg_log_level = PG_LOG_INFO;
const char *progname = "fuzz";

void
pgq_host_log(const PgqReport *report)
{
	fuzz_require(memchr(report->message, '\0', sizeof(report->message)) != NULL);
	fuzz_require(memchr(report->detail, '\0', sizeof(report->detail)) != NULL);
	fuzz_require(memchr(report->hint, '\0', sizeof(report->hint)) != NULL);
	fuzz_require(report->message[0] != '\0');
}

void
pgq_host_count(PgqCounter counter)
{
	fuzz_require(counter < PGQ_COUNTERS);
}

void *
pgq_host_alloc(size_t size)
{
	return calloc(1, size);
}

pg_hmac_ctx *
pgq_host_hmac(void)
{
	return pg_hmac_create(PG_SHA256);
}

/* ---- as src/common/logging.c has them --------------------------------------- */

void
pg_log_generic_v(enum pg_log_level level, enum pg_log_part part, const char *format, va_list args)
{
	char		text[1024];

	(void) level;
	(void) part;
	vsnprintf(text, sizeof(text), format, args);
}

void
pg_log_generic(enum pg_log_level level, enum pg_log_part part, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	pg_log_generic_v(level, part, format, args);
	va_end(args);
}

void
pg_logging_increase_verbosity(void)
{
}
