/*
 * guc_check.c
 *	  Whether this server can take part with the settings that it has.
 *
 * A bad value never stops the server from starting: it takes no part instead, and says why.
 *
 * Rules: S9 (when in doubt, take no part), S10, H44, H68, H87, H94.
 */
#include "postgres.h"

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

#define STREAMS_MIN				4	/* a cluster of three, and room for a base backup (H94) */
#define SECRET_BYTES_MIN		16
#define SECRET_BYTES_MAX		1024
#define SECRET_FILE_BYTES_MAX	(4 * SECRET_BYTES_MAX)

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
	if (pgq_guc_heartbeat_us() * 3 > (QuorumTime) pgq_lease_duration * 1000)
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
