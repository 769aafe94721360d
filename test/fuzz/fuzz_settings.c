/*
 * fuzz_settings.c
 *	  Fuzz target: addresses and names as people write them, in the server and in the command
 *	  (src/pg/guc.c, src/bin/options.c).
 *
 * Both have code of their own for them: what the server takes, the command takes, too, and
 * understands it alike.
 */
#include "server.h"

#include "../../src/pg/conninfo.c"
#undef HINT
#include "../../src/pg/guc.c"

/* What the server is set to; nothing here looks at it. */
int			PostPortNumber;
bool		data_sync_retry;
bool		enableFsync;
bool		fullPageWrites;
int			max_replication_slots;
int			max_wal_senders;
bool		process_shared_preload_libraries_in_progress;
int			wal_level;
bool		wal_log_hints;

/* options.c */
extern bool split_address(const char *address, char **host, int *port);
extern bool valid_node_name(const char *name);
extern int	seconds_option(const char *name, const char *value, int max);

static const char *written;
static int	seconds;

static void
read_seconds(void *arg)
{
	(void) arg;
	seconds = seconds_option("-t", written, 30 * 86400);
}

static bool
check_address(void)
{
	char	   *host = malloc(QUORUM_HOST_SIZE);
	uint16		port = 0;
	bool		valid = pgq_guc_split_address(written, host, &port);
	char	   *its_host = NULL;
	int			its_port = 1;

	if (split_address(written, &its_host, &its_port))
	{
		fuzz_require(its_host[0] != '\0');
		fuzz_require(its_port >= 1 && its_port <= 65535);
	}
	else
		fuzz_require(!valid);
	if (valid)
	{
		size_t		length = strnlen(host, QUORUM_HOST_SIZE);

		fuzz_require(length > 0 && length < QUORUM_HOST_SIZE);
		fuzz_require(strpbrk(host, " '\"\\,=/") == NULL);
		fuzz_require(strcmp(host, its_host) == 0);
		fuzz_require(port == its_port);
	}
	free(host);
	return valid;
}

bool
fuzz_one(const uint8_t *bytes, size_t size)
{
	char	   *copy = malloc(size + 1);
	bool		valid;

	memcpy(copy, bytes, size);
	copy[size] = '\0';
	written = copy;
	fuzz_require(valid_node_name(written) == pgq_guc_valid_name(written));
	valid = pgq_guc_valid_name(written);
	if (fuzz_survives(read_seconds, NULL))
	{
		fuzz_require(seconds >= 1 && seconds <= 30 * 86400);
		valid = true;
	}
	valid = check_address() || valid;
	free(copy);
	fuzz_release();
	return valid;
}

size_t
fuzz_seed(int number, uint8_t *bytes)
{
	static const char *const texts[] = {
		"n1", "node_2-a", "host:7432", "[::1]:5432", "10.0.0.1:65535", "30", "5min", "2d",
		"[fe80::1%eth0]:1", "a.b-c_d:1"
	};

	if (number >= (int) lengthof(texts))
		return 0;
	memcpy(bytes, texts[number], strlen(texts[number]));
	return strlen(texts[number]);
}

size_t
fuzz_refused(int number, uint8_t *bytes)
{
	static const char *const texts[] = {
		"Name", "::1:5432", "[::1", "h:0", "h:65536", ":1", "h h:1", "h'x:1", "1 h"
	};

	if (number == (int) lengthof(texts))
	{
		/* a host that is too long by one */
		memset(bytes, 'h', QUORUM_HOST_SIZE);
		memcpy(bytes + QUORUM_HOST_SIZE, ":1", 2);
		return QUORUM_HOST_SIZE + 2;
	}
	if (number > (int) lengthof(texts))
		return 0;
	memcpy(bytes, texts[number], strlen(texts[number]));
	return strlen(texts[number]);
}
