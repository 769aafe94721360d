/*
 * relaunch.c
 *	  Starts the server again inside its own process, as it was started the first time.
 *
 * It does not decide when (restart.c).  The working directory is the data directory
 * by now, so a path that was given relative to the first one has to be made absolute:
 * the absolute form is appended, later arguments win.
 */
#include "postgres.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "storage/fd.h"
#include "utils/guc.h"

#include "relaunch.h"

/* Options of the postmaster that take a value, as in PostmasterMain(). */
#define VALUE_OPTIONS "BCcDdfhkNprStW"

/* How long children may take to end by themselves, and then to die. */
#define CHILDREN_END_MS 5000

extern char **environ;

/* The last value given for each path; NULL = not given. */
typedef struct GivenPaths
{
	const char *directory;		/* -D, or else PGDATA */
	const char *config_file;
	const char *hba_file;
	const char *ident_file;
	const char *data_directory;
} GivenPaths;

/* NULL-terminated, malloc'd: must outlive every memory context. */
static char **arguments = NULL;
static int	argument_count = 0;

static bool read_arguments(void);
static void find_paths(GivenPaths *given);
static void note_option(GivenPaths *given, char option, const char *value);
static void note_setting(GivenPaths *given, const char *assignment);
static bool is_relative(const char *path);
static void append_argument(const char *first, const char *second);
static void append_setting(const char *name, const char *value);
static int	signal_children(int signal);
static bool is_child(pid_t pid, bool *ignores_quit);
static bool runs_our_program(pid_t pid);
static void close_on_exec(void);
static void forget_signals(void);

void
pgq_relaunch_keep_arguments(void)
{
	GivenPaths	given = {0};
	char		configdir[MAXPGPATH];
	char		directory[MAXPGPATH];

	if (!read_arguments())
		return;
	find_paths(&given);

	strlcpy(configdir, ConfigFileName, sizeof(configdir));
	get_parent_directory(configdir);

	if (is_relative(given.config_file))
		append_setting("config_file", ConfigFileName);
	if (is_relative(given.hba_file))
		append_setting("hba_file", HbaFileName);
	if (is_relative(given.ident_file))
		append_setting("ident_file", IdentFileName);

	/* without a config_file, -D is where the configuration is, else only where the data are */
	if (is_relative(given.directory) || given.directory == NULL)
	{
		append_argument("-D", given.config_file ? DataDir : configdir);
		if (given.config_file && !given.hba_file)
			append_setting("hba_file", HbaFileName);
		if (given.config_file && !given.ident_file)
			append_setting("ident_file", IdentFileName);
		given.directory = given.config_file ? DataDir : configdir;
	}

	/* where -D does not say where the data are, a file does, maybe by a relative path */
	strlcpy(directory, given.directory, sizeof(directory));
	canonicalize_path(directory);
	if (is_relative(given.data_directory) ||
		(given.data_directory == NULL &&
		 (given.config_file != NULL || strcmp(directory, DataDir) != 0)))
		append_setting("data_directory", DataDir);
}

/* /proc gives them as the kernel got them: spaces and quotes in values need no parsing. */
static bool
read_arguments(void)
{
	int			fd = open("/proc/self/cmdline", O_RDONLY);
	char	   *text = NULL;
	size_t		size = 0;
	ssize_t		got = 0;

	while (fd >= 0)
	{
		char	   *larger = realloc(text, size + 4096);

		if (larger == NULL)
			break;
		text = larger;
		got = read(fd, text + size, 4096);
		if (got <= 0)
			break;
		size += got;
	}
	if (fd >= 0)
		close(fd);
	if (fd < 0 || got != 0 || size == 0 || text[size - 1] != '\0')
	{
		free(text);
		ereport(LOG,
				(errmsg("quorum: could not read \"/proc/self/cmdline\": this server cannot restart in place")));
		return false;
	}

	/* it may have been found through PATH or a relative path: my_exec_path is absolute */
	append_argument(my_exec_path, NULL);
	for (char *p = text + strlen(text) + 1; p < text + size; p += strlen(p) + 1)
		append_argument(p, NULL);
	free(text);
	return true;
}

static void
find_paths(GivenPaths *given)
{
	given->directory = getenv("PGDATA");

	for (int i = 1; i < argument_count; i++)
	{
		const char *argument = arguments[i];

		if (argument[0] != '-')
			continue;
		if (argument[1] == '-')
		{
			note_setting(given, argument + 2);
			continue;
		}
		for (const char *option = argument + 1; *option != '\0'; option++)
		{
			if (strchr(VALUE_OPTIONS, *option) == NULL)
				continue;
			if (option[1] != '\0')
				note_option(given, *option, option + 1);
			else if (i + 1 < argument_count)
				note_option(given, *option, arguments[++i]);
			break;
		}
	}
}

static void
note_option(GivenPaths *given, char option, const char *value)
{
	if (option == 'D')
		given->directory = value;
	else if (option == 'c')
		note_setting(given, value);
}

/* As ParseLongOption(): "name=value", where '-' in the name stands for '_'. */
static void
note_setting(GivenPaths *given, const char *assignment)
{
	char		name[NAMEDATALEN];
	size_t		length = strcspn(assignment, "=");
	const char *value = assignment + length + 1;

	if (assignment[length] != '=' || length >= sizeof(name))
		return;
	for (size_t i = 0; i < length; i++)
		name[i] = assignment[i] == '-' ? '_' : (char) tolower((unsigned char) assignment[i]);
	name[length] = '\0';

	if (strcmp(name, "config_file") == 0)
		given->config_file = value;
	else if (strcmp(name, "hba_file") == 0)
		given->hba_file = value;
	else if (strcmp(name, "ident_file") == 0)
		given->ident_file = value;
	else if (strcmp(name, "data_directory") == 0)
		given->data_directory = value;
}

static bool
is_relative(const char *path)
{
	return path != NULL && !is_absolute_path(path);
}

static void
append_argument(const char *first, const char *second)
{
	char	  **larger = realloc(arguments, (argument_count + 3) * sizeof(char *));

	if (larger != NULL)
	{
		arguments = larger;
		arguments[argument_count++] = strdup(first);
		if (second != NULL)
			arguments[argument_count++] = strdup(second);
		arguments[argument_count] = NULL;
	}
	if (larger == NULL || arguments[argument_count - 1] == NULL)
		ereport(FATAL, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
}

static void
append_setting(const char *name, const char *value)
{
	char		assignment[MAXPGPATH + NAMEDATALEN];

	snprintf(assignment, sizeof(assignment), "%s=%s", name, value);
	append_argument("-c", assignment);
}

void
pgq_relaunch_block_signals(void)
{
	sigset_t	all;

	(void) sigfillset(&all);
	(void) sigprocmask(SIG_SETMASK, &all, NULL);
}

/* What is ignored does not stay pending, even when it is blocked. */
void
pgq_relaunch_forget_signal(int number)
{
	(void) signal(number, SIG_IGN);
	(void) signal(number, SIG_DFL);
}

/*
 * They hold the old shared memory, which would keep the new server from starting, and
 * do not notice that their postmaster is gone, as its process is not.
 */
void
pgq_relaunch_end_children(void)
{
	for (int ms = 0; signal_children(ms == 0 ? SIGQUIT : 0) > 0 && ms < CHILDREN_END_MS; ms += 10)
		pg_usleep(10000);
	for (int ms = 0; signal_children(SIGKILL) > 0 && ms < CHILDREN_END_MS; ms += 10)
		pg_usleep(10000);
}

/* Reap, then signal the rest (0: only count them). */
static int
signal_children(int signal)
{
	DIR		   *dir;
	struct dirent *entry;
	int			count = 0;

	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	dir = opendir("/proc");
	while (dir != NULL && (entry = readdir(dir)) != NULL)
	{
		pid_t		pid = atoi(entry->d_name);
		bool		ignores_quit;

		/* only the log collector ignores SIGQUIT: it goes on until its pipe is closed */
		if (pid <= 0 || !is_child(pid, &ignores_quit) || ignores_quit || !runs_our_program(pid))
			continue;
		count++;
		if (signal != 0)
			(void) kill(pid, signal);
	}
	if (dir != NULL)
		closedir(dir);
	return count;
}

static bool
is_child(pid_t pid, bool *ignores_quit)
{
	char		path[64];
	char		text[4096];
	char	   *line;
	int			fd;
	ssize_t		got;

	snprintf(path, sizeof(path), "/proc/%d/status", (int) pid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[Max(got, 0)] = '\0';

	line = strstr(text, "\nSigIgn:");
	*ignores_quit = line != NULL &&
		(strtoull(line + 8, NULL, 16) & (UINT64CONST(1) << (SIGQUIT - 1))) != 0;
	line = strstr(text, "\nPPid:");
	return line != NULL && atoi(line + 6) == MyProcPid;
}

/*
 * As process 1 of a container, or started by a shell that had other jobs, the server is
 * the parent of processes that are none of its own.
 */
static bool
runs_our_program(pid_t pid)
{
	char		path[64];
	char		theirs[MAXPGPATH];
	char		ours[MAXPGPATH];
	ssize_t		length;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int) pid);
	length = readlink(path, theirs, sizeof(theirs));
	return length > 0 && length == readlink("/proc/self/exe", ours, sizeof(ours)) &&
		memcmp(theirs, ours, length) == 0;
}

void
pgq_relaunch(void)
{
	if (arguments == NULL)
	{
		errno = ENOEXEC;
		return;
	}

	/* what died in the last life must not look like a crash in the next one */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	close_on_exec();
	forget_signals();
	(void) execv(my_exec_path, arguments);
}

/* Not closed at once: if the exec fails the exit goes on and needs them. */
static void
close_on_exec(void)
{
	DIR		   *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
	{
		int			fd = atoi(entry->d_name);

		if (fd > STDERR_FILENO)
			(void) fcntl(fd, F_SETFD, FD_CLOEXEC);
	}
	if (dir != NULL)
		closedir(dir);
}

/*
 * Signals of the last life, those of our dead children above all, are not for the
 * next one.  All are blocked until it has its own handlers; a shutdown that an
 * operator asked for in the meantime is pending and reaches it then.
 */
static void
forget_signals(void)
{
	static const int forgotten[] = {SIGCHLD, SIGUSR1, SIGUSR2, SIGHUP, SIGALRM};

	for (int i = 0; i < (int) lengthof(forgotten); i++)
		pgq_relaunch_forget_signal(forgotten[i]);
}
