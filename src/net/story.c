/*
 * story.c
 *	  The words for what happens to a node: for its log, and for quorum.history.
 *
 * Which events there are is the core's business (QuorumNote), where they are kept the
 * host's.
 */
#include "story.h"

#include <time.h>

#include "../core/quorum_words.h"

#define TELL(event_name, ...) \
	(story->event = (event_name), snprintf(story->text, sizeof(story->text), __VA_ARGS__))

const char *
pgq_story_name(QuorumNodeId id, const QuorumMemberSet *members)
{
	for (int i = 0; i < members->count; i++)
		if (members->members[i].id == id)
			return members->members[i].name;
	return "node";				/* left the member set, or never was in it */
}

/* Of the wall clock, as the file has it. */
static void
tell_instant(QuorumTime wall, char *text, size_t size)
{
	time_t		seconds = (time_t) (wall / 1000000);
	struct tm	tm = {0};

	(void) gmtime_r(&seconds, &tm);
	(void) strftime(text, size, "%Y-%m-%d %H:%M:%S UTC", &tm);
}

static void
tell_address(QuorumNodeId id, const QuorumMemberSet *members, PgqStory *story)
{
	for (int i = 0; i < members->count; i++)
		if (members->members[i].id == id)
			snprintf(story->detail, sizeof(story->detail), "%s:%u", members->members[i].host,
					 members->members[i].quorum_port);
}

/* What an operator decided. */
static void
tell_operator(const QuorumNote *note, const QuorumMemberSet *members, const char *peer,
			  PgqStory *story)
{
	if (note->type == QUORUM_NOTE_PAUSED)
	{
		tell_instant(members->paused_until, story->detail, sizeof(story->detail));
		TELL("paused", "paused until %s: nobody takes over by itself", story->detail);
	}
	else if (note->type == QUORUM_NOTE_RESUMED)
		TELL("resumed", "resumed: whoever is up to date takes over when the leader is lost");
	else
		TELL("forced", "%s leads without a majority, as an operator decided", peer);
}

/* Notes that end something, each with a reason. */
static void
tell_loss(const QuorumNote *note, const char *peer, PgqStory *story)
{
	QuorumTerm	term = note->term;
	const char *reason = quorum_loss_text((QuorumLossReason) note->why);

	if (note->type == QUORUM_NOTE_LEADER_LOST)
	{
		TELL("leader_lost", "leader %s of term %u lost: %s", peer, term, reason);
		story->starts_clock = true;
	}
	else if (note->type == QUORUM_NOTE_REFUSED)
	{
		reason = quorum_verdict_text((QuorumVerdict) note->why);
		TELL("refused", "refused a vote to %s in term %u: %s", peer, term, reason);
	}
	else if (note->type == QUORUM_NOTE_STEPPED_DOWN)
	{
		TELL("stepped_down", "stepped down from term %u: %s", term, reason);
		story->starts_clock = true;
	}
	else
	{
		reason = quorum_resign_text((QuorumResignReason) note->why);
		TELL("resigned", "resigned from term %u: %s", term, reason);
	}
	strlcpy(story->detail, reason, sizeof(story->detail));
}

/* Notes about who belongs to the cluster, or cannot follow it. */
static void
tell_members(const QuorumNote *note, const QuorumMemberSet *members, const char *peer,
			 PgqStory *story)
{
	switch (note->type)
	{
		case QUORUM_NOTE_DIVERGED:
			TELL("diverged", "needs a rewind to follow %s in term %u", peer, note->term);
			break;
		case QUORUM_NOTE_LEFT_OUT:
			TELL("left_out", "commits go on without %s: it cannot lead before it has caught up",
				 peer);
			break;
		case QUORUM_NOTE_TAKEN_IN:
			TELL("taken_in", "%s has caught up: commits wait for it again", peer);
			break;
		case QUORUM_NOTE_MEMBER_ADDED:
			TELL("member_added", "%s joins as a learner", peer);
			break;
		case QUORUM_NOTE_MEMBER_VOTER:
			TELL("member_voter", "%s is a voter now", peer);
			break;
		case QUORUM_NOTE_MEMBER_LEARNER:
			TELL("member_learner", "%s is a learner now", peer);
			break;
		case QUORUM_NOTE_MEMBER_MOVED:
			TELL("member_moved", "%s has another address", peer);
			tell_address(note->peer, members, story);
			break;
		case QUORUM_NOTE_MEMBER_REMOVED:
			TELL("member_removed", "%s left the member set", peer);
			break;
		default:
			TELL("members_changed", "member set is %u.%u", members->id.term,
				 members->id.version);
			snprintf(story->detail, sizeof(story->detail), "%u.%u", members->id.term,
					 members->id.version);
			break;
	}
}

/* Texts of the log: the drill reads them, so they stay as they are. */
void
pgq_story_tell(PgqStory *story, const QuorumNote *note, const QuorumMemberSet *members)
{
	char		peer[QUORUM_NAME_SIZE + 16];
	QuorumTerm	term = note->term;

	memset(story, 0, sizeof(*story));
	snprintf(peer, sizeof(peer), "%s (%u)", pgq_story_name(note->peer, members), note->peer);
	switch (note->type)
	{
		case QUORUM_NOTE_PRE_VOTE:
			TELL("pre_vote", "pre-vote for term %u", term);
			story->starts_clock_if_idle = true; /* nobody was lost: first election */
			break;
		case QUORUM_NOTE_CANDIDATE:
			TELL("candidate", "candidate in term %u", term);
			break;
		case QUORUM_NOTE_ELECTED:
			TELL("elected", "elected leader of term %u", term);
			break;
		case QUORUM_NOTE_VOTED:
			TELL("voted", "voted for %s in term %u", peer, term);
			break;
		case QUORUM_NOTE_LEADER_FOUND:
			TELL("leader_found", "leader is %s in term %u", peer, term);
			break;
		case QUORUM_NOTE_PROMOTED:
			TELL("promoted", "promoted to timeline %u", term);
			break;
		case QUORUM_NOTE_GATE_OPEN:
			TELL("gate_open", "gate open in term %u", term);
			story->stops_clock = true;
			break;
		case QUORUM_NOTE_GATE_CLOSED:
			TELL("gate_closed", "gate closed in term %u", term);
			break;
		case QUORUM_NOTE_LEASE_LAPSED:
			TELL("lease_lapsed", "lease of term %u lapsed", term);
			break;
		case QUORUM_NOTE_FOLLOWING:
			TELL("following", "following %s in term %u", peer, term);
			story->stops_clock = true;
			break;
		case QUORUM_NOTE_LEADER_LOST:
		case QUORUM_NOTE_REFUSED:
		case QUORUM_NOTE_STEPPED_DOWN:
		case QUORUM_NOTE_RESIGNED:
			tell_loss(note, peer, story);
			break;
		case QUORUM_NOTE_HAND_OVER:
			TELL("hand_over", "handing term %u over to %s", term, peer);
			story->starts_clock = true;
			break;
		case QUORUM_NOTE_HAND_OVER_FAILED:
			TELL("hand_over_failed", "%s did not take term %u over in time: serving on", peer, term);
			break;
		case QUORUM_NOTE_PAUSED:
		case QUORUM_NOTE_RESUMED:
		case QUORUM_NOTE_FORCED:
			tell_operator(note, members, peer, story);
			break;
		default:
			tell_members(note, members, peer, story);
			break;
	}
	if (story->event == NULL)
		TELL("unknown", "event %d in term %u", (int) note->type, term);
}
