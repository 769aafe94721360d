/*
 * transport_accept.h
 *	  Who may connect to the quorum port, before anything has been said.
 */
#ifndef PGQ_TRANSPORT_ACCEPT_H
#define PGQ_TRANSPORT_ACCEPT_H

#include "transport_peers.h"

/* Accept what waits at a listener, within bounds. */
extern void pgq_accept_ready(PgqSocket *listener, uint64 now);

/* Listen again after a pause for want of descriptors. */
extern void pgq_accept_due(uint64 now);

#endif							/* PGQ_TRANSPORT_ACCEPT_H */
