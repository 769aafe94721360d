/*
 * transport_log.h
 *	  At most one log line per kind and interval, however hard the port is hit.
 */
#ifndef PGQ_TRANSPORT_LOG_H
#define PGQ_TRANSPORT_LOG_H

#include "host.h"

typedef enum PgqLogKind
{
	PGQ_LOG_AUTH,
	PGQ_LOG_GARBAGE,
	PGQ_LOG_IDENTITY,
	PGQ_LOG_INVITATION,
	PGQ_LOG_SLOW,
	PGQ_LOG_TIMEOUT,
	PGQ_LOG_CROWD,
	PGQ_LOG_SOCKET
} PgqLogKind;

#define PGQ_LOG_KINDS	(PGQ_LOG_SOCKET + 1)

/* May a line of this kind be written now?  If not, it is counted. */
extern bool pgq_log_due(PgqLogKind kind);

/* Tell how many lines were held back once their interval is over; returns when to call again. */
extern uint64 pgq_log_flush(uint64 now);

#define pgq_log(kind, ...) \
	do { \
		if (pgq_log_due(kind)) \
			pgq_say(__VA_ARGS__); \
	} while (0)

/* The same with a detail or a hint. */
extern void pgq_log_report(PgqLogKind kind, const PgqReport *report);

#endif							/* PGQ_TRANSPORT_LOG_H */
