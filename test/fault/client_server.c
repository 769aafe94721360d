/*
 * client_server.c
 *	  The one connection of a client: to a server that takes its transactions.
 *
 * No call waits for longer than its limit: servers freeze, and networks lose what was sent.
 */
#include "client_server.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#define HOSTS_MAX 15
#define CONNECT_LIMIT_US 300000
#define ANSWER_LIMIT_US 3000000

static char *hosts[HOSTS_MAX];
static char *ports[HOSTS_MAX];
static int	host_count;
static int	current;
static const char *user;
static bool standby;
static bool reader;
static int	connections;
static PGconn *conn;
static char term[16];
static bool input_ended;

int64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Wait for the socket, or just for time when it is -1; the end of the input ends all waits. */
static bool
wait_for(int socket, short events, int64_t until)
{
	struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = socket, .events = events}};
	int64_t		left = until - now_us();
	struct timespec limit = {left > 0 ? left / 1000000 : 0, left > 0 ? left % 1000000 * 1000 : 0};
	char		c;

	if (ppoll(fds, socket < 0 ? 1 : 2, &limit, NULL) <= 0)
		return false;
	if (fds[0].revents != 0 && read(STDIN_FILENO, &c, 1) <= 0)
		input_ended = true;
	return socket >= 0 && fds[1].revents != 0;
}

void
server_pause(int64_t us)
{
	(void) wait_for(-1, 0, now_us() + us);
}

bool
server_input_ended(void)
{
	return input_ended;
}

bool
server_init(char *addresses, const char *user_name, const char *of_kind)
{
	user = user_name;
	standby = strcmp(of_kind, "standby") == 0;
	reader = strcmp(of_kind, "reader") == 0;
	for (char *text = strtok(addresses, ","); text != NULL && host_count < HOSTS_MAX; text = strtok(NULL, ","))
	{
		char	   *colon = strrchr(text, ':');

		if (colon == NULL)
			return false;
		*colon = '\0';
		hosts[host_count] = text;
		ports[host_count++] = colon + 1;
	}
	return host_count > 0;
}

bool
server_connected(void)
{
	return conn != NULL;
}

void
server_disconnect(void)
{
	PQfinish(conn);
	conn = NULL;
}

bool
server_idle(void)
{
	return PQtransactionStatus(conn) == PQTRANS_IDLE;
}

const char *
server_port(void)
{
	return ports[current];
}

const char *
server_term(void)
{
	return term;
}

static void
ignore_notice(void *arg, const char *message)
{
	(void) arg;
	(void) message;
}

static bool
connect_to(int index)
{
	char		conninfo[512];
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;
	int64_t		until = now_us() + CONNECT_LIMIT_US;

	snprintf(conninfo, sizeof(conninfo), "host=%s port=%s user=%s dbname=postgres application_name=torture",
			 hosts[index], ports[index], user);
	conn = PQconnectStart(conninfo);
	while (conn != NULL && state != PGRES_POLLING_OK && state != PGRES_POLLING_FAILED && !input_ended)
	{
		if (!wait_for(PQsocket(conn), state == PGRES_POLLING_READING ? POLLIN : POLLOUT, until))
			break;
		state = PQconnectPoll(conn);
	}
	if (conn == NULL || state != PGRES_POLLING_OK)
	{
		server_disconnect();
		return false;
	}
	PQsetNoticeProcessor(conn, ignore_notice, NULL);
	return true;
}

/* What one result of a statement says; value as in server_run(). */
static Answer
judge(PGresult *result, char *value, size_t size)
{
	ExecStatusType status = PQresultStatus(result);
	const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (status == PGRES_TUPLES_OK && value != NULL && PQntuples(result) > 0)
		snprintf(value, size, "%s", PQgetvalue(result, 0, 0));
	if (status != PGRES_FATAL_ERROR)
		return ANSWERED;
	if (value != NULL)
		snprintf(value, size, "%s", code != NULL ? code : "");

	/* without a SQLSTATE libpq made it up: the connection is gone */
	return code != NULL ? REFUSED : SILENT;
}

Answer
server_run(const char *sql, char *value, size_t size)
{
	int64_t		until = now_us() + ANSWER_LIMIT_US;
	Answer		answer = ANSWERED;

	if (value != NULL)
		value[0] = '\0';
	if (!PQsendQuery(conn, sql))
		return SILENT;
	for (;;)
	{
		PGresult   *result;
		Answer		one;

		while (PQisBusy(conn))
		{
			if (!wait_for(PQsocket(conn), POLLIN, until) || !PQconsumeInput(conn))
				return SILENT;
		}
		result = PQgetResult(conn);
		if (result == NULL)
			return PQstatus(conn) == CONNECTION_OK ? answer : SILENT;
		one = judge(result, value, size);
		if (one != ANSWERED)
			answer = one;
		PQclear(result);
	}
}

bool
server_find(void)
{
	current = (current + 1) % host_count;
	if (!connect_to(current))
		return false;

	/* nobody is there any more when a server has kept a statement for so long */
	if (server_run("SET lock_timeout = '2s'; SET statement_timeout = '10s'; SET client_connection_check_interval = '1s'", NULL, 0) != ANSWERED)
		return false;
	snprintf(term, sizeof(term), "0");
	if (standby)
		return server_run("SET quorum.read_consistency = committed", NULL, 0) == ANSWERED;
	if (reader && ++connections % 2 == 0 &&
		server_run("SET quorum.read_consistency = quorum", NULL, 0) != ANSWERED)
		return false;
	return server_run("SELECT term FROM quorum.status WHERE role = 'leader' AND gate = 'open' AND quorum.is_leader()",
					  term, sizeof(term)) == ANSWERED && term[0] != '\0';
}
