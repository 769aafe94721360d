/*
 * stream.c
 *	  Streaming between two nodes: the walreceiver of one, the walsender of the other.
 *
 * Bytes and acknowledgements of one connection keep their order; a cut link delays
 * them until it is up or the connection is given up.  The rules for what may be
 * acknowledged are those of src/pg/stream.c (S2, S3, V1), those for what counts those
 * of the ledger (V2).
 */
#include <string.h>

#include "sim.h"

/* The leader's gate waits for one of the first acks, so they wake the worker. */
#define EAGER_ACKS	4

/* ---- the connection ----------------------------------------------------- */

static SimEvent *
stream_event(Sim *sim, SimNode *node, SimTime delay, SimEventType type)
{
	SimEvent   *event = sim_after(sim, delay, type, node);

	event->life = node->pg_life;
	event->id = node->stream.id;
	return event;
}

static bool
may_stream(const SimNode *node)
{
	return node->pg && !node->witness && node->phase == QUORUM_PHASE_STANDBY &&
		node->promoting == 0 &&
		!node->stream_blocked && node->shared.leader != QUORUM_NO_NODE &&
		node->shared.leader != node->id &&
		!(node->diverged && node->diverged_term == node->shared.term);
}

/* The accepted leader may have changed: end a stream to another, begin one to it. */
void
sim_stream_follow(Sim *sim, SimNode *node)
{
	SimStream  *stream = &node->stream;

	if (stream->state != SIM_STREAM_NONE)
	{
		if ((QuorumNodeId) stream->source + 1 != node->shared.leader ||
			stream->term != node->shared.term)
			stream_event(sim, node, sim_draw(sim, (SimRange) {0, 5 * SIM_MS}),
						 SIM_EV_STREAM_END);
		return;
	}
	if (!may_stream(node))
		return;
	memset(stream, 0, sizeof(*stream));
	stream->state = SIM_STREAM_CONNECTING;
	stream->id = ++sim->stream_ids;
	stream->source = (int) node->shared.leader - 1;
	stream->term = node->shared.term;
	stream_event(sim, node, 2 * sim_draw(sim, sim->options.delay), SIM_EV_STREAM_CONNECT);
}

/* The processes of `source` are gone: everybody who streams from it notices. */
void
sim_stream_drop(Sim *sim, SimNode *source)
{
	for (int i = 0; i < sim->options.nodes; i++)
	{
		SimNode    *node = &sim->nodes[i];
		SimTime		delay = sim_draw(sim, sim->options.delay);

		if (node->stream.state == SIM_STREAM_NONE || node->stream.source != source->index)
			continue;
		if (!source->host_up || !sim_link_works(sim, source, node))
			delay = sim_draw(sim, (SimRange) {sim->options.lease, 3 * sim->options.lease});
		if (sim->now + delay < node->stream.arrives_at)
			delay = node->stream.arrives_at - sim->now;
		stream_event(sim, node, delay, SIM_EV_STREAM_END);
	}
}

static void
raise_log_end(SimNode *node)
{
	QuorumWalPos end = sim_log_raw(&node->log, node->log.flush);

	if (end.tli > node->log_end.tli ||
		(end.tli == node->log_end.tli && end.lsn > node->log_end.lsn))
		node->log_end = end;
}

void
sim_stream_end(Sim *sim, SimNode *node, uint32_t id)
{
	SimStream  *stream = &node->stream;

	if (stream->state == SIM_STREAM_NONE || stream->id != id)
		return;
	if (stream->state == SIM_STREAM_LIVE && node->log.write > node->log.flush)
	{
		/* A dying walreceiver flushes what it wrote. */
		node->log.flush = node->log.write;
		raise_log_end(node);
	}
	stream->state = SIM_STREAM_NONE;
	sim_facts_changed(sim, node);
	sim_stream_follow(sim, node);
}

/* Decision 10: does the log fit the leader's history?  False: no stream now. */
static bool
log_fits(Sim *sim, SimNode *node, int history)
{
	QuorumWalPos end = sim_log_end(&node->log);
	QuorumLsn	leaves;

	if (sim->options.broken == SIM_BREAK_ACK_TIMELINE)
		return true;
	if (!sim_history_switch(sim, history, end.tli, &leaves) || end.lsn > leaves)
	{
		node->stream.state = SIM_STREAM_NONE;
		if (!node->diverged)
			sim->operator.divergences++;
		node->diverged = true;
		node->diverged_term = node->stream.term;
		sim_facts_changed(sim, node);
		if (sim->options.rewind.max > 0)
			sim_after(sim, sim_draw(sim, sim->options.rewind), SIM_EV_REWIND, node)->life =
				node->pg_life;
		return false;
	}
	if (!sim_history_switch(sim, history, sim_history_newest(sim, node), &leaves))
	{
		/* V6 ii: recovery never turns back from such a timeline. */
		node->stream.state = SIM_STREAM_NONE;
		node->forget_above = end.tli;
		sim_trace(sim, node, "timeline %u has no part in t%u", sim_history_newest(sim, node),
				  node->stream.term);
		sim_restart_in_place(sim, node, sim_draw(sim, (SimRange) {0, 10 * SIM_MS}));
		return false;
	}
	return true;
}

/* Its history files are here, at once durable; the first byte comes later. */
static void
stream_begins(Sim *sim, SimNode *node, SimNode *source, int history)
{
	SimStream  *stream = &node->stream;

	/* Part of a record is written again, by whatever the leader has there. */
	sim_log_cut(&node->log, node->log.flush);
	stream->state = SIM_STREAM_LIVE;
	stream->source_life = source->pg_life;
	stream->begin = sim->histories[history].begin;
	stream->sent = node->log.flush;
	stream->arrives_at = sim->now + sim_draw(sim, sim->options.start_stream);
	node->diverged = false;
	sim_history_add(sim, node, history);
	source->held[node->index] = (SimHeld) {stream->id, 0};
	sim_facts_changed(sim, node);
	sim_stream_reply(sim, node, stream->id);
	sim_stream_send(sim, source);
}

void
sim_stream_connect(Sim *sim, SimNode *node, uint32_t id)
{
	SimStream  *stream = &node->stream;
	SimNode    *source = &sim->nodes[stream->source];
	int			history;

	if (stream->state != SIM_STREAM_CONNECTING || stream->id != id)
		return;
	if (!may_stream(node) || (QuorumNodeId) stream->source + 1 != node->shared.leader ||
		stream->term != node->shared.term || node->shared.fence_term != stream->term)
	{
		stream->state = SIM_STREAM_NONE;
		sim_stream_follow(sim, node);
		return;
	}
	history = sim_history_find(sim, source, stream->term);
	if (!sim_link_works(sim, node, source) || !source->pg || !source->postmaster ||
		sim_frozen(sim, source) || source->stopping)
		stream_event(sim, node, sim_draw(sim, (SimRange) {20 * SIM_MS, 150 * SIM_MS}),
					 SIM_EV_STREAM_CONNECT);
	else if (source->phase != QUORUM_PHASE_PRIMARY || history < 0 ||
			 source->log.records[source->log.count - 1].tli != stream->term)
		stream_event(sim, node, sim_draw(sim, (SimRange) {3 * SIM_MS, 15 * SIM_MS}),
					 SIM_EV_STREAM_CONNECT);	/* still promoting */
	else if (log_fits(sim, node, history))
		stream_begins(sim, node, source, history);
}

/* ---- bytes -------------------------------------------------------------- */

/* Walsenders send what is flushed, complete records or not. */
void
sim_stream_send(Sim *sim, SimNode *source)
{
	for (int i = 0; i < sim->options.nodes; i++)
	{
		SimNode    *node = &sim->nodes[i];
		SimStream  *stream = &node->stream;
		SimTime		at = sim->now + sim_link_delay(sim, source, node);
		SimEvent   *event;

		if (sim_chance(sim, sim->options.stream_slow_ppm))
			at += sim_draw(sim, (SimRange) {0, sim->options.lease / 2});
		if (stream->state != SIM_STREAM_LIVE || stream->source != source->index ||
			stream->source_life != source->pg_life || stream->sent >= source->log.flush)
			continue;
		if (at < stream->arrives_at)
			at = stream->arrives_at;
		stream->arrives_at = at;
		stream->sent = source->log.flush;
		event = stream_event(sim, node, at - sim->now, SIM_EV_STREAM_DATA);
		event->number = stream->sent;
	}
}

static void
start_stream_flush(Sim *sim, SimNode *node)
{
	SimStream  *stream = &node->stream;

	if (stream->flushing || node->log.write <= node->log.flush)
		return;
	stream->flushing = true;
	stream->flush_target = node->log.write;
	stream_event(sim, node, sim_fsync_time(sim, node), SIM_EV_STREAM_FLUSH)->number =
		stream->flush_target;
}

/*
 * Bytes on their way outlive the process that sent them.  They are looked up in its log,
 * which is what it was until the next process begins, or a rewind cuts it.
 */
static bool
bytes_are_there(const SimStream *stream, const SimNode *source, QuorumLsn upto)
{
	if (source->pg_life == stream->source_life)
		return true;
	return !source->pg && source->pg_life == stream->source_life + 1 &&
		source->log.write >= upto;
}

void
sim_stream_data(Sim *sim, SimNode *node, const SimEvent *event)
{
	SimStream  *stream = &node->stream;
	SimNode    *source = &sim->nodes[stream->source];

	if (stream->state != SIM_STREAM_LIVE || stream->id != event->id ||
		!bytes_are_there(stream, source, event->number))
		return;
	if (!sim_link_works(sim, node, source))
	{
		/* Sent again by TCP, in order: whatever comes later is covered by its number. */
		SimEvent   *again = stream_event(sim, node,
										 sim_draw(sim, (SimRange) {50 * SIM_MS, 200 * SIM_MS}),
										 SIM_EV_STREAM_DATA);

		again->number = event->number;
		if (again->at > stream->arrives_at)
			stream->arrives_at = again->at;
		return;
	}
	sim_log_copy(&node->log, &source->log, event->number);
	start_stream_flush(sim, node);
}

static void
flush_done(Sim *sim, SimNode *node)
{
	SimStream  *stream = &node->stream;

	stream->flushing = false;
	if (stream->flush_target > node->log.flush)
		node->log.flush = stream->flush_target;
	raise_log_end(node);
	start_stream_flush(sim, node);
}

void
sim_stream_flushed(Sim *sim, SimNode *node, const SimEvent *event)
{
	SimStream  *stream = &node->stream;

	if (stream->state != SIM_STREAM_LIVE || stream->id != event->id || !stream->flushing ||
		event->number != stream->flush_target)
		return;
	flush_done(sim, node);
	stream_event(sim, node, sim_draw(sim, (SimRange) {0, 200}), SIM_EV_STREAM_REPLY);
}

/* ---- acknowledgements --------------------------------------------------- */

/* The barrier, the fence, the mask: may an ack of this stream carry its position? */
bool
sim_stream_counts(const Sim *sim, const SimNode *node)
{
	const SimStream *stream = &node->stream;

	if (stream->state != SIM_STREAM_LIVE)
		return false;
	if (sim->options.broken != SIM_BREAK_ACK_FENCE && node->shared.fence_term != stream->term)
		return false;
	if (sim->options.broken == SIM_BREAK_ACK_TIMELINE)
		return true;
	return node->log.flush >= stream->begin;
}

void
sim_stream_reply(Sim *sim, SimNode *node, uint32_t id)
{
	SimStream  *stream = &node->stream;
	SimEvent   *event;
	SimTime		at;

	if (stream->id != id || !sim_stream_counts(sim, node))
		return;
	if (stream->acks++ < EAGER_ACKS)
		sim_facts_changed(sim, node);
	stream->acked = node->log.flush;
	sim_check_ack_sent(sim, node);
	at = sim->now + sim_link_delay(sim, node, &sim->nodes[stream->source]);
	if (at < stream->acked_at)
		at = stream->acked_at;
	stream->acked_at = at;
	event = sim_at(sim, at, SIM_EV_STREAM_ACK, &sim->nodes[stream->source]);
	event->life = stream->source_life;
	event->id = id;
	event->peer = (uint8_t) node->index;
	event->number = stream->acked;
}

void
sim_stream_ack(Sim *sim, SimNode *source, const SimEvent *event)
{
	SimNode    *node = &sim->nodes[event->peer];
	SimHeld    *held = &source->held[event->peer];

	if (held->stream != event->id)
		return;
	if (!sim_link_works(sim, node, source))
	{
		if (node->stream.id == event->id && node->stream.state == SIM_STREAM_LIVE)
			sim_again(sim, event, sim->now +
					  sim_draw(sim, (SimRange) {50 * SIM_MS, 200 * SIM_MS}));
		return;
	}
	if (event->number > held->flush)
		held->flush = event->number;
	if (sim->options.broken == SIM_BREAK_LEDGER)
		source->held[(event->peer + 1) % sim->options.nodes].flush = held->flush;
	sim_pg_release(sim, source);
}

/* Bytes that are about to arrive are here already: the network was that fast. */
static void
receive_early(Sim *sim, SimNode *node)
{
	SimStream  *stream = &node->stream;
	const SimNode *source = &sim->nodes[stream->source];

	if (!sim_link_works(sim, node, source))
		return;
	for (int i = 0; i < sim->queue.used; i++)
	{
		const SimEvent *event = sim_queued(sim, i);

		if (event != NULL && event->type == SIM_EV_STREAM_DATA && event->node == node->index &&
			event->id == stream->id && event->at < sim->now + 50 * SIM_MS &&
			bytes_are_there(stream, source, event->number))
			sim_log_copy(&node->log, &source->log, event->number);
	}
	start_stream_flush(sim, node);
}

/*
 * The walreceiver is another process: while the worker votes it may receive, flush and
 * acknowledge, between any two calls of drive.
 */
void
sim_stream_hurry(Sim *sim, SimNode *node)
{
	SimStream  *stream = &node->stream;

	if (stream->state != SIM_STREAM_LIVE || sim->now < node->receiver_until ||
		sim->now < node->stall_until || !sim_chance(sim, 500000))
		return;
	if (!stream->flushing)
		receive_early(sim, node);
	if (!stream->flushing)
		return;
	flush_done(sim, node);
	if (sim_chance(sim, 700000))
		sim_stream_reply(sim, node, stream->id);
	else
		stream_event(sim, node, sim_draw(sim, (SimRange) {0, 200}), SIM_EV_STREAM_REPLY);
}
