/*
 * engine.h
 *	  The core inside the worker: its memory, what it is fed, what its driver calls.
 *
 * worker.c decides when something happens, engine.c, engine_act.c and engine_publish.c carry it
 * out, join.c makes a server a member in the first place.
 */
#ifndef PGQ_ENGINE_H
#define PGQ_ENGINE_H

#include "../core/quorum_drive.h"
#include "transport.h"

/* Does the core run?  False on a server that is no member (yet), or must not take part. */
extern bool pgq_engine_running(void);

/* Start the core from hard; bootstrapped: this running primary leads hard->term. */
extern void pgq_engine_start(const QuorumHardState *hard, bool bootstrapped);

/*
 * Feed one event.  When a write failed the node takes itself out: the gate is shut,
 * the core stops until the server restarts.
 */
extern void pgq_engine_message(const QuorumMessage *message);
extern void pgq_engine_peer(QuorumEventType type, QuorumNodeId peer);
extern void pgq_engine_facts(void);
extern void pgq_engine_closing(QuorumClosing closing);
extern void pgq_engine_admin(const QuorumAdmin *admin);

/* Reads wait to be confirmed: ask the others now. */
extern void pgq_engine_confirm(void);

/* Let time pass when the core asked for it. */
extern void pgq_engine_tick(void);

/* When pgq_engine_tick is due, mono clock; PG_INT64_MAX = never. */
extern QuorumTime pgq_engine_deadline(void);

/* Settings were reloaded. */
extern void pgq_engine_reconfigure(void);

/* Slots and synchronous_standby_names: about once a second, and when the rule changed. */
extern void pgq_engine_chores(void);

/* As last published; valid while the core runs. */
extern const QuorumView *pgq_engine_view(void);

extern void pgq_engine_identity(PgqIdentity *identity);

/* Shut the gate, without the core: the last thing a worker does, whatever happened to it. */
extern void pgq_engine_shut_gate(void);

/* Say (empty: nothing) in quorum.status what is wrong. */
extern void pgq_engine_notice(const char *text);

#endif							/* PGQ_ENGINE_H */
