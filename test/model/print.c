/*
 * print.c
 *	  Choices, worlds and notes as lines for people.
 */
#include <string.h>

#include "canon.h"

static const char *const choice_names[DO_KINDS] = {
	"time passes", "message", "it is its turn", "gives up waiting", "facts", "a commit",
	"WAL streams", "promotes", "local WAL is read", "proof of death", "connect", "every process dies",
	"postmaster dies, its worker says so", "starts", "stops as planned", "request", "switchover"
};

static const char *const message_names[] = {
	"?", "Status", "PreVoteRequest", "PreVoteReply", "VoteRequest", "VoteReply", "Heartbeat",
	"HeartbeatAck", "Resign", "Members", "Invite", "InviteReply"
};

static const char *const note_names[] = {
	"?", "leader lost", "asks for pre-votes", "candidate", "elected", "voted for", "refused a vote to",
	"leader found", "promoted", "gate open", "gate closed", "lease lapsed", "stepped down", "resigned",
	"following", "diverged", "member added", "became a voter", "removed", "became a learner", "moved",
	"another member set", "hand-over to", "hand-over failed", "left out", "taken in", "paused", "resumed",
	"forced"
};

static void
print_message(uint32_t number, FILE *to)
{
	static QuorumMessage message;

	message_read(number, &message);
	fprintf(to, "%s %u->%u t%u", message_names[message.type], message.from, message.to,
			message.term);
	if (message.type == QUORUM_MSG_PRE_VOTE_REPLY || message.type == QUORUM_MSG_VOTE_REPLY)
		fprintf(to, " %s", message.verdict == QUORUM_GRANTED ? "granted" : "refused");
	if (message.position.tli != 0)
		fprintf(to, " log %u/%u", message.position.tli,
				(unsigned) (message.position.lsn / LSN_STEP));
	if (message.stream_term != 0)
		fprintf(to, " holds %u", (unsigned) (message.stream_flush / LSN_STEP));
	if (message.sent_at != 0)
		fprintf(to, " of %+.2f leases", (double) (message.sent_at - NOW) / (double) LEASE);
	fprintf(to, " set %u.%u", message.set_id.term, message.set_id.version);
}

void
print_choice(const World *world, Choice choice, FILE *to)
{
	static const char *const requests[] = {"to learner", "to voter", "remove"};
	static const char *const variants[] = {"", ", rewound", ", rewound deep"};

	if (choice.kind == DO_MESSAGE)
	{
		fprintf(to, "-> ");
		print_message(world->net[choice.other], to);
	}
	else if (choice.kind == DO_TIME)
		fprintf(to, "%s: %d/1000 of a lease", choice_names[choice.kind], scope.step);
	else
		fprintf(to, "node %d: %s", choice.node + 1, choice_names[choice.kind]);
	if (choice.kind == DO_DEAD || choice.kind == DO_HELLO || choice.kind == DO_SWITCH)
		fprintf(to, " %d", choice.other + 1);
	if (choice.kind == DO_CHANGE)
		fprintf(to, " %s %d", requests[choice.other / 16], choice.other % 16 + 1);
	if (choice.kind == DO_RESTART)
		fprintf(to, "%s", variants[choice.other]);
	if (choice.deaf != 0)
		fprintf(to, "; cut off: %x", choice.deaf);
	if (choice.mute != 0)
		fprintf(to, "; not heard: %x", choice.mute);
	if (choice.torn)
		fprintf(to, ", and dies before it was durable");
	fprintf(to, "\n");
}

void
canon_tell(const QuorumNode *node, const QuorumNote *note)
{
	printf("         %u: %s", node->hard.node_id, note_names[note->type]);
	if (note->peer != 0)
		printf(" %u", note->peer);
	printf(" (t%u)\n", note->term);
}

static void
print_node(const World *world, int node, FILE *to)
{
	static const char *const phases[] = {"down", "start", "stby", "PRIM"};
	const Shared *shared = core_shared(world->core[node]);
	const Pg   *pg = world_pg(world, node);

	fprintf(to, "      %d %-5s t%u", node + 1, !shared->alive ? "-" :
			shared->role == QUORUM_ROLE_LEADER ? "LEAD" :
			shared->role == QUORUM_ROLE_FOLLOWER ? "follw" : "candi", shared->term);
	fprintf(to, " vote %u leader %u %s%s%s%s", shared->vote, shared->leader,
			shared->gate_open ? "gate " : "", shared->leads_now ? "lease " : "",
			shared->promised ? "promise " : "", shared->recovering ? "recovering " : "");
	fprintf(to, "set %u.%u voters %x out %x", (unsigned) (shared->set >> 32), (unsigned) shared->set,
			shared->voters, shared->out);
	if (shared->change != 0)
		fprintf(to, " change %u", shared->change);
	if (shared->need != 255)
		fprintf(to, " rule %u of %x", shared->need, shared->rule);
	fprintf(to, " | %s log", phases[pg->phase]);
	for (int t = 1; t < TERMS; t++)
	{
		if (pg->log[t] != 0)
			fprintf(to, " %dx t%d", pg->log[t], t);
	}
	if (pg->stream != 0)
		fprintf(to, " from %u, acked %u", pg->stream, pg->acked);
	fprintf(to, "%s%s\n", pg->doomed ? " doomed" : "", pg->diverged ? " diverged" : "");
}

void
print_world(const World *world, FILE *to)
{
	for (int i = 0; i < scope.nodes; i++)
		print_node(world, i, to);
	fprintf(to, "      acknowledged:");
	for (int t = 1; t < TERMS; t++)
	{
		if (world->acked[t] != 0)
			fprintf(to, " record %u of t%d", world->acked[t], t);
	}
	fprintf(to, "; on its way:");
	for (int i = 0; i < scope.net && world->net[i] != 0; i++)
	{
		fprintf(to, "%s ", i == 0 ? "" : ",");
		print_message(world->net[i], to);
	}
	fprintf(to, "\n");
}
