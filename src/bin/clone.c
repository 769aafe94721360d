/*
 * clone.c
 *	  Copies the leader with pg_basebackup, then gives the copy its own identity.
 *
 * Not here: the order of joining, and what is asked of the leader (cmd_join.c).
 */
#include "clone.h"

#include <sys/stat.h>
#include <unistd.h>

#include "common/file_utils.h"
#include "fe_utils/string_utils.h"

#define MARK_FILE "pg_quorum.joining"
#define BAR_CELLS 30

/* Of one node only: a copy must not have them. */
static const char *const own_settings[] = {
	"quorum.node_name", "quorum.address", "quorum.secret_file", "quorum.priority",
	"primary_conninfo", "primary_slot_name", "restore_command", "promote_trigger_file",
	"synchronous_standby_names", "recovery_target_timeline", "port", "listen_addresses",
	"data_directory", "config_file", "hba_file", "ident_file", "external_pid_file", NULL
};

/* Of the cluster, or such that a standby may not have less than its primary. */
static const char settings_question[] =
"SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ('shared_preload_libraries',"
" 'wal_level', 'wal_log_hints', 'max_connections', 'max_worker_processes', 'max_wal_senders',"
" 'max_replication_slots', 'max_prepared_transactions', 'max_locks_per_transaction',"
" 'quorum.lease_duration', 'quorum.heartbeat_interval', 'quorum.promotion_limit',"
" 'quorum.death_proof', 'quorum.allow_local_commit', 'quorum.conninfo') AND source <> 'default'"
" ORDER BY name";

bool
clone_read_settings(PGconn *leader, Settings *settings)
{
	PGresult   *rows = query_ok(leader, settings_question, 0, NULL, 10000);

	if (rows == NULL)
		return false;
	for (int i = 0; i < PQntuples(rows); i++)
		settings_add(settings, pg_strdup(field(rows, i, "name")),
					 pg_strdup(field(rows, i, "setting")));
	PQclear(rows);
	return true;
}

static char *
path_in(const Clone *clone, const char *name)
{
	return psprintf("%s/%s", clone->server.directory, name);
}

bool
clone_is_there(const Clone *clone)
{
	char	   *mark = file_read(path_in(clone, MARK_FILE));

	return mark != NULL && strcmp(mark, psprintf("%s\n", clone->name)) == 0;
}

void
clone_forget_mark(const Clone *clone)
{
	(void) unlink(path_in(clone, MARK_FILE));
}

/* ---- copying ---------------------------------------------------------------------------- */

/* "  1234/56789 kB (2%), 0/1 tablespace", as pg_basebackup --progress writes it */
static bool
show_progress(const char *line, void *arg)
{
	unsigned long long done;
	unsigned long long total;
	char		bar[BAR_CELLS + 1];
	int			percent;

	(void) arg;
	if (sscanf(line, " %llu/%llu kB (%d%%)", &done, &total, &percent) != 3)
		return strncmp(line, "waiting for checkpoint", 22) == 0;
	if (!isatty(STDERR_FILENO))
		return true;
	for (int i = 0; i < BAR_CELLS; i++)
		bar[i] = i * 100 < percent * BAR_CELLS ? '#' : '.';
	bar[BAR_CELLS] = '\0';
	fprintf(stderr, "\r  %s %3d %%  %llu of %llu MB", bar, Min(percent, 100), done / 1024,
			total / 1024);
	return true;
}

/* Connection options for libpq; a password never appears among them. */
static char *
stream_conninfo(const Clone *clone, const Token *token, const char *passfile)
{
	PQExpBuffer text = createPQExpBuffer();
	PQconninfoOption *options =
		PQconninfoParse(token->conninfo != NULL ? token->conninfo : "", NULL);

	for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
	{
		if (o->val == NULL || strcmp(o->keyword, "user") == 0 ||
			strcmp(o->keyword, "passfile") == 0 || strcmp(o->keyword, "password") == 0)
			continue;
		appendPQExpBuffer(text, "%s=", o->keyword);
		appendConnStrVal(text, o->val);
		appendPQExpBufferChar(text, ' ');
	}
	PQconninfoFree(options);
	appendPQExpBufferStr(text, "host=");
	appendConnStrVal(text, clone->leader_host);
	appendPQExpBufferStr(text, " port=");
	appendConnStrVal(text, clone->leader_port);
	appendPQExpBufferStr(text, " user=");
	appendConnStrVal(text, token->user);
	if (passfile != NULL)
	{
		appendPQExpBufferStr(text, " passfile=");
		appendConnStrVal(text, passfile);
	}
	return text->data;
}

static bool
copy(const Clone *clone, const Token *token)
{
	const char *base = getenv("TMPDIR");
	char	   *scratch = psprintf("%s/pg_quorum-XXXXXX", base != NULL ? base : "/tmp");
	char	   *passfile = NULL;
	bool		copied;
	const char *arguments[] = {program("pg_basebackup"), "-D", clone->server.directory, "-X",
		"stream", "-c", "fast", "--progress", "--no-password", "-d", NULL, NULL};

	if (token->password != NULL)
	{
		if (mkdtemp(scratch) == NULL)
			pg_fatal("could not make directory \"%s\": %m", scratch);
		passfile_write(scratch, token->user, token->password);
		passfile = psprintf("%s/" PASSWORD_FILE, scratch);
	}
	arguments[10] = stream_conninfo(clone, token, passfile);
	copied = run_program(arguments, show_progress, NULL);
	if (isatty(STDERR_FILENO))
		fputc('\n', stderr);
	if (passfile != NULL)
	{
		(void) unlink(passfile);
		(void) rmdir(scratch);
	}
	return copied;
}

/* ---- its own identity ------------------------------------------------------------------- */

static void
remove_foreign_files(const Clone *clone)
{
	/* State, journal and history belong to the node the copy was made of. */
	static const char *const names[] = {"pg_quorum", "server.log", "postmaster.opts"};

	for (size_t i = 0; i < lengthof(names); i++)
	{
		const char *arguments[] = {"/bin/rm", "-rf", path_in(clone, names[i]), NULL};

		(void) run_program(arguments, NULL, NULL);
	}
}

static void
write_settings(const Clone *clone, const Token *token)
{
	Settings	settings = clone->cluster;

	settings_add(&settings, "port", psprintf("%d", clone->pg_port));
	if (clone->server.config_directory == NULL)
		settings_add(&settings, "listen_addresses",
					 strncmp(clone->address, "127.", 4) == 0 ? "127.0.0.1" : "*");
	settings_add(&settings, "quorum.node_name", clone->name);
	settings_add(&settings, "quorum.address", clone->address);
	settings_add(&settings, "quorum.secret_file", SECRET_FILE);
	settings_add(&settings, "primary_conninfo",
				 stream_conninfo(clone, token, token->password != NULL ? PASSWORD_FILE : NULL));
	for (int i = 0; i < clone->extra.count; i++)
		settings_add(&settings, clone->extra.names[i], clone->extra.values[i]);
	conf_change(path_in(clone, "postgresql.auto.conf"), own_settings, &settings);
}

/* A leader in Debian's layout keeps these elsewhere, so that they are not in the copy. */
static void
write_missing_files(const Clone *clone, const Token *token)
{
	char	   *directory = pg_strdup(clone->server.config_directory ?
									 clone->server.config_directory : clone->server.directory);
	char	   *hba = psprintf("%s/pg_hba.conf", directory);
	char	   *conf = psprintf("%s/postgresql.conf", directory);
	char	   *ident = psprintf("%s/pg_ident.conf", directory);
	bool		own_hba = access(hba, F_OK) != 0 || clone->server.config_directory != NULL;

	if (access(conf, F_OK) != 0)
		file_write(conf, "# the settings of this node are in postgresql.auto.conf\n");
	if (access(ident, F_OK) != 0)
		file_write(ident, "");
	if (access(hba, F_OK) != 0)
		file_write(hba, "local all all peer\nlocal replication all peer\n");
	if (own_hba || clone->network_count > 0)
		(void) hba_allow(hba, token->user, token->dbname, clone->networks, clone->network_count);
}

/* The directory was empty, so whatever is in it is a part of the copy. */
static void
remove_partial_copy(const Clone *clone)
{
	const char *arguments[] = {"/usr/bin/find", clone->server.directory, "-mindepth", "1",
	"-delete", NULL};

	if (access(clone->server.directory, F_OK) == 0)
		(void) run_program(arguments, NULL, NULL);
}

bool
clone_make(const Clone *clone, const Token *token)
{
	if (!copy(clone, token))
	{
		remove_partial_copy(clone);
		return false;
	}
	remove_foreign_files(clone);
	write_settings(clone, token);
	file_write(path_in(clone, SECRET_FILE), psprintf("%s\n", token->secret));
	if (token->password != NULL)
		passfile_write(clone->server.directory, token->user, token->password);
	write_missing_files(clone, token);
	file_write(path_in(clone, "standby.signal"), "");
	file_write(path_in(clone, MARK_FILE), psprintf("%s\n", clone->name));
	return true;
}
