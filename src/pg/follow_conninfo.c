/*
 * follow_conninfo.c
 *	  How this node reaches the leader that it follows: connection strings.
 *
 * Rules: S3 (the accepted leader, whatever the configuration says), K1, H81.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "conninfo.h"
#include "follow.h"
#include "guc.h"
#include "proof.h"
#include "slots.h"

#define OPTIONS_SIZE		2048

static void
append_option(StringInfo text, const char *keyword, const char *value)
{
	appendStringInfo(text, " %s='", keyword);
	for (; *value != '\0'; value++)
	{
		if (*value == '\'' || *value == '\\')
			appendStringInfoChar(text, '\\');
		appendStringInfoChar(text, *value);
	}
	appendStringInfoChar(text, '\'');
}

/*
 * The address that the quorum port of the leader is reached at is known: asking for it again
 * would make a failover wait for a resolver (H81).  The name is still what certificates and
 * password files are for; libpq wants it once for each address.
 */
static void
append_host(StringInfo text, const QuorumMember *leader)
{
	char		addresses[PGQ_ADDRESSES_SIZE] = "";
	StringInfoData names;
	int			count = 0;

	LWLockAcquire(pgq_shared->lock, LW_SHARED);
	if (pgq_shared->view.leader == leader->id)
	{
		count = pgq_shared->leader_address_count;
		strlcpy(addresses, pgq_shared->leader_addresses, sizeof(addresses));
	}
	LWLockRelease(pgq_shared->lock);

	initStringInfo(&names);
	appendStringInfoString(&names, leader->host);
	for (int i = 1; i < count; i++)
		appendStringInfo(&names, ",%s", leader->host);
	append_option(text, "host", names.data);
	append_option(text, "hostaddr", addresses);
	pfree(names.data);
}

/*
 * The last of two equal keywords counts: first what users may change, last what they may not.
 * NULL when quorum.conninfo cannot be used.
 */
static char *
conninfo_of(const QuorumMember *leader)
{
	StringInfoData text;
	char		number[16];
	char		name[NAMEDATALEN];
	const char *options = pgq_conninfo ? pgq_conninfo : "";

	if (strncmp(options, "postgres://", 11) == 0 || strncmp(options, "postgresql://", 13) == 0)
		return NULL;

	initStringInfo(&text);
	appendStringInfoString(&text, "keepalives_idle=5 keepalives_interval=2 keepalives_count=3"
						   " tcp_user_timeout=10000 ");
	appendStringInfoString(&text, options);
	append_host(&text, leader);
	snprintf(number, sizeof(number), "%u", leader->pg_port);
	append_option(&text, "port", number);
	pgq_slot_name(pgq_shared->boot_node_id, name);
	append_option(&text, "application_name", name);
	append_option(&text, "target_session_attrs", "any");
	return text.data;
}

/* K1: whose stream it is, is shown once more for each connection. */
char *
pgq_follow_stream_conninfo(const QuorumMember *leader, char **why)
{
	StringInfoData text;
	char		proof[PGQ_PROOF_SIZE];
	char		options[OPTIONS_SIZE];
	size_t		used;
	const char *missing = "\"quorum.conninfo\" must be a list of keywords and values";
	char	   *conninfo = conninfo_of(leader);

	if (conninfo == NULL || !pgq_proof_make(leader->id, proof, &missing))
	{
		*why = pstrdup(missing);
		return NULL;
	}
	pgq_conninfo_get(conninfo, "options", options, sizeof(options));
	used = strlen(options);
	snprintf(options + used, sizeof(options) - used, "%s%s", used > 0 ? " " : "", proof);
	initStringInfo(&text);
	appendStringInfoString(&text, conninfo);
	append_option(&text, "options", options);
	pfree(conninfo);
	return text.data;
}

/* Not a stream: what it says of the leader's slots is checked by PostgreSQL against our log. */
char *
pgq_follow_database_conninfo(const char *appname)
{
	static QuorumView view;
	QuorumMember leader;
	StringInfoData text;
	char		database[NAMEDATALEN];
	char	   *options;

	if (!pgq_shmem_copy_view(&view) || !pgq_follow_find_leader(&view, &leader))
		return NULL;
	options = conninfo_of(&leader);
	if (options == NULL)
		return NULL;
	pgq_conninfo_get(pgq_conninfo, "dbname", database, sizeof(database));
	initStringInfo(&text);
	appendStringInfoString(&text, options);
	append_option(&text, "dbname", database[0] != '\0' ? database : "postgres");
	append_option(&text, "application_name", appname);
	pfree(options);
	return text.data;
}
