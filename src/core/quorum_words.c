/*
 * quorum_words.c
 *	  The words for reasons: what server log, history and simulator trace print.
 */
#include "quorum_words.h"

const char *
quorum_loss_text(QuorumLossReason reason)
{
	switch (reason)
	{
		case QUORUM_LOSS_RESIGNED:
			return "resigned";
		case QUORUM_LOSS_DEAD:
			return "both ports refuse";
		case QUORUM_LOSS_RESTARTED:
			return "restarted";
		case QUORUM_LOSS_SILENT:
			return "silent for one lease";
		case QUORUM_LOSS_HIGHER_TERM:
			return "a higher term is known";
		case QUORUM_LOSS_CLOSING:
			return "stream ended after planned stop";
		case QUORUM_LOSS_FACTS:
			return "the local PostgreSQL is not what a leader needs";
	}
	return "reason not known";
}

const char *
quorum_resign_text(QuorumResignReason reason)
{
	switch (reason)
	{
		case QUORUM_RESIGN_POSTMASTER_DIED:
			return "postmaster died";
		case QUORUM_RESIGN_SHUTDOWN:
			return "planned stop";
		case QUORUM_RESIGN_WORKER_EXIT:
			return "worker ends";
		case QUORUM_RESIGN_PROMOTION:
			return "promotion failed or took too long";
		case QUORUM_RESIGN_LAPSED:
			return "lease lapsed";
		case QUORUM_RESIGN_NOT_DURABLE:
			return "fsync or full_page_writes was switched off";
		case QUORUM_RESIGN_WAL_STALLED:
			return "its WAL does not get to its disk";
		case QUORUM_RESIGN_UNFOLLOWED:
			return "the others hear it but cannot stream from it";
		case QUORUM_RESIGN_HANDED_OVER:
			return "handed over";
		case QUORUM_RESIGN_LATER_TERM:
			return "a member has promised a later term and cannot follow";
	}
	return "reason not known";
}

const char *
quorum_verdict_text(QuorumVerdict verdict)
{
	switch (verdict)
	{
		case QUORUM_GRANTED:
			return "granted";
		case QUORUM_REFUSED_TERM:
			return "term not newer, or already voted";
		case QUORUM_REFUSED_PROMISE:
			return "a leader may still have its lease";
		case QUORUM_REFUSED_BEHIND:
			return "candidate's log is behind";
		case QUORUM_REFUSED_MEMBERS:
			return "candidate's member set is older, or it is no voter";
		case QUORUM_REFUSED_NOT_READY:
			return "this node cannot vote now";
	}
	return "reason not known";
}
