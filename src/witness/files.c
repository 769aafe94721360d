/*
 * files.c
 *	  The directory of a witness, and what others see of one that runs.
 *
 * pg_quorum/state is written by src/net/state.c.  Nothing is decided from the other files,
 * so they are written without fsync.
 */
#include "witness.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/stringinfo.h"

#include "../bin/files.h"

#define LOCK_FILE			"witness.pid"
#define STATUS_FILE			"witness.status"
#define STATUS_TEMP			"witness.status.tmp"
#define STATUS_INTERVAL_US	INT64CONST(1000000)

static char *status;			/* as it should be in the file */
static bool status_due;
static QuorumTime status_at;	/* not before */

/* ---- the directory ---------------------------------------------------------------------- */

static bool
is_ours(const char *directory)
{
	struct stat st;

	if (stat(".", &st) != 0 || st.st_uid != geteuid())
	{
		pg_log_error("directory \"%s\" belongs to another user", directory);
		pg_log_error_hint("Run the witness as its owner.");
		return false;
	}
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
	{
		pg_log_error("directory \"%s\" is accessible to others", directory);
		pg_log_error_hint("Change its mode to 0700.");
		return false;
	}
	if (access("PG_VERSION", F_OK) == 0)
	{
		pg_log_error("directory \"%s\" is the data directory of a server", directory);
		pg_log_error_hint("A witness needs a directory of its own.");
		return false;
	}
	return true;
}

bool
witness_enter(const char *directory, bool create)
{
	if (create && mkdir(directory, 0700) != 0 && errno != EEXIST)
	{
		pg_log_error("could not create directory \"%s\": %m", directory);
		return false;
	}
	if (chdir(directory) != 0)
	{
		pg_log_error("could not go to directory \"%s\": %m", directory);
		return false;
	}
	return is_ours(directory);
}

/* ---- one at a time ---------------------------------------------------------------------- */

/* The lock goes with the process, however it ends; the number in the file is for people. */
bool
witness_lock(void)
{
	char		text[32];
	int			fd = open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
	{
		pg_log_error("could not open \"%s\": %m", LOCK_FILE);
		return false;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
	{
		pg_log_error("a witness runs in this directory already");
		pg_log_error_hint("\"%s\" has its process id.", LOCK_FILE);
		close(fd);
		return false;
	}
	snprintf(text, sizeof(text), "%d\n", (int) getpid());
	if (ftruncate(fd, 0) != 0 || write(fd, text, strlen(text)) < 0)
		pg_log_warning("could not write \"%s\": %m", LOCK_FILE);
	return true;
}

static bool
is_locked(void)
{
	int			fd = open(LOCK_FILE, O_RDONLY | O_CLOEXEC);
	bool		locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0;

	if (fd >= 0)
		close(fd);
	return locked;
}

/* ---- status ----------------------------------------------------------------------------- */

static const char *
name_of(const QuorumMemberSet *members, QuorumNodeId id)
{
	for (int i = 0; i < members->count; i++)
		if (members->members[i].id == id)
			return members->members[i].name;
	return "-";
}

static void
describe_member(StringInfo text, const QuorumMemberView *member)
{
	static const char *const kinds[] = {"-", "voter", "witness", "learner"};

	appendStringInfo(text, "member: %s (%u), %s%s, %s:%u%s\n", member->member.name,
					  member->member.id, kinds[member->member.kind],
					  member->member.left_out ? ", left out" : "", member->member.host,
					  member->member.quorum_port, member->is_leader ? ", leader" : "");
}

void
witness_status_changed(const char *membership, const QuorumView *view,
					   const QuorumMemberSet *members)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "membership: %s\n", membership);
	if (view != NULL)
	{
		appendStringInfo(&text, "node: %s (%u)\nterm: %u\nvote: %s\nleader: %s\nset: %u.%u\n",
						  name_of(members, view->node_id), view->node_id, view->term,
						  name_of(members, view->vote), name_of(members, view->leader),
						  view->set_id.term, view->set_id.version);
		for (int i = 0; i < view->member_count; i++)
			describe_member(&text, &view->members[i]);
	}
	if (status != NULL && strcmp(status, text.data) == 0)
	{
		pfree(text.data);
		return;
	}
	if (status != NULL)
		pfree(status);
	status = text.data;
	status_due = true;
}

QuorumTime
witness_status_deadline(void)
{
	return status_due ? status_at : QUORUM_NEVER;
}

void
witness_status_write(void)
{
	QuorumTime	now = (QuorumTime) pgq_now_mono();
	FILE	   *out;

	if (!status_due || now < status_at)
		return;
	status_due = false;
	status_at = now + STATUS_INTERVAL_US;
	out = fopen(STATUS_TEMP, "w");
	if (out == NULL)
		return;
	fputs(status, out);
	if (fclose(out) == 0)
		(void) rename(STATUS_TEMP, STATUS_FILE);
}

int
witness_status_print(void)
{
	char	   *text;

	if (!is_locked())
	{
		printf("running: no\n");
		return EXIT_NOBODY;
	}
	text = file_read(STATUS_FILE);
	printf("running: yes\n%s", text != NULL ? text : "");
	return text != NULL && strstr(text, "\nleader: ") != NULL &&
		strstr(text, "\nleader: -\n") == NULL ? EXIT_FINE : EXIT_NO_LEADER;
}

/* ---- systemd ---------------------------------------------------------------------------- */

void
witness_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t		length = path != NULL ? strlen(path) : 0;
	int			fd;

	if (length == 0 || length >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, length);
	if (path[0] == '@')
		to.sun_path[0] = '\0';	/* an abstract name */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void) sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *) &to,
				  (socklen_t) (offsetof(struct sockaddr_un, sun_path) + length));
	close(fd);
}
