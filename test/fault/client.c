/*
 * client.c
 *	  One client of torture.pl: runs small transactions of known meaning against whatever
 *	  server takes them, and writes down what it was told about each.
 *
 * It judges nothing; TortureCheck.pm reads its lines, one transaction each:
 *
 *	  <start> <end> <ok|failed|unknown> <isolation> <port> <kind> <operation> ...
 *
 * Instants are microseconds of CLOCK_MONOTONIC.  kind list: a:<key>:<value> appended,
 * r:<key>:<v>,<v>,... read.  kind bank: t:<from>:<to>:<amount>, sum:<total>.
 * kind seq: n:<number>.  A failed transaction was refused with an error, an unknown one was
 * never answered.
 *
 * usage: client <host:port, comma separated> <user> <number of this client> <seed> [standby]
 * A standby client reads only, on any server, at quorum.read_consistency = committed.  It
 * ends when its standard input does.
 */
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#define HOSTS_MAX 15
#define CONNECT_LIMIT_US 300000
#define ANSWER_LIMIT_US 3000000
#define PAUSE_US 2000			/* between two transactions */
#define RETRY_US 20000			/* between two servers */
#define LINE_SIZE 65536
#define KEYS 5					/* lists that are written at one time */
#define EPOCH_US 4000000		/* then come others, so that none gets long */
#define ACCOUNTS 8

typedef enum Answer
{
	ANSWERED,
	REFUSED,					/* an error: the transaction has no effect */
	SILENT						/* no answer: whatever was asked may have happened */
} Answer;

static char *hosts[HOSTS_MAX];
static char *ports[HOSTS_MAX];
static int	host_count;
static int	current;
static const char *user;
static int	number;
static bool standby;
static uint64_t dice;
static int64_t next_value;
static PGconn *conn;
static bool input_ended;
static char line[LINE_SIZE];
static size_t used;

static int64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* xorshift64*; below n */
static int
draw(int n)
{
	dice ^= dice >> 12;
	dice ^= dice << 25;
	dice ^= dice >> 27;
	return (int) ((dice * UINT64_C(2685821657736338717) >> 33) % (uint64_t) n);
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

static void
disconnect(void)
{
	PQfinish(conn);
	conn = NULL;
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
		disconnect();
		return false;
	}
	PQsetNoticeProcessor(conn, ignore_notice, NULL);
	return true;
}

/* Send one statement and wait for its answer; value (may be NULL) gets the first field. */
static Answer
run(const char *sql, char *value, size_t size)
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
		ExecStatusType status;

		while (PQisBusy(conn))
		{
			if (!wait_for(PQsocket(conn), POLLIN, until) || !PQconsumeInput(conn))
				return SILENT;
		}
		result = PQgetResult(conn);
		if (result == NULL)
			return PQstatus(conn) == CONNECTION_OK ? answer : SILENT;
		status = PQresultStatus(result);
		if (status == PGRES_TUPLES_OK && value != NULL && PQntuples(result) > 0)
			snprintf(value, size, "%s", PQgetvalue(result, 0, 0));
		else if (status == PGRES_FATAL_ERROR)
		{
			/* without a SQLSTATE libpq made it up: the connection is gone */
			answer = PQresultErrorField(result, PG_DIAG_SQLSTATE) == NULL ? SILENT : REFUSED;
			if (value != NULL)
				snprintf(value, size, "%s",
						 answer == REFUSED ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : "");
		}
		PQclear(result);
	}
}

static void
note(const char *format, int64_t a, int64_t b, const char *text)
{
	int			length = snprintf(line + used, sizeof(line) - used, format, (long long) a, (long long) b, text);

	if (length > 0 && used + (size_t) length < sizeof(line))
		used += (size_t) length;
}

static Answer
list_operation(int64_t key, bool append)
{
	static char vals[LINE_SIZE / 8];
	char		sql[256];
	Answer		answer;

	if (append)
	{
		int64_t		value = (int64_t) number * 10000000 + ++next_value;

		snprintf(sql, sizeof(sql), "INSERT INTO lists VALUES (%lld, '%lld') ON CONFLICT (key) "
				 "DO UPDATE SET vals = lists.vals || ',' || excluded.vals", (long long) key, (long long) value);
		note(" a:%lld:%lld%s", key, value, "");
		return run(sql, NULL, 0);
	}
	snprintf(sql, sizeof(sql), "SELECT vals FROM lists WHERE key = %lld", (long long) key);
	answer = run(sql, vals, sizeof(vals));
	if (answer == ANSWERED)
		note(" r:%lld:%.0lld%s", key, 0, vals);
	return answer;
}

static int64_t
some_key(void)
{
	return now_us() / EPOCH_US * KEYS + draw(KEYS);
}

static Answer
lists(void)
{
	Answer		answer = ANSWERED;
	int			operations = 1 + draw(4);

	for (int i = 0; i < operations && answer == ANSWERED; i++)
		answer = list_operation(some_key(), !standby && draw(2) == 0);
	return answer;
}

static Answer
transfer(void)
{
	int			from = draw(ACCOUNTS);
	int			to = draw(ACCOUNTS);
	int			amount = 1 + draw(9);
	char		sql[160];
	Answer		answer;

	note(" t:%lld:%lld%s", from, to, "");
	note(":%lld%.0lld%s", amount, 0, "");
	snprintf(sql, sizeof(sql), "UPDATE accounts SET balance = balance - %d WHERE id = %d", amount, from);
	answer = run(sql, NULL, 0);
	snprintf(sql, sizeof(sql), "UPDATE accounts SET balance = balance + %d WHERE id = %d", amount, to);
	return answer == ANSWERED ? run(sql, NULL, 0) : answer;
}

static Answer
bank_total(void)
{
	char		total[64];
	Answer		answer = run("SELECT sum(balance) FROM accounts", total, sizeof(total));

	if (answer == ANSWERED)
		note(" sum:%.0lld%.0lld%s", 0, 0, total);
	return answer;
}

static Answer
sequence(void)
{
	char		value[64];
	Answer		answer = run("INSERT INTO drawn VALUES (nextval('numbers')) RETURNING n", value, sizeof(value));

	if (answer == ANSWERED)
		note(" n:%.0lld%.0lld%s", 0, 0, value);
	return answer;
}

/* COMMIT, in two phases now and then; what was prepared and not decided is left behind. */
static Answer
commit(bool two_phase)
{
	char		sql[96];
	Answer		answer;

	if (!two_phase)
		return run("COMMIT", NULL, 0);
	snprintf(sql, sizeof(sql), "PREPARE TRANSACTION '%d_%lld'", number, (long long) ++next_value);
	answer = run(sql, NULL, 0);
	if (answer != ANSWERED)
		return answer;
	snprintf(sql, sizeof(sql), "COMMIT PREPARED '%d_%lld'", number, (long long) next_value);

	/* From here on a refusal does not undo anything: somebody may decide it later. */
	return run(sql, NULL, 0) == ANSWERED ? ANSWERED : SILENT;
}

static void
transaction(void)
{
	static const char *const levels[] = {"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"};
	static const char *const answers[] = {"ok", "failed", "unknown"};
	static const char *const kinds[] = {"list", "bank", "seq"};
	int			level = draw(3);
	int			die = standby ? 0 : draw(20);
	int			kind = die < 14 ? 0 : die < 18 ? 1 : 2;
	bool		total = kind == 1 && draw(3) == 0;
	char		sql[96];
	int64_t		start = now_us();
	Answer		answer;
	bool		silent;

	if (standby && level == 2)
		level = 1;				/* there is no serializable on a standby */
	if (total)
		level = 1;
	used = 0;
	line[0] = '\0';
	snprintf(sql, sizeof(sql), "BEGIN ISOLATION LEVEL %s", levels[level]);
	answer = run(sql, NULL, 0);
	if (answer == ANSWERED)
		answer = kind == 0 ? lists() : kind == 2 ? sequence() : total ? bank_total() : transfer();

	silent = answer == SILENT;
	if (answer == ANSWERED)
	{
		answer = commit(!standby && !total && draw(6) == 0);
		silent = answer == SILENT;
	}
	else
	{
		/* what was never asked to commit has no effect, whatever became of the connection */
		if (!silent)
			(void) run("ROLLBACK", NULL, 0);
		answer = REFUSED;
	}
	printf("%lld %lld %s %d %s %s%s\n", (long long) start, (long long) now_us(), answers[answer],
		   level, PQport(conn), kinds[kind], line);
	fflush(stdout);

	/* After an error it may be another server's turn. */
	if (silent || PQtransactionStatus(conn) != PQTRANS_IDLE || (answer == REFUSED && draw(4) == 0))
		disconnect();
}

/* A server that takes writes; any one for a standby client. */
static bool
find_server(void)
{
	char		value[64];

	current = (current + 1) % host_count;
	if (!connect_to(current))
		return false;

	/* nobody is there any more when a server has kept a statement for so long */
	if (run("SET lock_timeout = '2s'; SET statement_timeout = '10s'; SET client_connection_check_interval = '1s'", NULL, 0) != ANSWERED)
		return false;
	if (standby)
		return run("SET quorum.read_consistency = committed", NULL, 0) == ANSWERED;
	return run("SELECT quorum.is_leader()", value, sizeof(value)) == ANSWERED && value[0] == 't';
}

int
main(int argc, char **argv)
{
	if (argc < 5)
	{
		fprintf(stderr, "usage: client <host:port, ...> <user> <number> <seed> [standby]\n");
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	for (char *text = strtok(argv[1], ","); text != NULL && host_count < HOSTS_MAX; text = strtok(NULL, ","))
	{
		char	   *colon = strrchr(text, ':');

		if (colon == NULL)
			return 1;
		*colon = '\0';
		hosts[host_count] = text;
		ports[host_count++] = colon + 1;
	}
	user = argv[2];
	number = atoi(argv[3]);
	dice = strtoull(argv[4], NULL, 10) * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t) number + 1;
	standby = argc > 5 && strcmp(argv[5], "standby") == 0;
	while (!input_ended)
	{
		if (conn == NULL && !find_server())
		{
			disconnect();
			(void) wait_for(-1, 0, now_us() + RETRY_US);
			continue;
		}
		transaction();
		(void) wait_for(-1, 0, now_us() + PAUSE_US + draw(PAUSE_US));
	}
	disconnect();
	return 0;
}
