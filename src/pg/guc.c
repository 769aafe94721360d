/*
 * guc.c
 *	  Every setting of the extension, in one table: its order is the order of
 *	  docs/configuration.md.
 *
 * Not here: what a setting does.  A bad value never stops the server from starting
 * (the checks below make it take no part instead), so no check hook refuses at the start.
 *
 * Rules: S9 (when in doubt, take no part), S10, V8, V13, H44, H68, H87, H94.
 */
#include "postgres.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "replication/slot.h"
#include "replication/walsender.h"
#include "storage/fd.h"
#include "utils/guc.h"

#include "compat.h"
#include "conninfo.h"
#include "guc.h"
#include "slots.h"

#define LEASE_MS_MIN			100
#define LEASE_MS_MAX			(10 * 60 * 1000)
#define PROMOTION_MS_MAX		(60 * 60 * 1000)
#define STREAMS_MIN				4	/* a cluster of three, and room for a base backup (H94) */
#define SECRET_BYTES_MIN		16
#define SECRET_BYTES_MAX		1024
#define SECRET_FILE_BYTES_MAX	(4 * SECRET_BYTES_MAX)

char	   *pgq_node_name = "";
char	   *pgq_address = "";
char	   *pgq_secret_file = "pg_quorum.secret";
char	   *pgq_conninfo = "";
int			pgq_lease_duration = 2000;
int			pgq_heartbeat_interval = 0;
int			pgq_promotion_limit = 60000;
int			pgq_priority = 100;
bool		pgq_death_proof = true;
bool		pgq_allow_local_commit = false;
bool		pgq_strict = false;
bool		pgq_auto_rewind = true;
int			pgq_min_free_space = 64;
bool		pgq_auto_clone = true;
int			pgq_rollback_keep_size = 1024;
int			pgq_rollback_keep_age = 30 * 24 * 60;

typedef struct Setting
{
	const char *name;
	const char *what;			/* pg_settings.short_desc */
	const char *more;			/* pg_settings.extra_desc */
	GucContext	context;
	int			flags;
	char	  **text;			/* exactly one of text, number, flag is set */
	int		   *number;
	bool	   *flag;
	int			min;			/* of number */
	int			max;
} Setting;

/* The defaults are the values the variables are born with. */
static const Setting settings[] = {
	{"quorum.node_name", "Name of this node, unique in its cluster.",
		"Lower case letters, digits, _ and -, at most 63. Empty: the node takes no part.",
	PGC_POSTMASTER, 0, &pgq_node_name, NULL, NULL, 0, 0},
	{"quorum.address", "Host and port where the other nodes reach the quorum port of this one.",
		"host:port, or [address]:port for IPv6. The port is not that of PostgreSQL.",
	PGC_POSTMASTER, 0, &pgq_address, NULL, NULL, 0, 0},
	{"quorum.secret_file", "File with the secret that the nodes of a cluster share.",
		"Relative to the data directory. Readable by the owner of the server only.",
	PGC_POSTMASTER, 0, &pgq_secret_file, NULL, NULL, 0, 0},
	{"quorum.conninfo", "Connection options for the streams between nodes.",
		"libpq keywords such as user, password or sslmode; host and port come from the member set.",
	PGC_SIGHUP, GUC_SUPERUSER_ONLY, &pgq_conninfo, NULL, NULL, 0, 0},
	{"quorum.lease_duration", "How long a leader may serve after a majority last heard it.",
		"Also how long a silent leader is waited for. The same on every node.",
	PGC_SIGHUP, GUC_UNIT_MS, NULL, &pgq_lease_duration, NULL, LEASE_MS_MIN, LEASE_MS_MAX},
	{"quorum.heartbeat_interval", "Time between two heartbeats of the leader.",
		"0 means a tenth of quorum.lease_duration. At most a third of it.",
	PGC_SIGHUP, GUC_UNIT_MS, NULL, &pgq_heartbeat_interval, NULL, 0, LEASE_MS_MAX / 3},
	{"quorum.promotion_limit", "A new leader that does not serve after this time resigns.", NULL,
	PGC_SIGHUP, GUC_UNIT_MS, NULL, &pgq_promotion_limit, NULL, LEASE_MS_MIN, PROMOTION_MS_MAX},
	{"quorum.priority", "Which of two nodes with equally much WAL stands for election first.",
		"The higher one. More WAL always beats a higher priority.",
	PGC_SIGHUP, 0, NULL, &pgq_priority, NULL, 0, 255},
	{"quorum.death_proof", "Two refused connections prove that a leader is dead.",
		"Turn it off where a firewall refuses connections on behalf of hosts that are alive.",
	PGC_SIGHUP, 0, NULL, NULL, &pgq_death_proof, 0, 0},
	{"quorum.allow_local_commit", "Honours synchronous_commit = local and off.",
		"When off, no commit is acknowledged before a quorum of the voters holds it.",
	PGC_SIGHUP, 0, NULL, NULL, &pgq_allow_local_commit, 0, 0},
	{"quorum.strict", "Commits never go on without another data node.",
		"Of use with a witness: when on, writes wait until the lost data node is back.",
	PGC_SIGHUP, 0, NULL, NULL, &pgq_strict, 0, 0},
	{"quorum.auto_rewind", "Brings a node whose log has left the leader's back by itself.",
		"With pg_rewind, in a restart in place. When off, such a node waits for an operator.",
	PGC_SIGHUP, 0, NULL, NULL, &pgq_auto_rewind, 0, 0},
	{"quorum.min_free_space", "A leader with less room for WAL and data hands its term over.",
		"To a member that has more. 0 turns it off.",
	PGC_SIGHUP, GUC_UNIT_MB, NULL, &pgq_min_free_space, NULL, 0, INT_MAX / 2},
	{"quorum.auto_clone", "Copies the leader's data anew where a rewind is not possible.",
		"With pg_basebackup. When off, a server whose rewind failed half way does not start.",
	PGC_SIGHUP, 0, NULL, NULL, &pgq_auto_clone, 0, 0},
	{"quorum.rollback_keep_size", "How much of the WAL that rewinds took out is kept.",
		"The oldest goes first, the newest stays whatever its size. 0 keeps nothing.",
	PGC_SIGHUP, GUC_UNIT_MB, NULL, &pgq_rollback_keep_size, NULL, 0, INT_MAX},
	{"quorum.rollback_keep_age", "How long the WAL that a rewind took out is kept.",
		"0 keeps it until quorum.rollback_keep_size is reached.",
	PGC_SIGHUP, GUC_UNIT_MIN, NULL, &pgq_rollback_keep_age, NULL, 0, INT_MAX / 60},
};

/* Where a check says why the settings are not fit. */
typedef struct Refusal
{
	char	   *msg;
	char	   *detail;
	char	   *hint;
} Refusal;

static bool refuse(Refusal *refusal, const char *msg, const char *hint,
				   const char *detail,...) pg_attribute_printf(4, 5);
static bool check_identity(Refusal *refusal);
static bool check_secret_file(Refusal *refusal);
static bool check_secret_text(Refusal *refusal, char *text);
static bool check_timing(Refusal *refusal);
static bool check_conninfo(Refusal *refusal);
static bool check_durability(Refusal *refusal);
static bool check_replication(Refusal *refusal);
static bool check_no_recovery_target(Refusal *refusal);
static bool check_version(Refusal *refusal);
static QuorumTime heartbeat_us(void);

void
pgq_guc_init(bool preloaded)
{
	/* A backend may not define PGC_POSTMASTER settings, and nothing there reads the others. */
	if (!preloaded)
		return;

	for (size_t i = 0; i < lengthof(settings); i++)
	{
		const Setting *s = &settings[i];

		if (s->text != NULL)
			DefineCustomStringVariable(s->name, s->what, s->more, s->text, *s->text,
									   s->context, s->flags,
									   s->text == &pgq_conninfo ? pgq_conninfo_check_hook : NULL,
									   NULL, NULL);
		else if (s->number != NULL)
			DefineCustomIntVariable(s->name, s->what, s->more, s->number, *s->number,
									s->min, s->max, s->context, s->flags, NULL, NULL, NULL);
		else
			DefineCustomBoolVariable(s->name, s->what, s->more, s->flag, *s->flag,
									 s->context, s->flags, NULL, NULL, NULL);
	}
	MarkGUCPrefixReserved("quorum");
}

void
pgq_guc_override_managed(QuorumNodeId node_id)
{
	char		slot[NAMEDATALEN];
	char		conninfo[2 * NAMEDATALEN + 64];
	char		database[NAMEDATALEN];
	const char *level = GetConfigOption("log_min_messages", false, false);
	const char *managed[][2] = {
		{"primary_conninfo", conninfo}, /* not empty: asks for a walreceiver; the host is the
										 * accepted leader's, whatever it says */
		{"primary_slot_name", slot},
		{"wal_receiver_create_temp_slot", "off"},	/* the member's slot is the one that counts */
		{"recovery_target_timeline", "latest"},
		{"restore_command", ""},	/* V13: an archive may hold a dead branch */
		{"recovery_min_apply_delay", "0"},	/* H34: a delay would be added to every failover */
		{"wal_retrieve_retry_interval", "100ms"},
		{"wal_receiver_status_interval", "1s"},
		{"wal_sender_timeout", "10s"},
		{"wal_receiver_timeout", "10s"},
#ifdef PGQ_HAVE_PROMOTE_TRIGGER_FILE
		{"promote_trigger_file", ""},	/* V8 */
#endif
	};

	pgq_slot_name(node_id, slot);

	/* from 17 on the copying of logical slots (H98) asks for a database */
	pgq_conninfo_get(pgq_conninfo, "dbname", database, sizeof(database));
	snprintf(conninfo, sizeof(conninfo), "application_name=%s dbname=%s", slot,
			 database[0] != '\0' && pgq_guc_valid_name(database) ? database : "postgres");
	for (size_t i = 0; i < lengthof(managed); i++)
		SetConfigOption(managed[i][0], managed[i][1], PGC_POSTMASTER, PGC_S_OVERRIDE);

	/* V8: the promotion guard sees only messages of level LOG that reach the server log. */
	if (strcmp(level, "fatal") == 0 || strcmp(level, "panic") == 0)
		SetConfigOption("log_min_messages", "log", PGC_POSTMASTER, PGC_S_OVERRIDE);

	/*
	 * One call for each file system instead of one for each file: the boot after a crash
	 * would otherwise be the longest part of a node's return.  Only where nobody chose.
	 */
#ifdef HAVE_SYNCFS
	SetConfigOption("recovery_init_sync_method", "syncfs", PGC_POSTMASTER,
					PGC_S_DYNAMIC_DEFAULT);
#endif
}

bool
pgq_guc_check(char *msg, char *detail, char *hint)
{
	Refusal		refusal = {msg, detail, hint};

	msg[0] = detail[0] = hint[0] = '\0';
	return check_version(&refusal) &&
		check_identity(&refusal) &&
		check_secret_file(&refusal) &&
		check_timing(&refusal) &&
		check_conninfo(&refusal) &&
		check_durability(&refusal) &&
		check_replication(&refusal) &&
		check_no_recovery_target(&refusal);
}

bool
pgq_guc_split_address(const char *address, char *host, uint16 *port)
{
	const char *colon = strrchr(address, ':');
	const char *start = address;
	size_t		length;
	char	   *end;
	long		number;

	if (colon == NULL || colon[1] < '0' || colon[1] > '9')
		return false;
	number = strtol(colon + 1, &end, 10);
	if (*end != '\0' || number < 1 || number > 65535)
		return false;

	length = colon - address;
	if (length >= 2 && address[0] == '[' && colon[-1] == ']')
	{
		start++;
		length -= 2;
	}
	else if (memchr(address, ':', length) != NULL)
		return false;			/* IPv6 without brackets: where does the port begin? */
	if (length == 0 || length >= QUORUM_HOST_SIZE)
		return false;
	for (size_t i = 0; i < length; i++)
	{
		/* Goes into conninfo strings: only what names and numbers of hosts are made of. */
		if (!isalnum((unsigned char) start[i]) && strchr(".-_:%", start[i]) == NULL)
			return false;
	}
	memcpy(host, start, length);
	host[length] = '\0';
	*port = (uint16) number;
	return true;
}

void
pgq_guc_core_config(QuorumConfig *config)
{
	memset(config, 0, sizeof(*config));
	config->lease_us = (QuorumTime) pgq_lease_duration * 1000;
	config->heartbeat_us = heartbeat_us();
	config->promotion_limit_us = (QuorumTime) pgq_promotion_limit * 1000;
	config->priority = (uint8) pgq_priority;
	config->pg_port = (uint16) PostPortNumber;
	config->strict = pgq_strict;
	config->auto_rewind = pgq_auto_rewind;

	/* A reload may bring what a start refuses: the core needs three heartbeats in a lease. */
	if (config->heartbeat_us * 3 >= config->lease_us)
		config->heartbeat_us = config->lease_us / 3 - 1;
}

static QuorumTime
heartbeat_us(void)
{
	if (pgq_heartbeat_interval == 0)
		return (QuorumTime) pgq_lease_duration * 100;
	return (QuorumTime) pgq_heartbeat_interval * 1000;
}

static bool
refuse(Refusal *refusal, const char *msg, const char *hint, const char *detail,...)
{
	va_list		args;

	strlcpy(refusal->msg, msg, QUORUM_REASON_SIZE);
	strlcpy(refusal->hint, hint, QUORUM_REASON_SIZE);
	va_start(args, detail);
	vsnprintf(refusal->detail, QUORUM_REASON_SIZE, detail, args);
	va_end(args);
	return false;
}

static bool
check_version(Refusal *refusal)
{
	int			running = atoi(GetConfigOption("server_version_num", false, false));

	if (running < PGQ_OLDEST_VERSION_NUM)
		return refuse(refusal, "this minor release of PostgreSQL is too old for pg_quorum",
					  "Update to the newest minor release.",
					  "The server is %d.%d, at least %s is needed: older ones can lose "
					  "acknowledged commits.", running / 10000, running % 10000,
					  PGQ_OLDEST_VERSION);
	return true;
}

/* Lower case letters, digits, _ and -: a name goes into logs, hints and slots of other nodes. */
bool
pgq_guc_valid_name(const char *name)
{
	size_t		length = strlen(name);

	return length > 0 && length < QUORUM_NAME_SIZE &&
		strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == length;
}

static bool
check_identity(Refusal *refusal)
{
	char		host[QUORUM_HOST_SIZE];
	uint16		port;

	if (pgq_node_name[0] == '\0')
		return refuse(refusal, "quorum.node_name is not set",
					  "Set quorum.node_name in postgresql.conf, for example to 'n1', and restart.",
					  "A node needs a name that is unique in its cluster.");
	if (!pgq_guc_valid_name(pgq_node_name))
		return refuse(refusal, "quorum.node_name is not valid",
					  "Use lower case letters, digits, _ and -, at most 63 of them, and restart.",
					  "The name is \"%s\".", pgq_node_name);
	if (pgq_address[0] == '\0')
		return refuse(refusal, "quorum.address is not set",
					  "Set quorum.address, for example to '10.0.0.1:6543', and restart.",
					  "The other nodes reach this one there.");
	if (!pgq_guc_split_address(pgq_address, host, &port))
		return refuse(refusal, "quorum.address is not valid",
					  "Write host:port, or [address]:port for IPv6, and restart.",
					  "The address is \"%s\".", pgq_address);
	if (strcmp(host, "0.0.0.0") == 0 || strspn(host, "0:") == strlen(host))
		return refuse(refusal, "quorum.address is not an address that other nodes can reach",
					  "Name the host as the other nodes know it, and restart.",
					  "The host is \"%s\".", host);
	if (port == PostPortNumber)
		return refuse(refusal, "quorum.address names the port of PostgreSQL",
					  "Choose another port for quorum.address, and restart.",
					  "Both ports are %d.", port);
	return true;
}

static bool
check_secret_file(Refusal *refusal)
{
	char		text[SECRET_FILE_BYTES_MAX];
	struct stat status;
	ssize_t		length;
	int			fd = open(pgq_secret_file, O_RDONLY | PG_BINARY);

	if (fd < 0 || fstat(fd, &status) != 0)
	{
		refuse(refusal, "the file with the secret of the cluster cannot be read",
			   "Make it on one node (openssl rand -hex 32 > file; chmod 600 file), copy it to "
			   "every node, and restart.",
			   "quorum.secret_file is \"%s\": %s.", pgq_secret_file, strerror(errno));
		if (fd >= 0)
			close(fd);
		return false;
	}
	length = read(fd, text, sizeof(text) - 1);
	close(fd);

	if (!S_ISREG(status.st_mode))
		return refuse(refusal, "the file with the secret of the cluster is not a regular file",
					  "Let quorum.secret_file name a file, and restart.",
					  "quorum.secret_file is \"%s\".", pgq_secret_file);
	if (status.st_uid != geteuid() || (status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return refuse(refusal, "the file with the secret of the cluster is open to others",
					  "Give it to the owner of the server, chmod 600, and restart.",
					  "\"%s\" has mode %04o and belongs to user id %u.", pgq_secret_file,
					  (unsigned) (status.st_mode & 07777), (unsigned) status.st_uid);
	if (length < 0 || length != status.st_size)
		return refuse(refusal, "the file with the secret of the cluster is too long",
					  "Write one secret, or two, one on each line, and restart.",
					  "\"%s\" has %lld bytes.", pgq_secret_file, (long long) status.st_size);
	text[length] = '\0';
	return check_secret_text(refusal, text);
}

/* One secret a line, white space around it does not count.  Never say what it is. */
static bool
check_secret_text(Refusal *refusal, char *text)
{
	int			secrets = 0;
	char	   *rest = text;
	char	   *line;

	while ((line = strsep(&rest, "\n")) != NULL)
	{
		size_t		length;

		while (isspace((unsigned char) *line))
			line++;
		length = strlen(line);
		while (length > 0 && isspace((unsigned char) line[length - 1]))
			length--;
		if (length == 0)
			continue;
		secrets++;
		if (length < SECRET_BYTES_MIN || length > SECRET_BYTES_MAX)
			return refuse(refusal, "the secret of the cluster is too short or too long",
						  "Use the output of openssl rand -hex 32 on every node, and restart.",
						  "Line %d of \"%s\" holds %zu bytes, %d to %d are accepted.", secrets,
						  pgq_secret_file, length, SECRET_BYTES_MIN, SECRET_BYTES_MAX);
	}
	if (secrets < 1 || secrets > 2)
		return refuse(refusal, "the file with the secret of the cluster must hold one or two secrets",
					  "Write one secret on each line: the one in use, then one still accepted.",
					  "\"%s\" holds %d.", pgq_secret_file, secrets);
	return true;
}

static bool
check_timing(Refusal *refusal)
{
	if (heartbeat_us() * 3 > (QuorumTime) pgq_lease_duration * 1000)
		return refuse(refusal, "quorum.lease_duration is shorter than three heartbeats",
					  "Set quorum.heartbeat_interval to 0 (a tenth of the lease), or make "
					  "quorum.lease_duration longer.",
					  "quorum.lease_duration is %d ms, quorum.heartbeat_interval is %d ms.",
					  pgq_lease_duration, pgq_heartbeat_interval);
	return true;
}

static bool
check_conninfo(Refusal *refusal)
{
	const char *why_not;
	const char *hint;

	if (!pgq_conninfo_valid(pgq_conninfo, &why_not, &hint))
		return refuse(refusal, "quorum.conninfo cannot be used", hint, "%s", why_not);
	return true;
}

static bool
check_durability(Refusal *refusal)
{
	if (!enableFsync)
		return refuse(refusal, "fsync is off",
					  "Set fsync = on, and restart.",
					  "A node that lets others count on its WAL must have it on disk.");
	if (!fullPageWrites)
		return refuse(refusal, "full_page_writes is off",
					  "Set full_page_writes = on, and restart.",
					  "A node that crashes must be able to repair torn pages by itself.");
	if (data_sync_retry)
		return refuse(refusal, "data_sync_retry is on",
					  "Set data_sync_retry = off, and restart.",
					  "After a failed fsync the data on disk is not what the server believes.");
	if (!XLogHintBitIsNeeded())
		return refuse(refusal, "neither wal_log_hints nor data checksums are on",
					  "Set wal_log_hints = on, or run pg_checksums --enable, and restart.",
					  "pg_rewind needs one of them to bring a former leader back.");
	return true;
}

static bool
check_replication(Refusal *refusal)
{
	if (wal_level < WAL_LEVEL_REPLICA)
		return refuse(refusal, "wal_level is too low",
					  "Set wal_level = replica or logical, and restart.",
					  "The WAL holds too little for a standby.");
	if (max_wal_senders < STREAMS_MIN)
		return refuse(refusal, "max_wal_senders is too small",
					  "Set max_wal_senders to 10 on every node, and restart.",
					  "It is %d, at least %d are needed.", max_wal_senders, STREAMS_MIN);
	if (max_replication_slots < STREAMS_MIN)
		return refuse(refusal, "max_replication_slots is too small",
					  "Set max_replication_slots to 10 on every node, and restart.",
					  "It is %d, at least %d are needed: one for each member.",
					  max_replication_slots, STREAMS_MIN);
	return true;
}

/* H44: a node that stops replay where it is told cannot follow a leader. */
static bool
check_no_recovery_target(Refusal *refusal)
{
	static const char *const names[] = {"recovery_target", "recovery_target_lsn",
	"recovery_target_name", "recovery_target_time", "recovery_target_xid"};

	for (size_t i = 0; i < lengthof(names); i++)
	{
		const char *value = GetConfigOption(names[i], true, false);

		if (value != NULL && value[0] != '\0')
			return refuse(refusal, "a recovery target is set",
						  "Remove it once the point in time recovery is finished, and restart.",
						  "%s is \"%s\": such a server cannot follow a leader.", names[i], value);
	}
	return true;
}
