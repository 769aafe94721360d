/*
 * host.c
 *	  What src/net needs of the witness: a log, counters, memory.
 *
 * The log is the standard error output: systemd and Docker take it from there.
 */
#include "witness.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "common/hmac.h"

static uint64 counters[PGQ_COUNTERS];

/* One write for one line, so that lines of two processes do not mix. */
static void
put_line(const char *level, const char *text)
{
	char		line[PGQ_REPORT_SIZE + 128];
	char		stamp[32] = "";
	uint64		now = pgq_now_wall();
	time_t		seconds = (time_t) (now / 1000000);
	struct tm	tm = {0};

	if (text[0] == '\0')
		return;
	(void) gmtime_r(&seconds, &tm);
	(void) strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(line, sizeof(line), "%s.%03d UTC witness[%d] %s:  %s\n", stamp,
			 (int) (now / 1000 % 1000), (int) getpid(), level, text);
	if (write(STDERR_FILENO, line, strlen(line)) < 0)
	{
		/* nobody reads: the witness goes on all the same */
	}
}

static void
put_report(const char *level, const PgqReport *report)
{
	int			saved = errno;

	put_line(level, report->message);
	put_line("DETAIL", report->detail);
	put_line("HINT", report->hint);
	errno = saved;
}

void
pgq_host_log(const PgqReport *report)
{
	put_report("LOG", report);
}

void
witness_fail(const PgqReport *report)
{
	put_report("FATAL", report);
}

void
pgq_host_count(PgqCounter counter)
{
	counters[counter]++;
}

uint64
witness_counter(PgqCounter counter)
{
	return counters[counter];
}

void *
pgq_host_alloc(size_t size)
{
	return pg_malloc0(size);
}

int
pgq_host_open(const char *path, int flags)
{
	return open(path, flags | O_CLOEXEC, 0600);
}

pg_hmac_ctx *
pgq_host_hmac(void)
{
	return pg_hmac_create(PG_SHA256);
}

/* There is no data here: the cluster that invites it says which system it is. */
uint64
pgq_host_system_identifier(void)
{
	return 0;
}
