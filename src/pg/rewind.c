/*
 * rewind.c
 *	  Brings a member whose log has left the cluster's back: by pg_rewind, at boot.
 *
 * It does not decide that a rewind is due, nor which node is the source (the core).
 */
#include "postgres.h"

#include "rewind.h"

bool
pgq_rewind_request(const QuorumMember *source, QuorumTerm term, char *why)
{
	(void) source;
	(void) term;
	strlcpy(why, "this release cannot rewind", QUORUM_REASON_SIZE);
	return false;
}

bool
pgq_rewind_unverified(void)
{
	return false;
}

double
pgq_rewind_verified(QuorumTerm term)
{
	(void) term;
	return -1;
}

void
pgq_rewind_boot(void)
{
}
