/*
 * harness.h
 *	  What the unit tests of the core share: TAP lines, a node under test, its drive.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <stdio.h>
#include <string.h>

#include "quorum_assert.h"
#include "quorum_drive.h"
#include "quorum_members.h"
#include "quorum_message.h"
#include "quorum_node.h"
#include "quorum_walpos.h"

#define MS		INT64_C(1000)
#define LEASE	(2000 * MS)
#define CALLS	256				/* remembered calls of one drive */

/* One TAP line per claim; the name of the claim is the test. */
extern void test_claim(bool holds, const char *claim);
extern int	test_done(void);

/* Does this break an invariant of the core? */
extern bool test_asserts(void (*what) (void *arg), void *arg);

/* The calls one drive made, in order, one letter each: F R P S A N V (publish). */
typedef struct TestHost
{
	QuorumNode	node;
	QuorumScratch scratch;
	QuorumInstant now;
	QuorumFacts facts;			/* what read_facts and test_facts answer */
	QuorumHardState disk;
	QuorumFence fence;
	QuorumView	view;
	char		calls[CALLS];
	int			call_count;
	int			fail_at;		/* index of the call that fails; -1 = none */
	QuorumMessage sent[QUORUM_MAX_MESSAGES];
	int			sent_count;
	QuorumAction acted[16];
	int			acted_count;
	QuorumNote	noted[64];
	int			noted_count;
	bool		vote_before_disk;	/* a vote left that the disk does not hold */
} TestHost;

/* Node 1 of `voters` voters, in term 1, log at 1/1000, its log read. */
extern void test_host_init(TestHost *host, int voters);
extern bool test_drive(TestHost *host, QuorumEvent *event);
extern bool test_tick_at(TestHost *host, QuorumTime mono);
extern bool test_facts(TestHost *host);
extern bool test_message(TestHost *host, const QuorumMessage *message);
extern bool test_peer(TestHost *host, QuorumEventType type, QuorumNodeId peer);

/* A message of `type` from a peer whose log ends like ours. */
extern QuorumMessage test_from(const TestHost *host, QuorumNodeId from, QuorumMessageType type,
							   QuorumTerm term);

/* Its answer to a heartbeat of this instant; flush = 0: it holds no WAL of that term. */
extern QuorumMessage test_ack(const TestHost *host, QuorumNodeId from, QuorumTerm term,
							  QuorumLsn flush);
extern const QuorumMessage *test_sent(const TestHost *host, QuorumMessageType type);

/* What it says to whoever asks for a vote or a pre-vote. */
extern QuorumVerdict test_answer(TestHost *host, const QuorumMessage *request);
extern bool test_noted(const TestHost *host, QuorumNoteType type);

/* Time passes until it asks for pre-votes, if it ever does. */
extern void test_until_it_asks(TestHost *host);

/* It gets a pre-vote or a vote for that term. */
extern bool test_vote(TestHost *host, QuorumNodeId from, QuorumMessageType type, QuorumTerm term);

/* Through pre-vote and vote of these to leadership of the next term. */
extern void test_elect(TestHost *host, QuorumNodeId first, QuorumNodeId last);

/* ... of a cluster of three, by node 2. */
extern void test_become_leader(TestHost *host);

/* The server of the leader of term 2 is the primary of its timeline, its log ends there. */
extern void test_be_primary(TestHost *host, QuorumLsn end);

/* Node 1 of three, elected and promoted; nobody follows yet, its gate is shut. */
extern void test_lead(TestHost *host, QuorumLsn end);

#endif							/* HARNESS_H */
