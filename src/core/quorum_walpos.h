/*
 * quorum_walpos.h
 *	  Comparing ends of logs: timeline first, then position.
 */
#ifndef QUORUM_WALPOS_H
#define QUORUM_WALPOS_H

#include "quorum_types.h"

/*
 * < 0: a is behind b; 0: equal; > 0: a is ahead.  Raft 5.4.1 with timeline for term:
 * "If the logs have last entries with different terms, then the log with the later
 * term is more up-to-date."
 */
extern int	quorum_walpos_compare(QuorumWalPos a, QuorumWalPos b);

/* Is it a position at all? */
extern bool quorum_walpos_known(QuorumWalPos pos);

#endif							/* QUORUM_WALPOS_H */
