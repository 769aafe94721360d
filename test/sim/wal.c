/*
 * wal.c
 *	  Write-ahead logs of the model: records, partial tails, timeline histories.
 *
 * A record's hash covers everything before it, so two logs are alike up to a record
 * exactly when its hashes are equal.  Nodes never look at hashes; the oracle does.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

static uint64_t
mix(uint64_t a, uint64_t b)
{
	uint64_t	z = (a ^ (b + UINT64_C(0x9E3779B97F4A7C15) + (a << 6) + (a >> 2)));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	return z ^ (z >> 27);
}

static void
reserve(SimLog *log, int count)
{
	if (count <= log->capacity)
		return;
	while (log->capacity < count)
		log->capacity = log->capacity == 0 ? 1024 : 2 * log->capacity;
	log->records = realloc(log->records, (size_t) log->capacity * sizeof(SimRecord));
	if (log->records == NULL)
		abort();
}

void
sim_log_append(SimLog *log, QuorumTerm tli, QuorumLsn end, uint64_t payload)
{
	uint64_t	before = log->count > 0 ? log->records[log->count - 1].hash : 0;
	SimRecord  *record;

	reserve(log, log->count + 1);
	record = &log->records[log->count++];
	record->end = end;
	record->tli = tli;
	record->hash = mix(mix(before, end), mix(tli, payload));
}

/* How many records end at lsn or before. */
int
sim_log_complete(const SimLog *log, QuorumLsn lsn)
{
	int			low = 0;
	int			high = log->count;

	if (high > 0 && log->records[high - 1].end <= lsn)
		return high;
	if (high > 1 && log->records[high - 2].end <= lsn)
		return high - 1;
	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (log->records[middle].end <= lsn)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Keep complete records up to lsn, durable. */
void
sim_log_cut(SimLog *log, QuorumLsn lsn)
{
	log->count = sim_log_complete(log, lsn);
	log->write = log->flush = log->count > 0 ? log->records[log->count - 1].end : 0;
}

/* Receive the bytes of `from` up to upto; both logs are alike before. */
void
sim_log_copy(SimLog *to, const SimLog *from, QuorumLsn upto)
{
	int			last = sim_log_complete(from, upto);

	/* The record that upto lies in is there in part. */
	if (last < from->count && (last == 0 ? SIM_LSN_START : from->records[last - 1].end) < upto)
		last++;
	if (last > to->count)
	{
		reserve(to, last);
		memcpy(&to->records[to->count], &from->records[to->count],
			   (size_t) (last - to->count) * sizeof(SimRecord));
		to->count = last;
	}
	if (upto > to->write)
		to->write = upto;
}

/* End of the last complete record that is durable. */
QuorumWalPos
sim_log_end(const SimLog *log)
{
	int			count = sim_log_complete(log, log->flush);
	QuorumWalPos pos = {0, 0};

	if (count > 0)
	{
		pos.tli = log->records[count - 1].tli;
		pos.lsn = log->records[count - 1].end;
	}
	return pos;
}

/* lsn with the timeline its last byte was written on. */
QuorumWalPos
sim_log_raw(const SimLog *log, QuorumLsn lsn)
{
	int			count = sim_log_complete(log, lsn);
	QuorumWalPos pos = {0, lsn};

	if (count > 0 && log->records[count - 1].end == lsn)
		count--;
	if (count < log->count)
		pos.tli = log->records[count].tli;
	else if (count > 0)
		pos.tli = log->records[count - 1].tli;
	return pos;
}

bool
sim_log_holds(const SimLog *log, QuorumLsn durable, const SimCommit *commit)
{
	if (commit->end == 0)
		return true;
	return commit->index < log->count && commit->end <= durable &&
		log->records[commit->index].hash == commit->hash;
}

/* Are both logs alike in every complete record up to lsn? */
bool
sim_log_same(const SimLog *a, const SimLog *b, QuorumLsn lsn)
{
	int			count = sim_log_complete(a, lsn);

	if (sim_log_complete(b, lsn) != count)
		return false;
	return count == 0 || a->records[count - 1].hash == b->records[count - 1].hash;
}

/* ---- history files ------------------------------------------------------ */

int
sim_history_find(const Sim *sim, const SimNode *node, QuorumTerm tli)
{
	for (int i = node->history_count - 1; i >= 0; i--)
	{
		if (sim->histories[node->histories[i]].tli == tli)
			return node->histories[i];
	}
	return -1;
}

/* The file of a timeline, with those of its ancestors: a walreceiver fetches all. */
void
sim_history_add(Sim *sim, SimNode *node, int history)
{
	for (int h = history; h >= 0; h = sim->histories[h].parent)
	{
		int			i;

		if (sim_history_find(sim, node, sim->histories[h].tli) >= 0)
			continue;
		if (node->history_count == SIM_TERM_MAX)
			sim_fail(sim, SIM_LIVENESS, "too many timelines");
		for (i = node->history_count++; i > 0; i--)
		{
			if (sim->histories[node->histories[i - 1]].tli < sim->histories[h].tli)
				break;
			node->histories[i] = node->histories[i - 1];
		}
		node->histories[i] = h;
	}
}

void
sim_history_forget(Sim *sim, SimNode *node, QuorumTerm above)
{
	while (node->history_count > 1 &&
		   sim->histories[node->histories[node->history_count - 1]].tli > above)
		node->history_count--;
}

/* Where `history` leaves timeline tli; false when tli is no ancestor of it. */
bool
sim_history_switch(const Sim *sim, int history, QuorumTerm tli, QuorumLsn *lsn)
{
	*lsn = UINT64_MAX;
	for (int h = history; h >= 0; h = sim->histories[h].parent)
	{
		if (sim->histories[h].tli == tli)
			return true;
		*lsn = sim->histories[h].begin;
	}
	return false;
}

QuorumTerm
sim_history_newest(const Sim *sim, const SimNode *node)
{
	return sim->histories[node->histories[node->history_count - 1]].tli;
}

/*
 * R17: the newest history here must not begin behind the end of the log, nor leave
 * the log's timeline before it.
 */
bool
sim_promotable(const Sim *sim, const SimNode *node)
{
	int			newest = node->histories[node->history_count - 1];
	QuorumWalPos end = sim_log_end(&node->log);
	QuorumLsn	leaves;

	if (!sim_history_switch(sim, newest, end.tli, &leaves))
		return false;
	return end.lsn <= leaves && end.lsn >= sim->histories[newest].begin;
}
