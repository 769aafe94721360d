/*
 * rewind_run.c
 *	  Runs pg_rewind on the data that were moved aside, and understands what it says.
 *
 * Not here: what follows from it (rewind.c).  Its words are those of LC_ALL=C (program.c).
 */
#include "postgres.h"

#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "parking.h"
#include "program.h"
#include "rewind_run.h"
#include "source.h"

/* What no other attempt changes: the WAL back to the last common checkpoint is gone, or damaged. */
static const char *const hopeless_errors[] = {
	"could not find previous WAL record at",
	"could not find common ancestor of",
	"could not read WAL record at"
};

static void name_timeline(void);
static void note_line(const char *line, void *arg);

bool
pgq_rewind_run(const PgqJournal *journal, PgqRewindTold *told)
{
	static PgqSource source;
	const char *arguments[] = {"--no-ensure-shutdown", "--no-sync", "--progress",
	"-D", PGQ_PARKED_DATA, "--source-server", source.conninfo, NULL};
	TimestampTz start = GetCurrentTimestamp();

	name_timeline();
	if (!pgq_source_make(&source, journal->source_host, journal->source_port))
		strlcpy(told->error, "quorum.conninfo cannot be used", sizeof(told->error));
	else if (pgq_program_run("pg_rewind", arguments,
							 source.secret[0] != '\0' ? source.secret : NULL, note_line, told) &&
			 pgq_parking_sync())
	{
		ereport(LOG,
				(errmsg("quorum: pg_rewind took %.1f s",
						TimestampDifferenceMilliseconds(start, GetCurrentTimestamp()) / 1000.0)));
		return true;
	}
	return false;
}

/*
 * Whoever left the log on a timeline on which it has no checkpoint yet would be rewound to the
 * wrong place, or not at all.  Data that are moved back get their own pg_control again.
 */
static void
name_timeline(void)
{
	bool		crc_ok;
	ControlFileData *control = get_controlfile(PGQ_PARKED_DATA, &crc_ok);

	if (!PGQ_REWIND_KNOWS_REPLAYED_TIMELINE && crc_ok &&
		control->minRecoveryPointTLI > control->checkPointCopy.ThisTimeLineID)
	{
		control->checkPointCopy.ThisTimeLineID = control->minRecoveryPointTLI;
		update_controlfile(PGQ_PARKED_DATA, control, true);
	}
	pfree(control);
}

static void
note_line(const char *line, void *arg)
{
	PgqRewindTold *told = arg;
	const char *text = strncmp(line, "pg_rewind: ", 11) == 0 ? line + 11 : line;

	if (strncmp(text, "no rewind required", 18) == 0)
		told->nothing_to_do = true;
	else if (strncmp(text, "need to copy", 12) == 0)
		told->writing = true;
	else if (strncmp(text, "error: ", 7) == 0 || strncmp(text, "fatal: ", 7) == 0)
	{
		snprintf(told->error, sizeof(told->error), "pg_rewind: %s", text + 7);
		for (int i = 0; i < (int) lengthof(hopeless_errors); i++)
			told->hopeless |= strncmp(text + 7, hopeless_errors[i],
									  strlen(hopeless_errors[i])) == 0;
	}
	ereport(LOG, (errmsg("quorum: pg_rewind: %s", text)));
}
