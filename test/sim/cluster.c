/*
 * cluster.c
 *	  One run: the cluster as it starts, the loop over events.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

Sim *
sim_create(void)
{
	Sim		   *sim = calloc(1, sizeof(Sim));

	if (sim == NULL)
		abort();
	sim->scratch = calloc(1, sizeof(QuorumScratch));
	if (sim->scratch == NULL)
		abort();
	return sim;
}

void
sim_destroy(Sim *sim)
{
	sim_queue_clear(sim);
	free(sim->queue.slots);
	free(sim->scratch);
	for (int i = 0; i < SIM_NODES; i++)
	{
		free(sim->nodes[i].log.records);
		free(sim->nodes[i].commits);
	}
	free(sim);
}

/* As new, keeping what was allocated and where the trace goes. */
static void
clear(Sim *sim)
{
	for (int i = 0; i < SIM_NODES; i++)
	{
		SimNode    *node = &sim->nodes[i];
		SimNode		fresh = {.log = {.records = node->log.records,.capacity = node->log.capacity},
			.commits = node->commits,.commit_capacity = node->commit_capacity};

		*node = fresh;
	}
	sim_queue_clear(sim);
	sim->now = 0;
	sim->order = 0;
	memset(sim->cut, 0, sizeof(sim->cut));
	memset(sim->mute, 0, sizeof(sim->mute));
	memset(sim->connected, 0, sizeof(sim->connected));
	memset(sim->connecting, 0, sizeof(sim->connecting));
	memset(&sim->oracle, 0, sizeof(sim->oracle));
	memset(&sim->event, 0, sizeof(sim->event));
	memset(&sim->message, 0, sizeof(sim->message));
	sim->history_count = 0;
	sim->stream_ids = 0;
	sim->payload = 0;
	sim->healed = false;
	sim->forced = false;
	memset(&sim->operator, 0, sizeof(sim->operator));
	sim->hash = UINT64_C(0xcbf29ce484222325);
	sim->trace_count = 0;
	sim->verdict = SIM_OK;
	sim->why[0] = '\0';
	sim->events = 0;
}

static void
make_hard_state(const SimOptions *options, QuorumHardState *hard)
{
	memset(hard, 0, sizeof(*hard));
	memset(hard->cluster_id, 7, sizeof(hard->cluster_id));
	hard->system_identifier = 42;
	hard->term = 1;
	hard->members.id.term = 1;
	hard->members.id.version = 1;
	hard->members.next_node_id = (QuorumNodeId) options->members + 1;
	hard->members.count = options->members;
	for (int i = 0; i < options->members; i++)
	{
		QuorumMember *member = &hard->members.members[i];

		member->id = (QuorumNodeId) i + 1;
		member->kind = i >= options->members - options->witnesses ? QUORUM_WITNESS :
			i >= options->members - options->witnesses - options->learners ? QUORUM_LEARNER :
			QUORUM_VOTER;
		member->quorum_port = 7000;
		member->pg_port = 5432;
		memset(member->uuid, i + 1, sizeof(member->uuid));
		snprintf(member->name, sizeof(member->name), "n%d", i + 1);
		snprintf(member->host, sizeof(member->host), "h%d", i + 1);
	}
}

static void
make_node(Sim *sim, int index, QuorumHardState *hard)
{
	const SimOptions *options = &sim->options;
	SimNode    *node = &sim->nodes[index];

	node->index = index;
	node->id = (QuorumNodeId) index + 1;
	node->host_up = true;
	node->clock.base_mono = sim_draw(sim, (SimRange) {SIM_SECOND, 1000 * SIM_SECOND});
	node->clock.ppm = sim_chance(sim, 500000) ? options->drift_ppm : -options->drift_ppm;
	if (sim_chance(sim, 300000))
		node->clock.ppm = (int) quorum_random_between(&sim->random, -options->drift_ppm,
													  options->drift_ppm);
	if (options->wall_off > 0)
		node->clock.wall_ahead = sim_draw(sim, (SimRange) {-options->wall_off, options->wall_off});
	node->config.lease_us = options->lease;
	node->config.heartbeat_us = options->heartbeat;
	node->config.promotion_limit_us = options->promotion_limit;
	node->config.priority = options->priority[index];
	node->config.pg_port = 5432;
	node->config.auto_rewind = options->auto_rewind;
	node->config.strict = options->strict;
	node->witness = index < options->members && index >= options->members - options->witnesses;
	hard->node_id = node->id;
	memset(hard->uuid, index + 1, sizeof(hard->uuid));
	if (index < options->members)
		sim_disk_format(node, hard);
	if (!node->witness)
	{
		sim_log_append(&node->log, 1, SIM_LSN_START, 0);
		sim_log_cut(&node->log, SIM_LSN_START);
	}
	sim_history_add(sim, node, 0);
	sim_boot(sim, node);
}

void
sim_start(Sim *sim, const SimOptions *options)
{
	QuorumHardState hard;

	clear(sim);
	sim->options = *options;
	quorum_random_seed(&sim->random, options->seed);
	sim->histories[0] = (SimHistory) {1, -1, 0};
	sim->history_count = 1;
	make_hard_state(options, &hard);
	for (int i = 0; i < options->nodes; i++)
		make_node(sim, i, &hard);
	sim_after(sim, options->commit_every, SIM_EV_CLIENT, NULL);
	if (options->fault_every > 0)
		sim_after(sim, options->fault_every, SIM_EV_FAULT, NULL);
	if (options->change_every > 0)
		sim_after(sim, options->change_every, SIM_EV_OPERATOR, NULL);
	if (options->heal_at > 0)
		sim_at(sim, options->heal_at, SIM_EV_HEAL, NULL);
}

SimNode *
sim_leader(Sim *sim)
{
	SimNode    *leader = NULL;

	for (int i = 0; i < sim->options.nodes; i++)
	{
		SimNode    *node = &sim->nodes[i];

		if (node->worker && node->core.role == QUORUM_ROLE_LEADER &&
			(leader == NULL || node->core.hard.term > leader->core.hard.term))
			leader = node;
	}
	return leader;
}

/* A stopped walreceiver does nothing, nor can a promotion begin; a disk that hangs ends no flush. */
static SimTime
waits_until(const SimNode *node, SimEventType type)
{
	SimTime		until = 0;

	if (type == SIM_EV_FLUSH || type == SIM_EV_STREAM_FLUSH)
		until = node->stall_until;
	if (((type >= SIM_EV_STREAM_CONNECT && type <= SIM_EV_STREAM_REPLY) ||
		 type == SIM_EV_STREAM_END || type == SIM_EV_PROMOTE) && until < node->receiver_until)
		until = node->receiver_until;
	return until;
}

/* What its PostgreSQL does; dead processes do nothing. */
static void
pg_event(Sim *sim, SimNode *node, const SimEvent *event)
{
	if (!node->pg || event->life != node->pg_life)
		return;
	if (sim->now < waits_until(node, (SimEventType) event->type))
	{
		sim_again(sim, event, waits_until(node, (SimEventType) event->type));
		return;
	}
	switch ((SimEventType) event->type)
	{
		case SIM_EV_FLUSH:
			sim_pg_flushed(sim, node, event->number);
			break;
		case SIM_EV_BOOTED:
			sim_pg_booted(sim, node);
			break;
		case SIM_EV_PROMOTE:
			sim_pg_promote_step(sim, node);
			break;
		case SIM_EV_STREAM_CONNECT:
			sim_stream_connect(sim, node, event->id);
			break;
		case SIM_EV_STREAM_DATA:
			sim_stream_data(sim, node, event);
			break;
		case SIM_EV_STREAM_FLUSH:
			sim_stream_flushed(sim, node, event);
			break;
		case SIM_EV_STREAM_REPLY:
			sim_stream_reply(sim, node, event->id);
			break;
		case SIM_EV_STREAM_ACK:
			sim_stream_ack(sim, node, event);
			break;
		case SIM_EV_STREAM_END:
			if (event->number == 0 || !sim_link_works(sim, node, &sim->nodes[event->peer]))
				sim_stream_end(sim, node, event->id);
			break;
		case SIM_EV_STOPPED:
			sim_stopped(sim, node);
			break;
		default:
			break;
	}
}

static void
host_event(Sim *sim, SimNode *node, const SimEvent *event)
{
	SimNode    *peer = &sim->nodes[event->peer];

	switch ((SimEventType) event->type)
	{
		case SIM_EV_CONNECT:
			if (event->life == node->life && node->worker)
				sim_connect(sim, node, peer);
			break;
		case SIM_EV_CONN_TIMEOUT:
			if (event->life == node->life && node->worker)
				sim_connection_timeout(sim, node, peer);
			break;
		case SIM_EV_PROBE:
			if (event->life == node->life)
				sim_probe_answer(sim, node, peer);
			break;
		case SIM_EV_KILL:
			if (event->life == node->pg_life)
				sim_node_dies(sim, node, event->number == 1);
			break;
		case SIM_EV_BOOT:
			sim_boot(sim, node);
			break;
		case SIM_EV_WORKER_START:
			if (event->life == node->pg_life)
				sim_worker_start(sim, node);
			break;
		case SIM_EV_THAW:
			sim_thaw(sim, node);
			break;
		case SIM_EV_REWIND:
			if (event->life == node->pg_life)
				sim_rewind(sim, node);
			break;
		case SIM_EV_INVITED:
			sim_invited(sim, node, event->data);
			free(event->data);
			break;
		case SIM_EV_DISK_OK:
			sim_disk_ok(sim, node, (int) event->number);
			break;
		case SIM_EV_CLIENT:
			sim_clients(sim);
			break;
		case SIM_EV_OPERATOR:
			sim_operator(sim);
			break;
		case SIM_EV_SWITCH_CHECK:
			if (event->number == 1)
				sim_calm_switchover(sim);
			else
				sim_calm_switchover_check(sim);
			break;
		case SIM_EV_FAULT:
			sim_fault_draw(sim);
			break;
		case SIM_EV_LINKS_UP:
			sim_links_up(sim);
			break;
		case SIM_EV_HEAL:
			sim_heal(sim);
			break;
		case SIM_EV_DEADLINE:
			sim_liveness_deadline(sim);
			break;
		default:
			break;
	}
}

/* Healing thaws everybody: what waits for a node must not come behind what comes after that. */
static SimTime
thaws_at(const Sim *sim, const SimNode *node)
{
	SimTime		healing = sim->options.heal_at + 1;

	return sim->now < healing && node->frozen_until > healing ? healing : node->frozen_until;
}

static void
handle(Sim *sim, SimEvent *event)
{
	SimNode    *node = &sim->nodes[event->node];

	if (event->type <= SIM_EV_LAST_OF_NODE && sim_frozen(sim, node))
	{
		sim_again(sim, event, thaws_at(sim, node));
		if (event->type == SIM_EV_TICK && node->tick_at == event->at)
			node->tick_at = thaws_at(sim, node);
		return;
	}
	if (event->type <= SIM_EV_CLOSING)
	{
		sim_worker_event(sim, node, event);
		if (event->data != NULL && event->type == SIM_EV_MESSAGE)
			free(event->data);
	}
	else if (event->type <= SIM_EV_LAST_OF_NODE)
		pg_event(sim, node, event);
	else
		host_event(sim, node, event);
	sim_check_all(sim);
}

void
sim_run_until(Sim *sim, SimTime until)
{
	SimEvent	event;

	while (sim_next(sim, until, &event))
	{
		sim->now = event.at;
		if (++sim->events > SIM_EVENTS_MAX)
			sim_fail(sim, SIM_LIVENESS, "%ld events: somebody goes round in circles", sim->events);
		handle(sim, &event);
	}
	sim->now = until;
}

SimVerdict
sim_run(Sim *sim, const SimOptions *options)
{
	sim_check_begin(sim);
	if (setjmp(sim->stop) == 0)
	{
		sim_start(sim, options);
		sim_run_until(sim, options->duration);
	}
	return sim->verdict;
}
