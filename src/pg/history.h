/*
 * history.h
 *	  The story of this node in a small file that survives restarts: quorum.history.
 */
#ifndef PGQ_HISTORY_H
#define PGQ_HISTORY_H

#include "datatype/timestamp.h"

#include "shmem.h"
#include "story.h"

#define PGQ_HISTORY_DETAIL_SIZE PGQ_STORY_DETAIL_SIZE

/* One line of the file. */
typedef struct PgqHistoryEntry
{
	TimestampTz at;
	char		event[24];
	QuorumTerm	term;			/* 0 = none */
	char		node[QUORUM_NAME_SIZE]; /* empty = none */
	char		detail[PGQ_HISTORY_DETAIL_SIZE];	/* empty = none */
	double		phase_ms;		/* since the previous event of this election, or how long it took;
								 * < 0 = none */
} PgqHistoryEntry;

/* From the worker: append one event and say it in the server log.  Never throws. */
extern void pgq_history_note(const QuorumNote *note, const QuorumMemberSet *members);

/*
 * From the worker: append an event that is not the core's.  It says nothing in the log.
 * node, detail: empty = none; ms: < 0 = none.  Never throws.
 */
extern void pgq_history_tell(const char *event, QuorumTerm term, const char *node,
							 const char *detail, double ms);

/*
 * From the worker, when this server becomes a member: what its data directory was copied
 * with is the story of another node.  Never throws.
 */
extern void pgq_history_forget(void);

/* From a backend: call fn for every entry, oldest first.  Lines that make no sense are skipped. */
extern void pgq_history_read(void (*fn) (const PgqHistoryEntry *entry, void *arg), void *arg);

#endif							/* PGQ_HISTORY_H */
