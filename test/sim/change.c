/*
 * change.c
 *	  The operator: adds and removes members, switches over, one request at a time.
 *
 * Somebody who reads outcomes, waits, and asks again.  A server to be added holds a
 * copy of the leader's data and waits for its invitation; most answer, some refuse,
 * some are not there.  Members are removed alive, or dead for good.  What a set must
 * be like is in sets.c.
 */
#include <stdlib.h>
#include <string.h>

#include "quorum_members.h"
#include "sim.h"

#define MEMBERS_MAX		5
#define INVITE_LIMIT	(30 * SIM_SECOND)

static const char *const type_names[] = {
	"?", "add", "remove", "switch over to", "change the kind of", "move", "pause", "force"
};

/* ---- a server that joins ------------------------------------------------ */

/* pg_basebackup: a copy of what is durable at the source. */
void
sim_prepare(Sim *sim, SimNode *node, const SimNode *source)
{
	if (node->state_size > 0)
		return;
	node->fresh = true;
	node->host_up = true;
	node->log.count = 0;
	node->log.write = node->log.flush = 0;
	if (node->witness)
		return;
	sim_log_copy(&node->log, &source->log, source->log.flush);
	sim_log_cut(&node->log, source->log.flush);
	node->history_count = 0;
	for (int i = 0; i < source->history_count; i++)
		node->histories[node->history_count++] = source->histories[i];
	sim_history_forget(sim, node, node->log.records[node->log.count - 1].tli);
}

static void
refuse(Sim *sim, SimNode *node, const QuorumMessage *invite)
{
	QuorumMessage answer;

	memset(&answer, 0, sizeof(answer));
	answer.type = QUORUM_MSG_INVITE_REPLY;
	answer.from = node->id;
	answer.to = invite->from;
	strcpy(answer.reason, "it does not want to");
	sim_trace(sim, node, "refuses its invitation");
	sim_send(sim, node, &answer);
}

/* What src/pg/join.c does: write the state, restart; the member that boots answers. */
void
sim_invited(Sim *sim, SimNode *node, const SimBytes *bytes)
{
	QuorumMessage invite;
	QuorumHardState hard;

	if (!node->fresh || node->state_size > 0 ||
		!quorum_message_decode(&invite, bytes->bytes, bytes->size))
		return;
	if (sim_chance(sim, sim->options.refuse_ppm))
	{
		node->fresh = false;
		refuse(sim, node, &invite);
		return;
	}
	memset(&hard, 0, sizeof(hard));
	if (node->returns_from != QUORUM_NO_NODE && !sim_returns(sim, node, &invite, &hard))
		return;
	memcpy(hard.cluster_id, invite.cluster_id, sizeof(hard.cluster_id));
	hard.system_identifier = invite.system_identifier;
	hard.node_id = invite.node_id;
	memset(hard.uuid, node->index + 1, sizeof(hard.uuid));
	if (invite.term > hard.term)
	{
		hard.term = invite.term;
		hard.vote = QUORUM_NO_NODE;
	}
	hard.members = invite.members;
	sim_disk_format(node, &hard);
	node->fresh = false;
	sim_trace(sim, node, "is invited and joins");
	sim_after(sim, sim_draw(sim, (SimRange) {SIM_MS, 100 * SIM_MS}), SIM_EV_BOOT, node);
}

/* ---- requests ----------------------------------------------------------- */

static SimNode *
serving_leader(Sim *sim)
{
	SimNode    *leader = sim_leader(sim);

	if (leader == NULL || !leader->shared.gate_open || !sim_pg_serves(sim, leader) ||
		leader->stopping || leader->doomed || sim->now < leader->busy_until)
		return NULL;
	return leader;
}

/* The same, or somebody who leads and does not serve: it has to say no. */
static SimNode *
whom_to_ask(Sim *sim)
{
	SimNode    *leader = sim_leader(sim);

	if (sim->options.change_every > 0 && leader != NULL && leader->worker &&
		!sim_frozen(sim, leader) && sim->now >= leader->busy_until && sim_chance(sim, 300000))
		return leader;
	return serving_leader(sim);
}

/* node NULL: whoever is ready.  False: nobody serves who could be asked. */
bool
sim_ask(Sim *sim, QuorumAdminType type, SimNode *node, SimTime limit, QuorumMemberKind kind)
{
	SimOperator *operator = &sim->operator;
	SimNode    *leader = whom_to_ask(sim);
	QuorumAdmin *admin = &operator->asked;

	if (leader == NULL)
		return false;
	memset(admin, 0, sizeof(*admin));
	admin->type = type;
	admin->request_id = ++operator->requests;
	admin->kind = kind;
	admin->quorum_port = 7000;
	admin->limit_us = limit;
	if (node != NULL)
	{
		snprintf(admin->name, sizeof(admin->name), "n%u", node->id);
		snprintf(admin->host, sizeof(admin->host), "h%u", node->id);
	}
	operator->about = node == NULL ? QUORUM_NO_NODE : node->id;
	operator->leader = leader->index;
	operator->life = leader->life;
	operator->asked_at = sim->now;
	if (type == QUORUM_ADMIN_PAUSE &&
		sim->now + limit + 2 * sim->options.wall_off > operator->paused_until)
		operator->paused_until = sim->now + limit + 2 * sim->options.wall_off;
	if (type == QUORUM_ADMIN_REMOVE_MEMBER)
		sim->oracle.added[node->index] = false;
	if (type == QUORUM_ADMIN_CHANGE_ADDRESS)
	{
		sim->oracle.moved[node->index] = 0;
		admin->quorum_port = (uint16_t) (7000 + admin->request_id);
	}
	sim_trace(sim, leader, "is asked to %s %s%s", type_names[type],
			  type == QUORUM_ADMIN_PAUSE ? limit > 0 ? "its cluster" : "no more" :
			  node == NULL ? "whoever is ready" : admin->name,
			  type != QUORUM_ADMIN_ADD_MEMBER ? "" : kind == QUORUM_LEARNER ? " as a learner" :
			  kind == QUORUM_WITNESS ? " as a witness" : "");
	sim->event.type = QUORUM_EVENT_ADMIN;
	sim->event.u.admin = *admin;
	sim_drive(sim, leader);
	return true;
}

/* Asked of the node itself; from here on nothing older is demanded (F1). */
void
sim_force(Sim *sim, SimNode *node)
{
	sim->forced = true;
	memset(&sim->oracle.tip, 0, sizeof(sim->oracle.tip));
	memset(sim->oracle.tip_of, 0, sizeof(sim->oracle.tip_of));
	sim->oracle.async_acked = 0;
	memset(&sim->event.u.admin, 0, sizeof(sim->event.u.admin));
	sim->event.type = QUORUM_EVENT_ADMIN;
	sim->event.u.admin.type = QUORUM_ADMIN_FORCE;
	sim->event.u.admin.request_id = 1;
	sim_drive(sim, node);
}

void
sim_outcome(Sim *sim, SimNode *node, const QuorumOutcome *outcome)
{
	SimOperator *operator = &sim->operator;
	QuorumAdmin asked = operator->asked;

	if (asked.request_id == 0 || outcome->request_id != asked.request_id || !outcome->done)
		return;
	memset(&operator->asked, 0, sizeof(operator->asked));
	if (outcome->failed)
	{
		operator->failed++;
		sim_trace(sim, node, "cannot %s %s: %s", type_names[asked.type], asked.name,
				  outcome->reason);
		return;
	}
	operator->done++;
	sim_trace(sim, node, "done: %s %s", type_names[asked.type], asked.name);
	if (asked.type == QUORUM_ADMIN_SWITCHOVER)
		operator->calm_to = outcome->node_id;
	sim_check_outcome(sim, outcome->node_id, &asked);
}

/* A request ends, once nothing goes wrong any more. */
static void
check_bound(Sim *sim)
{
	SimOperator *operator = &sim->operator;
	const SimNode *leader = &sim->nodes[operator->leader];
	SimTime		since = operator->asked_at;
	SimTime		bound = INVITE_LIMIT + sim_liveness_bound(&sim->options);

	if (operator->asked.request_id == 0)
		return;
	if (!leader->worker || leader->life != operator->life)
	{
		sim_trace(sim, NULL, "nobody knows what became of the request");
		memset(&operator->asked, 0, sizeof(operator->asked));
		return;
	}
	if (!sim->healed)
		return;
	if (since < sim->options.heal_at)
		since = sim->options.heal_at;
	if (since < operator->paused_until)
		since = operator->paused_until;
	if (operator->asked.type != QUORUM_ADMIN_ADD_MEMBER)
		bound = sim_liveness_bound(&sim->options);
	if (sim->now - since > bound)
		sim_fail(sim, SIM_LIVENESS, "node %u has not ended the request to %s %s after %lld ms",
				 leader->id, type_names[operator->asked.type], operator->asked.name,
				 (long long) ((sim->now - operator->asked_at) / SIM_MS));
}

static SimNode *
some_member(Sim *sim, const SimNode *leader)
{
	const QuorumMemberSet *set = &leader->core.hard.members;

	return &sim->nodes[set->members[sim_below(sim, set->count)].id - 1];
}

static void
add_somebody(Sim *sim, const SimNode *leader)
{
	const QuorumMemberSet *set = &leader->core.hard.members;
	SimNode    *node;
	SimNode    *before = NULL;
	QuorumMemberKind kind = QUORUM_VOTER;

	if (set->next_node_id > (QuorumNodeId) sim->options.nodes || set->count >= MEMBERS_MAX)
		return;
	node = &sim->nodes[set->next_node_id - 1];
	if (sim_chance(sim, 150000))
		kind = QUORUM_LEARNER;
	else if (sim_chance(sim, sim->options.witnesses > 0 ? 400000 : 100000))
		kind = QUORUM_WITNESS;
	node->witness = kind == QUORUM_WITNESS;
	if (sim_chance(sim, 500000))
		before = sim_removed_server(sim, node->witness);
	node->fresh = false;
	node->returns_from = QUORUM_NO_NODE;
	if (before != NULL)
	{
		node->fresh = node->host_up = true;
		node->returns_from = before->id;
	}
	else if (!sim_chance(sim, sim->options.absent_ppm))
		sim_prepare(sim, node, leader);
	(void) sim_ask(sim, QUORUM_ADMIN_ADD_MEMBER, node, 0, kind);
}

static void
remove_somebody(Sim *sim, const SimNode *leader)
{
	SimNode    *node = some_member(sim, leader);
	int			voters = quorum_members_vote_count(&leader->core.hard.members);

	if (node == leader && !sim_chance(sim, 100000))
		return;
	if (node != leader && voters >= 3 && !sim_somebody_recovers(sim) && sim_chance(sim, 300000))
	{
		sim_trace(sim, node, "dies for good");
		node->retired = true;
		sim_node_dies(sim, node, true);
		sim->operator.dead = node->id;
		return;					/* asked for next time */
	}
	(void) sim_ask(sim, QUORUM_ADMIN_REMOVE_MEMBER, node, 0, QUORUM_VOTER);
}

/* Whoever was removed is switched off some time, or left running. */
static void
switch_off_removed(Sim *sim)
{
	for (int i = 0; i < sim->options.nodes; i++)
	{
		SimNode    *node = &sim->nodes[i];

		if (sim->oracle.gone[i] && !node->retired && sim_chance(sim, 100000))
		{
			sim_trace(sim, node, "is switched off for good");
			node->retired = true;
			sim_node_dies(sim, node, false);
		}
	}
}

static void
ask_something(Sim *sim, const SimNode *leader)
{
	int			what = sim_below(sim, 14);

	if (sim->now + 4 * sim->options.lease > sim->options.duration)
		return;					/* what is asked for ends before the run (M7) */
	if (sim->operator.dead != QUORUM_NO_NODE)
	{
		if (quorum_members_find(&leader->core.hard.members, sim->operator.dead) < 0)
			sim->operator.dead = QUORUM_NO_NODE;
		else
			(void) sim_ask(sim, QUORUM_ADMIN_REMOVE_MEMBER,
						   &sim->nodes[sim->operator.dead - 1], 0, QUORUM_VOTER);
	}
	else if (sim->healed)
		return;
	else if (what < 4)
		add_somebody(sim, leader);
	else if (what < 7)
		remove_somebody(sim, leader);
	else if (what == 10)
		(void) sim_ask(sim, QUORUM_ADMIN_CHANGE_KIND, some_member(sim, leader), 0,
					   sim_chance(sim, 500000) ? QUORUM_LEARNER : QUORUM_VOTER);
	else if (what == 11)
		(void) sim_ask(sim, QUORUM_ADMIN_PAUSE, NULL, sim_chance(sim, 300000) ? 0 :
					   sim_draw(sim, (SimRange) {SIM_SECOND / 2, 8 * SIM_SECOND}), QUORUM_VOTER);
	else if (what == 13)
		(void) sim_ask(sim, QUORUM_ADMIN_CHANGE_ADDRESS, some_member(sim, leader), 0, QUORUM_VOTER);
	else
		(void) sim_ask(sim, QUORUM_ADMIN_SWITCHOVER,
					   sim_chance(sim, 300000) ? NULL : some_member(sim, leader),
					   sim_draw(sim, (SimRange) {50 * SIM_MS, 3 * SIM_SECOND}), QUORUM_VOTER);
}

void
sim_operator(Sim *sim)
{
	SimNode    *leader = serving_leader(sim);

	check_bound(sim);
	switch_off_removed(sim);
	if (leader == NULL && sim_chance(sim, 500000))
		leader = whom_to_ask(sim);
	if (leader != NULL && sim->operator.asked.request_id == 0)
		ask_something(sim, leader);
	sim_after(sim, sim_draw(sim, (SimRange) {SIM_MS, 2 * sim->options.change_every}),
			  SIM_EV_OPERATOR, NULL);
}

/* ---- the switchover that nothing disturbs ------------------------------- */

SimTime
sim_calm_bound(const SimOptions *options)
{
	return sim_election_bound(options) + 2 * options->lease + SIM_SECOND;
}

/*
 * A candidate waits one heartbeat for its votes (at least 50 ms), twice.  When an answer may
 * take longer than that somebody else may stand before the successor has won.
 */
static bool
round_is_long_enough(const SimOptions *options)
{
	SimTime		round = options->heartbeat > 50 * SIM_MS ? options->heartbeat : 50 * SIM_MS;

	return 2 * (options->delay.max + options->fsync.max) < round;
}

/* Everybody of the set whom commits wait for follows this leader and could lead. */
static bool
all_are_ready(const Sim *sim, const SimNode *leader)
{
	uint32_t	in = sim_set_of(&leader->core.hard.members).in;
	int			ready = 0;

	for (int i = 0; i < sim->options.nodes; i++)
	{
		const SimNode *node = &sim->nodes[i];

		if ((in >> i & 1) == 0 || node == leader)
			continue;
		if (!sim_stream_counts(sim, node) || node->stream.source != leader->index ||
			node->disk_recovering || node->core.leader != leader->id)
			return false;
		ready++;
	}
	return ready > 0;
}

/*
 * G1, G3: a leader whose disk hangs, or is nearly full, gives its term up.  One change of
 * the set, or one attempt before, may be in the way; then nothing is demanded.
 */
static bool
spoil_disk(Sim *sim, SimNode *leader)
{
	bool		space = sim->options.weight[SIM_FAULT_SPACE] > 0;

	if ((!space && sim->options.weight[SIM_FAULT_WAL_STALL] == 0) ||
		sim->now < sim->operator.paused_until || !all_are_ready(sim, leader) ||
		leader->core.change.step != QUORUM_CHANGE_NONE ||
		(space && leader->core.space_again_at > sim_clock(sim, leader).mono))
		return false;
	sim_trace(sim, leader, "its disk %s, in peace", space ? "is nearly full" : "hangs");
	if (space)
		leader->space_low = true;
	else
		leader->stall_until = sim->options.duration;
	sim->operator.spoilt = true;
	return true;
}

/* Long after healing, when everybody follows. */
void
sim_calm_switchover(Sim *sim)
{
	SimNode    *leader = serving_leader(sim);

	if (leader == NULL || sim->operator.asked.request_id != 0 ||
		quorum_members_vote_count(&leader->core.hard.members) < 2 ||
		!round_is_long_enough(&sim->options) ||
		sim->now + sim_calm_bound(&sim->options) >= sim->options.duration)
		return;
	sim->operator.calm_from = leader->index;
	sim->operator.calm_to = QUORUM_NO_NODE;
	if (!spoil_disk(sim, leader) &&
		(sim->options.change_every == 0 ||
		 !sim_ask(sim, QUORUM_ADMIN_SWITCHOVER, NULL, 2 * SIM_SECOND, QUORUM_VOTER)))
		return;
	sim->operator.calm = true;
	sim->operator.calm_elections = sim->oracle.elections;
	sim->operator.calm_divergences = sim->operator.divergences;
	sim_after(sim, sim_calm_bound(&sim->options), SIM_EV_SWITCH_CHECK, NULL);
}

void
sim_calm_switchover_check(Sim *sim)
{
	const SimOperator *operator = &sim->operator;
	const SimNode *leader = sim_leader(sim);
	const SimNode *old = &sim->nodes[operator->calm_from];

	if (operator->spoilt && sim->oracle.elections == operator->calm_elections)
		sim_fail(sim, SIM_LIVENESS, "node %u leads on with a disk that is of no use", old->id);
	if (operator->calm_to == QUORUM_NO_NODE)
		return;					/* it failed; the old one serves on */
	if (sim->oracle.elections > operator->calm_elections + 1)
		return;					/* another election came between */
	if (leader == NULL || leader->id != operator->calm_to)
		sim_fail(sim, SIM_LIVENESS, "node %u does not lead after the switchover to it",
				 operator->calm_to);
	if (sim->operator.divergences > operator->calm_divergences)
		sim_fail(sim, SIM_LIVENESS, "node %u needs a rewind after a switchover", old->id);
}
