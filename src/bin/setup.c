/*
 * setup.c
 *	  Brings a server into the state in which it can found a cluster.
 *
 * Not here: options and the order of the steps (cmd_init.c).
 */
#include "setup.h"

#include <ctype.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fe_utils/string_utils.h"

#define STATEMENT_MS 60000
#define BOOTSTRAP_MS 90000

/* The first label of the host's name, as far as a node may be called so. */
char *
default_node_name(void)
{
	char		name[64] = "";
	size_t		length;

	(void) gethostname(name, sizeof(name) - 1);
	length = strcspn(name, ".");
	name[length] = '\0';
	for (char *c = name; *c != '\0'; c++)
	{
		*c = (char) tolower((unsigned char) *c);
		if (!isalnum((unsigned char) *c) && *c != '_' && *c != '-')
			*c = '-';
	}
	return pg_strdup(name[0] != '\0' ? name : "n1");
}

static char *
format_address(const char *host, int port)
{
	return psprintf(strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);
}

static bool
is_loopback(const char *host)
{
	return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
		strcmp(host, "::1") == 0;
}

static const char *
stream_options(void)
{
	return "user=" STREAM_ROLE " passfile=" PASSWORD_FILE;
}

/* ---- what a running server lacks -------------------------------------------------------- */

/* The value in force or, when a restart is pending, the one that will be. */
static const char plan_question[] =
"SELECT name, coalesce((SELECT f.setting FROM pg_catalog.pg_file_settings f"
" WHERE f.name = n.name AND f.error IS NOT DISTINCT FROM 'setting could not be applied'"
" ORDER BY f.seqno DESC LIMIT 1), pg_catalog.current_setting(n.name, true)) AS value"
" FROM pg_catalog.unnest(ARRAY['shared_preload_libraries', 'quorum.node_name',"
" 'quorum.address', 'quorum.conninfo', 'quorum.secret_file', 'wal_level', 'wal_log_hints',"
" 'data_checksums', 'max_wal_senders', 'max_replication_slots', 'fsync', 'full_page_writes',"
" 'data_sync_retry', 'listen_addresses', 'port']) AS n(name)";

static const char *
value_of(const PGresult *settings, const char *name)
{
	for (int i = 0; i < PQntuples(settings); i++)
	{
		const char *value = field(settings, i, "value");

		if (strcmp(field(settings, i, "name"), name) == 0)
			return value != NULL ? pg_strdup(value) : "";
	}
	return "";
}

static bool
has_library(const char *list)
{
	char	   *copy = pg_strdup(list);
	char	   *item;

	while ((item = strsep(&copy, ", \"")) != NULL)
	{
		if (strcmp(item, "pg_quorum") == 0 || strcmp(item, "$libdir/pg_quorum") == 0)
			return true;
	}
	return false;
}

static void
plan_durability(const PGresult *now, Settings *changes)
{
	if (strcmp(value_of(now, "wal_level"), "minimal") == 0)
		settings_add(changes, "wal_level", "replica");
	if (strcmp(value_of(now, "wal_log_hints"), "on") != 0 &&
		strcmp(value_of(now, "data_checksums"), "on") != 0)
		settings_add(changes, "wal_log_hints", "on");
	if (atoi(value_of(now, "max_wal_senders")) < 4)
		settings_add(changes, "max_wal_senders", "10");
	if (atoi(value_of(now, "max_replication_slots")) < 4)
		settings_add(changes, "max_replication_slots", "10");
	if (strcmp(value_of(now, "fsync"), "on") != 0)
		settings_add(changes, "fsync", "on");
	if (strcmp(value_of(now, "full_page_writes"), "on") != 0)
		settings_add(changes, "full_page_writes", "on");
	if (strcmp(value_of(now, "data_sync_retry"), "on") == 0)
		settings_add(changes, "data_sync_retry", "off");
}

static bool
plan_identity(Setup *setup, const PGresult *now, Settings *changes)
{
	const char *name = value_of(now, "quorum.node_name");
	const char *address = value_of(now, "quorum.address");
	const char *wanted;

	if (name[0] == '\0' || (setup->name != NULL && strcmp(name, setup->name) != 0))
		settings_add(changes, "quorum.node_name",
					 setup->name != NULL ? setup->name : default_node_name());
	if (setup->host == NULL)
	{
		if (address[0] != '\0')
			return true;
		pg_log_error("the address of this node is not known");
		pg_log_error_hint("Use --address=HOST:PORT: the host as the other nodes know it, and a "
						  "port for the quorum beside that of PostgreSQL.");
		return false;
	}
	if (setup->quorum_port == 0)
		setup->quorum_port = default_quorum_port(atoi(value_of(now, "port")));
	wanted = format_address(setup->host, setup->quorum_port);
	if (strcmp(wanted, address) != 0 && setup->server.directory != NULL &&
		!port_is_free(setup->quorum_port))
	{
		pg_log_error("port %d, for the quorum, is in use on this host", setup->quorum_port);
		pg_log_error_hint("Choose another one with --address=HOST:PORT.");
		return false;
	}
	if (strcmp(wanted, address) != 0)
		settings_add(changes, "quorum.address", wanted);
	if (value_of(now, "listen_addresses")[0] == '\0' ||
		(!is_loopback(setup->host) && strcmp(value_of(now, "listen_addresses"), "localhost") == 0))
		settings_add(changes, "listen_addresses", is_loopback(setup->host) ? setup->host : "*");
	return true;
}

static void
plan_extra(const Setup *setup, PGconn *conn, Settings *changes)
{
	for (int i = 0; i < setup->extra.count; i++)
	{
		const char *asked[] = {setup->extra.names[i]};
		PGresult   *now = query_ok(conn, "SELECT pg_catalog.current_setting($1, true) AS value",
								   1, asked, STATEMENT_MS);
		const char *value = field(now, 0, "value");

		if (value == NULL || strcmp(value, setup->extra.values[i]) != 0)
			settings_add(changes, setup->extra.names[i], setup->extra.values[i]);
		PQclear(now);
	}
}

bool
setup_plan(Setup *setup, PGconn *conn, Settings *changes)
{
	PGresult   *now = query_ok(conn, plan_question, 0, NULL, STATEMENT_MS);
	const char *libraries;
	bool		planned;

	if (now == NULL)
		return false;
	libraries = value_of(now, "shared_preload_libraries");
	if (!has_library(libraries))
		settings_add(changes, "shared_preload_libraries", libraries[0] == '\0' ? "pg_quorum" :
					 psprintf("%s, pg_quorum", libraries));
	planned = plan_identity(setup, now, changes);
	if (value_of(now, "quorum.conninfo")[0] == '\0')
		settings_add(changes, "quorum.conninfo", stream_options());
	plan_durability(now, changes);
	plan_extra(setup, conn, changes);
	PQclear(now);
	return planned;
}

/* shared_preload_libraries is a list of names: one quoted text would be one name. */
static char *
alter_value(PGconn *conn, const char *name, const char *value)
{
	PQExpBuffer text = createPQExpBuffer();
	char	   *list = pg_strdup(value);
	char	   *item;

	if (strcmp(name, "shared_preload_libraries") != 0)
	{
		appendStringLiteralConn(text, value, conn);
		return text->data;
	}
	while ((item = strsep(&list, ",")) != NULL)
	{
		while (*item == ' ')
			item++;
		if (text->len > 0)
			appendPQExpBufferStr(text, ", ");
		appendStringLiteralConn(text, item, conn);
	}
	return text->data;
}

bool
setup_apply(PGconn *conn, const Settings *changes)
{
	for (int i = 0; i < changes->count; i++)
	{
		const char *name = changes->names[i];
		const char *asked[] = {name};
		PGresult   *known = query_ok(conn, "SELECT pg_catalog.current_setting($1, true) AS value",
									 1, asked, STATEMENT_MS);
		char	   *value = alter_value(conn, name, changes->values[i]);
		PGresult   *done;

		if (known == NULL)
			return false;
		/* Until the library is loaded the server only accepts names that it has met. */
		if (field(known, 0, "value") == NULL)
			PQclear(query_ok(conn, psprintf("SET %s = %s", name, value), 0, NULL, STATEMENT_MS));
		PQclear(known);
		done = query_ok(conn, psprintf("ALTER SYSTEM SET %s = %s", name, value), 0, NULL,
						STATEMENT_MS);
		if (done == NULL)
			return false;
		PQclear(done);
	}
	if (changes->count > 0)
		PQclear(query_ok(conn, "SELECT pg_catalog.pg_reload_conf()", 0, NULL, STATEMENT_MS));
	return true;
}

/* ---- a new data directory --------------------------------------------------------------- */

void
setup_new_directory(Setup *setup, int pg_port)
{
	const char *directory = setup->server.directory;
	Settings	settings = {0};

	if (setup->quorum_port == 0)
		setup->quorum_port = default_quorum_port(pg_port);
	settings_add(&settings, "shared_preload_libraries", "pg_quorum");
	settings_add(&settings, "port", psprintf("%d", pg_port));
	settings_add(&settings, "listen_addresses", is_loopback(setup->host) ? setup->host : "*");
	settings_add(&settings, "quorum.node_name",
				 setup->name != NULL ? setup->name : default_node_name());
	settings_add(&settings, "quorum.address", format_address(setup->host, setup->quorum_port));
	settings_add(&settings, "quorum.conninfo", stream_options());
	for (int i = 0; i < setup->extra.count; i++)
		settings_add(&settings, setup->extra.names[i], setup->extra.values[i]);
	setup->extra.count = 0;
	conf_change(psprintf("%s/postgresql.auto.conf", directory), NULL, &settings);
	setup_secrets(setup);
	(void) hba_allow(psprintf("%s/pg_hba.conf", directory), STREAM_ROLE, setup->dbname,
					 setup->networks, setup->network_count);
}

void
setup_secrets(const Setup *setup)
{
	const char *directory = setup->server.directory;
	char	   *secret = psprintf("%s/" SECRET_FILE, directory);

	if (access(secret, F_OK) != 0)
		file_write(secret, psprintf("%s\n", random_hex(32)));
	if (passfile_password(directory, STREAM_ROLE) == NULL)
		passfile_write(directory, STREAM_ROLE, random_hex(24));
}

/* ---- role, extension, bootstrap --------------------------------------------------------- */

static bool
run(PGconn *conn, const char *sql, int timeout_ms)
{
	PGresult   *result = query_ok(conn, sql, 0, NULL, timeout_ms);

	PQclear(result);
	return result != NULL;
}

/* The password travels and is stored as a SCRAM verifier only. */
static bool
make_role(const Setup *setup, PGconn *conn)
{
	char	   *password = setup->server.directory == NULL ? NULL :
		passfile_password(setup->server.directory, STREAM_ROLE);
	char	   *verifier;
	PGresult   *found;
	bool		exists;

	if (password == NULL)
	{
		pg_log_error("the password of role " STREAM_ROLE " is not known");
		pg_log_error_hint("Run \"%s init\" on the host of the server, as its owner, or set "
						  "quorum.conninfo yourself.", progname);
		return false;
	}
	verifier = PQencryptPasswordConn(conn, password, STREAM_ROLE, "scram-sha-256");
	found = query_ok(conn, "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = '" STREAM_ROLE "'",
					 0, NULL, STATEMENT_MS);
	if (verifier == NULL || found == NULL)
		return false;
	exists = PQntuples(found) > 0;
	PQclear(found);
	return run(conn, psprintf("%s ROLE " STREAM_ROLE " LOGIN REPLICATION PASSWORD '%s'",
							  exists ? "ALTER" : "CREATE", verifier), STATEMENT_MS);
}

/* What joining and pg_rewind need; the role is no superuser. */
static bool
grant_role(PGconn *conn)
{
	static const char *const grants[] = {
		"GRANT pg_monitor TO " STREAM_ROLE,
		"GRANT USAGE ON SCHEMA quorum TO " STREAM_ROLE,
		/* it knows the secret of the cluster, so this gives it nothing that it could not do */
		"DO $$ DECLARE f regprocedure; BEGIN FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p"
		" WHERE p.pronamespace = 'quorum'::regnamespace AND p.proname IN ('add_member',"
		" 'remove_member', 'switchover', 'pause', 'resume', 'set_member_kind',"
		" 'set_member_address') LOOP"
		" EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO " STREAM_ROLE "', f);"
		" END LOOP; END $$",
		"GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean),"
		" pg_catalog.pg_stat_file(text, boolean), pg_catalog.pg_read_binary_file(text),"
		" pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO " STREAM_ROLE,
	};

	for (size_t i = 0; i < lengthof(grants); i++)
	{
		if (!run(conn, grants[i], STATEMENT_MS))
			return false;
	}
	return true;
}

static bool
uses_stream_role(PGconn *conn)
{
	PGresult   *result = query_ok(conn, "SELECT pg_catalog.current_setting('quorum.conninfo') AS c",
								  0, NULL, STATEMENT_MS);
	bool		uses = result != NULL &&
		strstr(field(result, 0, "c"), "user=" STREAM_ROLE) != NULL;

	PQclear(result);
	return uses;
}

/* A server accepts connections a moment before its worker runs; bootstrap() says why if not. */
static bool
wait_for_worker(PGconn *conn, bool *member)
{
	for (int i = 0; i < 100 && !interrupted(); i++)
	{
		PGresult   *status = query_ok(conn, "SELECT membership, worker_pid FROM quorum.status", 0,
									  NULL, STATEMENT_MS);
		bool		runs = field(status, 0, "worker_pid") != NULL;

		if (status == NULL)
			return false;
		*member = strcmp(field(status, 0, "membership"), "member") == 0;
		PQclear(status);
		if (runs)
			break;
		pg_usleep(100 * 1000);
	}
	return !interrupted();
}

bool
setup_finish(const Setup *setup, PGconn *conn)
{
	bool		stream_role = uses_stream_role(conn);
	bool		member = false;

	if (!run(conn, "CREATE EXTENSION IF NOT EXISTS pg_quorum", STATEMENT_MS))
		return false;
	if (stream_role && (!make_role(setup, conn) || !grant_role(conn)))
		return false;
	if (!wait_for_worker(conn, &member))
		return false;
	if (member)
	{
		printf("this server is a member of a cluster already\n\n");
		return true;
	}
	if (!run(conn, "SELECT quorum.bootstrap()", BOOTSTRAP_MS))
		return false;
	printf("this server leads a cluster of one\n\n");
	return true;
}
