/*
 * clone.c
 *	  A new copy of the leader's data, where a rewind cannot bring them back.
 *
 * pg_basebackup does the copying and pg_verifybackup the checking.  The copy is made beside
 * the data directory's own files, in the place from which rewound data come back too, so it
 * takes effect at one moment (rewind.c); a copy that was interrupted is begun anew.
 *
 * Rules: H72 (the copy is a recovering member, whatever the label says), H73, R9.
 */
#include "postgres.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "clone.h"
#include "guc.h"
#include "parking.h"
#include "program.h"
#include "source.h"

#define FAILURES_MAX	10		/* in one boot */
#define RETRY_MS		2000	/* after a failure; doubled each time */
#define LEADER_POLL_MS	1000
#define LEADER_SAY_MS	30000
#define DAMAGED			PGQ_REWIND_DIR "/damaged"

static bool find_leader(PgqJournal *journal, const QuorumHardState *hard, char *why);
static bool set_damaged_aside(void);
static bool copy(PgqJournal *journal);
static void note_line(const char *line, void *arg);
static bool is_spread(const char *data);
static int64 size_of(const char *path);

bool
pgq_clone_possible(char *why)
{
	char		path[MAXPGPATH];

	if (!pgq_auto_clone)
		strlcpy(why, "quorum.auto_clone is off", QUORUM_REASON_SIZE);
	else if (!pgq_program_find("pg_basebackup", path))
		snprintf(why, QUORUM_REASON_SIZE, "there is no program \"%.100s\"", path);
	else if (is_spread("."))
		strlcpy(why, "it has tablespaces, or its WAL is elsewhere: make a new base backup by hand",
				QUORUM_REASON_SIZE);
	else
		return true;
	return false;
}

bool
pgq_clone(PgqJournal *journal, const QuorumHardState *hard)
{
	char		why[QUORUM_REASON_SIZE];

	if (is_spread(PGQ_PARKED_DATA))
	{
		strlcpy(journal->reason,
				"it needs a clone, but has tablespaces, or its WAL is elsewhere: make one by hand",
				sizeof(journal->reason));
		return false;
	}
	if (!set_damaged_aside())
		return false;
	for (int failures = 0; failures < FAILURES_MAX; failures++)
	{
		for (int waited = 0; !find_leader(journal, hard, why); waited += LEADER_POLL_MS)
		{
			if (waited % LEADER_SAY_MS == 0)
				ereport(LOG,
						(errmsg("quorum: waiting for a leader to clone: %s", why)));
			pgq_program_pause(LEADER_POLL_MS);
		}
		if (copy(journal))
			return true;
		pgq_program_pause(Min(RETRY_MS << failures, 60000));
	}
	return false;
}

static bool
find_leader(PgqJournal *journal, const QuorumHardState *hard, char *why)
{
	static PgqSource source;

	strlcpy(why, "no member is known", QUORUM_REASON_SIZE);
	for (int i = 0; i < hard->members.count; i++)
	{
		const QuorumMember *member = &hard->members.members[i];
		QuorumTerm	term = 0;

		if (member->id == hard->node_id || member->pg_port == 0 ||
			!pgq_source_make(&source, member->host, member->pg_port) ||
			pgq_source_ask(&source, &term, why) == PGQ_SOURCE_SILENT || term < hard->term)
			continue;
		journal->source = member->id;
		journal->term = term;
		journal->source_port = member->pg_port;
		strlcpy(journal->source_name, member->name, sizeof(journal->source_name));
		strlcpy(journal->source_host, member->host, sizeof(journal->source_host));
		return true;
	}
	return false;
}

/* The first time; later PGQ_PARKED_DATA is an unfinished copy. */
static bool
set_damaged_aside(void)
{
	struct statvfs space;
	int64		size;

	if (access(DAMAGED, F_OK) == 0 || access(PGQ_PARKED_DATA, F_OK) != 0)
		return true;
	size = size_of(PGQ_PARKED_DATA);
	if (statvfs(PGQ_REWIND_DIR, &space) == 0 &&
		(int64) space.f_bavail * (int64) space.f_frsize < size + size / 5)
	{
		ereport(LOG,
				(errmsg("quorum: there is no room to keep the old data while they are cloned")));
		return pgq_parking_remove(PGQ_PARKED_DATA);
	}
	return rename(PGQ_PARKED_DATA, DAMAGED) == 0;
}

static bool
copy(PgqJournal *journal)
{
	static PgqSource source;
	const char *password;
	const char *arguments[] = {"-D", PGQ_PARKED_DATA, "-X", "stream", "-c", "fast", "-w", "-P", "-N",
	"-d", source.conninfo, NULL};
	const char *verify[] = {"-q", PGQ_PARKED_DATA, NULL};
	char		path[MAXPGPATH];

	ereport(LOG,
			(errmsg("quorum: cloning %s (%u), the leader of term %u",
					journal->source_name, journal->source, journal->term)));
	if (!pgq_parking_remove(PGQ_PARKED_DATA) ||
		!pgq_source_make(&source, journal->source_host, journal->source_port))
		return false;
	password = source.secret[0] != '\0' ? source.secret : NULL;
	return pgq_program_run("pg_basebackup", arguments, password, note_line, "pg_basebackup") &&
		(!pgq_program_find("pg_verifybackup", path) ||
		 pgq_program_run("pg_verifybackup", verify, NULL, note_line, "pg_verifybackup")) &&
		pgq_parking_sync();
}

static void
note_line(const char *line, void *arg)
{
	const char *name = arg;
	size_t		length = strlen(name);

	if (strncmp(line, name, length) == 0 && line[length] == ':')
		line += length + 2;
	ereport(LOG, (errmsg("quorum: %s: %s", name, line)));
}

/* Is some of it outside of the data directory?  pg_basebackup would not put it there. */
static bool
is_spread(const char *data)
{
	char		path[MAXPGPATH];
	struct stat status;
	DIR		   *dir;
	struct dirent *entry;
	bool		found = false;

	snprintf(path, sizeof(path), "%s/pg_wal", data);
	if (lstat(path, &status) == 0 && S_ISLNK(status.st_mode))
		return true;
	snprintf(path, sizeof(path), "%s/pg_tblspc", data);
	dir = opendir(path);
	while (dir != NULL && !found && (entry = readdir(dir)) != NULL)
		found = entry->d_name[0] != '.';
	if (dir != NULL)
		closedir(dir);
	return found;
}

static int64
size_of(const char *path)
{
	struct stat status;
	DIR		   *dir;
	struct dirent *entry;
	int64		size;

	if (lstat(path, &status) != 0)
		return 0;
	size = (int64) status.st_blocks * 512;
	dir = S_ISDIR(status.st_mode) ? opendir(path) : NULL;
	while (dir != NULL && (entry = readdir(dir)) != NULL)
	{
		char		inner[MAXPGPATH];

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
		size += size_of(inner);
	}
	if (dir != NULL)
		closedir(dir);
	return size;
}
