/*
 * node.c
 *	  The core inside the witness: what it is fed, and what it asks for.
 *
 * The witness votes and keeps promises.  It has no data, so most of what a server is asked
 * for does not come up here: it never leads, is no primary, and acknowledges no WAL.
 */
#include "witness.h"

#include "../core/quorum_assert.h"
#include "../core/quorum_drive.h"
#include "../core/quorum_members.h"
#include "invitation.h"
#include "state.h"
#include "story.h"

static WitnessSettings settings;
static QuorumNode node;
static QuorumScratch scratch;
static QuorumEvent event;
static bool running;			/* the core does */
static bool failed;				/* a promise could not be written: this process must end */
static uint64 boot_nonce;
static QuorumTerm fence_term;
static QuorumSetId dialled_set;

void
quorum_assert_failed(const char *condition, const char *file, int line)
{
	PgqReport	report;

	pgq_report(&report, 0, "quorum: broken invariant: %s", condition);
	pgq_report_detail(&report, "%s:%d", file, line);
	witness_fail(&report);
	exit(EXIT_DEGRADED);
}

static void
identify(PgqIdentity *identity)
{
	memset(identity, 0, sizeof(*identity));
	identity->boot_nonce = boot_nonce;
	if (running)
		pgq_identity_set(identity, &node.hard);
}

/* ---- the driver's callbacks, in the order quorum_drive calls them ----------------------- */

/* Nobody acknowledges WAL here: the fence is in force as soon as it is known. */
static bool
driver_fence(void *arg, const QuorumFence *fence)
{
	(void) arg;
	fence_term = Max(fence_term, fence->term);
	return true;
}

/* Without data: a standby that has read all of its log, which is empty. */
static bool
driver_read_facts(void *arg, QuorumEvent *facts)
{
	(void) arg;
	memset(facts, 0, sizeof(*facts));
	facts->type = QUORUM_EVENT_FACTS;
	facts->now = pgq_now();
	facts->u.facts.phase = QUORUM_PHASE_STANDBY;
	facts->u.facts.fence_term = fence_term;
	facts->u.facts.sync_ready = true;
	return true;
}

static bool
driver_persist(void *arg, const QuorumHardState *hard)
{
	(void) arg;
	return pgq_state_write(hard);
}

static bool
driver_send(void *arg, const QuorumMessage *message)
{
	(void) arg;
	pgq_transport_send(message);
	return true;
}

static bool
driver_act(void *arg, const QuorumAction *action)
{
	(void) arg;
	if (action->type == QUORUM_ACTION_PROBE && settings.death_proof)
		pgq_transport_probe(action->peer);
	return true;
}

static bool
driver_note(void *arg, const QuorumNote *note)
{
	PgqStory	story;

	(void) arg;
	pgq_story_tell(&story, note, &node.hard.members);
	pgq_say("quorum: %s", story.text);
	return true;
}

static bool
driver_publish(void *arg, const QuorumView *view)
{
	PgqIdentity identity;

	(void) arg;
	witness_status_changed("member", view, &node.hard.members);
	if (quorum_set_id_compare(dialled_set, view->set_id) == 0)
		return true;
	dialled_set = view->set_id;
	identify(&identity);
	pgq_transport_set_members(&identity, &node.hard.members);
	return true;
}

static const QuorumDriverOps ops = {
	.fence = driver_fence,
	.read_facts = driver_read_facts,
	.persist = driver_persist,
	.send = driver_send,
	.act = driver_act,
	.note = driver_note,
	.publish = driver_publish,
};

/* ---- events ----------------------------------------------------------------------------- */

/* R1: a promise that may not be on disk is not made, and not tried again. */
static void
drive(void)
{
	PgqReport	report;

	if (!running || quorum_drive(&node, &event, &scratch, &ops, NULL))
		return;
	running = false;
	failed = true;
	pgq_report(&report, 0, "quorum: the state of this witness could not be written: it ends");
	pgq_report_hint(&report, "Mend the file system of its directory, then start it again.");
	witness_fail(&report);
}

static void
drive_facts(void)
{
	driver_read_facts(NULL, &event);
	drive();
}

static void
drive_peer(QuorumEventType type, QuorumNodeId peer)
{
	event.type = type;
	event.now = pgq_now();
	event.peer = peer;
	drive();
}

static void
take_part(const QuorumHardState *hard)
{
	QuorumConfig config;
	uint64		seed;

	memset(&config, 0, sizeof(config));
	config.lease_us = (QuorumTime) settings.lease_ms * 1000;
	config.heartbeat_us = config.lease_us / 10;
	config.promotion_limit_us = 60 * (QuorumTime) 1000000;
	if (!pg_strong_random(&seed, sizeof(seed)))
		pg_fatal("could not get random numbers");
	fence_term = hard->term;
	memset(&dialled_set, 0, sizeof(dialled_set));
	quorum_init(&node, &config, hard, seed, pgq_now());
	running = true;
	drive_facts();
}

/* ---- what the transport has to say ------------------------------------------------------ */

/* As long as the core runs: a member that was removed has ended before it is another one. */
static void
leave(void)
{
	event.type = QUORUM_EVENT_CLOSING;
	event.now = pgq_now();
	event.closing = QUORUM_CLOSING_SHUTDOWN;
	drive();
	running = false;
}

static void
on_invited(const QuorumMessage *invite)
{
	static QuorumHardState hard;
	char		buffer[QUORUM_REASON_SIZE];
	const char *flaw;
	PgqIdentity nobody;

	if (!pgq_invitation_screen(invite, running, &hard))
		return;
	if (running)
		leave();
	flaw = pgq_invitation_flaw(invite, settings.name, true, buffer);
	if (flaw == NULL && !pgq_invitation_accept(invite, &hard))
		flaw = "its state file could not be written";
	if (flaw != NULL)
	{
		identify(&nobody);
		pgq_invitation_refuse(invite, flaw, &nobody);
		return;
	}
	pgq_say("quorum: invited as node %u, joining", hard.node_id);
	/* the leader invites again: the member answers */
	take_part(&hard);
}

static void
on_message(const QuorumMessage *message)
{
	if (!running || message->to != node.hard.node_id)
	{
		if (message->type == QUORUM_MSG_INVITE && !failed)
			on_invited(message);
		return;
	}
	event.type = QUORUM_EVENT_MESSAGE;
	event.now = pgq_now();
	event.u.message = *message;
	drive();
}

static void
on_connected(QuorumNodeId peer)
{
	if (running)
		drive_peer(QUORUM_EVENT_PEER_CONNECTED, peer);
	else
		pgq_invitation_connected(peer);
}

static void
on_lost(QuorumNodeId peer)
{
	drive_peer(QUORUM_EVENT_PEER_LOST, peer);
}

/* Nobody streams from a witness. */
static void
on_incarnation(QuorumNodeId peer, uint64 boot_nonce)
{
	(void) peer;
	(void) boot_nonce;
}

static void
on_restarted(QuorumNodeId peer)
{
	drive_peer(QUORUM_EVENT_PEER_RESTARTED, peer);
}

static void
on_dead(QuorumNodeId peer)
{
	drive_peer(QUORUM_EVENT_PEER_DEAD, peer);
}

/* Only said: an old member set may be wrong about us, and nobody listens to us anyway. */
static void
on_disowned(QuorumNodeId peer)
{
	static QuorumNodeId said;

	if (said == peer)
		return;
	said = peer;
	pgq_say("node %u says that this witness was removed from the cluster", peer);
}

static const PgqTransportHandler handler = {
	on_message, on_connected, on_lost, on_incarnation, on_restarted, on_dead, on_disowned
};

/* ---- its life --------------------------------------------------------------------------- */

/* False when it must not even wait to be invited. */
static bool
read_state(QuorumHardState *hard, PgqMembership *membership)
{
	char		why[QUORUM_REASON_SIZE];
	PgqReport	report;

	*membership = pgq_state_read(hard, why);
	if (*membership == PGQ_MEMBER)
	{
		pgq_say("quorum: this witness is a member: node %u, term %u", hard->node_id, hard->term);
		return true;
	}
	if (*membership == PGQ_NO_MEMBER)
	{
		pgq_say("quorum: this witness is no member yet: it waits to be invited");
		return true;
	}
	pgq_report(&report, 0, "quorum: this witness takes no part: %s", why);
	pgq_report_hint(&report, "Remove it from the cluster, remove the directory pg_quorum in its "
					"directory, start it, and add it anew.");
	if (*membership == PGQ_STATE_FOREIGN)
		pgq_host_log(&report);
	else
		witness_fail(&report);
	return *membership == PGQ_STATE_FOREIGN;
}

bool
witness_node_start(const WitnessSettings *initial)
{
	static QuorumHardState hard;
	PgqMembership membership;
	PgqIdentity identity;
	PgqReport	report;

	settings = *initial;
	if (!pg_strong_random(&boot_nonce, sizeof(boot_nonce)))
		pg_fatal("could not get random numbers");
	if (!read_state(&hard, &membership))
		return false;
	memset(&identity, 0, sizeof(identity));
	identity.boot_nonce = boot_nonce;
	if (membership == PGQ_MEMBER)
		pgq_identity_set(&identity, &hard);
	if (!pgq_transport_start(&identity, settings.host, (uint16) settings.port,
							 settings.secret_file, &handler, &report))
	{
		witness_fail(&report);
		return false;
	}
	if (membership == PGQ_MEMBER)
		take_part(&hard);
	else
		witness_status_changed(membership == PGQ_NO_MEMBER ? "none" : "foreign copy", NULL, NULL);
	return !failed;
}

int
witness_node_wait(void)
{
	QuorumTime	deadline = witness_status_deadline();
	int			seen;

	if (running)
		deadline = Min(deadline, quorum_next_deadline(&node));
	seen = pgq_transport_wait(deadline);
	if (running && (QuorumTime) pgq_now_mono() >= quorum_next_deadline(&node))
	{
		event.type = QUORUM_EVENT_TICK;
		event.now = pgq_now();
		drive();
	}
	return failed ? -1 : seen;
}

void
witness_node_reconfigure(const WitnessSettings *changed)
{
	PgqReport	report;

	if (strcmp(changed->name, settings.name) != 0 || strcmp(changed->host, settings.host) != 0 ||
		changed->port != settings.port)
		pgq_say("name and address change when the witness is started again");
	settings.lease_ms = changed->lease_ms;
	settings.death_proof = changed->death_proof;
	strlcpy(settings.secret_file, changed->secret_file, sizeof(settings.secret_file));
	if (running)
	{
		node.config.lease_us = (QuorumTime) settings.lease_ms * 1000;
		node.config.heartbeat_us = node.config.lease_us / 10;
	}
	if (!pgq_transport_reload_secret(settings.secret_file, &report))
		pgq_host_log(&report);
}

void
witness_node_stop(void)
{
	leave();
	pgq_transport_flush();
	pgq_transport_stop();
}
