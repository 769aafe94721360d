/*
 * join.h
 *	  How a server becomes a member: by bootstrap, or by accepting an invitation.
 */
#ifndef PGQ_JOIN_H
#define PGQ_JOIN_H

#include "transport.h"

/* Requests of SQL functions in the mailbox: take, carry out, answer. */
extern void pgq_join_requests(void);

/* An invitation has come in, and this server is no member, or one that was removed. */
extern void pgq_join_invited(const QuorumMessage *invite);

/* Our connection to a peer is up while the core does not run: send a waiting refusal. */
extern void pgq_join_connected(QuorumNodeId peer);

#endif							/* PGQ_JOIN_H */
