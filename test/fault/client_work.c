/*
 * client_work.c
 *	  What a client does: small transactions of known meaning, each with its line.
 *
 * The lines are explained in client.c.  Values and ids are never used twice.
 */
#include "client_work.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "client_server.h"

#define LINE_SIZE 65536
#define KEYS 5					/* lists, and registers, that are written at one time */
#define EPOCH_US 4000000		/* then come others, so that none gets long */
#define ACCOUNTS 8
#define RETRY_US 20000			/* between two servers */

typedef enum Kind
{
	LIST,
	LEDGER,
	BANK,
	SEQUENCE,
	REGISTER
} Kind;

static int	number;
static bool standby;
static bool reader;				/* on the leader, or on a standby */
static uint64_t dice;
static int64_t next_value;
static int64_t seen_key[KEYS];	/* of each register: which one, and what was in it last */
static int64_t seen_value[KEYS];
static char line[LINE_SIZE];
static size_t used;

void
work_init(int of_client, uint64_t seed, const char *of_kind)
{
	number = of_client;
	reader = of_kind[0] != '\0';
	standby = strcmp(of_kind, "standby") == 0;
	dice = seed * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t) number + 1;
}

/* xorshift64* */
int
draw(int n)
{
	dice ^= dice >> 12;
	dice ^= dice << 25;
	dice ^= dice >> 27;
	return (int) ((dice * UINT64_C(2685821657736338717) >> 33) % (uint64_t) n);
}

static void note(const char *format,...) __attribute__((format(printf, 1, 2)));

static void
note(const char *format,...)
{
	va_list		args;
	int			length;

	va_start(args, format);
	length = vsnprintf(line + used, sizeof(line) - used, format, args);
	va_end(args);
	if (length > 0 && used + (size_t) length < sizeof(line))
		used += (size_t) length;
}

static long long
new_value(void)
{
	return (long long) number * 10000000 + ++next_value;
}

static int64_t
epoch(void)
{
	return now_us() / EPOCH_US;
}

static Answer
list_operation(long long key, bool append)
{
	static char vals[LINE_SIZE / 8];
	char		sql[256];
	Answer		answer;

	if (append)
	{
		long long	value = new_value();

		snprintf(sql, sizeof(sql), "INSERT INTO lists VALUES (%lld, '%lld') ON CONFLICT (key) "
				 "DO UPDATE SET vals = lists.vals || ',' || excluded.vals", key, value);
		note(" a:%lld:%lld", key, value);
		return server_run(sql, NULL, 0);
	}
	snprintf(sql, sizeof(sql), "SELECT vals FROM lists WHERE key = %lld", key);
	answer = server_run(sql, vals, sizeof(vals));
	if (answer == ANSWERED)
		note(" r:%lld:%s", key, vals);
	return answer;
}

static Answer
lists(void)
{
	Answer		answer = ANSWERED;
	int			operations = 1 + draw(4);

	for (int i = 0; i < operations && answer == ANSWERED; i++)
		answer = list_operation(epoch() * KEYS + draw(KEYS), !reader && draw(2) == 0);
	return answer;
}

static Answer
ledger(void)
{
	Answer		answer = ANSWERED;
	int			rows = 1 + draw(3);

	for (int i = 0; i < rows && answer == ANSWERED; i++)
	{
		char		sql[96];
		long long	id = new_value();

		snprintf(sql, sizeof(sql), "INSERT INTO ledger VALUES (%lld)", id);
		note(" l:%lld", id);
		answer = server_run(sql, NULL, 0);
	}
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

	note(" t:%d:%d:%d", from, to, amount);
	snprintf(sql, sizeof(sql), "UPDATE accounts SET balance = balance - %d WHERE id = %d", amount, from);
	answer = server_run(sql, NULL, 0);
	snprintf(sql, sizeof(sql), "UPDATE accounts SET balance = balance + %d WHERE id = %d", amount, to);
	return answer == ANSWERED ? server_run(sql, NULL, 0) : answer;
}

static Answer
bank_total(void)
{
	char		total[64];
	Answer		answer = server_run("SELECT sum(balance) FROM accounts", total, sizeof(total));

	if (answer == ANSWERED)
		note(" sum:%s", total);
	return answer;
}

static Answer
sequence(void)
{
	char		value[64];
	Answer		answer = server_run("INSERT INTO drawn VALUES (nextval('numbers')) RETURNING n", value, sizeof(value));

	if (answer == ANSWERED)
		note(" n:%s", value);
	return answer;
}

/* One statement, which is a transaction of its own: it takes effect at one instant. */
static Answer
register_operation(void)
{
	int			slot = draw(KEYS);
	long long	key = epoch() * KEYS + slot;
	long long	value = new_value();
	int			die = reader ? 2 : draw(3);
	char		sql[256];
	char		found[64];
	Answer		answer;

	if (seen_key[slot] != key)
		seen_value[slot] = 0;
	seen_key[slot] = key;
	if (die == 0)
	{
		note(" W:%lld:%lld", key, value);
		snprintf(sql, sizeof(sql), "INSERT INTO registers VALUES (%lld, %lld) ON CONFLICT (key) "
				 "DO UPDATE SET value = excluded.value", key, value);
		answer = server_run(sql, NULL, 0);
		if (answer == ANSWERED)
			seen_value[slot] = value;
		return answer;
	}
	if (die == 1 && seen_value[slot] != 0)
	{
		note(" C:%lld:%lld:%lld:", key, (long long) seen_value[slot], value);
		snprintf(sql, sizeof(sql), "UPDATE registers SET value = %lld WHERE key = %lld AND value = %lld RETURNING 1",
				 value, key, (long long) seen_value[slot]);
		answer = server_run(sql, found, sizeof(found));
		if (answer == ANSWERED)
		{
			note("%d", found[0] != '\0');
			seen_value[slot] = found[0] != '\0' ? value : 0;
		}
		return answer;
	}
	snprintf(sql, sizeof(sql), "SELECT value FROM registers WHERE key = %lld", key);
	answer = server_run(sql, found, sizeof(found));
	if (answer == ANSWERED)
	{
		note(" R:%lld:%s", key, found);
		(void) sscanf(found, "%lld", &value);
		seen_value[slot] = found[0] != '\0' ? value : 0;
	}
	return answer;
}

/*
 * What was prepared must still be there, whoever leads by then: nobody else decides a gid
 * that begins with k.
 */
static Answer
commit_prepared_later(const char *sql)
{
	bool		asked = false;
	char		code[64];

	server_disconnect();
	while (!server_input_ended())
	{
		Answer		answer;

		if (!server_connected() && !server_find())
		{
			server_disconnect();
			server_pause(RETRY_US);
			continue;
		}
		answer = server_run(sql, code, sizeof(code));
		if (answer == ANSWERED)
			return ANSWERED;
		if (answer == REFUSED && strcmp(code, "42704") == 0)
		{
			if (!asked)
				note(" p:gone");
			return SILENT;
		}

		/* without an answer, or with that of a server that ends, it may be committed */
		if (answer == SILENT || strncmp(code, "57", 2) == 0)
			asked = true;
		server_disconnect();
		server_pause(RETRY_US);
	}
	return SILENT;
}

/* COMMIT, in two phases now and then; what was prepared and not decided is left behind. */
static Answer
commit(bool two_phase)
{
	bool		later = draw(3) == 0;
	char		sql[96];
	Answer		answer;

	if (!two_phase)
		return server_run("COMMIT", NULL, 0);
	snprintf(sql, sizeof(sql), "PREPARE TRANSACTION '%s%d_%lld'", later ? "k" : "", number, (long long) ++next_value);
	answer = server_run(sql, NULL, 0);
	if (answer != ANSWERED)
		return answer;
	snprintf(sql, sizeof(sql), "COMMIT PREPARED '%s%d_%lld'", later ? "k" : "", number, (long long) next_value);
	if (later)
		return commit_prepared_later(sql);

	/* From here on a refusal does not undo anything: somebody may decide it later. */
	return server_run(sql, NULL, 0) == ANSWERED ? ANSWERED : SILENT;
}

/* From BEGIN to COMMIT. */
static Answer
block(Kind kind, int level, bool reads_only)
{
	static const char *const levels[] = {"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"};
	char		sql[96];
	Answer		answer;

	snprintf(sql, sizeof(sql), "BEGIN ISOLATION LEVEL %s", levels[level]);
	answer = server_run(sql, NULL, 0);
	if (answer == ANSWERED)
	{
		answer = kind == LIST ? lists() : kind == LEDGER ? ledger() : kind == SEQUENCE ? sequence()
			: reads_only ? bank_total() : transfer();
	}
	if (answer == ANSWERED)
		return commit(!reads_only && draw(6) == 0);

	/* what was never asked to commit has no effect, whatever became of the connection */
	if (answer == SILENT)
		server_disconnect();
	else
		(void) server_run("ROLLBACK", NULL, 0);
	return REFUSED;
}

static Kind
some_kind(void)
{
	int			die = standby ? 0 : draw(20);

	if (reader)
		return die < 10 ? LIST : die < 14 ? BANK : REGISTER;
	return die < 10 ? LIST : die < 12 ? LEDGER : die < 15 ? BANK : die < 16 ? SEQUENCE : REGISTER;
}

void
work_transaction(void)
{
	static const char *const answers[] = {"ok", "failed", "unknown"};
	static const char *const kinds[] = {"list", "ledger", "bank", "seq", "register"};
	Kind		kind = some_kind();
	bool		reads_only = reader || (kind == BANK && draw(3) == 0);
	int			level = draw(3);
	int64_t		start = now_us();
	Answer		answer;

	if (kind == REGISTER)
		level = 0;
	else if (kind == BANK && reads_only)
		level = 1;
	else if (standby && level == 2)
		level = 1;				/* there is no serializable on a standby */
	used = 0;
	line[0] = '\0';
	answer = kind == REGISTER ? register_operation() : block(kind, level, reads_only);
	printf("%lld %lld %s %d %s %s %s%s\n", (long long) start, (long long) now_us(), answers[answer],
		   level, server_port(), server_term(), kinds[kind], line);
	fflush(stdout);

	/* After an error it may be another server's turn. */
	if (server_connected() && (answer == SILENT || !server_idle() || (answer == REFUSED && draw(4) == 0)))
		server_disconnect();
}
