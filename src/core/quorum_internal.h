/*
 * quorum_internal.h
 *	  What the parts of the state machine share: emitting, transitions, peers.
 *
 * For src/core only.  Data flows one way: quorum_node.c dispatches to election, leader,
 * follower, membership and operator; those call down to lease, rule, members and the
 * emitters here.
 */
#ifndef QUORUM_INTERNAL_H
#define QUORUM_INTERNAL_H

#include "quorum_assert.h"
#include "quorum_members.h"
#include "quorum_node.h"
#include "quorum_walpos.h"

/* ---- quorum_emit.c: things that go out ---------------------------------- */

/* A message with its header filled in; valid until the step ends. */
extern QuorumMessage *quorum_emit_message(QuorumNode *node, QuorumUpdate *update,
										  QuorumMessageType type, QuorumNodeId to);
extern void quorum_emit_action(QuorumUpdate *update, QuorumActionType type, QuorumTerm term,
							   QuorumNodeId peer);
extern void quorum_emit_note(QuorumUpdate *update, QuorumNoteType type, QuorumTerm term,
							 QuorumNodeId peer, int why);

/* The follower's answer and its unasked-for progress report (sent_at 0). */
extern void quorum_emit_ack(QuorumNode *node, QuorumUpdate *update, QuorumMessageType type,
							QuorumNodeId to, QuorumTime sent_at);

/* ---- quorum_peer.c ------------------------------------------------------ */

extern QuorumPeer *quorum_peer_find(QuorumNode *node, QuorumNodeId id);
extern bool quorum_is_voter(const QuorumNode *node);
extern bool quorum_is_witness(const QuorumNode *node);

/* Adopt another member set, keeping what is known of peers that stay. */
extern void quorum_peers_adopt_set(QuorumNode *node, const QuorumMemberSet *set);

/* What any message tells of its sender. */
extern void quorum_peer_heard(QuorumNode *node, const QuorumMessage *message);

/* ---- quorum_lease.c ----------------------------------------------------- */

/* Follower: its promise to a leader runs, or this node leads. */
extern bool quorum_promise_active(const QuorumNode *node);

/* Until when, on the sender's boot clock, whoever acknowledged that heartbeat keeps its promise. */
extern QuorumTime quorum_lease_end(QuorumTime sent_at, QuorumTime lease_us);

/* Leader: when, on its boot clock, a heartbeat left that a majority has acknowledged. */
extern QuorumTime quorum_lease_confirmed_at(const QuorumNode *node);

/* Leader: recompute lease_until from the acknowledged heartbeats. */
extern void quorum_lease_renew(QuorumNode *node);
extern bool quorum_lease_valid(const QuorumNode *node);

/* Leader: its lease ran out, or it did not get one in time. */
extern bool quorum_lease_lapsed(const QuorumNode *node);

/* Boot: hold the promise that an earlier life may have made. */
extern void quorum_boot_hold_start(QuorumNode *node);

/* End the hold when no other voter can have a lease of before our boot. */
extern void quorum_boot_hold_check(QuorumNode *node);

/* ---- quorum_standing.c -------------------------------------------------- */

/* May this node stand now?  reason (may be NULL) gets a text when not. */
extern bool quorum_may_stand(const QuorumNode *node, const char **reason);

/* How long a round of votes waits for answers. */
extern QuorumTime quorum_round_length(const QuorumNode *node);
extern QuorumTime quorum_vote_round_length(const QuorumNode *node);

/* Nobody leads: when does this node ask for votes?  And when again after a lost round? */
extern void quorum_plan_election(QuorumNode *node);
extern void quorum_plan_retry(QuorumNode *node, bool cost_a_term);

/* ---- quorum_pause.c ------------------------------------------------------ */

extern void quorum_pause_start(QuorumNode *node);
extern void quorum_pause_tick(QuorumNode *node, QuorumUpdate *update);

/* Is the cluster paused?  And does that keep this node from standing? */
extern bool quorum_paused(const QuorumNode *node);
extern bool quorum_pause_holds(const QuorumNode *node);

/* Mono: when it ends; QUORUM_NEVER = not paused. */
extern QuorumTime quorum_pause_deadline(const QuorumNode *node);

/* ---- quorum_election.c -------------------------------------------------- */

extern void quorum_leader_lost(QuorumNode *node, QuorumUpdate *update, QuorumLossReason why);
extern void quorum_become_follower(QuorumNode *node, QuorumTerm term);
extern void quorum_on_pre_vote_request(QuorumNode *node, QuorumUpdate *update,
									   const QuorumMessage *message);
extern void quorum_on_pre_vote_reply(QuorumNode *node, QuorumUpdate *update,
									 const QuorumMessage *message);
extern void quorum_on_vote_request(QuorumNode *node, QuorumUpdate *update,
								   const QuorumMessage *message);
extern void quorum_on_vote_reply(QuorumNode *node, QuorumUpdate *update,
								 const QuorumMessage *message);

/* The position behind the fence has been read: decide the pending vote (S2). */
extern void quorum_election_facts(QuorumNode *node, QuorumUpdate *update);
extern void quorum_election_tick(QuorumNode *node, QuorumUpdate *update);
extern QuorumTime quorum_election_deadline(const QuorumNode *node);

/* ---- quorum_leader.c ---------------------------------------------------- */

extern void quorum_become_leader(QuorumNode *node, QuorumUpdate *update);

/* Give up leadership; resign != 0 tells the others. */
extern void quorum_step_down(QuorumNode *node, QuorumUpdate *update, QuorumLossReason why,
							 QuorumResignReason resign);
extern void quorum_on_heartbeat_ack(QuorumNode *node, QuorumUpdate *update,
									const QuorumMessage *message);

/* Reads wait to be confirmed (Q1, Q2): by a heartbeat that leaves now. */
extern void quorum_on_confirm(QuorumNode *node, QuorumUpdate *update);
extern void quorum_confirm_soon(QuorumNode *node);
extern void quorum_leader_facts(QuorumNode *node, QuorumUpdate *update);
extern void quorum_leader_tick(QuorumNode *node, QuorumUpdate *update);
extern QuorumTime quorum_leader_deadline(const QuorumNode *node);

extern void quorum_close_gate(QuorumNode *node, QuorumUpdate *update);

/* ---- quorum_rule.c ------------------------------------------------------ */

/* The rule commits must satisfy now: joint while a change is under way. */
extern void quorum_current_rule(const QuorumNode *node, QuorumSyncRule *rule);

/* What enough members of the rule are known to hold of this leader's own WAL. */
extern QuorumLsn quorum_held_by_rule(const QuorumNode *node, const QuorumSyncRule *rule);

/* Do enough members of the rule hold the leader's WAL up to lsn? */
extern bool quorum_rule_held(const QuorumNode *node, const QuorumSyncRule *rule, QuorumLsn lsn);

/* ---- quorum_rewind.c ---------------------------------------------------- */

/* Is it the turn of this member to rewind itself? */
extern bool quorum_rewind_may_begin(const QuorumNode *node, QuorumNodeId id);

/* Let it begin, if it has to and may; nobody else may before it is known to recover. */
extern bool quorum_rewind_grant(QuorumNode *node, QuorumNodeId id);

/* ---- quorum_follower.c -------------------------------------------------- */

extern void quorum_on_heartbeat(QuorumNode *node, QuorumUpdate *update,
								const QuorumMessage *message);
extern void quorum_on_resign(QuorumNode *node, QuorumUpdate *update, const QuorumMessage *message);
extern void quorum_follower_facts(QuorumNode *node, QuorumUpdate *update);

/* ---- quorum_resign.c ---------------------------------------------------- */

/* True when this leader has given its term up although it has its lease. */
extern bool quorum_resign_tick(QuorumNode *node, QuorumUpdate *update);

/* ---- quorum_transfer.c -------------------------------------------------- */

/* NULL, or why there can be no switchover to that member (or to anyone: empty name). */
extern const char *quorum_transfer_start(QuorumNode *node, QuorumUpdate *update,
										 const QuorumAdmin *admin);
extern void quorum_transfer_facts(QuorumNode *node);
extern void quorum_transfer_tick(QuorumNode *node, QuorumUpdate *update);

/* The log must not grow: it is being handed over, or has been. */
extern bool quorum_transfer_holds(const QuorumNode *node);

/* A primary that does not lead becomes a standby. */
extern void quorum_leave_primary(QuorumNode *node, QuorumUpdate *update);
extern QuorumTime quorum_leave_deadline(const QuorumNode *node);

/* ---- quorum_membership.c: how a change of the set goes on --------------- */

extern void quorum_on_members(QuorumNode *node, QuorumUpdate *update,
							  const QuorumMessage *message);
extern void quorum_on_invite(QuorumNode *node, QuorumUpdate *update, const QuorumMessage *message);
extern void quorum_on_invite_reply(QuorumNode *node, QuorumUpdate *update,
								   const QuorumMessage *message);

/* A new leader stamps the set with its term. */
extern void quorum_membership_restamp(QuorumNode *node);
extern bool quorum_membership_restamped(const QuorumNode *node);
extern void quorum_membership_tick(QuorumNode *node, QuorumUpdate *update);
extern void quorum_membership_facts(QuorumNode *node);

/* Make `next` the set of this leader; the old rule stays in force until M4. */
extern void quorum_set_publish(QuorumNode *node, QuorumUpdate *update,
							   const QuorumMemberSet *next);

/* change.next is the set to come: first the rule of both, then the set (M3). */
extern void quorum_change_start(QuorumNode *node);

/* Ask those that have not joined yet, from now on. */
extern void quorum_invite_now(QuorumNode *node);
extern bool quorum_member_joined(const QuorumMember *member);

/* What the request under way was about has happened, or will not. */
extern void quorum_outcome_done(QuorumNode *node, QuorumNodeId id);
extern void quorum_outcome_failed(QuorumNode *node, uint64_t request_id, const char *reason);

/* ---- quorum_syncset.c: whom commits wait for ----------------------------- */

extern void quorum_syncset_tick(QuorumNode *node, QuorumUpdate *update);
extern void quorum_syncset_doubt(QuorumNode *node, QuorumPeer *peer);
extern QuorumTime quorum_syncset_deadline(const QuorumNode *node);

/* Commits wait for a member that is lost. */
extern bool quorum_syncset_hopeless(const QuorumNode *node);
extern bool quorum_syncset_may_take_in(const QuorumNode *node, int index);

/* Tell who was left out or taken in since the set was `old`. */
extern void quorum_syncset_note(const QuorumNode *node, QuorumUpdate *update,
								const QuorumMemberSet *old);

/* ---- quorum_operator.c: requests ---------------------------------------- */

extern void quorum_on_admin(QuorumNode *node, QuorumUpdate *update, const QuorumAdmin *admin);

#endif							/* QUORUM_INTERNAL_H */
