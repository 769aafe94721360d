/*
 * sqlcheck.c
 *	  What quorum.check() finds out without a query: would a failover work now, who would
 *	  win, and what is wrong with members, settings, slots and disks.
 *
 * What can be asked in SQL (pg_hba.conf, collations, logical slots, clocks) is asked in the
 * SQL function itself.  Everything is as this node sees it.
 */
#include "postgres.h"

#include <sys/statvfs.h>

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "catalog/pg_type_d.h"
#include "common/ip.h"
#include "common/username.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "replication/walsender.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "conninfo.h"
#include "guc.h"
#include "slots.h"
#include "sqllag.h"
#include "sqlreason.h"
#include "sqlrow.h"

PG_FUNCTION_INFO_V1(pgq_get_findings);
PG_FUNCTION_INFO_V1(pgq_get_addresses);
PG_FUNCTION_INFO_V1(pgq_get_stream_role);

#define OK		"ok"
#define WARN	"warning"
#define FAIL	"error"

#define FREE_PERCENT	10		/* of a file system: less is worth a warning */
#define ADDRESSES_MAX	16

/* Where findings go, and what they are about. */
static FunctionCallInfo out;
static const char *topic;

static void check_settings(const QuorumView *view);
static void check_other_settings(void);
static void check_leader(const QuorumView *view);
static void check_failover(const QuorumView *view);
static const QuorumMemberView *would_win(const QuorumView *view);
static bool is_better(const QuorumMemberView *a, const QuorumMemberView *b);
static void check_member(const QuorumView *view, const QuorumMemberView *member);
static void check_slot(const QuorumMemberView *member);
static void check_replay(void);
static void check_disk(const char *path, const char *what);

/* detail and hint: NULL = none */
static void pg_attribute_printf(4, 5)
found(const char *severity, const char *detail, const char *hint, const char *format,...)
{
	PgqRow		row = {0};
	char		what[2 * QUORUM_REASON_SIZE];
	va_list		args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	pgq_row_text(&row, severity);
	pgq_row_text(&row, topic);
	pgq_row_text(&row, what);
	pgq_row_text(&row, detail);
	pgq_row_text(&row, hint);
	pgq_row_put(&row, out);
}

Datum
pgq_get_findings(PG_FUNCTION_ARGS)
{
	QuorumView *view = palloc(sizeof(QuorumView));
	char		reason[QUORUM_REASON_SIZE];

	InitMaterializedSRF(fcinfo, 0);
	out = fcinfo;
	topic = "failover";
	if (!pgq_sql_view(view))
	{
		found(FAIL, pgq_reason_of_node(NULL, reason),
			  pgq_shared == NULL ? "Put it into shared_preload_libraries, and restart." :
			  "Begin a cluster with quorum.bootstrap(), or join one.",
			  "this server takes no part in a cluster");
		topic = "settings";
		if (pgq_shared != NULL)
			check_settings(NULL);
		return (Datum) 0;
	}
	check_leader(view);
	topic = "failover";
	check_failover(view);
	for (int i = 0; i < view->member_count; i++)
	{
		topic = "members";
		check_member(view, &view->members[i]);
	}
	topic = "settings";
	check_settings(view);
	check_other_settings();
	topic = "replay";
	check_replay();
	topic = "disk";
	check_disk(".", "data");
	check_disk("pg_wal", "WAL");
	return (Datum) 0;
}

/* ---- leader and failover --------------------------------------------------------------- */

static void
check_leader(const QuorumView *view)
{
	const QuorumMemberView *leader = pgq_sql_find_member(view, view->leader);
	char		reason[QUORUM_REASON_SIZE];
	bool		serves = leader != NULL && (!leader->is_self || view->gate_open);

	if (leader != NULL && serves)
		found(OK, NULL, NULL, "%s leads in term %u", leader->member.name, view->term);
	else if (leader != NULL)
		found(FAIL, pgq_reason_of_node(view, reason), NULL, "%s leads in term %u, but does not serve",
			  leader->member.name, view->term);
	else
		found(FAIL, pgq_reason_of_node(view, reason),
			  "A majority of the voters must be there and reach each other.", "there is no leader");
	topic = "pause";
	if (view->paused_until != 0)
		found(WARN, NULL, "quorum.resume() ends it.",
			  "the cluster is paused: nobody takes over when the leader is lost");
}

/* Without the leader: a majority of the votes, and enough of those that may hold a commit. */
static void
check_failover(const QuorumView *view)
{
	const QuorumMemberView *winner = would_win(view);
	int			voters = 0;
	int			left_out = 0;
	int			data = 0;
	int			votes = 0;
	int			held = 0;
	int			need;
	char		detail[QUORUM_REASON_SIZE];

	for (int i = 0; i < view->member_count; i++)
	{
		const QuorumMemberView *member = &view->members[i];
		bool		there = (member->is_self || member->heard) && !member->is_leader &&
			!member->recovering && !member->diverged;

		if (member->member.kind == QUORUM_LEARNER)
			continue;
		voters++;
		votes += there;
		left_out += member->member.left_out;
		if (member->member.kind == QUORUM_VOTER && !member->member.left_out)
		{
			data++;
			held += there;
		}
	}
	need = Max(0, Min(voters / 2 - left_out, data - 1));
	snprintf(detail, sizeof(detail), "%d of %d voters are there besides the leader, %d are needed.",
			 votes, voters, voters / 2 + 1);
	if (voters < 3)
		found(WARN, NULL, "Let another node or a witness join.",
			  "%d voter%s cannot lose one", voters, voters == 1 ? "" : "s");
	else if (votes < voters / 2 + 1 || held < data - need)
		found(FAIL, detail, "Bring the others back.", "a failover would not work now");
	else if (winner == NULL)
		found(FAIL, NULL, "See column reason of quorum.members.",
			  "a failover would not work now: no voter could become leader");
	else
		found(OK, detail, NULL, "a failover would work now; %s would win (WAL to %X/%X of timeline %u, priority %u)",
			  winner->member.name, LSN_FORMAT_ARGS(winner->position.lsn), winner->position.tli,
			  winner->priority);
}

static const QuorumMemberView *
would_win(const QuorumView *view)
{
	const QuorumMemberView *best = NULL;

	for (int i = 0; i < view->member_count; i++)
	{
		const QuorumMemberView *member = &view->members[i];
		char		reason[QUORUM_REASON_SIZE];

		if (member->is_leader || member->member.kind != QUORUM_VOTER ||
			pgq_reason_not_electable(view, member, reason) != NULL)
			continue;
		if (best == NULL || is_better(member, best))
			best = member;
	}
	return best;
}

/* More WAL, then the higher priority, then the lower id: what is under way may change it. */
static bool
is_better(const QuorumMemberView *a, const QuorumMemberView *b)
{
	if (a->position.tli != b->position.tli)
		return a->position.tli > b->position.tli;
	if (a->position.lsn != b->position.lsn)
		return a->position.lsn > b->position.lsn;
	if (a->priority != b->priority)
		return a->priority > b->priority;
	return a->member.id < b->member.id;
}

/* ---- members --------------------------------------------------------------------------- */

static void
check_member(const QuorumView *view, const QuorumMemberView *member)
{
	const char *name = member->member.name;
	bool		votes = member->member.kind != QUORUM_LEARNER;
	char		reason[QUORUM_REASON_SIZE];
	const char *why = pgq_reason_not_electable(view, member, reason);

	if (!member->is_self && !member->heard)
		found(votes ? FAIL : WARN, member->heard_ago_us == QUORUM_NEVER ?
			  "It has not been heard since this server started." : "It has not been heard for a lease.",
			  "Start it, mend the network, or remove it with quorum.remove_member().",
			  "%s is not reachable", name);
	else if (member->diverged)
		found(FAIL, why, "See quorum.status and the server log on that node.",
			  "%s cannot follow the leader", name);
	else if (member->recovering)
		found(WARN, why, "It votes again when it has caught up.", "%s is recovering", name);
	else if (member->member.left_out)
		found(WARN, why, NULL, "%s is left out", name);
	else if (member->member.kind == QUORUM_VOTER && why != NULL && view->paused_until == 0 &&
			 !member->is_leader)
		found(FAIL, why, NULL, "%s could not take over", name);
	else
		found(OK, NULL, NULL, "%s is %s", name, member->is_leader ? "the leader" : "there");

	if (!member->is_self && member->member.kind != QUORUM_WITNESS && max_replication_slots > 0)
		check_slot(member);
}

static void
check_slot(const QuorumMemberView *member)
{
	PgqSlotWal	wal;
	char		detail[QUORUM_REASON_SIZE];

	topic = "slots";
	pgq_slots_wal(member, &wal);
	snprintf(detail, sizeof(detail), "max_slot_wal_keep_size is %d MB, " INT64_FORMAT " MB are left.",
			 max_slot_wal_keep_size_mb, Max(wal.left, 0) / (1024 * 1024));
	if (wal.state == PGQ_WAL_LOST)
		found(FAIL, NULL, "With quorum.auto_clone = on it copies the leader's data anew when it is there.",
			  "the WAL that %s needs is gone here", member->member.name);
	else if (wal.state == PGQ_WAL_UNKNOWN)
		found(WARN, NULL, "It is made within seconds; if not, the server log says why.",
			  "there is no slot for %s", member->member.name);
	else if (wal.low)
		found(WARN, detail, "Bring it back, or raise max_slot_wal_keep_size.",
			  "the WAL that %s needs will soon be gone here", member->member.name);
}

/* ---- this server ----------------------------------------------------------------------- */

static void
check_settings(const QuorumView *view)
{
	char		msg[QUORUM_REASON_SIZE];
	char		detail[QUORUM_REASON_SIZE];
	char		hint[QUORUM_REASON_SIZE];
	int			members = view != NULL ? view->member_count : 1;

	if (!pgq_guc_check(msg, detail, hint))
		found(FAIL, detail, hint, "%s", msg);
	else
		found(OK, NULL, NULL, "the settings allow this server to take part");

	/* every member streams, a base backup takes two, and one may still hold its old stream */
	if (max_wal_senders < members + 2 || max_replication_slots < members)
	{
		snprintf(detail, sizeof(detail), "max_wal_senders is %d, max_replication_slots is %d, members are %d.",
				 max_wal_senders, max_replication_slots, members);
		found(max_wal_senders < members - 1 || max_replication_slots < members - 1 ? FAIL : WARN,
			  detail, "Set both to 10 on every node, and restart.",
			  "max_wal_senders or max_replication_slots leave no room");
	}
}

static bool
is_set(const char *name, const char *value)
{
	const char *now = GetConfigOption(name, true, false);

	return now != NULL && strcmp(now, value) == 0;
}

static void
check_other_settings(void)
{
	static const struct
	{
		const char *name;
		const char *value;
		const char *severity;
		const char *why;
		const char *hint;
	}			bad[] = {
		{"hot_standby", "off", WARN, "No view answers while this server is a standby.",
		"Set hot_standby = on, and restart."},
		{"restart_after_crash", "off", WARN, "A crash of one backend would end this server.",
		"Set restart_after_crash = on."},
		{"quorum.allow_local_commit", "on", WARN, "Commits of sessions that ask for it can be lost.",
		NULL},
		{"quorum.auto_rewind", "off", WARN, "A former leader waits for an operator.", NULL},
		{"listen_addresses", "localhost", WARN, "Nodes on other hosts cannot stream from this one.",
		"Set listen_addresses to the host in quorum.address, or to '*', and restart."},
		{"listen_addresses", "", FAIL, "Nobody can stream from this server.",
		"Set listen_addresses to the host in quorum.address, or to '*', and restart."},
		{"zero_damaged_pages", "on", FAIL, "Damaged pages are emptied without a word.", "Turn it off."},
		{"ignore_checksum_failure", "on", FAIL, "Damaged pages are read as if they were good.",
		"Turn it off."},
		{"ignore_invalid_pages", "on", FAIL, "Recovery goes on where WAL and data do not fit.",
		"Turn it off, and restart."}
	};
	char		host[QUORUM_HOST_SIZE];
	uint16		port;
	bool		local = pgq_guc_split_address(pgq_address, host, &port) &&
		(strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0);

	for (size_t i = 0; i < lengthof(bad); i++)
	{
		if (is_set(bad[i].name, bad[i].value) &&
			!(local && strcmp(bad[i].value, "localhost") == 0))
			found(bad[i].severity, bad[i].why, bad[i].hint, "%s is \"%s\"", bad[i].name,
				  bad[i].value);
	}
	if (is_set("sync_replication_slots", "on") && is_set("hot_standby_feedback", "off"))
		found(WARN, "No logical slot is copied to this node.", "Set hot_standby_feedback = on.",
			  "sync_replication_slots is on, hot_standby_feedback is off");
}

static void
check_replay(void)
{
	if (RecoveryInProgress() && GetRecoveryPauseState() != RECOVERY_NOT_PAUSED)
		found(WARN, "A failover ends the pause; until then this node falls behind.",
			  "SELECT pg_wal_replay_resume(). If it was not asked for, a setting such as max_connections is smaller than the leader's: see the server log.",
			  "replay is paused on this node");
}

static void
check_disk(const char *path, const char *what)
{
	struct statvfs space;
	char		detail[QUORUM_REASON_SIZE];
	uint64		free_mb;
	uint64		total_mb;

	if (statvfs(path, &space) != 0)
		return;
	free_mb = (uint64) space.f_bavail * space.f_frsize / (1024 * 1024);
	total_mb = (uint64) space.f_blocks * space.f_frsize / (1024 * 1024);
	snprintf(detail, sizeof(detail), UINT64_FORMAT " of " UINT64_FORMAT " MB are free.", free_mb,
			 total_mb);
	if (free_mb < Max((uint64) pgq_min_free_space, 2 * (uint64) wal_segment_size / (1024 * 1024)))
		found(FAIL, detail, "Make room.", "the file system of the %s is nearly full", what);
	else if (free_mb * 100 < total_mb * FREE_PERCENT)
		found(WARN, detail, "Make room before it is full.",
			  "the file system of the %s has little room", what);
	else
		found(OK, detail, NULL, "the file system of the %s has room", what);
}

/* ---- for the SQL part ------------------------------------------------------------------ */

/* The numeric addresses of a host, as this server resolves it; NULL when it cannot. */
Datum
pgq_get_addresses(PG_FUNCTION_ARGS)
{
	char	   *host = text_to_cstring(PG_GETARG_TEXT_PP(0));
	struct addrinfo asked = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found_list = NULL;
	Datum		addresses[ADDRESSES_MAX];
	int			count = 0;

	if (pg_getaddrinfo_all(host, NULL, &asked, &found_list) != 0)
		PG_RETURN_NULL();
	for (struct addrinfo *one = found_list; one && count < ADDRESSES_MAX; one = one->ai_next)
	{
		char		text[NI_MAXHOST];

		if (pg_getnameinfo_all((const struct sockaddr_storage *) one->ai_addr, one->ai_addrlen,
							   text, sizeof(text), NULL, 0, NI_NUMERICHOST) == 0 &&
			strchr(text, '%') == NULL)
			addresses[count++] = CStringGetTextDatum(text);
	}
	pg_freeaddrinfo_all(asked.ai_family, found_list);
	PG_RETURN_POINTER(construct_array(addresses, count, TEXTOID, -1, false, TYPALIGN_INT));
}

/* The role that streams of other members use, if they are configured as this one. */
Datum
pgq_get_stream_role(PG_FUNCTION_ARGS)
{
	char		role[NAMEDATALEN];
	char	   *why_not;
	const char *user;

	(void) fcinfo;
	pgq_conninfo_get(pgq_conninfo ? pgq_conninfo : "", "user", role, sizeof(role));
	user = role[0] != '\0' ? role : get_user_name(&why_not);
	if (user == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(user));
}
