/*
 * rewind.c
 *	  Brings a member whose log has left the cluster's back: by pg_rewind, at boot.
 *
 * It does not decide that a rewind is due, nor which node is the source (the core), and
 * it does not clear "recovering": the core does, when the log is complete again (S8).
 *
 * The worker writes the journal and asks for a restart in place.  The standby shuts down
 * cleanly, as pg_rewind wants it; pg_rewind itself never starts a server (H66).  The next
 * boot, here in the postmaster, does one step after the other, each of which may be
 * repeated, and notes in the journal what the data directory is worth (H64):
 *
 * requested	whole.  Does the source lead, and where did the logs part?
 * parking		whole, but on its way aside (parking.c), so that pg_rewind sees
 *				PostgreSQL's data and nothing else (V3, H63).
 * rewinding	may be half rewound.  Interrupted, it is repeated with the same source in
 *				the same term only: another leader need not have what was copied.
 * rewound		on its way back.
 * placed		back.  The server boots; streaming proves it (H65), then the journal goes.
 * failed		whole, no rewind for now.
 * hopeless		whole, but no rewind can help: a clone can.
 * needs-clone	of no use: a copy is made (clone.c), which then counts as rewound.
 *
 * Rules: R11, R14, S8, H63-H71.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xlog.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "postmaster/postmaster.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "compat.h"
#include "clone.h"
#include "foreign.h"
#include "journal.h"
#include "outside.h"
#include "parking.h"
#include "program.h"
#include "rewind.h"
#include "rewind_run.h"
#include "rollback.h"
#include "source.h"
#include "state.h"
#include "timeline.h"

#define SEGMENTS_KEPT_MAX 128	/* so that an interrupted rewind can be repeated */
#define READY_MS		30000	/* for the leader's first checkpoint */
#define READY_POLL_MS	100
#define SILENT_MAX		3		/* a question that gets no answer is asked again */
#define SILENT_MS		500
#define RERUNS_MAX		5		/* of a rewind that was interrupted, in one boot */
#define LEADER_POLL_MS	1000
#define LEADER_SAY_MS	30000

static emit_log_hook_type previous_log_hook = NULL;

/* Of the source, when it was asked for it last. */
static char source_history[PGQ_SOURCE_HISTORY_SIZE];

static bool is_under_way(const PgqJournal *journal);
static bool found_foreign(PgqJournal *journal, QuorumHardState *hard);
static void startup_log_hook(ErrorData *edata);
static void carry_out(PgqJournal *journal, const QuorumHardState *hard);
static bool needs_no_clone(PgqJournal *journal);
static bool examine(PgqJournal *journal);
static bool find_fork(PgqJournal *journal, char *why);
static bool source_leads(const PgqJournal *journal, bool for_rewind, char *why);
static bool park(PgqJournal *journal);
static void rewind_parked(PgqJournal *journal, const QuorumHardState *hard);
static void not_begun(PgqJournal *journal, const PgqRewindTold *told);
static void wait_for_source(PgqJournal *journal, const QuorumHardState *hard);
static bool someone_else_leads(const PgqJournal *journal, const QuorumHardState *hard,
							   char *why);
static void replace(PgqJournal *journal, const QuorumHardState *hard);
static void place(PgqJournal *journal);
static bool shut_down_cleanly(void);
static void give_up(PgqJournal *journal, PgqRewindPhase phase, const char *why);
static void enter(PgqJournal *journal, PgqRewindPhase phase);
static void remove_socket_locks(int code, Datum arg);
pg_noreturn static void refuse_to_start(const char *why);

/* ---- in the postmaster, at boot ---------------------------------------------- */

void
pgq_rewind_boot(void)
{
	static QuorumHardState hard;
	static PgqJournal journal;
	char		why[QUORUM_REASON_SIZE];
	PgqMembership membership;
	bool		whole;

	if (!pgq_journal_read(&journal))
		refuse_to_start("the journal of a rewind is damaged");
	if (!is_under_way(&journal) && !found_foreign(&journal, &hard))
		return;

	whole = journal.phase == PGQ_REWIND_REQUESTED || journal.phase == PGQ_REWIND_PLACED;
	membership = pgq_state_read(&hard, why);
	if (membership != PGQ_MEMBER)
	{
		/* a copy, or a member that was made independent: the journal is another one's */
		if (!whole)
			refuse_to_start(why);
		pgq_parking_clean();
		pgq_journal_remove();
		return;
	}
	ereport(LOG,
			(errmsg("quorum: a rewind in term %u with %s (%u) as its source is %s",
					journal.term, journal.source_name, journal.source,
					pgq_journal_phase_name(journal.phase))));
	on_proc_exit(remove_socket_locks, 0);
	if (!pgq_program_lock(PGQ_REWIND_LOCK))
		refuse_to_start("the lock of the rewind could not be taken");
	carry_out(&journal, &hard);
	pgq_program_unlock();
	if (journal.phase == PGQ_REWIND_PLACED)
	{
		previous_log_hook = emit_log_hook;
		emit_log_hook = startup_log_hook;
	}
}

static bool
is_under_way(const PgqJournal *journal)
{
	return journal->phase != PGQ_REWIND_NONE && journal->phase != PGQ_REWIND_FAILED &&
		journal->phase != PGQ_REWIND_HOPELESS;
}

/* W5.  That it has lost what it acknowledged is durable first (S8). */
static bool
found_foreign(PgqJournal *journal, QuorumHardState *hard)
{
	if (!pgq_foreign_log(hard, journal))
		return false;
	hard->recovering = true;
	if (!pgq_state_write(hard))
		refuse_to_start("its state could not be written");
	enter(journal, PGQ_REWIND_NEEDS_CLONE);
	return true;
}

/*
 * Rewound data are consistent when the leader's log has been read to where it ended at the
 * time.  A leader that died right then may have taken the last of it along: its successor
 * cannot help, and no boot ever would.
 */
static void
startup_log_hook(ErrorData *edata)
{
	static const char *const hopeless[] = {
		"requested timeline %u does not contain minimum recovery point",
		"unexpected timeline ID %u in checkpoint record, before reaching minimum recovery point",
		"requested timeline %u is not a child of this server's history",
		"could not locate required checkpoint record",
		"could not find redo location",
		"WAL ends before"
	};
	PgqJournal	journal;

	for (int i = 0; edata->elevel >= FATAL && edata->message_id != NULL && AmStartupProcess() &&
		 i < (int) lengthof(hopeless); i++)
	{
		if (strncmp(edata->message_id, hopeless[i], strlen(hopeless[i])) != 0 ||
			!pgq_journal_read(&journal) || journal.phase != PGQ_REWIND_PLACED)
			continue;
		journal.phase = PGQ_REWIND_NEEDS_CLONE;
		strlcpy(journal.reason, edata->message, sizeof(journal.reason));
		if (pgq_journal_write(&journal))
			pgq_request_restart(PGQ_RESTART_IMMEDIATE, "its rewound data cannot be used");
	}
	if (previous_log_hook)
		previous_log_hook(edata);
}

static void
carry_out(PgqJournal *journal, const QuorumHardState *hard)
{
	if (journal->phase == PGQ_REWIND_PARKING)
	{
		if (!pgq_parking_back())
			refuse_to_start("the data could not be moved back");
		enter(journal, PGQ_REWIND_REQUESTED);
	}
	if (journal->phase == PGQ_REWIND_REQUESTED)
	{
		pgq_parking_clean();
		if (!examine(journal) || !park(journal))
			return;
		enter(journal, PGQ_REWIND_REWINDING);
		rewind_parked(journal, hard);
	}
	else if (journal->phase == PGQ_REWIND_REWINDING)
	{
		wait_for_source(journal, hard);
		if (journal->phase == PGQ_REWIND_REWINDING)
			rewind_parked(journal, hard);
	}
	if (journal->phase == PGQ_REWIND_NEEDS_CLONE)
		replace(journal, hard);
	if (journal->phase == PGQ_REWIND_REWOUND)
		place(journal);
	if (journal->phase == PGQ_REWIND_PLACED)
	{
		pgq_outside_clean();
		pgq_parking_clean();
	}
}

static void
replace(PgqJournal *journal, const QuorumHardState *hard)
{
	char		why[QUORUM_REASON_SIZE];

	ereport(LOG,
			(errmsg("quorum: this node needs a new copy of the leader's data: %s",
					journal->reason)));
	if (!pgq_clone_possible(why))
	{
		char		needs[2 * QUORUM_REASON_SIZE];

		snprintf(needs, sizeof(needs), "needs a clone: %s; %s", journal->reason, why);
		refuse_to_start(needs);
	}

	/* a whole data directory, whose rewinds have failed before they began */
	if (journal->fork.tli == 0 && journal->source != QUORUM_NO_NODE &&
		access(PGQ_PARKED_DATA, F_OK) != 0 && source_leads(journal, true, why) &&
		find_fork(journal, why))
	{
		if (needs_no_clone(journal))
			return;
		(void) pgq_parking_save(journal->fork.lsn, journal->end.lsn);
		enter(journal, PGQ_REWIND_NEEDS_CLONE);
	}

	/* nothing to move when the data are aside already */
	if (!pgq_parking_away())
		refuse_to_start("the data could not be moved aside");
	if (!pgq_clone(journal, hard))
	{
		enter(journal, PGQ_REWIND_NEEDS_CLONE);
		refuse_to_start(journal->reason);
	}
	journal->cloned = true;
	enter(journal, PGQ_REWIND_REWOUND);
}

/*
 * H57: its log is part of the leader's, which was thought to have removed what comes next.
 * If it has it after all, the node streams as it is.
 */
static bool
needs_no_clone(PgqJournal *journal)
{
	static PgqSource source;

	if (journal->fork.tli != journal->end.tli || journal->end.lsn > journal->fork.lsn ||
		!pgq_source_make(&source, journal->source_host, journal->source_port) ||
		!pgq_source_has_wal(&source, journal->term, journal->end.tli, journal->end.lsn))
		return false;
	give_up(journal, PGQ_REWIND_FAILED, "the leader has the WAL that it needs");
	return true;
}

/*
 * Nothing has been touched yet: whatever is wrong, the server can boot as it is.  Histories
 * that cannot be compared stay so: the last rewind may have brought placeholders for ours,
 * from a leader that is a copy itself.
 */
static bool
examine(PgqJournal *journal)
{
	char		why[QUORUM_REASON_SIZE];
	bool		comparable = true;

	if (!shut_down_cleanly())
		strlcpy(why, "the server was not shut down cleanly", sizeof(why));
	else if (source_leads(journal, true, why))
	{
		comparable = find_fork(journal, why);
		if (comparable && pgq_outside_fits(why))
			return true;
	}
	give_up(journal, comparable ? PGQ_REWIND_FAILED : PGQ_REWIND_HOPELESS, why);
	return false;
}

/* Where our log left that of the leader, which has been asked. */
static bool
find_fork(PgqJournal *journal, char *why)
{
	static PgqHistory theirs;
	static PgqHistory ours;

	strlcpy(why, "the histories of the two logs cannot be compared", QUORUM_REASON_SIZE);
	if (!pgq_history_parse(&theirs, journal->term, source_history, strlen(source_history)) ||
		!pgq_history_load(&ours, journal->end.tli))
		return false;
	for (int i = 0; i < theirs.count && i < ours.count; i++)
	{
		XLogRecPtr	end = i + 1 < ours.count ? ours.parts[i].end : journal->end.lsn;

		if (theirs.parts[i].tli != ours.parts[i].tli)
			break;
		journal->fork.tli = ours.parts[i].tli;
		journal->fork.lsn = theirs.parts[i].end != InvalidXLogRecPtr ?
			Min(end, theirs.parts[i].end) : end;
		if (end != theirs.parts[i].end)
			break;
	}
	return journal->fork.tli != 0;
}

static bool
source_leads(const PgqJournal *journal, bool for_rewind, char *why)
{
	static PgqSource source;
	PgqSourceFacts facts = {.history = for_rewind ? source_history : NULL};
	PgqSourceAnswer answer;
	int			silent = 0;

	if (!pgq_source_make(&source, journal->source_host, journal->source_port))
	{
		strlcpy(why, "quorum.conninfo cannot be used", QUORUM_REASON_SIZE);
		return false;
	}
	for (int waited = 0; waited < READY_MS; waited += READY_POLL_MS)
	{
		pgq_outside_ask(&facts);
		answer = pgq_source_ask(&source, &facts, why);
		if (answer == PGQ_SOURCE_SILENT)
		{
			if (++silent == SILENT_MAX)
				return false;
			pgq_program_pause(SILENT_MS);
			continue;
		}
		if (facts.term != journal->term)
		{
			snprintf(why, QUORUM_REASON_SIZE, "%s leads term %u now", journal->source_name,
					 facts.term);
			return false;
		}
		if (answer == PGQ_SOURCE_LEADS)
			return true;
		pgq_program_pause(READY_POLL_MS);
	}
	snprintf(why, QUORUM_REASON_SIZE, "%s has made no checkpoint yet", journal->source_name);
	return false;
}

static bool
park(PgqJournal *journal)
{
	bool		crc_ok;
	ControlFileData *control = get_controlfile(DataDir, &crc_ok);
	XLogRecPtr	begin = 0;
	XLogRecPtr	end = Max(journal->end.lsn,
						  Max(control->minRecoveryPoint, control->checkPoint));
	XLogRecPtr	most = (XLogRecPtr) SEGMENTS_KEPT_MAX * wal_segment_size;

	/* pg_rewind reads from the last checkpoint before the fork */
	if (control->checkPoint < journal->fork.lsn)
		begin = control->checkPointCopy.redo;
	pfree(control);
	if (end - begin > most)
		begin = Min(journal->fork.lsn, end - most);
	if (!pgq_parking_save(begin, end + wal_segment_size))
	{
		give_up(journal, PGQ_REWIND_FAILED, "its WAL could not be copied aside");
		return false;
	}
	enter(journal, PGQ_REWIND_PARKING);
	if (pgq_parking_away())
		return true;

	/* a mount point inside the data directory, for example */
	if (!pgq_parking_back())
		refuse_to_start("the data could be moved neither aside nor back");
	give_up(journal, PGQ_REWIND_FAILED, "its data could not be moved aside");
	return false;
}

static void
rewind_parked(PgqJournal *journal, const QuorumHardState *hard)
{
	PgqRewindTold told;

	for (int i = 0; i < RERUNS_MAX; i++)
	{
		if (i > 0)
		{
			wait_for_source(journal, hard);
			if (journal->phase != PGQ_REWIND_REWINDING)
				return;
		}
		memset(&told, 0, sizeof(told));
		if (pgq_rewind_run(journal, &told) && !told.nothing_to_do)
		{
			enter(journal, PGQ_REWIND_REWOUND);
			return;
		}

		/* the first run of a whole directory, and it did not begin; or it was killed before */
		if (!told.writing && journal->reason[0] == '\0')
		{
			if (told.error[0] == '\0' && !told.nothing_to_do)
				continue;
			not_begun(journal, &told);
			return;
		}
		strlcpy(journal->reason, told.error[0] != '\0' ? told.error : "pg_rewind was ended",
				sizeof(journal->reason));
		enter(journal, PGQ_REWIND_REWINDING);
		if (told.hopeless)
			break;
	}
	enter(journal, PGQ_REWIND_NEEDS_CLONE);
}

/* The data are aside, and whole. */
static void
not_begun(PgqJournal *journal, const PgqRewindTold *told)
{
	char		why[QUORUM_REASON_SIZE];
	const char *reason = told->nothing_to_do ? "pg_rewind saw nothing to rewind" : told->error;

	/* its log is not the leader's, as streaming found, whatever pg_rewind makes of it */
	bool		hopeless = told->hopeless || told->nothing_to_do;

	if (hopeless && pgq_clone_possible(why))
	{
		strlcpy(journal->reason, reason, sizeof(journal->reason));
		enter(journal, PGQ_REWIND_NEEDS_CLONE);
		return;
	}
	if (!pgq_parking_restore_saved() || !pgq_parking_back())
		refuse_to_start("the data could not be moved back");
	give_up(journal, hopeless ? PGQ_REWIND_HOPELESS : PGQ_REWIND_FAILED, reason);
}

/*
 * For a rewind that was interrupted.  The leader is the only one whose data are known to
 * agree with what has been copied; it may take its time.  Another leader ends the wait.
 */
static void
wait_for_source(PgqJournal *journal, const QuorumHardState *hard)
{
	char		why[QUORUM_REASON_SIZE];
	int			waited = 0;

	if (journal->reason[0] == '\0')
	{
		strlcpy(journal->reason, "the rewind was interrupted", sizeof(journal->reason));
		enter(journal, PGQ_REWIND_REWINDING);
	}
	while (!source_leads(journal, false, why))
	{
		if (someone_else_leads(journal, hard, journal->reason))
		{
			enter(journal, PGQ_REWIND_NEEDS_CLONE);
			return;
		}
		if (waited % LEADER_SAY_MS == 0)
			ereport(LOG,
					(errmsg("quorum: waiting for %s (%u) to go on with the rewind in term %u: %s",
							journal->source_name, journal->source, journal->term, why)));
		pgq_program_pause(LEADER_POLL_MS);
		waited += LEADER_POLL_MS;
	}
	if (!pgq_parking_restore_saved())
		refuse_to_start("the WAL that was kept could not be copied back");
}

static bool
someone_else_leads(const PgqJournal *journal, const QuorumHardState *hard, char *why)
{
	static PgqSource source;
	char		answer[QUORUM_REASON_SIZE];

	for (int i = 0; i < hard->members.count; i++)
	{
		const QuorumMember *member = &hard->members.members[i];
		PgqSourceFacts facts = {0};

		if (member->id == hard->node_id || member->pg_port == 0 ||
			!pgq_source_make(&source, member->host, member->pg_port) ||
			pgq_source_ask(&source, &facts, answer) == PGQ_SOURCE_SILENT ||
			facts.term <= journal->term)
			continue;
		snprintf(why, QUORUM_REASON_SIZE,
				 "the rewind was interrupted, then %s became the leader of term %u",
				 member->name, facts.term);
		return true;
	}
	return false;
}

static void
place(PgqJournal *journal)
{
	if (!pgq_outside_place() || !pgq_parking_back())
		refuse_to_start("the rewound data could not be moved back");
	if (journal->fork.tli != 0)
		pgq_rollback_keep(journal);
	enter(journal, PGQ_REWIND_PLACED);

	/* the server has read the file that was here when it began to start */
	LocalProcessControlFile(true);
}

static bool
shut_down_cleanly(void)
{
	bool		crc_ok;
	ControlFileData *control = get_controlfile(DataDir, &crc_ok);
	bool		clean = crc_ok && (control->state == DB_SHUTDOWNED ||
								   control->state == DB_SHUTDOWNED_IN_RECOVERY);

	pfree(control);
	return clean;
}

/* ---- the journal -------------------------------------------------------------- */

/* The data directory is whole: the server boots as the standby it was. */
static void
give_up(PgqJournal *journal, PgqRewindPhase phase, const char *why)
{
	strlcpy(journal->reason, why, sizeof(journal->reason));
	ereport(LOG,
			(errmsg("quorum: this node was not rewound: %s", why),
			 errdetail("Attempt %d in term %u.", journal->attempts, journal->term)));
	enter(journal, phase);
	pgq_parking_clean();
}

static void
enter(PgqJournal *journal, PgqRewindPhase phase)
{
	journal->phase = phase;
	if (!pgq_journal_write(journal))
		refuse_to_start("the journal of the rewind could not be written");
}

/*
 * The last life of this process left the lock files of its sockets behind, for this one to
 * take over.  One that ends before it has sockets would leave them for good.
 */
static void
remove_socket_locks(int code, Datum arg)
{
	char	   *names = pstrdup(Unix_socket_directories ? Unix_socket_directories : "");
	List	   *directories = NIL;
	ListCell   *cell;

	(void) code;
	(void) arg;
	if (MyProcPid != PostmasterPid || !SplitDirectoriesString(names, ',', &directories))
		return;
	foreach(cell, directories)
	{
		char		path[MAXPGPATH];
		FILE	   *file;
		int			pid = 0;

		snprintf(path, sizeof(path), "%s/.s.PGSQL.%d.lock", (char *) lfirst(cell),
				 PostPortNumber);
		file = fopen(path, "r");
		if (file == NULL)
			continue;
		if (fscanf(file, "%d", &pid) == 1 && pid == MyProcPid)
			(void) unlink(path);
		fclose(file);
	}
}

static void
refuse_to_start(const char *why)
{
	ereport(FATAL,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("quorum: this data directory cannot be started: %s", why),
			 errdetail("Its rewind has not come to an end; \"%s\" tells more.",
					   PGQ_REWIND_DIR "/journal"),
			 errhint("Start it again when the cause is gone, or make a new base backup of the leader.")));
	pg_unreachable();
}
