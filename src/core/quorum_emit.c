/*
 * quorum_emit.c
 *	  Putting messages, actions and notes into an update.
 */
#include <string.h>

#include "quorum_internal.h"

QuorumMessage *
quorum_emit_message(QuorumNode *node, QuorumUpdate *update, QuorumMessageType type,
					QuorumNodeId to)
{
	QuorumMessage *message;

	quorum_assert(update->message_count < QUORUM_MAX_MESSAGES);
	quorum_assert(to != node->hard.node_id);
	message = &update->messages[update->message_count++];
	memset(message, 0, sizeof(*message));
	message->type = type;
	message->from = node->hard.node_id;
	message->to = to;
	message->term = node->hard.term;
	message->role = node->role;
	message->set_id = node->hard.members.id;

	/* A position that was not read since boot is no position (R5). */
	if (node->facts_known && node->facts.phase != QUORUM_PHASE_STARTING)
		message->position = node->facts.position;
	return message;
}

void
quorum_emit_action(QuorumUpdate *update, QuorumActionType type, QuorumTerm term,
				   QuorumNodeId peer)
{
	QuorumAction *action;

	for (int i = 0; i < update->action_count; i++)
	{
		if (update->actions[i].type == type)
			return;
	}
	quorum_assert(update->action_count < QUORUM_MAX_ACTIONS);
	action = &update->actions[update->action_count++];
	action->type = type;
	action->term = term;
	action->peer = peer;
}

void
quorum_emit_note(QuorumUpdate *update, QuorumNoteType type, QuorumTerm term, QuorumNodeId peer,
				 int why)
{
	QuorumNote *note;

	/* Notes tell a story; losing the end of an impossibly long one harms nobody. */
	if (update->note_count >= QUORUM_MAX_NOTES)
		return;
	note = &update->notes[update->note_count++];
	note->type = type;
	note->term = term;
	note->peer = peer;
	note->why = why;
}

void
quorum_emit_ack(QuorumNode *node, QuorumUpdate *update, QuorumMessageType type, QuorumNodeId to,
				QuorumTime sent_at)
{
	QuorumMessage *ack = quorum_emit_message(node, update, type, to);

	/* a made-up next version says something that this one has no word for */
#ifdef QUORUM_NEXT_MINOR
	if (type == QUORUM_MSG_STATUS)
		(void) quorum_emit_message(node, update, (QuorumMessageType) 12, to);
#endif
	ack->sent_at = sent_at;
	ack->priority = node->config.priority;
	ack->pg_port = node->config.pg_port;
	ack->recovering = node->hard.recovering;
	if (!node->facts_known)
		return;
	ack->replay_lsn = node->facts.replay_lsn;
	ack->diverged = node->facts.diverged;
	ack->space_low = node->facts.space_low;
	if (node->facts.stream_term != 0 && node->facts.stream_term == node->hard.term)
	{
		ack->stream_term = node->facts.stream_term;
		ack->stream_flush = node->facts.stream_flush;
	}
}
