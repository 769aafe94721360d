/*
 * transport_dial.h
 *	  Our connections to the peers, until they are authenticated; and probes.
 */
#ifndef PGQ_TRANSPORT_DIAL_H
#define PGQ_TRANSPORT_DIAL_H

#include "transport_peers.h"

/* Dial whom it is time to dial, give up what takes too long. */
extern void pgq_dial_due(uint64 now);
extern uint64 pgq_dial_deadline(void);
extern void pgq_dial_soon(PgqPeer *peer, uint64 now);

/* An authenticated link to peer is gone: when to dial again. */
extern void pgq_dial_again(PgqPeer *peer, uint64 now);

/* The peer has just connected to us: it is alive, and perhaps another incarnation. */
extern void pgq_dial_alive(PgqPeer *peer, uint64 now);

/* The socket of a link that is not yet authenticated; true = now it is. */
extern bool pgq_dial_ready(PgqPeer *peer, uint64 now);

extern void pgq_probe_start(PgqPeer *peer, uint64 now);
extern void pgq_probe_cancel(PgqPeer *peer);
extern void pgq_probe_ready(PgqPeer *peer, PgqSocket *sock);

/* Both outcomes are known, or it is too late for them: is the peer dead? */
extern bool pgq_probe_is_over(PgqPeer *peer, uint64 now, bool *dead);
extern uint64 pgq_probe_deadline(void);

#endif							/* PGQ_TRANSPORT_DIAL_H */
