/*
 * writer.c
 *	  The client of a drill: inserts rows with unique ids through one multi-host
 *	  libpq connection, as fast as a rate allows, and tells the fate of each.
 *
 * It behaves as a careful application does: one statement per transaction, a
 * deadline for every answer, another host when one fails, an id never used twice.
 * A host that served and is late once is asked again in its turn, for a stall of its disk
 * is no outage; one that stays silent is left out for a while, each time for longer.
 * It judges nothing; drill.pl reads its lines:
 *
 *	  C <ms> <port>          connected
 *	  A <ms> <port> <id>     acknowledged
 *	  R <ms> <port> <id>     refused with an error: not committed
 *	  U <ms> <port> <id>     outcome unknown: sent, no answer
 *	  D <ms> <port> <why>    connection given up
 *
 * Times are milliseconds since 1970.  It ends when its standard input does.
 *
 * usage: writer <host:port, comma separated> <user> <rows a second> <first id>
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#define HOSTS_MAX 15
#define HOST_SIZE 64
#define CONNECT_LIMIT_US 150000	/* per host; libpq's own connect_timeout has 2 s at least */
#define ANSWER_LIMIT_US 100000
#define SILENT_US_MIN 250000	/* a silent host is left out for so long: doubles each time */
#define SILENT_US_MAX 1000000
#define RETRY_US_MIN 3000		/* between two passes through the hosts: grows by a tenth each */
#define RETRY_US_MAX 20000
#define REFUSED_RETRY_MAX 40	/* tries on a connection that has not served yet */

/* in the order in which they are tried: the one that failed last comes last */
static struct Server
{
	char		host[HOST_SIZE];
	int			port;			/* no two have the same */
	int64_t		silent_us;
	int64_t		silent_until;
}			servers[HOSTS_MAX];
static int	server_count;
static const char *user;
static bool input_ended = false;

static int64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void
tell(char what, int port, const char *format,...)
{
	struct timeval tv;
	va_list		args;

	gettimeofday(&tv, NULL);
	printf("%c %lld.%03d %d ", what, (long long) tv.tv_sec * 1000 + tv.tv_usec / 1000,
		   (int) (tv.tv_usec % 1000), port);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

/* Wait for the socket (or just time when it is -1) or for the end of the input. */
static bool
wait_for(int socket, short events, int64_t until_us)
{
	struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
	{.fd = socket, .events = events}};
	int64_t		left = until_us - now_us();
	struct timespec limit;

	if (left < 0)
		left = 0;
	limit.tv_sec = left / 1000000;
	limit.tv_nsec = (left % 1000000) * 1000;
	if (ppoll(fds, socket < 0 ? 1 : 2, &limit, NULL) <= 0)
		return false;
	if (fds[0].revents)
	{
		char		c;

		if (read(STDIN_FILENO, &c, 1) <= 0)
			input_ended = true;
	}
	return socket >= 0 && fds[1].revents != 0;
}

static int
current_port(PGconn *conn)
{
	const char *port = conn ? PQport(conn) : NULL;

	return port ? atoi(port) : 0;
}

/* A server that stops says so in a warning, which is no business of whoever watches. */
static void
ignore_notice(void *arg, const char *message)
{
	(void) arg;
	(void) message;
}

static void
put_last(int port, bool silent)
{
	for (int i = 0; i < server_count; i++)
	{
		struct Server moved = servers[i];

		if (moved.port != port)
			continue;
		memmove(&servers[i], &servers[i + 1],
				(size_t) (server_count - i - 1) * sizeof(servers[0]));
		if (!silent)
			moved.silent_us = 0;
		else if (moved.silent_us == 0)
			moved.silent_us = SILENT_US_MIN;
		else
			moved.silent_us = moved.silent_us < SILENT_US_MAX / 2 ? 2 * moved.silent_us : SILENT_US_MAX;
		moved.silent_until = now_us() + moved.silent_us;
		servers[server_count - 1] = moved;
		return;
	}
}

static PGconn *
start_connecting(void)
{
	char		hosts[HOSTS_MAX * (HOST_SIZE + 1)] = "";
	char		numbers[HOSTS_MAX * 16] = "";
	char		conninfo[sizeof(hosts) + sizeof(numbers) + 256];
	int64_t		now = now_us();

	for (int i = 0; i < server_count; i++)
	{
		const struct Server *server = &servers[i];
		size_t		used = strlen(numbers);

		if (server->silent_until > now)
			continue;
		snprintf(numbers + used, sizeof(numbers) - used, "%s%d", used ? "," : "", server->port);
		strcat(hosts, used ? "," : "");
		strcat(hosts, server->host);
	}
	if (hosts[0] == '\0')
		return NULL;			/* libpq would take a default */
	snprintf(conninfo, sizeof(conninfo), "host=%s port=%s user=%s dbname=postgres"
			 " target_session_attrs=read-write application_name=drill_writer"
			 " sslmode=disable gssencmode=disable", hosts, numbers, user);
	return PQconnectStart(conninfo);
}

/* One pass through the hosts: a connection that accepts writes, or NULL. */
static PGconn *
connect_once(void)
{
	PGconn	   *conn = start_connecting();
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;
	int			port = -1;
	int64_t		limit = 0;

	while (!input_ended && conn != NULL && PQstatus(conn) != CONNECTION_BAD)
	{
		if (status == PGRES_POLLING_OK)
		{
			PQsetnonblocking(conn, 1);
			PQsetNoticeProcessor(conn, ignore_notice, NULL);
			tell('C', current_port(conn), "");
			return conn;
		}
		if (status == PGRES_POLLING_FAILED)
			break;
		if (current_port(conn) != port) /* libpq went on to the next host */
		{
			port = current_port(conn);
			limit = now_us() + CONNECT_LIMIT_US;
		}
		if (!wait_for(PQsocket(conn), status == PGRES_POLLING_READING ? POLLIN : POLLOUT, limit))
		{
			if (now_us() < limit)
				continue;
			tell('D', port, "no connection within %d ms", CONNECT_LIMIT_US / 1000);
			put_last(port, true);
			break;
		}
		status = PQconnectPoll(conn);
	}
	PQfinish(conn);
	return NULL;
}

static PGconn *
connect_until_served(void)
{
	int64_t		retry_us = RETRY_US_MIN;

	while (!input_ended)
	{
		PGconn	   *conn = connect_once();

		if (conn != NULL)
			return conn;
		wait_for(-1, 0, now_us() + retry_us);
		retry_us += retry_us / 10;
		if (retry_us > RETRY_US_MAX)
			retry_us = RETRY_US_MAX;
	}
	return NULL;
}

typedef enum Fate
{
	ACKNOWLEDGED,
	REFUSED,					/* an error: the transaction is aborted */
	REFUSED_READ_ONLY,			/* the same, because the server may not accept writes (now) */
	UNKNOWN
} Fate;

static Fate
judge(PGresult *result, char *why, size_t size)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

	if (PQresultStatus(result) == PGRES_COMMAND_OK)
		return ACKNOWLEDGED;
	snprintf(why, size, "%s %s", state ? state : "-----", PQresultErrorMessage(result));
	why[strcspn(why, "\n")] = '\0';
	if (state != NULL && strcmp(state, "25006") == 0)
		return REFUSED_READ_ONLY;
	/* FATAL and a broken connection may come after the commit, an ERROR may not */
	return severity != NULL && strcmp(severity, "ERROR") == 0 ? REFUSED : UNKNOWN;
}

static Fate
insert(PGconn *conn, int64_t id, char *why, size_t size)
{
	char		text[32];
	const char *values[1] = {text};
	int64_t		limit = now_us() + ANSWER_LIMIT_US;
	Fate		fate = UNKNOWN;
	PGresult   *result;

	snprintf(text, sizeof(text), "%lld", (long long) id);
	snprintf(why, size, "connection lost");
	if (!PQsendQueryParams(conn, "INSERT INTO drill (id) VALUES ($1)", 1, NULL, values, NULL, NULL, 0))
		return UNKNOWN;
	for (;;)
	{
		int			unsent = PQflush(conn);

		if (unsent < 0 || !PQconsumeInput(conn))
			return UNKNOWN;
		if (!PQisBusy(conn))
		{
			if ((result = PQgetResult(conn)) == NULL)
				return fate;
			fate = judge(result, why, size);
			PQclear(result);
			continue;
		}
		if (now_us() >= limit)
		{
			snprintf(why, size, "no answer within %d ms", ANSWER_LIMIT_US / 1000);
			return UNKNOWN;
		}
		/* an ended input still waits for this answer */
		if (input_ended)
			poll(NULL, 0, 1);
		else
			wait_for(PQsocket(conn), (short) (POLLIN | (unsent ? POLLOUT : 0)), limit);
	}
}

static void
write_rows(int64_t interval_us, int64_t id)
{
	PGconn	   *conn = NULL;
	int64_t		due = now_us();
	int			refused = 0;
	bool		served = false;
	char		why[256];

	while (!input_ended)
	{
		int			port;
		Fate		fate;

		if (conn == NULL && (conn = connect_until_served()) == NULL)
			return;
		port = current_port(conn);
		fate = insert(conn, id, why, sizeof(why));
		tell(fate == ACKNOWLEDGED ? 'A' : fate == UNKNOWN ? 'U' : 'R', port, "%lld", (long long) id);
		id++;
		if (fate == ACKNOWLEDGED)
		{
			served = true;
			refused = 0;
			due = due + interval_us > now_us() ? due + interval_us : now_us();
			wait_for(-1, 0, due);
			continue;
		}

		/* A server just promoted takes a moment until it accepts writes: ask again. */
		if (fate == REFUSED_READ_ONLY && !served && ++refused < REFUSED_RETRY_MAX)
		{
			wait_for(-1, 0, now_us() + RETRY_US_MIN);
			continue;
		}
		tell('D', port, "%s", why);
		put_last(port, fate == UNKNOWN && PQstatus(conn) == CONNECTION_OK && !served);
		PQfinish(conn);
		conn = NULL;
		served = false;
		refused = 0;
		due = now_us();
	}
	if (conn != NULL)
		PQfinish(conn);
}

int
main(int argc, char **argv)
{
	int			rate;

	if (argc != 5 || (rate = atoi(argv[3])) < 1)
	{
		fprintf(stderr, "usage: %s <host:port,...> <user> <rows a second> <first id>\n", argv[0]);
		return 2;
	}
	signal(SIGINT, SIG_IGN);	/* Ctrl-C reaches the drill, whose end is ours */
	signal(SIGPIPE, SIG_IGN);
	for (char *text = strtok(argv[1], ","); text != NULL && server_count < HOSTS_MAX;
		 text = strtok(NULL, ","))
	{
		struct Server *server = &servers[server_count++];
		char	   *colon = strrchr(text, ':');

		if (colon == NULL || colon - text >= HOST_SIZE)
		{
			fprintf(stderr, "%s: not host:port: %s\n", argv[0], text);
			return 2;
		}
		memcpy(server->host, text, (size_t) (colon - text));
		server->port = atoi(colon + 1);
	}
	user = argv[2];
	write_rows(1000000 / rate, atoll(argv[4]));
	return 0;
}
