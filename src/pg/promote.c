/*
 * promote.c
 *	  Turns this standby into the primary of the timeline it was elected for.
 *
 * It does not decide who is elected (src/core) and does not open the gate (worker).
 * The startup process picks the timeline by itself, "newest history file + 1"; the
 * placeholders make that the elected term, the guard stops it when it is not.
 *
 * Rules: S4, R13 (logend.c), R15 (placeholders right before the signal), R17, R20 / V8
 * (guard), V18 (bounded gap), H34 (a paused replay goes on).
 */
#include "postgres.h"

#include <signal.h>
#include <unistd.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogrecovery.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/elog.h"

#include "compat.h"
#include "logend.h"
#include "promote.h"
#include "timeline.h"
#include "walcopy.h"
#include "walfiles.h"

/* The signal is sent again when the promotion has not happened by then. */
#define SIGNAL_AGAIN_US 1000000

/* How the startup process announces the timeline it is about to take. */
#define ANNOUNCEMENT "selected new timeline ID: %u"

static emit_log_hook_type prev_emit_log_hook = NULL;

static PgqLogLevelHook prev_log_level_check = NULL;

static bool log_level_check(PgqLogLevel *newval, void **extra, GucSource source);
static void guard_log_hook(ErrorData *edata);
static void guard_check(TimeLineID tli);
static TimeLineID announced_timeline(const char *message);
static bool prepare_log(bool *later, char *why);
static bool prepare_timeline(QuorumTerm term, char *why);
static bool signal_promotion(char *why);

void
pgq_promote_init(void)
{
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = guard_log_hook;
}

/* For every process of this boot: children inherit value and hook, reloads pass the hook. */
void
pgq_promote_keep_log_level(void)
{
	static bool installed = false;
	struct config_generic *setting;

	if (!installed)
	{
		setting = pgq_find_setting("log_min_messages");
		if (setting == NULL)
			elog(FATAL, "setting \"log_min_messages\" not found");
		prev_log_level_check = pgq_log_level_hook(setting);
		pgq_log_level_hook(setting) = log_level_check;
		installed = true;
	}
	if (pgq_startup_log_level() >= FATAL)
		SetConfigOption("log_min_messages", "log", PGC_POSTMASTER, PGC_S_OVERRIDE);
}

bool
pgq_promote(QuorumTerm term, char *why)
{
	static QuorumTerm signalled_term = 0;
	static uint64 signalled_at = 0;

	why[0] = '\0';
	pg_atomic_write_u64(&pgq_shared->elected_term, term);
	if (!RecoveryInProgress())
		return true;
	if (signalled_term == term && pgq_now_mono() < signalled_at + SIGNAL_AGAIN_US)
		return true;

	/* once promotion is under way the history file of our own term may be there */
	if (signalled_term != term)
	{
		bool		later = false;

		if (!prepare_log(&later, why))
			return false;
		if (later)
			return true;
		if (!prepare_timeline(term, why))
			return false;
	}
	SetRecoveryPause(false);
	if (!signal_promotion(why))
		return false;

	signalled_term = term;
	signalled_at = pgq_now_mono();
	return true;
}

/*
 * The new history names the newest timeline on disk as its parent, whether or not a
 * byte of it is here.  A parent that begins after the end of our log would make a
 * timeline that ends before it begins (V6 iii).
 */
bool
pgq_promote_possible(QuorumWalPos log_end, char *why)
{
	PgqHistory	history = {0};
	TimeLineID	newest = pgq_walfiles_newest(true);
	XLogRecPtr	begin;
	bool		possible = false;

	/* a base backup brings no history file of its own timeline when no WAL of a switch is in it */
	newest = Max(newest, log_end.tli);
	if (log_end.tli == newest)
		return true;

	if (!pgq_history_load(&history, newest))
		snprintf(why, QUORUM_REASON_SIZE, "the history file of timeline %u is damaged", newest);
	else
	{
		begin = history.parts[history.count - 1].begin;
		possible = pgq_history_contains(&history, log_end.tli, log_end.lsn) &&
			begin <= log_end.lsn;
		if (!possible)
			snprintf(why, QUORUM_REASON_SIZE,
					 "the log ends at %X/%X of timeline %u, but the newest history file is of timeline %u, which begins at %X/%X",
					 LSN_FORMAT_ARGS(log_end.lsn), log_end.tli, newest, LSN_FORMAT_ARGS(begin));
	}
	free(history.parts);
	return possible;
}

TimeLineID
pgq_newest_timeline(void)
{
	return pgq_walfiles_newest(false);
}

/*
 * A promotion reads the last record again, from the newest timeline that has its segment: that
 * may be no more than the begin of a copy.  And the newest timeline becomes a part of the next
 * one's history, with or without bytes (P6).  later: a walreceiver may be writing still.
 */
static bool
prepare_log(bool *later, char *why)
{
	TimeLineID	tli = 0;
	TimeLineID	redo_tli;
	XLogRecPtr	redo;

	(void) GetXLogReplayRecPtr(&tli);
	if (tli == pgq_walfiles_newest(true))
		return true;

	SpinLockAcquire(&pgq_shared->stream_mutex);
	*later = pgq_shared->stream.connected;
	SpinLockRelease(&pgq_shared->stream_mutex);
	if (*later)
		return true;

	GetOldestRestartPoint(&redo, &redo_tli);
	if (pgq_walcopy_finish(redo))
		return true;
	strlcpy(why, "the first segment of a timeline could not be made whole", QUORUM_REASON_SIZE);
	return false;
}

static bool
prepare_timeline(QuorumTerm term, char *why)
{
	TimeLineID	newest = pgq_walfiles_newest(false);

	if (term <= newest)
	{
		snprintf(why, QUORUM_REASON_SIZE,
				 "timeline %u has a history file here, elected for term %u", newest, term);
		return false;
	}
	if (term - newest > QUORUM_TERM_GAP_MAX)
	{
		snprintf(why, QUORUM_REASON_SIZE,
				 "term %u is too far from timeline %u, the newest one here", term, newest);
		return false;
	}
	if (!pgq_walfiles_fill(term - 1))
	{
		strlcpy(why, "could not write the history files of the skipped terms", QUORUM_REASON_SIZE);
		return false;
	}
	return true;
}

/* As pg_promote() does it: works while recovery runs, hot standby open or not. */
static bool
signal_promotion(char *why)
{
	int			fd = BasicOpenFile(PROMOTE_SIGNAL_FILE, O_WRONLY | O_CREAT | PG_BINARY);

	if (fd < 0)
	{
		snprintf(why, QUORUM_REASON_SIZE, "could not create file \"%s\": %s",
				 PROMOTE_SIGNAL_FILE, strerror(errno));
		return false;
	}
	close(fd);
	if (kill(PostmasterPid, SIGUSR1) != 0)
	{
		snprintf(why, QUORUM_REASON_SIZE, "could not signal the postmaster: %s", strerror(errno));
		(void) unlink(PROMOTE_SIGNAL_FILE);
		return false;
	}
	return true;
}

static bool
log_level_check(PgqLogLevel *newval, void **extra, GucSource source)
{
	if (prev_log_level_check && !prev_log_level_check(newval, extra, source))
		return false;
	if (pgq_startup_level_of(*newval, *extra) < FATAL)
		return true;
	return pgq_log_level_make_log(newval, extra, source, prev_log_level_check);
}

/*
 * The startup process says which timeline it has chosen before it writes any file of
 * it: the last moment at which a promotion leaves no trace.
 */
static void
guard_log_hook(ErrorData *edata)
{
	static bool checking = false;

	if (MyBackendType == B_STARTUP && !checking && edata->message_id != NULL &&
		strcmp(edata->message_id, ANNOUNCEMENT) == 0)
	{
		checking = true;
		guard_check(announced_timeline(edata->message));
		checking = false;
	}
	if (prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

/* Returns only when the promotion may go on. */
static void
guard_check(TimeLineID tli)
{
	bool		elected;
	bool		again;

	if (pgq_shared == NULL ||
		(pgq_shared->boot_membership == PGQ_NO_MEMBER && !pgq_is_member()))
		return;
	elected = pgq_is_member() && tli != 0 &&
		pg_atomic_read_u64(&pgq_shared->elected_term) == tli &&
		pg_atomic_read_u64(&pgq_shared->fence_term) == tli;
	if (elected && pgq_logend_reached())
		return;

	/*
	 * A recovery that ends in a promotion by itself would only do it again; and a boot that
	 * does not know of the damage would take the log for whole.
	 */
	again = access(STANDBY_SIGNAL_FILE, F_OK) != 0 || (elected && !pgq_logend_keep());
	if (!again)
		pg_atomic_write_u32(&pgq_shared->restart_mode, PGQ_RESTART_IMMEDIATE);
	ereport(LOG,
			(elected ?
			 errmsg("quorum: promotion to timeline %u stopped: the log is damaged", tli) :
			 errmsg("quorum: promotion to timeline %u stopped: this node was not elected in term %u",
					tli, tli),
			 again ? errdetail("The server stops.") :
			 errdetail("The server restarts in place as a standby."),
			 pgq_is_member() ?
			 errhint("The members of the cluster elect the primary; see quorum.members for what keeps them from it.") :
			 errhint("To make this server independent of the cluster, stop it, remove the directory \"pg_quorum\" from its data directory and start it again.")));

	/* the postmaster takes it for a failed startup, exits, and comes back as a standby */
	_exit(2);
}

/* The message may be translated; its only number is the timeline.  0 when there is none. */
static TimeLineID
announced_timeline(const char *message)
{
	size_t		length = message == NULL ? 0 : strcspn(message, "0123456789");

	if (length == 0 || message[length] == '\0')
		return 0;
	return (TimeLineID) strtoul(message + length, NULL, 10);
}
