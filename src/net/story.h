/*
 * story.h
 *	  The words for what happens to a node: for its log, and for quorum.history.
 */
#ifndef PGQ_STORY_H
#define PGQ_STORY_H

#include "host.h"

#define PGQ_STORY_TEXT_SIZE		256
#define PGQ_STORY_DETAIL_SIZE	(QUORUM_REASON_SIZE + 64)

typedef struct PgqStory
{
	const char *event;			/* one word */
	char		text[PGQ_STORY_TEXT_SIZE];	/* a sentence */
	char		detail[PGQ_STORY_DETAIL_SIZE];	/* may be empty */
	bool		starts_clock;	/* an election begins */
	bool		starts_clock_if_idle;	/* ... unless it has begun already */
	bool		stops_clock;	/* this node's part in it is over */
} PgqStory;

extern void pgq_story_tell(PgqStory *story, const QuorumNote *note,
						   const QuorumMemberSet *members);

/* Name of a member; "node" when it has left the set, or never was in it. */
extern const char *pgq_story_name(QuorumNodeId id, const QuorumMemberSet *members);

#endif							/* PGQ_STORY_H */
