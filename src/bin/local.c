/*
 * local.c
 *	  Runs the programs of PostgreSQL on this host, finds the servers here.
 */
#include "local.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"

#define OUTPUT_KEPT 16384

char *
program(const char *name)
{
	char	   *directory = pg_strdup(program_path);
	char	   *path;

	*strrchr(directory, '/') = '\0';
	path = psprintf("%s/%s", directory, name);
	if (access(path, X_OK) != 0)
	{
		pg_log_error("could not find the program \"%s\" beside \"%s\"", name, program_path);
		pg_log_error_hint("Install the server packages of this PostgreSQL.");
		exit(EXIT_DEGRADED);
	}
	return path;
}

/* ---- programs --------------------------------------------------------------------------- */

static pid_t
start_program(const char *const *arguments, int *output)
{
	int			pipe_fds[2];
	pid_t		pid;

	if (pipe(pipe_fds) != 0)
		pg_fatal("could not make a pipe: %m");
	(void) fcntl(pipe_fds[0], F_SETFD, FD_CLOEXEC);
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		pg_fatal("could not start another process: %m");
	if (pid == 0)
	{
		int			null = open("/dev/null", O_RDONLY);

		(void) dup2(null, STDIN_FILENO);
		(void) dup2(pipe_fds[1], STDOUT_FILENO);
		(void) dup2(pipe_fds[1], STDERR_FILENO);
		if (pipe_fds[1] > STDERR_FILENO)
			close(pipe_fds[1]);
		signal(SIGPIPE, SIG_DFL);
		execv(arguments[0], (char *const *) arguments);
		fprintf(stderr, "could not run %s: %s\n", arguments[0], strerror(errno));
		_exit(127);
	}
	close(pipe_fds[1]);
	*output = pipe_fds[0];
	return pid;
}

/* Hands complete lines to on_line; \r ends one as well, that is how progress is shown. */
static void
split_lines(PQExpBuffer pending, PQExpBuffer kept, bool (*on_line) (const char *line, void *arg),
			void *arg)
{
	size_t		end;

	while ((end = strcspn(pending->data, "\r\n")) < pending->len)
	{
		char	   *line = pnstrdup(pending->data, end);
		char	   *rest = pg_strdup(pending->data + end + 1);

		if (line[0] != '\0' && (on_line == NULL || !on_line(line, arg)) &&
			kept->len < OUTPUT_KEPT)
			appendPQExpBuffer(kept, "  %s\n", line);
		printfPQExpBuffer(pending, "%s", rest);
		free(line);
		free(rest);
	}
}

bool
run_program(const char *const *arguments, bool (*on_line) (const char *line, void *arg),
			void *arg)
{
	PQExpBuffer pending = createPQExpBuffer();
	PQExpBuffer kept = createPQExpBuffer();
	int			output;
	pid_t		pid = start_program(arguments, &output);
	int			status = 0;
	bool		ended = false;
	bool		told = interrupted();	/* cleaning up afterwards goes on */

	for (;;)
	{
		struct pollfd fd = {output, POLLIN, 0};
		char		chunk[1024];
		ssize_t		length = 0;

		if (poll(&fd, 1, 100) > 0 && (length = read(output, chunk, sizeof(chunk))) > 0)
		{
			appendBinaryPQExpBuffer(pending, chunk, length);
			split_lines(pending, kept, on_line, arg);
			continue;
		}
		/* Ctrl-C reaches it as well, a signal to us alone does not. */
		if (interrupted() && !told)
			told = kill(pid, SIGINT) == 0;
		/* A server it started may keep the pipe open: its own end is what counts. */
		if (ended)
			break;
		ended = waitpid(pid, &status, WNOHANG) == pid;
	}
	close(output);
	appendPQExpBufferStr(pending, "\n");
	split_lines(pending, kept, on_line, arg);
	if (status != 0 && !interrupted())
	{
		pg_log_error("%s failed", strrchr(arguments[0], '/') ? strrchr(arguments[0], '/') + 1 :
					 arguments[0]);
		fprintf(stderr, "%s", kept->data);
	}
	destroyPQExpBuffer(pending);
	destroyPQExpBuffer(kept);
	return status == 0;
}

/* ---- servers ---------------------------------------------------------------------------- */

/* /etc/postgresql/VERSION/NAME, the layout of pg_createcluster. */
static bool
run_ctlcluster(const LocalServer *server, const char *action)
{
	const char *name = strrchr(server->config_directory, '/');
	char	   *version;
	const char *arguments[] = {"/usr/bin/pg_ctlcluster", NULL, name + 1, action, NULL};

	version = pnstrdup(server->config_directory, name - server->config_directory);
	arguments[1] = strrchr(version, '/') + 1;
	return run_program(arguments, NULL, NULL);
}

static bool
run_ctl(const LocalServer *server, const char *action)
{
	char	   *log = server->log ? pg_strdup(server->log) :
		psprintf("%s/server.log", server->directory);
	const char *arguments[] = {program("pg_ctl"), action, "-D", server->directory, "-l", log,
	"-w", "-t", "300", "-s", NULL};
	bool		started = run_program(arguments, NULL, NULL);

	if (!started && !interrupted())
		pg_log_error_hint("See \"%s\" for what the server said.", log);
	return started;
}

bool
server_start(const LocalServer *server)
{
	return server->config_directory ? run_ctlcluster(server, "start") : run_ctl(server, "start");
}

bool
server_restart(const LocalServer *server)
{
	return server->config_directory ? run_ctlcluster(server, "restart") :
		run_ctl(server, "restart");
}

/* Line of postmaster.pid, from 1; NULL when there is none. */
static char *
pid_file_line(const char *directory, int number)
{
	char	   *text = file_read(psprintf("%s/postmaster.pid", directory));
	char	   *line = NULL;

	for (int i = 0; i < number && text != NULL; i++)
		line = strsep(&text, "\n");
	return text != NULL || line != NULL ? line : NULL;
}

bool
server_address(const char *directory, char **host, char **port)
{
	char	   *pid = pid_file_line(directory, 1);
	char	   *socket_directory = pid_file_line(directory, 5);
	char	   *listens = pid_file_line(directory, 6);

	*port = pid_file_line(directory, 4);
	if (pid == NULL || *port == NULL || atoi(pid) <= 0 ||
		(kill(atoi(pid), 0) != 0 && errno != EPERM))
		return false;
	if (socket_directory != NULL && socket_directory[0] != '\0')
		*host = socket_directory;
	else if (listens != NULL && listens[0] != '\0' && strcmp(listens, "*") != 0)
		*host = listens;
	else
		*host = pg_strdup("localhost");
	return true;
}

bool
server_is_local(PGconn *conn, const char *directory)
{
	char	   *started = pid_file_line(directory, 3);
	char	   *port = pid_file_line(directory, 4);
	PGresult   *result;
	bool		same;

	if (started == NULL || port == NULL)
		return false;
	result = query_ok(conn, "SELECT extract(epoch FROM pg_catalog.pg_postmaster_start_time())"
					  "::int8 AS started, pg_catalog.current_setting('port') AS port", 0, NULL,
					  10000);
	same = result != NULL && strcmp(field(result, 0, "port"), port) == 0 &&
		llabs(atoll(field(result, 0, "started")) - atoll(started)) <= 2;
	PQclear(result);
	return same;
}

bool
port_is_free(int port)
{
	struct sockaddr_in address = {0};
	int			fd = socket(AF_INET, SOCK_STREAM, 0);
	int			one = 1;
	bool		is_free;

	if (fd < 0)
		return true;
	(void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	address.sin_family = AF_INET;
	address.sin_port = htons((uint16) port);
	address.sin_addr.s_addr = htonl(INADDR_ANY);
	is_free = bind(fd, (struct sockaddr *) &address, sizeof(address)) == 0;
	close(fd);
	return is_free;
}
