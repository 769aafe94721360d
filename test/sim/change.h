/*
 * change.h
 *	  Changes of the member set and of the leader: who asks for them, what they must keep.
 *
 * Part of sim.h, which includes it last.
 */
#ifndef SIM_CHANGE_H
#define SIM_CHANGE_H

/* change.c: requests that change the member set or the leader */
extern void sim_prepare(Sim *sim, SimNode *node, const SimNode *source);
extern void sim_invited(Sim *sim, SimNode *node, const SimBytes *bytes);
extern bool sim_ask(Sim *sim, QuorumAdminType type, SimNode *node, SimTime limit,
					QuorumMemberKind kind);
extern void sim_force(Sim *sim, SimNode *node);
extern void sim_operator(Sim *sim);
extern void sim_outcome(Sim *sim, SimNode *node, const QuorumOutcome *outcome);
extern void sim_calm_switchover(Sim *sim);
extern void sim_calm_switchover_check(Sim *sim);
extern SimTime sim_calm_bound(const SimOptions *options);

/* returns.c: who was removed is invited again */
extern SimNode *sim_removed_server(Sim *sim, bool witness);
extern bool sim_returns(Sim *sim, SimNode *node, const QuorumMessage *invite,
						QuorumHardState *hard);

/* sets.c: the oracle on member sets */
extern void sim_check_set(Sim *sim, SimNode *node, const QuorumView *view);
extern void sim_check_outcome(Sim *sim, QuorumNodeId id, const QuorumAdmin *asked);
extern void sim_check_hand_over(Sim *sim, SimNode *node, const QuorumMessage *resign);
extern void sim_check_allows(Sim *sim, const SimNode *node, const QuorumMessage *message);
extern void sim_check_told(Sim *sim, const SimNode *node, const QuorumMessage *message);
extern void sim_check_rewind(Sim *sim, SimNode *node, const SimNode *leader);
extern void sim_check_converged(Sim *sim);

/* elect.c: the oracle on elections */
extern void sim_check_winner(Sim *sim, const SimNode *node, const QuorumView *view);
extern void sim_check_outvoted(Sim *sim, const SimCommit *commit);
extern bool sim_nobody_can_serve(Sim *sim);
extern bool sim_cannot_be_spared(const Sim *sim, const SimNode *leader, const SimNode *node);

#endif							/* SIM_CHANGE_H */
