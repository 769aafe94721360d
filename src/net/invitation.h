/*
 * invitation.h
 *	  What a guest does with an invitation, be it a server or a witness.
 *
 * An invitation comes from the leader, on an authenticated connection, to a node that is
 * no member any more, or not yet.  Whether the guest is fit to join is for the host to say.
 */
#ifndef PGQ_INVITATION_H
#define PGQ_INVITATION_H

#include "transport.h"

/*
 * Is it for this node?  Fills in hard, from the disk: what this node has promised, for
 * pgq_invitation_accept.  running: it takes part.  What is not for it changes nothing here; a
 * member turns it away, so the log tells of it, and who looks for the guest at this address is
 * told that somebody else is here.
 */
extern bool pgq_invitation_screen(const QuorumMessage *invite, bool running,
								  QuorumHardState *hard);

/*
 * Why this invitation is not for a node of this name and kind; NULL when it is.  buffer
 * has QUORUM_REASON_SIZE bytes.
 */
extern const char *pgq_invitation_flaw(const QuorumMessage *invite, const char *name,
									   bool witness, char *buffer);

/*
 * Become a member: fill in the hard state and make it durable.  False when that failed.
 * hard is zero, or the state of a member that was removed: what that one promised holds.
 */
extern bool pgq_invitation_accept(const QuorumMessage *invite, QuorumHardState *hard);

/* Say no: dial the leader for that purpose only, then be `nobody` again. */
extern void pgq_invitation_refuse(const QuorumMessage *invite, const char *reason,
								  const PgqIdentity *nobody);

/* Our connection to a peer is up while this node is no member: send a waiting refusal. */
extern void pgq_invitation_connected(QuorumNodeId peer);

/* Of a new incarnation; false when there are no random numbers. */
extern bool pgq_new_uuid(uint8 *uuid);

#endif							/* PGQ_INVITATION_H */
