/*
 * restart.c
 *	  In the postmaster: how this server boots, and how it boots again in place.
 *
 * It does not decide that a restart is needed (worker, guard, walreceiver).  The new
 * server is the same process: supervisors, containers and pg_ctl see one pid.
 *
 * Order at exit: the memory is detached (note_request has copied what it says),
 * sockets and their files are gone, then restart_in_place runs, and only if it
 * returns is the lock file removed: nobody else can take the data directory between.
 *
 * Rules: V7 / R19 (a member boots as a standby), R16, P6, S9, S10.
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "postmaster/syslogger.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "utils/guc.h"

#include "notify.h"
#include "relaunch.h"
#include "restart.h"
#include "walcopy.h"
#include "walfiles.h"

/* More restarts in place than this within the window: something is wrong for good. */
#define RESTARTS_MAX		10
#define RESTARTS_WINDOW_US	INT64CONST(60000000)

/* Handed to the next life: "<restarts> <boot clock of the first one> <1 = collector's pipe>". */
#define RESTARTS_VARIABLE	"PG_QUORUM_RESTARTS"

typedef struct RestartHistory
{
	int			count;
	int64		since;			/* boot clock, microseconds */
	int			collected;		/* stderr is the pipe of a log collector of an earlier life */
} RestartHistory;

/* Copied out of shared memory before it goes away; only the postmaster's copy counts. */
static PgqRestartMode exit_mode = PGQ_RESTART_NONE;
static TimeLineID exit_forget_above = 0;
static bool exit_has_served = false;

static RestartHistory restarts;

/*
 * Shutdown signals that reached the postmaster.  More than we have sent: an operator
 * wants it to stop as well, and that is the stronger wish.
 */
static volatile sig_atomic_t signals_received = 0;
static uint32 exit_signals_sent = 0;
static const int shutdown_signals[] = {SIGTERM, SIGINT, SIGQUIT};
static struct sigaction server_actions[lengthof(shutdown_signals)];

static emit_log_hook_type prev_emit_log_hook = NULL;

static void note_request(int code, Datum arg);
static void restart_in_place(int code, Datum arg);
static void keep_external_pid_file(void);
static bool count_restart(void);
static void forget_timelines(TimeLineID keep);
static void shutdown_log_hook(ErrorData *edata);
static void count_shutdown_signals(void);
static void on_shutdown_signal(int signal);
static void keep_pending_request(void);
static void release_collector(void);
static void boot_as_standby(void);
static void clean_timelines(void);
static bool create_standby_signal(void);

void
pgq_restart_init(void)
{
	const char *history = getenv(RESTARTS_VARIABLE);

	if (!IsPostmasterEnvironment || MyProcPid != PostmasterPid)
		return;
	if (history == NULL ||
		sscanf(history, "%d " INT64_FORMAT " %d",
			   &restarts.count, &restarts.since, &restarts.collected) != 3)
		memset(&restarts, 0, sizeof(restarts));
	(void) unsetenv(RESTARTS_VARIABLE);

	pgq_relaunch_keep_arguments();
	count_shutdown_signals();
	on_proc_exit(restart_in_place, 0);
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = shutdown_log_hook;
}

void
pgq_restart_prepare_boot(void)
{
	if (!IsPostmasterEnvironment || IsBinaryUpgrade)
		return;

	/* callbacks of the shared memory end with it, so again at every crash-restart */
	on_shmem_exit(note_request, 0);
	keep_pending_request();
	release_collector();

	/* a crash-restart leaves it, and any signal would then promote (postmaster.c) */
	if (pgq_shared->boot_membership != PGQ_NO_MEMBER)
		(void) unlink(PROMOTE_SIGNAL_FILE);

	switch (pgq_shared->boot_membership)
	{
		case PGQ_NO_MEMBER:
			break;
		case PGQ_MEMBER:
		case PGQ_MISCONFIGURED:
			boot_as_standby();
			clean_timelines();
			break;
		case PGQ_STATE_UNREADABLE:
			boot_as_standby();
			ereport(LOG,
					(errmsg("quorum: this node takes no part in votes: %s", pgq_shared->notice),
					 errdetail("It boots as a standby."),
					 errhint("Make a new base backup of the leader and add it as a new member. To make this server independent of the cluster, stop it, remove the directory \"pg_quorum\" and \"standby.signal\" from its data directory and start it again.")));
			break;
		case PGQ_STATE_FOREIGN:
			/* a copy made for a new standby stays as its maker has set it up */
			if (access(STANDBY_SIGNAL_FILE, F_OK) != 0 &&
				access(RECOVERY_SIGNAL_FILE, F_OK) != 0)
				boot_as_standby();
			ereport(LOG,
					(errmsg("quorum: this node takes no part in votes: %s", pgq_shared->notice),
					 errdetail("A copied, moved or restored data directory is no member of the cluster; it boots as a standby."),
					 errhint("If it was only moved, move it back. Use quorum.add_member() on the leader to make it a member. To make this server independent of the cluster, stop it, remove the directory \"pg_quorum\" and \"standby.signal\" from its data directory and start it again.")));
			break;
	}
}

void
pgq_restart_mark_standby(void)
{
	(void) create_standby_signal();
}

/* In the postmaster, shared memory still attached; children have forgotten this callback. */
static void
note_request(int code, Datum arg)
{
	(void) code;
	(void) arg;
	if (pgq_shared == NULL || MyProcPid != PostmasterPid)
		return;
	exit_mode = (PgqRestartMode) pg_atomic_read_u32(&pgq_shared->restart_mode);
	exit_signals_sent = pg_atomic_read_u32(&pgq_shared->restart_signals);
	exit_forget_above = (TimeLineID) pg_atomic_read_u64(&pgq_shared->forget_above);
	exit_has_served = pg_atomic_read_u32(&pgq_shared->has_served) != 0;
}

/*
 * Returns when there is to be no restart, or when it failed: then the exit goes on.
 */
static void
restart_in_place(int code, Datum arg)
{
	char		history[64];

	(void) arg;
	if (MyProcPid != PostmasterPid || getpid() != PostmasterPid)
		return;

	/* from here on a shutdown request waits for the next life: no handler may swallow it */
	pgq_relaunch_block_signals();
	if (exit_mode == PGQ_RESTART_NONE || (uint32) signals_received > exit_signals_sent)
		return;

	/* one of ours that came too late to be received must not stop the next life */
	if ((uint32) signals_received < exit_signals_sent)
		pgq_relaunch_forget_signal(exit_mode == PGQ_RESTART_IMMEDIATE ? SIGQUIT : SIGINT);

	/* a startup process that fails early ends the postmaster while others still live */
	if (code != 0)
		pgq_relaunch_end_children();
	if (exit_forget_above != 0)
		forget_timelines(exit_forget_above);
	if (!count_restart())
		ereport(FATAL,
				(errmsg("quorum: giving up after %d restarts in place within %d seconds",
						RESTARTS_MAX, (int) (RESTARTS_WINDOW_US / 1000000)),
				 errhint("The server log says why each of them was needed.")));

	snprintf(history, sizeof(history), "%d " INT64_FORMAT " %d",
			 restarts.count, restarts.since, Logging_collector ? 1 : restarts.collected);
	(void) setenv(RESTARTS_VARIABLE, history, 1);
	pgq_notify_unmute();
	keep_external_pid_file();

	pgq_relaunch();
	ereport(LOG,
			(errmsg("quorum: could not start \"%s\" again: %m", my_exec_path)));
}

/*
 * The server has removed external_pid_file by now and writes it again when its ports are
 * open, which is much later when there is something to rewind.
 */
static void
keep_external_pid_file(void)
{
	FILE	   *file = external_pid_file ? fopen(external_pid_file, "w") : NULL;

	if (file == NULL)
		return;
	fprintf(file, "%d\n", MyProcPid);
	fclose(file);
	(void) chmod(external_pid_file, S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH);
}

/* A life that has served is no sign of anything wrong, however short it was. */
static bool
count_restart(void)
{
	int64		now = (int64) pgq_now_boot();

	if (restarts.count == 0 || exit_has_served || now - restarts.since > RESTARTS_WINDOW_US)
	{
		restarts.count = 0;
		restarts.since = now;
	}
	restarts.count++;
	return restarts.count <= RESTARTS_MAX;
}

static void
forget_timelines(TimeLineID keep)
{
	bool		crc_ok;
	ControlFileData *control = get_controlfile(DataDir, &crc_ok);

	/* the timeline of the last checkpoint holds our log, whatever the request says */
	if (!crc_ok || control->checkPointCopy.ThisTimeLineID > keep)
		ereport(LOG,
				(errmsg("quorum: not removing WAL of timelines above %u: the last checkpoint is on timeline %u",
						keep, control->checkPointCopy.ThisTimeLineID)));
	else
		pgq_walfiles_forget_above(keep);
	pfree(control);
}

/*
 * The postmaster logs a shutdown request right before it tells systemd that it stops.
 * A service that stops and does not exit in time is killed, so systemd must not hear it.
 */
static void
shutdown_log_hook(ErrorData *edata)
{
	if (MyProcPid == PostmasterPid && edata->message_id != NULL &&
		(strcmp(edata->message_id, "received fast shutdown request") == 0 ||
		 strcmp(edata->message_id, "received immediate shutdown request") == 0) &&
		pgq_shared != NULL &&
		pg_atomic_read_u32(&pgq_shared->restart_mode) != PGQ_RESTART_NONE)
		pgq_notify_mute();
	if (prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

static void
count_shutdown_signals(void)
{
	for (int i = 0; i < (int) lengthof(shutdown_signals); i++)
	{
		struct sigaction action;

		if (sigaction(shutdown_signals[i], NULL, &server_actions[i]) != 0 ||
			server_actions[i].sa_handler == SIG_DFL || server_actions[i].sa_handler == SIG_IGN)
			continue;
		action = server_actions[i];
		action.sa_handler = on_shutdown_signal;
		(void) sigaction(shutdown_signals[i], &action, NULL);
	}
}

/* Children have handlers of their own before they unblock any signal. */
static void
on_shutdown_signal(int signal)
{
	signals_received++;
	for (int i = 0; i < (int) lengthof(shutdown_signals); i++)
	{
		if (shutdown_signals[i] == signal)
			server_actions[i].sa_handler(signal);
	}
}

/*
 * A crash-restart between the request and its signal makes new shared memory: the
 * signal that is still to come is ours, not an operator's.  From 16 on the handler only
 * makes a note; one that has been received is still to be obeyed, as a server that had
 * obeyed it would not make new shared memory.
 */
static void
keep_pending_request(void)
{
	bool		received = signals_received > 0 &&
		(uint32) signals_received <= exit_signals_sent;
	sigset_t	pending;

	if (exit_mode != PGQ_RESTART_NONE &&
		(received ||
		 (sigpending(&pending) == 0 &&
		  sigismember(&pending, exit_mode == PGQ_RESTART_FAST ? SIGINT : SIGQUIT))))
	{
		pg_atomic_write_u64(&pgq_shared->forget_above, exit_forget_above);
		pg_atomic_write_u32(&pgq_shared->restart_mode, exit_mode);
		pg_atomic_write_u32(&pgq_shared->restart_signals, received ? 0 : 1);
	}
	signals_received = 0;
	exit_mode = PGQ_RESTART_NONE;
	exit_forget_above = 0;
}

/*
 * Standard error is still the pipe of the last life's log collector, so that nothing
 * is lost up to here.  The collector that starts next must not inherit it: the old
 * one would never see its end.
 */
static void
release_collector(void)
{
	int			fd;

	if (!restarts.collected || !Logging_collector)
		return;
	fd = open(DEVNULL, O_WRONLY);
	if (fd < 0)
		return;
	(void) dup2(fd, STDOUT_FILENO);
	(void) dup2(fd, STDERR_FILENO);
	close(fd);
	restarts.collected = 0;
}

/* V7: whatever ended the last life, and however far a promotion had come. */
static void
boot_as_standby(void)
{
	if (!create_standby_signal())
		ereport(FATAL,
				(errmsg("quorum: could not make sure that this member starts as a standby"),
				 errhint("The data directory must be writable.")));
}

/* A history that goes because of its segment leaves another one for recovery to aim at. */
static void
clean_timelines(void)
{
	bool		crc_ok;
	ControlFileData *control = get_controlfile(DataDir, &crc_ok);
	TimeLineID	log_tli = control->checkPointCopy.ThisTimeLineID;
	XLogRecPtr	redo = control->checkPointCopy.redo;
	TimeLineID	newest;

	if (control->minRecoveryPoint != InvalidXLogRecPtr)
		log_tli = Max(log_tli, control->minRecoveryPointTLI);
	pfree(control);
	if (!crc_ok)
		return;

	do
	{
		newest = pgq_walfiles_newest(true);
		pgq_walcopy_clean(redo);
		pgq_walfiles_clean(log_tli);
	} while (pgq_walfiles_newest(true) != newest);
	(void) pgq_walfiles_fill(pgq_walfiles_newest(true) - 1);
}

static bool
create_standby_signal(void)
{
	int			fd = BasicOpenFile(STANDBY_SIGNAL_FILE, O_WRONLY | O_CREAT | PG_BINARY);
	int			directory = BasicOpenFile(".", O_RDONLY | PG_BINARY);
	bool		durable;

	durable = fd >= 0 && directory >= 0 && fsync(fd) == 0 && fsync(directory) == 0;
	if (!durable)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", STANDBY_SIGNAL_FILE)));
	if (fd >= 0)
		close(fd);
	if (directory >= 0)
		close(directory);
	return durable;
}
