/*
 * program.c
 *	  Runs one of PostgreSQL's own programs as a child of the postmaster, to its end.
 *
 * It does not know what the programs are for (source.c, rewind.c).
 *
 * The postmaster is not in its loop yet: it is kept from its signals from lock to unlock,
 * so that a shutdown request waits to be found pending.  A postmaster that is killed takes
 * the program with it (PR_SET_PDEATHSIG); should the program outlive it nevertheless, because
 * it is frozen, or a child of it, the next postmaster ends it, and waits for the lock that
 * it inherited.
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/ipc.h"

#include "compat.h"
#include "notify.h"
#include "program.h"

#define ARGUMENTS_MAX	32
#define LINE_SIZE		1024
#define POLL_MS			50
#define LOCK_SAY_MS		5000

static int	lock_fd = -1;
static sigset_t mask_before;	/* the lock was taken */

pg_noreturn static void become_program(const char *path, const char *const *arguments,
									   const char *password, int output);
static int	read_output(int input, pid_t pid, PgqProgramLine line, void *arg);
static size_t give_lines(char *text, size_t length, PgqProgramLine line, void *arg);
static bool shutdown_pending(void);
static void end_holders(int lock);
pg_noreturn static void end_server(pid_t pid);

bool
pgq_program_find(const char *name, char *path)
{
	char	   *slash;

	strlcpy(path, my_exec_path, MAXPGPATH);
	slash = strrchr(path, '/');
	if (slash != NULL)
		slash[1] = '\0';
	strlcat(path, name, MAXPGPATH);
	return access(path, X_OK) == 0;
}

bool
pgq_program_run(const char *name, const char *const *arguments, const char *password,
				PgqProgramLine line, void *arg)
{
	char		path[MAXPGPATH];
	int			ends[2];
	pid_t		pid;
	int			status;

	if (!pgq_program_find(name, path) || pipe(ends) != 0)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not execute \"%s\": %m", path)));
		return false;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0)
	{
		close(ends[0]);
		become_program(path, arguments, password, ends[1]);
	}
	close(ends[1]);
	if (pid < 0)
	{
		ereport(LOG, (errmsg("could not fork: %m")));
		close(ends[0]);
		return false;
	}
	status = read_output(ends[0], pid, line, arg);
	close(ends[0]);
	if (WIFSIGNALED(status))
		ereport(LOG,
				(errmsg("quorum: %s was ended by signal %d", name, WTERMSIG(status))));
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Between fork and exec; nothing of the postmaster's may be touched. */
static void
become_program(const char *path, const char *const *arguments, const char *password, int output)
{
	const char *argv[ARGUMENTS_MAX + 2];
	int			count = 0;
	sigset_t	none;

	(void) setpgid(0, 0);
	(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != PostmasterPid)
		_exit(127);

	/* handlers end with exec, what is ignored or blocked does not */
	for (int i = 1; i < NSIG; i++)
		(void) signal(i, SIG_DFL);
	sigemptyset(&none);
	(void) sigprocmask(SIG_SETMASK, &none, NULL);

	(void) dup2(output, STDOUT_FILENO);
	(void) dup2(output, STDERR_FILENO);
	for (int fd = STDERR_FILENO + 1; fd < 1024; fd++)
	{
		if (fd != lock_fd)
			(void) close(fd);
	}
	(void) setenv("LC_ALL", "C", 1);	/* we read what it says */
	(void) setenv("TZ", "UTC", 1);
	(void) setenv("PGAPPNAME", "pg_quorum", 1);
	(void) unsetenv("NOTIFY_SOCKET");
	if (password != NULL)
		(void) setenv("PGPASSWORD", password, 1);

	argv[count++] = path;
	while (*arguments != NULL && count < ARGUMENTS_MAX)
		argv[count++] = *arguments++;
	argv[count] = NULL;
	(void) execv(path, unconstify(char *const *, (const char *const *) argv));
	_exit(127);
}

/*
 * Returns the status of waitpid.  The program's end counts, not that of its output: one that
 * is killed may leave a child behind, as pg_basebackup does, which would stream for ever.
 */
static int
read_output(int input, pid_t pid, PgqProgramLine line, void *arg)
{
	char		text[LINE_SIZE];
	size_t		length = 0;
	int			status = 0;
	bool		ended = false;

	for (;;)
	{
		struct pollfd waiting = {.fd = input, .events = POLLIN};
		ssize_t		got;

		if (shutdown_pending())
			end_server(pid);
		pgq_notify_busy();
		if (!ended && waitpid(pid, &status, WNOHANG) == pid)
		{
			ended = true;
			(void) kill(-pid, SIGKILL);
		}
		if (poll(&waiting, 1, ended ? 0 : POLL_MS) <= 0)
		{
			if (ended)
				break;
			continue;
		}
		got = read(input, text + length, sizeof(text) - 1 - length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		length = give_lines(text, length + got, line, arg);
	}
	if (length > 0 && line != NULL)
	{
		text[length] = '\0';
		line(text, arg);
	}
	while (!ended && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* Returns how much of the text waits for the rest of its line. */
static size_t
give_lines(char *text, size_t length, PgqProgramLine line, void *arg)
{
	size_t		start = 0;

	for (size_t i = 0; i < length; i++)
	{
		if (text[i] != '\n' && text[i] != '\r')
			continue;
		text[i] = '\0';
		if (i > start && line != NULL)
			line(text + start, arg);
		start = i + 1;
	}

	/* a line without an end in sight is cut */
	if (start == 0 && length == LINE_SIZE - 1)
	{
		text[length] = '\0';
		if (line != NULL)
			line(text, arg);
		return 0;
	}
	memmove(text, text + start, length - start);
	return length - start;
}

void
pgq_program_pause(int ms)
{
	for (; ms > 0; ms -= POLL_MS)
	{
		if (shutdown_pending())
			end_server(0);
		pgq_notify_busy();
		(void) poll(NULL, 0, Min(ms, POLL_MS));
	}
}

static bool
shutdown_pending(void)
{
	sigset_t	pending;

	return sigpending(&pending) == 0 &&
		(sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT) ||
		 sigismember(&pending, SIGQUIT));
}

/* 0: no program runs. */
static void
end_server(pid_t pid)
{
	if (pid != 0)
	{
		(void) kill(-pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	ereport(LOG,
			(errmsg("quorum: shut down on request before this node was brought back"),
			 errdetail("The next start goes on with it.")));
	proc_exit(0);
}

bool
pgq_program_lock(const char *file)
{
	int			waited = 0;

	/* up to 15 they are blocked until the loop anyway */
	(void) sigprocmask(SIG_SETMASK, &BlockSig, &mask_before);

	lock_fd = open(file, O_RDWR | O_CREAT, S_IRUSR | S_IWUSR);
	if (lock_fd < 0)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", file)));
		return false;
	}
	while (flock(lock_fd, LOCK_EX | LOCK_NB) != 0)
	{
		if (waited % LOCK_SAY_MS == 0)
		{
			ereport(LOG,
					(errmsg("quorum: a program of the last start of this server is still at work"),
					 errhint("If it does not end, end it: it has the file \"%s\" open.", file)));
			end_holders(lock_fd);
		}
		pgq_program_pause(POLL_MS);
		waited += POLL_MS;
	}
	return true;
}

/*
 * Whoever has our lock open belongs to a postmaster that is gone, as this one has its lock
 * file, and works for nobody.
 */
static void
end_holders(int lock)
{
	struct stat ours;
	DIR		   *processes = opendir("/proc");
	struct dirent *process;

	if (processes == NULL || fstat(lock, &ours) != 0)
		return;
	while ((process = readdir(processes)) != NULL)
	{
		pid_t		pid = atoi(process->d_name);
		char		path[MAXPGPATH];
		DIR		   *files;
		struct dirent *file;

		if (pid <= 0 || pid == MyProcPid)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fd", (int) pid);
		files = opendir(path);
		while (files != NULL && (file = readdir(files)) != NULL)
		{
			struct stat theirs;

			snprintf(path, sizeof(path), "/proc/%d/fd/%.20s", (int) pid, file->d_name);
			if (stat(path, &theirs) != 0 || theirs.st_dev != ours.st_dev ||
				theirs.st_ino != ours.st_ino)
				continue;
			ereport(LOG, (errmsg("quorum: ended process %d", (int) pid)));
			(void) kill(pid, SIGKILL);
			break;
		}
		if (files != NULL)
			closedir(files);
	}
	closedir(processes);
}

void
pgq_program_unlock(void)
{
	if (lock_fd >= 0)
		close(lock_fd);
	lock_fd = -1;
	pgq_notify_done();
	(void) sigprocmask(SIG_SETMASK, &mask_before, NULL);
}
