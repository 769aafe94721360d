/*
 * engine_parts.h
 *	  What the parts of the engine share: engine.c, engine_act.c, engine_publish.c.
 */
#ifndef PGQ_ENGINE_PARTS_H
#define PGQ_ENGINE_PARTS_H

#include "../core/quorum_drive.h"

/* Callbacks of the driver; arg is the node. */
extern bool pgq_engine_act(void *arg, const QuorumAction *action);
extern bool pgq_engine_publish(void *arg, const QuorumView *view);

/* Did the promotion to this term fail here? */
extern bool pgq_engine_promotion_failed(QuorumTerm term);

/* The request at work is a hand-over: remember whose it is. */
extern void pgq_engine_note_requester(void);

/* The core begins: nothing that was published before counts. */
extern void pgq_engine_publish_anew(void);

/* Tell backends by which rule commits count. */
extern void pgq_engine_publish_ledger(const QuorumView *view);

/* Write synchronous_standby_names by the published rule, when they differ from it. */
extern void pgq_engine_keep_names(void);

/* Do PostgreSQL's names, as far as it matters, fit the published rule? */
extern bool pgq_engine_rule_in_force(void);

#endif							/* PGQ_ENGINE_PARTS_H */
