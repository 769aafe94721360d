/*
 * connect.h
 *	  Connections to members: many at once, every wait with a limit.
 */
#ifndef PGQ_CONNECT_H
#define PGQ_CONNECT_H

#include "command.h"

#define ENDPOINTS_MAX 48
#define RESULTS_MAX 2
#define DEFAULT_ANSWER_SECONDS 3

/* How to connect to any member; all but host and port. */
typedef struct ConnSpec
{
	PQconninfoOption *options;
	bool		asked_password;
	int			timeout_ms;
} ConnSpec;

/* One server that is asked. */
typedef struct Endpoint
{
	char	   *host;			/* NULL = default of libpq */
	char	   *port;			/* NULL = default */
	PGconn	   *conn;			/* usable when error is NULL */
	char	   *error;			/* why it does not answer; NULL = it did */
	bool		denied;			/* it runs, but does not let us in */
	bool		sent;			/* the question is on its way */
	bool		done;
	PGresult   *results[RESULTS_MAX];
	int			result_count;
} Endpoint;

typedef struct Endpoints
{
	Endpoint	list[ENDPOINTS_MAX];
	int			count;
} Endpoints;

/* Exits when the options are wrong. */
extern ConnSpec *spec_make(const Common *common, Endpoints *endpoints);
extern const char *spec_value(const ConnSpec *spec, const char *keyword);
extern void spec_set(ConnSpec *spec, const char *keyword, const char *value);

extern void endpoints_add(Endpoints *endpoints, const char *hosts, const char *ports);
extern void endpoints_ask(Endpoints *endpoints, ConnSpec *spec, const char *sql);
extern void endpoints_close(Endpoints *endpoints);
extern char *endpoint_name(const Endpoint *endpoint);

/*
 * One statement, waited for up to timeout_ms; tick, if not NULL, is called about ten
 * times a second meanwhile.  The result may be an error of the server; NULL: no
 * answer, or interrupted, which has been said.
 */
extern PGresult *query(PGconn *conn, const char *sql, int count, const char *const *values,
					   int timeout_ms, void (*tick) (void *arg), void *arg);

/* The same, with errors reported: NULL when there is no row or command result. */
extern PGresult *query_ok(PGconn *conn, const char *sql, int count, const char *const *values,
						  int timeout_ms);
extern void report_sql_error(const PGresult *result);
extern bool has_sqlstate(const PGresult *result, const char *sqlstate);

/* A value by name of its column; NULL when it is null or the column is not there. */
extern const char *field(const PGresult *result, int row, const char *column);
extern bool is_true(const char *value);

#endif							/* PGQ_CONNECT_H */
