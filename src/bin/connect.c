/*
 * connect.c
 *	  Connects to many servers at once, with one limit of time for all.
 *
 * A node that is frozen accepts connections and never answers, so nothing here uses
 * the blocking calls of libpq.
 */
#include "connect.h"

#include <poll.h>
#include <unistd.h>

#include "portability/instr_time.h"
#include "local.h"
#include "setup.h"
#include "token.h"

static int64
now_ms(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
}

/* ---- how to connect --------------------------------------------------------------------- */

void
spec_set(ConnSpec *spec, const char *keyword, const char *value)
{
	for (PQconninfoOption *o = spec->options; o->keyword != NULL; o++)
	{
		if (strcmp(o->keyword, keyword) == 0)
			o->val = value != NULL ? strdup(value) : NULL;
	}
}

const char *
spec_value(const ConnSpec *spec, const char *keyword)
{
	for (PQconninfoOption *o = spec->options; o->keyword != NULL; o++)
	{
		if (strcmp(o->keyword, keyword) == 0)
			return o->val != NULL && o->val[0] != '\0' ? o->val : NULL;
	}
	return NULL;
}

static void
spec_merge(ConnSpec *spec, const char *conninfo, bool from_command_line)
{
	char	   *message = NULL;
	PQconninfoOption *given = PQconninfoParse(conninfo, &message);

	if (given == NULL)
	{
		pg_log_error("the connection string is not valid: %s", message ? message : "out of memory");
		exit(EXIT_USAGE);
	}
	for (PQconninfoOption *o = given; o->keyword != NULL; o++)
	{
		if (o->val == NULL)
			continue;
		if (from_command_line && strcmp(o->keyword, "password") == 0)
		{
			pg_log_error("a password on a command line can be read by everyone on this host");
			pg_log_error_hint("Use ~/.pgpass, PGPASSFILE or PGPASSWORD, or wait to be asked.");
			exit(EXIT_USAGE);
		}
		spec_set(spec, o->keyword, o->val);
	}
	PQconninfoFree(given);
}

static void
spec_use_token(ConnSpec *spec, const Token *token)
{
	if (token->conninfo != NULL)
	{
		spec_merge(spec, token->conninfo, false);
		/* a path on a member, relative to its data directory */
		spec_set(spec, "passfile", NULL);
	}
	spec_set(spec, "host", token->hosts);
	spec_set(spec, "hostaddr", NULL);
	spec_set(spec, "port", token->ports);
	spec_set(spec, "dbname", token->dbname);
	spec_set(spec, "user", token->user);
	if (token->password != NULL)
		spec_set(spec, "password", token->password);
}

/* The role with which the members stream may also look, and ask for changes. */
static void
spec_use_directory(ConnSpec *spec, const char *directory)
{
	char	   *host;
	char	   *port;

	if (!server_address(directory, &host, &port))
	{
		pg_log_error("no server runs in \"%s\"", directory);
		pg_log_error_hint("Name another member with -h, or its token with --token.");
		exit(EXIT_NOBODY);
	}
	spec_set(spec, "port", port);
	if (passfile_password(directory, STREAM_ROLE) == NULL)
	{
		spec_set(spec, "host", host);
		return;
	}
	spec_set(spec, "host", "localhost");
	spec_set(spec, "user", STREAM_ROLE);
	spec_set(spec, "password", passfile_password(directory, STREAM_ROLE));
}

ConnSpec *
spec_make(const Common *common, Endpoints *endpoints)
{
	ConnSpec   *spec = pg_malloc0(sizeof(ConnSpec));
	bool		is_conninfo = common->dbname != NULL &&
		(strchr(common->dbname, '=') != NULL || strncmp(common->dbname, "postgres://", 11) == 0 ||
		 strncmp(common->dbname, "postgresql://", 13) == 0);

	/* The environment is in the defaults. */
	spec->options = PQconndefaults();
	if (spec->options == NULL)
		pg_fatal("out of memory");
	spec->timeout_ms = (common->timeout > 0 ? common->timeout : DEFAULT_ANSWER_SECONDS) * 1000;
	/* The default name is that of the role, where the extension seldom is. */
	if (getenv("PGDATABASE") == NULL)
		spec_set(spec, "dbname", "postgres");
	if (common->token != NULL)
		spec_use_token(spec, token_read(common->token));
	else if (common->directory != NULL && common->host == NULL && !is_conninfo)
		spec_use_directory(spec, common->directory);
	if (is_conninfo)
		spec_merge(spec, common->dbname, true);
	else if (common->dbname != NULL)
		spec_set(spec, "dbname", common->dbname);
	if (common->host != NULL)
	{
		spec_set(spec, "host", common->host);
		spec_set(spec, "hostaddr", NULL);
	}
	if (common->port != NULL && common->token == NULL)
		spec_set(spec, "port", common->port);
	if (common->username != NULL)
		spec_set(spec, "user", common->username);
	spec_set(spec, "target_session_attrs", "any");
	spec_set(spec, "fallback_application_name", "pg_quorum");
	if (endpoints != NULL)
		endpoints_add(endpoints, spec_value(spec, spec_value(spec, "host") ? "host" : "hostaddr"),
					  spec_value(spec, "port"));
	return spec;
}

/* ---- servers ---------------------------------------------------------------------------- */

static void
add_one(Endpoints *endpoints, const char *host, const char *port)
{
	Endpoint   *e;

	for (int i = 0; i < endpoints->count; i++)
	{
		e = &endpoints->list[i];
		if (strcmp(e->host ? e->host : "", host) == 0 && strcmp(e->port ? e->port : "", port) == 0)
			return;
	}
	if (endpoints->count == ENDPOINTS_MAX)
		return;
	e = &endpoints->list[endpoints->count++];
	memset(e, 0, sizeof(*e));
	e->host = host[0] != '\0' ? pg_strdup(host) : NULL;
	e->port = port[0] != '\0' ? pg_strdup(port) : NULL;
}

/* Lists as libpq has them: one port for all hosts, or one for each. */
void
endpoints_add(Endpoints *endpoints, const char *hosts, const char *ports)
{
	char	   *host_list = pg_strdup(hosts != NULL ? hosts : "");
	char	   *port_list = pg_strdup(ports != NULL ? ports : "");
	char	   *host;
	char	   *port = NULL;

	while ((host = strsep(&host_list, ",")) != NULL)
	{
		char	   *next = port_list != NULL ? strsep(&port_list, ",") : NULL;

		if (next != NULL)
			port = next;
		add_one(endpoints, host, port);
	}
}

char *
endpoint_name(const Endpoint *endpoint)
{
	const char *host = endpoint->host ? endpoint->host : "local socket";

	return psprintf(strchr(host, ':') ? "[%s]:%s" : "%s:%s", host,
					endpoint->port ? endpoint->port : DEF_PGPORT_STR);
}

/* The first line of what libpq says, without what we say ourselves. */
static void
fail(Endpoint *e, const char *message)
{
	const char *start = strstr(message, "failed: ");
	size_t		length;

	start = start != NULL ? start + 8 : message;
	length = strcspn(start, "\n");
	/* libpq does not hand on the code; the name of the file is in no language another. */
	e->denied = PQconnectionNeedsPassword(e->conn) || PQconnectionUsedPassword(e->conn) ||
		strstr(message, "pg_hba.conf") != NULL || strstr(message, "authentication") != NULL;
	e->error = pnstrdup(length > 0 ? start : "no connection", length > 0 ? length : 13);
	e->done = true;
}

/* "NOTICE:  … already exists, skipping" is for those who asked for more. */
static void
show_notice(void *arg, const char *message)
{
	if (arg == NULL && strncmp(message, "NOTICE", 6) == 0)
		pg_log_debug("%s", message);
	else
		fprintf(stderr, "%s", message);
}

static void
start_connecting(Endpoint *e, const ConnSpec *spec)
{
	const char *keywords[64];
	const char *values[64];
	int			n = 0;

	for (PQconninfoOption *o = spec->options; o->keyword != NULL && n < 60; o++)
	{
		const char *value = o->val;

		if (strcmp(o->keyword, "host") == 0)
			value = e->host;
		else if (strcmp(o->keyword, "port") == 0)
			value = e->port;
		else if (strcmp(o->keyword, "hostaddr") == 0)
			continue;
		if (value == NULL || value[0] == '\0')
			continue;
		keywords[n] = o->keyword;
		values[n++] = value;
	}
	keywords[n] = values[n] = NULL;
	e->conn = PQconnectStartParams(keywords, values, 0);
	if (e->conn == NULL)
		pg_fatal("out of memory");
	PQsetNoticeProcessor(e->conn, show_notice, NULL);
	if (PQstatus(e->conn) == CONNECTION_BAD)
		fail(e, PQerrorMessage(e->conn));
}

static void
collect_results(Endpoint *e)
{
	if (!PQconsumeInput(e->conn))
	{
		fail(e, PQerrorMessage(e->conn));
		return;
	}
	while (!PQisBusy(e->conn))
	{
		PGresult   *result = PQgetResult(e->conn);

		if (result == NULL)
		{
			e->done = true;
			return;
		}
		if (PQresultStatus(result) != PGRES_TUPLES_OK && e->error == NULL)
			e->error = pg_strdup(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) ?
								 PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) :
								 "no answer");
		if (e->result_count < RESULTS_MAX)
			e->results[e->result_count++] = result;
		else
			PQclear(result);
	}
}

/* The socket is ready, or this is the first look; returns what to wait for. */
static short
advance(Endpoint *e, const char *sql)
{
	if (!e->sent)
	{
		PostgresPollingStatusType status = PQconnectPoll(e->conn);

		if (status == PGRES_POLLING_FAILED)
			fail(e, PQerrorMessage(e->conn));
		else if (status == PGRES_POLLING_OK)
		{
			if (!PQsendQuery(e->conn, sql))
				fail(e, PQerrorMessage(e->conn));
			e->sent = true;
			return POLLIN;
		}
		return status == PGRES_POLLING_WRITING ? POLLOUT : POLLIN;
	}
	collect_results(e);
	return POLLIN;
}

static void
ask_all(Endpoints *endpoints, const ConnSpec *spec, const char *sql)
{
	int64		give_up_at = now_ms() + spec->timeout_ms;
	short		events[ENDPOINTS_MAX];

	for (int i = 0; i < endpoints->count; i++)
	{
		if (!endpoints->list[i].done)
			start_connecting(&endpoints->list[i], spec);
		events[i] = POLLOUT;
	}
	while (!interrupted())
	{
		struct pollfd fds[ENDPOINTS_MAX];
		int			who[ENDPOINTS_MAX];
		int			n = 0;
		int64		rest = give_up_at - now_ms();

		for (int i = 0; i < endpoints->count; i++)
		{
			if (endpoints->list[i].done)
				continue;
			fds[n].fd = PQsocket(endpoints->list[i].conn);
			fds[n].events = events[i];
			who[n++] = i;
		}
		if (n == 0 || rest <= 0)
			break;
		if (poll(fds, n, (int) rest) <= 0)
			continue;
		for (int i = 0; i < n; i++)
		{
			if (fds[i].revents != 0)
				events[who[i]] = advance(&endpoints->list[who[i]], sql);
		}
	}
	for (int i = 0; i < endpoints->count; i++)
	{
		if (!endpoints->list[i].done)
			fail(&endpoints->list[i], psprintf(endpoints->list[i].sent ?
											   "connected, but no answer within %d s" :
											   "no connection within %d s",
											   spec->timeout_ms / 1000));
	}
}

/* Asks everyone who has not been asked yet. */
void
endpoints_ask(Endpoints *endpoints, ConnSpec *spec, const char *sql)
{
	bool		again = false;

	ask_all(endpoints, spec, sql);
	if (spec->asked_password || spec_value(spec, "password") != NULL || !isatty(STDIN_FILENO))
		return;
	for (int i = 0; i < endpoints->count; i++)
	{
		Endpoint   *e = &endpoints->list[i];

		if (e->error == NULL || e->conn == NULL || !PQconnectionNeedsPassword(e->conn))
			continue;
		if (!spec->asked_password)
			spec_set(spec, "password",
					 ask_text(psprintf("Password for %s: ", PQuser(e->conn)), false));
		spec->asked_password = again = true;
		PQfinish(e->conn);
		e->conn = NULL;
		e->error = NULL;
		e->denied = false;
		e->sent = e->done = false;
	}
	if (again)
		ask_all(endpoints, spec, sql);
}

void
endpoints_close(Endpoints *endpoints)
{
	for (int i = 0; i < endpoints->count; i++)
	{
		Endpoint   *e = &endpoints->list[i];

		for (int r = 0; r < e->result_count; r++)
			PQclear(e->results[r]);
		PQfinish(e->conn);
	}
	endpoints->count = 0;
}

/* ---- statements ------------------------------------------------------------------------- */

/* True when an answer is there; false: time is up, interrupted or connection lost. */
static bool
wait_for_answer(PGconn *conn, int timeout_ms, void (*tick) (void *arg), void *arg)
{
	int64		give_up_at = now_ms() + timeout_ms;

	for (;;)
	{
		struct pollfd fd = {PQsocket(conn), POLLIN, 0};
		int64		rest = give_up_at - now_ms();

		if (!PQconsumeInput(conn))
		{
			pg_log_error("the connection was lost: %s", PQerrorMessage(conn));
			return false;
		}
		if (!PQisBusy(conn))
			return true;
		if (interrupted())
			return false;
		if (rest <= 0)
		{
			pg_log_error("no answer within %d s", timeout_ms / 1000);
			return false;
		}
		(void) poll(&fd, 1, (int) Min(rest, 100));
		if (tick != NULL)
			tick(arg);
	}
}

PGresult *
query(PGconn *conn, const char *sql, int count, const char *const *values, int timeout_ms,
	  void (*tick) (void *arg), void *arg)
{
	PGresult   *result = NULL;
	PGresult   *next;

	SetCancelConn(conn);
	if (!PQsendQueryParams(conn, sql, count, NULL, values, NULL, NULL, 0))
		pg_log_error("could not send a statement: %s", PQerrorMessage(conn));
	else if (wait_for_answer(conn, timeout_ms, tick, arg))
	{
		while ((next = PQgetResult(conn)) != NULL)
		{
			PQclear(result);
			result = next;
		}
	}
	ResetCancelConn();
	return result;
}

void
report_sql_error(const PGresult *result)
{
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);

	pg_log_error("%s", message != NULL ? message : PQresultErrorMessage(result));
	if (detail != NULL)
		pg_log_error_detail("%s", detail);
	if (hint != NULL)
		pg_log_error_hint("%s", hint);
}

bool
has_sqlstate(const PGresult *result, const char *sqlstate)
{
	const char *found = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	return found != NULL && strcmp(found, sqlstate) == 0;
}

PGresult *
query_ok(PGconn *conn, const char *sql, int count, const char *const *values, int timeout_ms)
{
	PGresult   *result = query(conn, sql, count, values, timeout_ms, NULL, NULL);

	if (result == NULL || PQresultStatus(result) == PGRES_TUPLES_OK ||
		PQresultStatus(result) == PGRES_COMMAND_OK)
		return result;
	report_sql_error(result);
	PQclear(result);
	return NULL;
}

const char *
field(const PGresult *result, int row, const char *column)
{
	int			number = result != NULL ? PQfnumber(result, column) : -1;

	if (number < 0 || row < 0 || row >= PQntuples(result) || PQgetisnull(result, row, number))
		return NULL;
	return PQgetvalue(result, row, number);
}

bool
is_true(const char *value)
{
	return value != NULL && value[0] == 't';
}
