/*
 * guc.c
 *	  Every setting of the extension, in one table: its order is the order of
 *	  docs/configuration.md.
 *
 * Not here: what a setting does, nor what makes it fit (guc_check.c).  No check hook refuses
 * at the start.
 *
 * Rules: V8, V13, H34, H98.
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "utils/guc.h"

#include "compat.h"
#include "conninfo.h"
#include "guc.h"
#include "slots.h"

#define LEASE_MS_MIN			100
#define LEASE_MS_MAX			(10 * 60 * 1000)
#define PROMOTION_MS_MAX		(60 * 60 * 1000)

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
	config->heartbeat_us = pgq_guc_heartbeat_us();
	config->promotion_limit_us = (QuorumTime) pgq_promotion_limit * 1000;
	config->priority = (uint8) pgq_priority;
	config->pg_port = (uint16) PostPortNumber;
	config->strict = pgq_strict;
	config->auto_rewind = pgq_auto_rewind;

	/* A reload may bring what a start refuses: the core needs three heartbeats in a lease. */
	if (config->heartbeat_us * 3 >= config->lease_us)
		config->heartbeat_us = config->lease_us / 3 - 1;
}

QuorumTime
pgq_guc_heartbeat_us(void)
{
	if (pgq_heartbeat_interval == 0)
		return (QuorumTime) pgq_lease_duration * 100;
	return (QuorumTime) pgq_heartbeat_interval * 1000;
}

/* Lower case letters, digits, _ and -: a name goes into logs, hints and slots of other nodes. */
bool
pgq_guc_valid_name(const char *name)
{
	size_t		length = strlen(name);

	return length > 0 && length < QUORUM_NAME_SIZE &&
		strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == length;
}
