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

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/file_perm.h"

#include "clone.h"
#include "files.h"
#include "guc.h"
#include "outside.h"
#include "parking.h"
#include "program.h"
#include "source.h"

#define FAILURES_MAX	10		/* in one boot */
#define RETRY_MS		2000	/* after a failure; doubled each time */
#define LEADER_POLL_MS	1000
#define LEADER_SAY_MS	30000
#define DAMAGED			PGQ_REWIND_DIR "/damaged"

/* What a program has said so far. */
typedef struct Told
{
	const char *program;
	char	   *why;			/* the last error */
	bool		no_space;
} Told;

static bool find_leader(PgqJournal *journal, const QuorumHardState *hard, char *why);
static bool set_damaged_aside(void);
static bool copy(PgqJournal *journal, QuorumNodeId self, char *why);
static void drop_damaged(void);
static void note_line(const char *line, void *arg);

bool
pgq_clone_possible(char *why)
{
	char		path[MAXPGPATH];

	if (!pgq_auto_clone)
		strlcpy(why, "quorum.auto_clone is off", QUORUM_REASON_SIZE);
	else if (!pgq_program_find("pg_basebackup", path))
		snprintf(why, QUORUM_REASON_SIZE, "there is no program \"%.100s\"", path);
	else
		return true;
	return false;
}

bool
pgq_clone(PgqJournal *journal, const QuorumHardState *hard)
{
	char		why[QUORUM_REASON_SIZE];

	if (!pgq_outside_note() || !set_damaged_aside() || !pgq_outside_make_room())
	{
		strlcpy(journal->reason, "the old data could not be set aside", sizeof(journal->reason));
		return false;
	}
	for (int failures = 0; failures < FAILURES_MAX; failures++)
	{
		for (int waited = 0; !find_leader(journal, hard, why); waited += LEADER_POLL_MS)
		{
			if (waited % LEADER_SAY_MS == 0)
				ereport(LOG,
						(errmsg("quorum: waiting for a leader to clone: %s", why)));
			pgq_program_pause(LEADER_POLL_MS);
		}
		if (copy(journal, hard->node_id, why))
			return true;
		snprintf(journal->reason, sizeof(journal->reason), "it cannot be cloned: %.130s", why);
		ereport(LOG,
				(errmsg("quorum: %s could not be cloned: %s", journal->source_name, why),
				 errdetail("Failure %d of %d.", failures + 1, FAILURES_MAX)));
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
		PgqSourceFacts facts = {0};

		pgq_outside_ask(&facts);
		if (member->id == hard->node_id || member->pg_port == 0 ||
			!pgq_source_make(&source, member->host, member->pg_port) ||
			pgq_source_ask(&source, &facts, why) == PGQ_SOURCE_SILENT || facts.term < hard->term)
			continue;
		journal->source = member->id;
		journal->term = facts.term;
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
	size = pgq_file_size(PGQ_PARKED_DATA);
	if (statvfs(PGQ_REWIND_DIR, &space) == 0 &&
		(int64) space.f_bavail * (int64) space.f_frsize < size + size / 5)
	{
		ereport(LOG,
				(errmsg("quorum: there is no room to keep the old data while they are cloned")));
		return mkdir(DAMAGED, pg_dir_create_mode) == 0 && pgq_file_remove(PGQ_PARKED_DATA);
	}
	return rename(PGQ_PARKED_DATA, DAMAGED) == 0;
}

static bool
copy(PgqJournal *journal, QuorumNodeId self, char *why)
{
	static PgqSource source;
	static const char *arguments[PGQ_OUTSIDE_MAX + 16];
	const char *password;
	const char *verify[] = {"-q", PGQ_PARKED_DATA, NULL};
	const char *fixed[] = {"-D", PGQ_PARKED_DATA, "-X", "stream", "-c", "fast", "-w", "-P", "-N",
	"-d", source.conninfo};
	Told		told = {.why = why};
	int			count = lengthof(fixed);
	char		path[MAXPGPATH];

	ereport(LOG,
			(errmsg("quorum: cloning %s (%u), the leader of term %u",
					journal->source_name, journal->source, journal->term)));
	memcpy(arguments, fixed, sizeof(fixed));
	if (!pgq_outside_arguments(arguments, &count, why))
		return false;
	strlcpy(why, "the copy could not be made", QUORUM_REASON_SIZE);
	if (!pgq_outside_clear() || !pgq_file_remove(PGQ_PARKED_DATA) ||
		!pgq_source_make(&source, journal->source_host, journal->source_port))
		return false;
	pgq_source_renew_slot(&source, self);
	password = source.secret[0] != '\0' ? source.secret : NULL;
	told.program = "pg_basebackup";
	if (!pgq_program_run(told.program, arguments, password, note_line, &told))
	{
		if (told.no_space)
			drop_damaged();
		return false;
	}
	told.program = "pg_verifybackup";
	return (!pgq_program_find(told.program, path) ||
			pgq_program_run(told.program, verify, NULL, note_line, &told)) &&
		pgq_parking_sync();
}

/* A node that streams is worth more than old data. */
static void
drop_damaged(void)
{
	if (pgq_file_size(DAMAGED) == 0)
		return;
	ereport(LOG,
			(errmsg("quorum: the old data are removed: there is no room for them and a copy")));
	(void) pgq_file_remove(DAMAGED);
	(void) mkdir(DAMAGED, pg_dir_create_mode);
}

static void
note_line(const char *line, void *arg)
{
	Told	   *told = arg;
	size_t		length = strlen(told->program);

	if (strncmp(line, told->program, length) == 0 && line[length] == ':')
		line += length + 2;
	if (strncmp(line, "error: ", 7) == 0)
		snprintf(told->why, QUORUM_REASON_SIZE, "%s: %s", told->program, line + 7);
	if (strstr(line, "No space left on device") != NULL)
		told->no_space = true;
	ereport(LOG, (errmsg("quorum: %s: %s", told->program, line)));
}
