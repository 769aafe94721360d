/*
 * trace.c
 *	  One line per thing worth telling; a hash of everything that happened.
 */
#include "quorum_words.h"
#include "sim.h"

#include <stdarg.h>
#include <string.h>

void
sim_hash(Sim *sim, uint64_t value)
{
	sim->hash = (sim->hash ^ value) * UINT64_C(0x100000001B3);
	sim->hash ^= sim->hash >> 29;
}

const char *
sim_role_name(QuorumRole role)
{
	static const char *const names[] = {"follower", "pre-cand", "candid.", "leader"};

	return names[role];
}

static void
hash_text(Sim *sim, const char *text)
{
	uint64_t	word = 0;

	for (int i = 0; text[i] != '\0'; i++)
		word = word * 31 + (uint8_t) text[i];
	sim_hash(sim, word);
}

void
sim_trace(Sim *sim, const SimNode *node, const char *format,...)
{
	char	   *line = sim->trace[sim->trace_count % SIM_TRACE_LINES];
	int			used;
	va_list		args;

	if (sim->quiet)
		return;
	if (sim->log_coarse)
		used = snprintf(line, SIM_TRACE_WIDTH, "[%6lld] ", (long long) (sim->now / SIM_MS));
	else
		used = snprintf(line, SIM_TRACE_WIDTH, "[%9.3f] ", (double) sim->now / 1000.0);
	if (node != NULL)
		used += snprintf(line + used, (size_t) (SIM_TRACE_WIDTH - used), "%u %-8s t%-2u ",
						 node->id, node->worker ? sim_role_name(node->core.role) : "down",
						 node->core.hard.term);
	else
		used += snprintf(line + used, (size_t) (SIM_TRACE_WIDTH - used), "- ");
	va_start(args, format);
	(void) vsnprintf(line + used, (size_t) (SIM_TRACE_WIDTH - used), format, args);
	va_end(args);
	hash_text(sim, line);
	sim->trace_count++;
	if (sim->log_to != NULL && sim->now >= sim->trace_from)
		fprintf(sim->log_to, "%s\n", line);
}

static void
trace_member_note(Sim *sim, const SimNode *node, const QuorumNote *note)
{
	unsigned	term = note->term;
	unsigned	peer = note->peer;

	switch (note->type)
	{
		case QUORUM_NOTE_MEMBER_ADDED:
			sim_trace(sim, node, "member %u added in t%u", peer, term);
			break;
		case QUORUM_NOTE_MEMBER_VOTER:
			sim_trace(sim, node, "member %u is a voter in t%u", peer, term);
			break;
		case QUORUM_NOTE_MEMBER_REMOVED:
			sim_trace(sim, node, "member %u removed in t%u", peer, term);
			break;
		case QUORUM_NOTE_MEMBERS_CHANGED:
			sim_trace(sim, node, "members changed in t%u", term);
			break;
		case QUORUM_NOTE_HAND_OVER:
			sim_trace(sim, node, "hands t%u over to %u", term, peer);
			break;
		case QUORUM_NOTE_HAND_OVER_FAILED:
			sim_trace(sim, node, "does not hand t%u over to %u", term, peer);
			break;
		case QUORUM_NOTE_LEFT_OUT:
			sim_trace(sim, node, "goes on without %u in t%u", peer, term);
			break;
		case QUORUM_NOTE_TAKEN_IN:
			sim_trace(sim, node, "takes %u in again in t%u", peer, term);
			break;
		case QUORUM_NOTE_PAUSED:
			sim_trace(sim, node, "paused in t%u", term);
			break;
		case QUORUM_NOTE_RESUMED:
			sim_trace(sim, node, "the pause is over in t%u", term);
			break;
		case QUORUM_NOTE_FORCED:
			sim_trace(sim, node, "is made leader by force in t%u", term);
			break;
		case QUORUM_NOTE_MEMBER_LEARNER:
			sim_trace(sim, node, "member %u is a learner in t%u", peer, term);
			break;
		default:
			sim_trace(sim, node, "note %d: %u in t%u", (int) note->type, peer, term);
			break;
	}
}

void
sim_trace_note(Sim *sim, const SimNode *node, const QuorumNote *note)
{
	unsigned	term = note->term;
	unsigned	peer = note->peer;

	switch (note->type)
	{
		case QUORUM_NOTE_LEADER_LOST:
			sim_trace(sim, node, "leader %u of t%u lost: %s", peer, term,
					  quorum_loss_text((QuorumLossReason) note->why));
			break;
		case QUORUM_NOTE_PRE_VOTE:
			sim_trace(sim, node, "pre-vote for t%u", term);
			break;
		case QUORUM_NOTE_CANDIDATE:
			sim_trace(sim, node, "candidate in t%u", term);
			break;
		case QUORUM_NOTE_ELECTED:
			sim_trace(sim, node, "elected leader of t%u", term);
			break;
		case QUORUM_NOTE_VOTED:
			sim_trace(sim, node, "voted for %u in t%u", peer, term);
			break;
		case QUORUM_NOTE_REFUSED:
			sim_trace(sim, node, "refused %u in t%u: %s", peer, term,
					  quorum_verdict_text((QuorumVerdict) note->why));
			break;
		case QUORUM_NOTE_LEADER_FOUND:
			sim_trace(sim, node, "leader is %u in t%u", peer, term);
			break;
		case QUORUM_NOTE_PROMOTED:
			sim_trace(sim, node, "promoted to timeline %u", term);
			break;
		case QUORUM_NOTE_GATE_OPEN:
			sim_trace(sim, node, "gate open in t%u", term);
			break;
		case QUORUM_NOTE_GATE_CLOSED:
			sim_trace(sim, node, "gate closed in t%u", term);
			break;
		case QUORUM_NOTE_LEASE_LAPSED:
			sim_trace(sim, node, "lease of t%u lapsed", term);
			break;
		case QUORUM_NOTE_STEPPED_DOWN:
			sim_trace(sim, node, "stepped down from t%u: %s", term,
					  quorum_loss_text((QuorumLossReason) note->why));
			break;
		case QUORUM_NOTE_RESIGNED:
			sim_trace(sim, node, "resigned t%u: %s", term,
					  quorum_resign_text((QuorumResignReason) note->why));
			break;
		case QUORUM_NOTE_FOLLOWING:
			sim_trace(sim, node, "following %u in t%u", peer, term);
			break;
		case QUORUM_NOTE_DIVERGED:
			sim_trace(sim, node, "needs a rewind: diverged from t%u", term);
			break;
		default:
			trace_member_note(sim, node, note);
			break;
	}
}

static const char *
message_name(QuorumMessageType type)
{
	static const char *const names[] = {"?", "status", "pre-vote?", "pre-vote!", "vote?",
		"vote!", "heartbeat", "heartbeat-ack", "resign", "members", "invite",
	"invite-reply"};

	return names[type];
}

/* Costs as much as the run itself, so only for --log full. */
void
sim_trace_message(Sim *sim, const SimNode *node, const QuorumMessage *message, const char *what)
{
	if (!sim->log_full)
		return;
	sim_trace(sim, node, "  %s %u->%u %s t%u pos %u/%llX proposed t%u %s flush t%u/%llX", what,
			  message->from, message->to, message_name(message->type), message->term,
			  message->position.tli, (unsigned long long) message->position.lsn,
			  message->proposed_term,
			  message->type == QUORUM_MSG_VOTE_REPLY ||
			  message->type == QUORUM_MSG_PRE_VOTE_REPLY ?
			  quorum_verdict_text(message->verdict) : "-",
			  message->stream_term, (unsigned long long) message->stream_flush);
}

void
sim_trace_print(const Sim *sim, FILE *to)
{
	int			first = sim->trace_count > SIM_TRACE_LINES ? sim->trace_count - SIM_TRACE_LINES : 0;

	for (int i = first; i < sim->trace_count; i++)
		fprintf(to, "%s\n", sim->trace[i % SIM_TRACE_LINES]);
}
