/*
 * notify.c
 *	  What systemd is told beside what PostgreSQL tells it.
 *
 * It does not decide when the server stops or starts (restart.c).  The protocol is one
 * datagram to the socket that NOTIFY_SOCKET names (sd_notify(3)), so no library is needed,
 * and a server that was built without systemd does the same.
 */
#include "postgres.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "notify.h"
#include "shmem.h"

#define VARIABLE	"NOTIFY_SOCKET"

/* Each promise of more to come holds for so long, and is renewed much earlier. */
#define EXTEND_US	INT64CONST(60000000)
#define RENEW_US	INT64CONST(5000000)

static char *muted_socket = NULL;
static bool busy = false;
static uint64 said_at = 0;		/* mono microseconds */

static void say(const char *text);

void
pgq_notify_mute(void)
{
	const char *name = getenv(VARIABLE);

	if (muted_socket != NULL || name == NULL)
		return;
	muted_socket = strdup(name);
	(void) unsetenv(VARIABLE);
}

void
pgq_notify_unmute(void)
{
	if (muted_socket != NULL)
		(void) setenv(VARIABLE, muted_socket, 1);
}

void
pgq_notify_busy(void)
{
	uint64		now = pgq_now_mono();
	char		text[128];

	if (busy && now - said_at < RENEW_US)
		return;
	snprintf(text, sizeof(text), "EXTEND_TIMEOUT_USEC=" INT64_FORMAT "%s", EXTEND_US,
			 busy ? "" : "\nSTATUS=Bringing the data of this node back; the server log tells more");
	busy = true;
	said_at = now;
	say(text);
}

void
pgq_notify_done(void)
{
	if (busy)
		say("STATUS=");
	busy = false;
}

/* Never waits: a manager that does not read gets no news. */
static void
say(const char *text)
{
	const char *name = getenv(VARIABLE);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t		length = name != NULL ? strlen(name) : 0;
	int			fd;

	if (length < 2 || length >= sizeof(address.sun_path) || (name[0] != '/' && name[0] != '@'))
		return;
	memcpy(address.sun_path, name, length);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	(void) sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *) &address,
				  offsetof(struct sockaddr_un, sun_path) + length);
	close(fd);
}
