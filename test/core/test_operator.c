/*
 * test_operator.c
 *	  What an operator asks: pause, resume, force, another kind, another address.
 */
#include "harness.h"

#define WALL		(INT64_C(1700000000) * 1000000)
#define MINUTE		(INT64_C(60) * 1000000)

static TestHost host;
static uint64_t last_request;

/* Time goes on on every clock. */
static void
wait_us(QuorumTime us)
{
	host.now.wall += us;
	(void) test_tick_at(&host, host.now.mono + us);
}

/* Does it ask for votes within some leases? */
static bool
stands(void)
{
	for (int i = 0; i < 100 && host.node.role == QUORUM_ROLE_FOLLOWER; i++)
		wait_us(LEASE / 20);
	return host.node.role != QUORUM_ROLE_FOLLOWER;
}

static QuorumAdmin
request(QuorumAdminType type, const char *name)
{
	QuorumAdmin admin = {.type = type,.request_id = ++last_request};

	snprintf(admin.name, sizeof(admin.name), "%s", name);
	return admin;
}

/* NULL = done or under way; else why not. */
static const char *
ask(QuorumAdmin admin)
{
	static QuorumEvent event;
	const QuorumOutcome *outcome = &host.node.outcome;

	event.type = QUORUM_EVENT_ADMIN;
	event.u.admin = admin;
	(void) test_drive(&host, &event);
	return outcome->request_id == admin.request_id && outcome->failed ? outcome->reason : NULL;
}

static bool
done(void)
{
	return host.node.outcome.request_id == last_request && host.node.outcome.done &&
		!host.node.outcome.failed;
}

static bool
refused(QuorumAdmin admin, const char *words)
{
	const char *why = ask(admin);

	return why != NULL && strstr(why, words) != NULL;
}

static QuorumMember *
member(int number)
{
	return &host.node.hard.members.members[number - 1];
}

/* Node 1 leads three voters, its gate is open and its set is stored. */
static void
lead(void)
{
	QuorumMessage ack;

	test_host_init(&host, 3);
	host.now.wall = WALL;
	test_become_leader(&host);
	host.facts.phase = QUORUM_PHASE_PRIMARY;
	host.facts.position = (QuorumWalPos) {host.node.hard.term, 2000};
	(void) test_facts(&host);
	for (QuorumNodeId id = 2; id <= 3; id++)
	{
		ack = test_ack(&host, id, host.node.hard.term, 2000);
		ack.pg_port = 5432;
		(void) test_message(&host, &ack);
	}
	(void) test_tick_at(&host, host.now.mono);
}

/* The followers say that they store the set and hold everything. */
static void
acknowledge(void)
{
	for (QuorumNodeId id = 2; id <= 3; id++)
	{
		QuorumMessage ack = test_ack(&host, id, host.node.hard.term, host.facts.position.lsn);

		ack.pg_port = 5432;
		(void) test_message(&host, &ack);
	}
}

/* Node 1 follows node 2 in term 1, under a pause of ten minutes. */
static void
follow_paused(void)
{
	QuorumMessage beat;

	test_host_init(&host, 3);
	host.now.wall = WALL;
	host.node.hard.members.paused_until = WALL + 10 * MINUTE;
	(void) test_facts(&host);
	beat = test_from(&host, 2, QUORUM_MSG_HEARTBEAT, 1);
	(void) test_message(&host, &beat);
}

static void
pause_is_published(void)
{
	QuorumAdmin admin = request(QUORUM_ADMIN_PAUSE, "");

	lead();
	test_claim(host.node.gate_open, "a leader serves");
	admin.limit_us = QUORUM_PAUSE_MAX_US + 1;
	test_claim(refused(admin, "one day"), "no pause is longer than a day");
	admin = request(QUORUM_ADMIN_PAUSE, "");
	admin.limit_us = 10 * MINUTE;
	test_claim(ask(admin) == NULL && !done(), "a pause waits until a majority stores it");
	test_claim(host.disk.members.paused_until == WALL + 10 * MINUTE, "it is in the member set");
	test_claim(test_noted(&host, QUORUM_NOTE_PAUSED), "and told");
	acknowledge();
	test_claim(done(), "stored, it is done");
	test_claim(!test_noted(&host, QUORUM_NOTE_PAUSED), "and told once");
	test_claim(host.view.paused_until == WALL + 10 * MINUTE && host.view.electable,
			   "the leader goes on");
	admin = request(QUORUM_ADMIN_PAUSE, "");
	(void) ask(admin);
	test_claim(host.disk.members.paused_until == 0 && test_noted(&host, QUORUM_NOTE_RESUMED),
			   "a resume ends it");
	acknowledge();
	test_claim(done(), "for all");
}

static void
nobody_takes_over(void)
{
	QuorumMessage vote;

	follow_paused();
	wait_us(3 * LEASE);
	test_claim(!stands() && host.node.leader == 0,
			   "the leader is lost in a pause, nobody takes over");
	test_claim(strcmp(host.view.not_electable, QUORUM_PAUSED_TEXT) == 0, "and the view says why");
	vote = test_from(&host, 2, QUORUM_MSG_VOTE_REQUEST, 2);
	(void) test_message(&host, &vote);
	test_claim(host.disk.vote == 2, "but it votes for who led");

	follow_paused();
	wait_us(3 * LEASE);
	test_claim(quorum_next_deadline(&host.node) - host.now.mono == 10 * MINUTE - 3 * LEASE,
			   "the end of the pause wakes it");
	host.now.wall = WALL + 10 * MINUTE;
	(void) test_tick_at(&host, quorum_next_deadline(&host.node));
	test_claim(test_noted(&host, QUORUM_NOTE_RESUMED), "the pause ends by itself");
	test_claim(stands(), "then it stands");
}

static void
who_stands_in_a_pause(void)
{
	QuorumMessage message;
	QuorumConfig config;
	QuorumHardState hard;

	follow_paused();
	host.facts.streaming = true;
	(void) test_facts(&host);
	message = test_from(&host, 2, QUORUM_MSG_RESIGN, 1);
	message.resign = QUORUM_RESIGN_SHUTDOWN;
	message.node_id = 1;
	(void) test_message(&host, &message);
	host.facts.streaming = false;
	(void) test_facts(&host);
	test_claim(stands(), "the named successor stands");

	lead();
	hard = host.node.hard;
	hard.members.paused_until = WALL + 10 * MINUTE;
	config = host.node.config;
	quorum_init(&host.node, &config, &hard, 1, host.now);
	host.facts.phase = QUORUM_PHASE_STANDBY;
	(void) test_facts(&host);
	test_claim(stands(), "who led stands again after its restart");
	hard.members.id.term--;
	quorum_init(&host.node, &config, &hard, 1, host.now);
	(void) test_facts(&host);
	test_claim(!stands(), "who only stood does not");

	message = test_from(&host, 2, QUORUM_MSG_PRE_VOTE_REQUEST, hard.term);
	message.proposed_term = hard.term + 1;
	message.position.lsn--;
	(void) test_message(&host, &message);
	test_claim(stands(), "unless who led asks and lacks the end of its log");

	hard.members.paused_until = WALL + 400 * QUORUM_PAUSE_MAX_US;
	quorum_init(&host.node, &config, &hard, 1, host.now);
	(void) test_facts(&host);
	test_claim(host.view.paused_until == 0, "a pause longer than any is a wrong clock");
}

static void
resume_without_a_leader(void)
{
	follow_paused();
	test_claim(refused(request(QUORUM_ADMIN_PAUSE, ""), "does not lead"),
			   "who follows a leader lets that one resume");
	wait_us(3 * LEASE);
	test_claim(ask(request(QUORUM_ADMIN_PAUSE, "")) == NULL && done(), "without one it resumes");
	test_claim(stands(), "and stands");
	(void) test_vote(&host, 3, QUORUM_MSG_PRE_VOTE_REPLY, 2);
	(void) test_vote(&host, 3, QUORUM_MSG_VOTE_REPLY, 2);
	test_claim(host.node.role == QUORUM_ROLE_LEADER && host.disk.members.paused_until == 0,
			   "elected, it ends the pause for all");
}

static void
force(void)
{
	QuorumMessage beat;

	follow_paused();
	test_claim(refused(request(QUORUM_ADMIN_FORCE, ""), "follows a leader"),
			   "nobody is forced who follows");
	(void) test_peer(&host, QUORUM_EVENT_PEER_DEAD, 9);
	wait_us(LEASE / 2);
	test_claim(host.node.leader == 2, "the promise runs");
	wait_us(LEASE);
	member(1)->kind = QUORUM_LEARNER;
	test_claim(refused(request(QUORUM_ADMIN_FORCE, ""), "not a voter"), "nor who has no vote");
	member(1)->kind = QUORUM_VOTER;
	host.facts.fsync_off = true;
	(void) test_facts(&host);
	test_claim(refused(request(QUORUM_ADMIN_FORCE, ""), "fsync") && host.node.hard.term == 1 &&
			   host.node.hard.members.members[1].kind == QUORUM_VOTER,
			   "nor who could not lead; nothing has changed");
	host.facts.fsync_off = false;
	host.facts.newest_tli = 4;
	(void) test_facts(&host);
	member(3)->kind = QUORUM_WITNESS;
	host.node.hard.recovering = true;
	test_claim(ask(request(QUORUM_ADMIN_FORCE, "")) == NULL && done(), "else it is");
	test_claim(host.node.role == QUORUM_ROLE_LEADER, "alone it is elected at once");
	test_claim(host.disk.term == 4 + QUORUM_FORCE_TERM_GAP + 1 && host.disk.vote == 1,
			   "in a term ahead of what the others may reach");
	test_claim(host.disk.members.id.term == host.disk.term && !host.disk.recovering &&
			   host.disk.members.paused_until == 0, "with a set of that term, durable");
	test_claim(host.disk.members.members[1].kind == QUORUM_LEARNER &&
			   host.disk.members.members[1].becomes == QUORUM_VOTER &&
			   host.disk.members.members[2].kind == QUORUM_LEARNER &&
			   host.disk.members.members[2].becomes == QUORUM_WITNESS,
			   "the others become again what they were");
	test_claim(test_noted(&host, QUORUM_NOTE_FORCED), "and it is told");
	host.facts.phase = QUORUM_PHASE_PRIMARY;
	host.facts.position = (QuorumWalPos) {host.node.hard.term, 2000};
	(void) test_facts(&host);
	test_claim(host.node.gate_open, "it serves alone");
	beat = test_from(&host, 2, QUORUM_MSG_HEARTBEAT, host.node.hard.term - 5);
	(void) test_message(&host, &beat);
	test_claim(host.node.role == QUORUM_ROLE_LEADER, "whoever led meanwhile is not followed");
	beat = test_from(&host, 2, QUORUM_MSG_MEMBERS, host.node.hard.term + 1);
	beat.members = host.node.hard.members;
	beat.members.id.term = beat.term;
	(void) test_message(&host, &beat);
	beat = test_from(&host, 2, QUORUM_MSG_HEARTBEAT, host.node.hard.term + 1);
	beat.lease_us = LEASE;
	(void) test_message(&host, &beat);
	test_claim(host.node.role == QUORUM_ROLE_LEADER,
			   "nor in a term beyond that: an operator has to stop one of the two (F2)");
	test_claim(refused(request(QUORUM_ADMIN_FORCE, ""), "leads already"), "once is enough");
}

/* A promise of before the boot may be to a leader that still has its lease. */
static void
force_waits_for_promises(void)
{
	QuorumHardState hard;
	QuorumConfig config;

	test_host_init(&host, 3);
	hard = host.node.hard;
	config = host.node.config;
	hard.promise_us = LEASE;
	quorum_init(&host.node, &config, &hard, 1, host.now);
	(void) test_facts(&host);
	test_claim(refused(request(QUORUM_ADMIN_FORCE, ""), "lease"),
			   "nobody is forced while its promise runs");
	wait_us(2 * LEASE);
	test_claim(ask(request(QUORUM_ADMIN_FORCE, "")) == NULL, "then it is");
}

static void
kinds(void)
{
	QuorumAdmin admin;

	lead();
	admin = request(QUORUM_ADMIN_CHANGE_KIND, "n1");
	admin.kind = QUORUM_LEARNER;
	test_claim(refused(admin, "leader"), "the leader stays a voter");
	admin = request(QUORUM_ADMIN_CHANGE_KIND, "n3");
	admin.kind = QUORUM_WITNESS;
	test_claim(refused(admin, "voter or a learner"), "nobody becomes a witness");
	admin = request(QUORUM_ADMIN_CHANGE_KIND, "n3");
	admin.kind = QUORUM_VOTER;
	test_claim(ask(admin) == NULL && done(), "a voter that shall be one is one");
	admin = request(QUORUM_ADMIN_CHANGE_KIND, "n3");
	admin.kind = QUORUM_LEARNER;
	test_claim(ask(admin) == NULL && member(3)->kind == QUORUM_VOTER,
			   "a voter keeps its vote while the rule of both sets is in force (M3)");
	(void) test_facts(&host);
	acknowledge();
	test_claim(member(3)->kind == QUORUM_LEARNER, "then it is a learner");
	acknowledge();
	test_claim(done(), "and that is told");
	admin = request(QUORUM_ADMIN_CHANGE_KIND, "n3");
	admin.kind = QUORUM_VOTER;
	test_claim(ask(admin) == NULL && member(3)->becomes == QUORUM_VOTER && !done(),
			   "back it goes like a new one");
	for (int i = 0; i < 20 && !done(); i++)
	{
		wait_us(LEASE / 10);
		acknowledge();
		(void) test_facts(&host);
	}
	test_claim(done() && member(3)->kind == QUORUM_VOTER, "and is a voter when it holds everything");
	member(3)->kind = QUORUM_WITNESS;
	admin = request(QUORUM_ADMIN_CHANGE_KIND, "n2");
	admin.kind = QUORUM_LEARNER;
	test_claim(refused(admin, "fewer witnesses"), "one data voter and a witness are no cluster");
	admin = request(QUORUM_ADMIN_CHANGE_KIND, "n3");
	admin.kind = QUORUM_VOTER;
	test_claim(refused(admin, "no data"), "a witness stays one");
	member(2)->left_out = true;
	test_claim(refused(request(QUORUM_ADMIN_REMOVE_MEMBER, "n3"), "because of that witness"),
			   "a witness stays while a member is left out");
}

/* W1: three voters that are here, of which one recovers, and one more that may be away. */
static void
who_is_whole_stays(void)
{
	QuorumMessage ack;
	QuorumAdmin admin;

	lead();
	ack = test_from(&host, 3, QUORUM_MSG_HEARTBEAT_ACK, host.node.hard.term);
	ack.sent_at = host.now.boot;
	ack.recovering = true;
	(void) test_message(&host, &ack);
	test_claim(refused(request(QUORUM_ADMIN_REMOVE_MEMBER, "n2"), "until they have caught up"),
			   "who is whole is not removed while the rest recovers (W1)");
	admin = request(QUORUM_ADMIN_CHANGE_KIND, "n2");
	admin.kind = QUORUM_LEARNER;
	test_claim(refused(admin, "until they have caught up"), "nor loses its vote");
	test_claim(ask(request(QUORUM_ADMIN_REMOVE_MEMBER, "n3")) == NULL, "who recovers may go");

	lead();
	ack = test_from(&host, 3, QUORUM_MSG_HEARTBEAT_ACK, host.node.hard.term);
	ack.sent_at = host.now.boot;
	ack.recovering = true;
	wait_us(LEASE * 9 / 10);
	(void) test_message(&host, &ack);
	host.node.peers[1].heard_at = host.now.mono - 2 * LEASE;
	test_claim(ask(request(QUORUM_ADMIN_REMOVE_MEMBER, "n2")) == NULL,
			   "nor does it matter who is away");
}

static void
addresses(void)
{
	QuorumAdmin admin = request(QUORUM_ADMIN_CHANGE_ADDRESS, "n2");

	lead();
	snprintf(admin.host, sizeof(admin.host), "h3");
	admin.quorum_port = 7000;
	test_claim(refused(admin, "another member"), "no address is given twice");
	admin = request(QUORUM_ADMIN_CHANGE_ADDRESS, "n1");
	snprintf(admin.host, sizeof(admin.host), "h9");
	admin.quorum_port = 7000;
	test_claim(refused(admin, "leader"), "the leader does not move");
	admin = request(QUORUM_ADMIN_CHANGE_ADDRESS, "n2");
	snprintf(admin.host, sizeof(admin.host), "h9");
	admin.quorum_port = 7001;
	test_claim(ask(admin) == NULL && strcmp(host.disk.members.members[1].host, "h9") == 0 &&
			   host.disk.members.members[1].quorum_port == 7001, "a member moves");
	acknowledge();
	test_claim(done(), "when the set is stored that is told");

	/* Its add may never end where it was looked for: the move ends all the same. */
	lead();
	member(3)->kind = QUORUM_LEARNER;
	member(3)->becomes = QUORUM_VOTER;
	admin = request(QUORUM_ADMIN_CHANGE_ADDRESS, "n3");
	snprintf(admin.host, sizeof(admin.host), "h9");
	admin.quorum_port = 7001;
	test_claim(ask(admin) == NULL, "a learner that is no voter yet moves");
	acknowledge();
	test_claim(done() && member(3)->kind == QUORUM_LEARNER, "which waits for nothing but the set");
}

static void
witnesses(void)
{
	QuorumAdmin admin;

	lead();
	admin = request(QUORUM_ADMIN_ADD_MEMBER, "w1");
	admin.kind = QUORUM_WITNESS;
	admin.quorum_port = 7000;
	snprintf(admin.host, sizeof(admin.host), "h8");
	test_claim(ask(admin) == NULL && member(4)->kind == QUORUM_LEARNER &&
			   member(4)->becomes == QUORUM_WITNESS, "a witness is invited as a learner");
	lead();
	member(2)->kind = QUORUM_WITNESS;
	admin.request_id = ++last_request;
	test_claim(refused(admin, "fewer witnesses"), "not more witnesses than make sense");
}

int
main(void)
{
	pause_is_published();
	nobody_takes_over();
	who_stands_in_a_pause();
	resume_without_a_leader();
	force();
	force_waits_for_promises();
	kinds();
	who_is_whole_stays();
	addresses();
	witnesses();
	return test_done();
}
