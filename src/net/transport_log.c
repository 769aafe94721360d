/*
 * transport_log.c
 *	  At most one log line per kind and interval, however hard the port is hit.
 *
 * It does not count for the views: those counters are the host's.
 */
#include "transport_log.h"

#define INTERVAL_US		(10 * 1000 * 1000)

static const char *const kind_names[PGQ_LOG_KINDS] = {
	"authentication failed",
	"malformed data",
	"identity refused",
	"invitation for another node",
	"peer does not read",
	"handshake timed out",
	"too many connections",
	"socket error"
};

static struct
{
	uint64		written_at;		/* 0 = never */
	uint64		held_back;		/* since then */
}			kinds[PGQ_LOG_KINDS];

bool
pgq_log_due(PgqLogKind kind)
{
	uint64		now = pgq_now_mono();

	if (kinds[kind].written_at != 0 && now < kinds[kind].written_at + INTERVAL_US)
	{
		kinds[kind].held_back++;
		return false;
	}
	kinds[kind].written_at = now;
	return true;
}

void
pgq_log_report(PgqLogKind kind, const PgqReport *report)
{
	if (pgq_log_due(kind))
		pgq_host_log(report);
}

uint64
pgq_log_flush(uint64 now)
{
	uint64		next = PG_UINT64_MAX;

	for (int i = 0; i < PGQ_LOG_KINDS; i++)
	{
		if (kinds[i].held_back == 0)
			continue;
		if (now >= kinds[i].written_at + INTERVAL_US)
		{
			pgq_say("quorum port: %s: " UINT64_FORMAT " more times in the last %d seconds",
					kind_names[i], kinds[i].held_back,
					(int) ((now - kinds[i].written_at) / 1000000));
			kinds[i].held_back = 0;
			kinds[i].written_at = now;
		}
		else
			next = Min(next, kinds[i].written_at + INTERVAL_US);
	}
	return next;
}
