/*
 * transport_lookup.c
 *	  Asks for the addresses of a name in a thread, because the C library can only wait (H81).
 *
 * A resolver that does not answer takes ten seconds and more, and a loop that stands still
 * for that long loses its lease.  The thread does nothing but ask: it calls nothing of the
 * server, and signals are for the loop.  Asker and thread share one word; whoever comes
 * second has the rest.
 */
#include "transport_lookup.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#define STACK_SIZE	(512 * 1024)

enum
{
	LOOKUP_ASKED,
	LOOKUP_ANSWERED,			/* the thread has ended with it */
	LOOKUP_FORGOTTEN			/* the asker has */
};

struct PgqLookup
{
	int			state;			/* changed by atomic exchange only */
	struct addrinfo *found;		/* valid when answered; NULL = nothing */
	char		host[QUORUM_HOST_SIZE];
};

static void
end_of(PgqLookup *lookup)
{
	if (lookup->found != NULL)
		freeaddrinfo(lookup->found);
	free(lookup);
}

static void *
ask(void *arg)
{
	PgqLookup  *lookup = arg;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};

	if (getaddrinfo(lookup->host, NULL, &hints, &lookup->found) != 0)
		lookup->found = NULL;
	if (__atomic_exchange_n(&lookup->state, LOOKUP_ANSWERED, __ATOMIC_ACQ_REL) == LOOKUP_FORGOTTEN)
		end_of(lookup);
	return NULL;
}

/* With every signal blocked, as a thread inherits that. */
static bool
begin(PgqLookup *lookup)
{
	pthread_attr_t attributes;
	pthread_t	thread;
	sigset_t	all;
	sigset_t	before;
	bool		begun;

	if (pthread_attr_init(&attributes) != 0)
		return false;
	(void) pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	(void) pthread_attr_setstacksize(&attributes, STACK_SIZE);
	sigfillset(&all);
	(void) pthread_sigmask(SIG_SETMASK, &all, &before);
	begun = pthread_create(&thread, &attributes, ask, lookup) == 0;
	(void) pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void) pthread_attr_destroy(&attributes);
	return begun;
}

PgqLookup *
pgq_lookup_start(const char *host)
{
	PgqLookup  *lookup = calloc(1, sizeof(PgqLookup));

	if (lookup == NULL)
		return NULL;
	lookup->state = LOOKUP_ASKED;
	strlcpy(lookup->host, host, sizeof(lookup->host));
	if (begin(lookup))
		return lookup;
	free(lookup);
	return NULL;
}

bool
pgq_lookup_over(PgqLookup *lookup, struct addrinfo **found)
{
	if (__atomic_load_n(&lookup->state, __ATOMIC_ACQUIRE) != LOOKUP_ANSWERED)
		return false;
	*found = lookup->found;
	free(lookup);
	return true;
}

void
pgq_lookup_forget(PgqLookup *lookup)
{
	if (__atomic_exchange_n(&lookup->state, LOOKUP_FORGOTTEN, __ATOMIC_ACQ_REL) == LOOKUP_ANSWERED)
		end_of(lookup);
}
