/*
 * network.c
 *	  Links between nodes: delay, loss, duplicates, reordering, cuts, connections.
 *
 * Worse than TCP on purpose: a message may vanish, come twice or overtake another
 * while its connection stands, so that safety does not rest on the transport.  What
 * is never received is a message for an earlier life of the receiver.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

bool
sim_link_works(const Sim *sim, const SimNode *a, const SimNode *b)
{
	return a->host_up && b->host_up && !sim->cut[a->index][b->index] &&
		!sim->cut[b->index][a->index];
}

/* The same for the quorum port. */
static bool
port_works(const Sim *sim, const SimNode *a, const SimNode *b)
{
	return sim_link_works(sim, a, b) && !sim->mute[a->index][b->index] &&
		!sim->mute[b->index][a->index];
}

/* One way; a node that is far away is so for all. */
SimTime
sim_link_delay(Sim *sim, const SimNode *from, const SimNode *to)
{
	return sim_draw(sim, sim->options.delay) + from->farther + to->farther;
}

static SimTime
message_delay(Sim *sim, const SimNode *from, const SimNode *to)
{
	SimTime		delay = sim_link_delay(sim, from, to);

	if (sim_chance(sim, sim->options.slow_ppm))
		delay += sim_draw(sim, (SimRange) {0, 2 * sim->options.lease});
	return delay;
}

static bool
gets_lost(Sim *sim, const SimNode *from, const SimNode *to)
{
	return sim_chance(sim, sim->options.loss_ppm) || sim_chance(sim, from->loss_ppm) ||
		sim_chance(sim, to->loss_ppm);
}

static void
deliver(Sim *sim, const SimNode *from, SimNode *to, const uint8_t *bytes, size_t size)
{
	SimEvent   *event = sim_after(sim, from->busy + message_delay(sim, from, to), SIM_EV_MESSAGE, to);

	event->peer = (uint8_t) from->index;
	event->life = to->life;
	event->data = malloc(sizeof(SimBytes) + size);
	if (event->data == NULL)
		abort();
	event->data->size = size;
	memcpy(event->data->bytes, bytes, size);
}

/* To a server that is no member yet: it has no worker of the model to talk to. */
static void
send_invitation(Sim *sim, SimNode *from, SimNode *to, const QuorumMessage *message)
{
	uint8_t		bytes[QUORUM_ENCODED_MAX];
	size_t		size = quorum_message_encode(message, bytes, sizeof(bytes));
	SimEvent   *event;

	if (!to->fresh || !port_works(sim, from, to) || gets_lost(sim, from, to))
		return;
	event = sim_after(sim, from->busy + message_delay(sim, from, to), SIM_EV_INVITED, to);
	event->data = malloc(sizeof(SimBytes) + size);
	if (event->data == NULL)
		abort();
	event->data->size = size;
	memcpy(event->data->bytes, bytes, size);
}

void
sim_send(Sim *sim, SimNode *from, const QuorumMessage *message)
{
	uint8_t		bytes[QUORUM_ENCODED_MAX];
	size_t		size;
	SimNode    *to;

	if (message->to == QUORUM_NO_NODE || message->to > (QuorumNodeId) sim->options.nodes)
		sim_fail(sim, SIM_CRASH, "node %u sends to node %u", from->id, message->to);
	sim_trace_message(sim, from, message, "send");
	to = &sim->nodes[message->to - 1];
	if (message->type == QUORUM_MSG_INVITE && to->state_size == 0)
	{
		send_invitation(sim, from, to, message);
		return;
	}
	if ((!sim->connected[from->index][to->index] && from->worker) || !to->worker ||
		sim->cut[from->index][to->index] || sim->mute[from->index][to->index] ||
		gets_lost(sim, from, to))
		return;
	size = quorum_message_encode(message, bytes, sizeof(bytes));
	deliver(sim, from, to, bytes, size);
	if (sim_chance(sim, sim->options.duplicate_ppm))
		deliver(sim, from, to, bytes, size);
}

/* ---- connections -------------------------------------------------------- */

static void
tell_peer(Sim *sim, SimNode *node, const SimNode *peer, QuorumEventType what, SimTime delay)
{
	SimEvent   *event;

	if (!node->worker)
		return;
	event = sim_after(sim, delay, SIM_EV_PEER, node);
	event->peer = (uint8_t) peer->index;
	event->life = node->life;
	event->number = what;
}

static void
connect_later(Sim *sim, SimNode *from, const SimNode *to, SimTime delay)
{
	SimEvent   *event;

	if (!from->worker || sim->connecting[from->index][to->index])
		return;
	sim->connecting[from->index][to->index] = true;
	event = sim_after(sim, delay, SIM_EV_CONNECT, from);
	event->peer = (uint8_t) to->index;
	event->life = from->life;
}

static SimTime
backoff(Sim *sim)
{
	return sim_draw(sim, (SimRange) {sim->options.lease / 20, sim->options.lease / 4});
}

void
sim_connect_all(Sim *sim, SimNode *node)
{
	for (int i = 0; i < sim->options.nodes; i++)
	{
		sim->connecting[node->index][i] = false;
		if (i != node->index)
			connect_later(sim, node, &sim->nodes[i], sim_draw(sim, sim->options.delay));
	}
}

/* Hello: the boot nonce tells whether it is still the same life. */
static void
hello(Sim *sim, SimNode *node, const SimNode *peer, SimTime delay)
{
	uint32_t   *known = &node->nonce[peer->index];

	if (*known != 0 && *known != peer->life)
		tell_peer(sim, node, peer, QUORUM_EVENT_PEER_RESTARTED, delay);
	*known = peer->life;
}

void
sim_connect(Sim *sim, SimNode *from, SimNode *to)
{
	SimTime		round_trip;

	sim->connecting[from->index][to->index] = false;
	if (sim->connected[from->index][to->index])
		return;
	if (!to->worker || !port_works(sim, from, to) || sim_frozen(sim, to) ||
		sim_frozen(sim, from))
	{
		connect_later(sim, from, to, backoff(sim));
		return;
	}
	round_trip = 2 * sim_draw(sim, sim->options.delay);
	sim->connected[from->index][to->index] = true;
	hello(sim, from, to, round_trip);
	hello(sim, to, from, round_trip / 2);
	tell_peer(sim, from, to, QUORUM_EVENT_PEER_CONNECTED, round_trip);
}

static void
connection_lost(Sim *sim, SimNode *node, const SimNode *peer, SimTime delay)
{
	sim->connected[node->index][peer->index] = false;
	tell_peer(sim, node, peer, QUORUM_EVENT_PEER_LOST, delay);
	connect_later(sim, node, peer, delay + backoff(sim) / 4);
}

/* The connection waited too long for an answer. */
void
sim_connection_timeout(Sim *sim, SimNode *from, SimNode *to)
{
	if (sim->connected[from->index][to->index] && !port_works(sim, from, to))
		connection_lost(sim, from, to, 0);
}

/* The worker of this node is gone: its peers get a reset, when it can reach them. */
void
sim_connections_break(Sim *sim, SimNode *node)
{
	for (int i = 0; i < sim->options.nodes; i++)
	{
		SimNode    *peer = &sim->nodes[i];
		SimTime		delay;

		if (i == node->index)
			continue;
		sim->connected[node->index][i] = false;
		if (!sim->connected[i][node->index])
			continue;
		delay = sim_draw(sim, sim->options.delay);
		if (!node->host_up || sim->cut[node->index][i] || sim->mute[node->index][i])
			delay = sim_draw(sim, (SimRange) {sim->options.lease / 2, 3 * sim->options.lease});
		connection_lost(sim, peer, node, delay);
	}
}

static void
timeout_later(Sim *sim, int from, int to)
{
	SimEvent   *event = sim_after(sim, sim_draw(sim, (SimRange) {
		sim->options.lease / 2, 3 * sim->options.lease
	}), SIM_EV_CONN_TIMEOUT, &sim->nodes[from]);

	event->peer = (uint8_t) to;
	event->life = sim->nodes[from].life;

	event = sim_after(sim, sim_draw(sim, (SimRange) {
		2 * sim->options.lease, 4 * sim->options.lease
	}), SIM_EV_STREAM_END, &sim->nodes[from]);
	event->life = sim->nodes[from].pg_life;
	event->id = sim->nodes[from].stream.id;
	event->peer = (uint8_t) to;
	event->number = 1;
}

void
sim_cut(Sim *sim, int from, int to)
{
	if (from == to || sim->cut[from][to])
		return;
	sim->cut[from][to] = true;
	timeout_later(sim, from, to);
	timeout_later(sim, to, from);
}

/* A firewall between two quorum ports; streams go on. */
void
sim_mute(Sim *sim, int from, int to)
{
	if (from == to || sim->mute[from][to])
		return;
	sim->mute[from][to] = true;
	timeout_later(sim, from, to);
	timeout_later(sim, to, from);
}

void
sim_links_up(Sim *sim)
{
	memset(sim->cut, 0, sizeof(sim->cut));
	memset(sim->mute, 0, sizeof(sim->mute));
	for (int i = 0; i < sim->options.nodes; i++)
	{
		sim->nodes[i].stream_blocked = false;
		sim->nodes[i].loss_ppm = 0;
		sim->nodes[i].farther = 0;
		sim_stream_follow(sim, &sim->nodes[i]);
	}
}

/* ---- proof of death ----------------------------------------------------- */

void
sim_probe(Sim *sim, SimNode *from, SimNode *peer)
{
	SimEvent   *event = sim_after(sim, sim_draw(sim, sim->options.delay), SIM_EV_PROBE, from);

	event->peer = (uint8_t) peer->index;
	event->life = from->life;
}

/* Both ports refuse: a host that is up says so; nothing of the node is alive. */
void
sim_probe_answer(Sim *sim, SimNode *from, SimNode *peer)
{
	if (!from->worker || !port_works(sim, from, peer))
		return;
	if (!peer->worker && !peer->postmaster)
		tell_peer(sim, from, peer, QUORUM_EVENT_PEER_DEAD, sim_draw(sim, sim->options.delay));
}
