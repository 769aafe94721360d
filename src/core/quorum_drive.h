/*
 * quorum_drive.h
 *	  One event through the core and its consequences in the order that keeps
 *	  promises: fence, persist, send, act, note, publish.
 *
 * The server's worker and the simulator call the same function, so the order that
 * protects votes is the order that is simulated, with a crash between any two
 * calls.  A call that returns false stops the drive: the host must then treat the
 * node as crashed (the memory of the core may be ahead of the disk).
 */
#ifndef QUORUM_DRIVE_H
#define QUORUM_DRIVE_H

#include "quorum_node.h"

typedef struct QuorumDriverOps
{
	/* restrictions: in force for every other process when it returns */
	bool		(*fence) (void *arg, const QuorumFence *fence);
	/* the local facts, read after the fence: fills now and u.facts */
	bool		(*read_facts) (void *arg, QuorumEvent *event);
	/* durable when it returns */
	bool		(*persist) (void *arg, const QuorumHardState *hard);
	/* queue for the network; loss is allowed, so never false for a dead peer */
	bool		(*send) (void *arg, const QuorumMessage *message);
	bool		(*act) (void *arg, const QuorumAction *action);
	/* tell the story: log and history */
	bool		(*note) (void *arg, const QuorumNote *note);
	/* permissions: gate, lease, accepted leader, rule for commits, views */
	bool		(*publish) (void *arg, const QuorumView *view);
} QuorumDriverOps;

/* Room for one drive; large, so the host owns it.  Contents do not matter between drives. */
typedef struct QuorumScratch
{
	QuorumUpdate update;
	QuorumEvent again;
	QuorumView	view;
} QuorumScratch;

extern bool quorum_drive(QuorumNode *node, const QuorumEvent *event, QuorumScratch *scratch,
						 const QuorumDriverOps *ops, void *arg);

#endif							/* QUORUM_DRIVE_H */
