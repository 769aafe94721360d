/*
 * quorum_members.h
 *	  Pure functions on member sets: who votes, what is a majority, what a commit needs.
 */
#ifndef QUORUM_MEMBERS_H
#define QUORUM_MEMBERS_H

#include "quorum_types.h"

/* Index of a node in the set, -1 when it is no member. */
extern int	quorum_members_find(const QuorumMemberSet *set, QuorumNodeId id);
extern int	quorum_members_find_name(const QuorumMemberSet *set, const char *name);

/* Does this node vote (voter or witness)? */
extern bool quorum_members_votes(const QuorumMemberSet *set, QuorumNodeId id);
extern int	quorum_members_vote_count(const QuorumMemberSet *set);

/* Number of votes that is more than half. */
extern int	quorum_members_majority(const QuorumMemberSet *set);

/* < 0, 0, > 0 as for integers: by term, then version. */
extern int	quorum_set_id_compare(QuorumSetId a, QuorumSetId b);

extern int	quorum_members_witness_count(const QuorumMemberSet *set);

/* Would there still be fewer witnesses than data voters, with one more of them? */
extern bool quorum_members_room_for_witness(const QuorumMemberSet *set);

/* Data voters that are left out (Y1). */
extern int	quorum_members_left_out(const QuorumMemberSet *set);

/* Is it a data voter that counts for commits and may stand (Y1)? */
extern bool quorum_members_is_in(const QuorumMemberSet *set, QuorumNodeId id);

/* How many data voters that are in an election must hear, so that it meets every commit (Y3). */
extern int	quorum_members_read_need(const QuorumMemberSet *set);

/*
 * What a commit needs beside the leader itself (Y2): floor(votes / 2) of the other data
 * voters, less those that are left out.
 */
extern void quorum_members_sync_rule(const QuorumMemberSet *set, QuorumNodeId leader,
									 QuorumSyncRule *rule);

/* A rule of two sets: whoever satisfies it satisfies the rules of both (M3). */
extern void quorum_members_joint_rule(const QuorumMemberSet *old, const QuorumMemberSet *next,
									  QuorumNodeId leader, QuorumSyncRule *rule);

/* The n-th largest of count values, n from 1; 0 when n > count.  Sorts in place. */
extern uint64_t quorum_nth_largest(uint64_t *values, int count, int n);

/* Equal texts within the limit of names and hosts? */
extern bool quorum_text_equal(const char *a, const char *b, size_t limit);
extern void quorum_text_copy(char *to, const char *from, size_t size);

#endif							/* QUORUM_MEMBERS_H */
