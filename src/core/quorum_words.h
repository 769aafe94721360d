/*
 * quorum_words.h
 *	  The words for reasons: what server log, history and simulator trace print.
 */
#ifndef QUORUM_WORDS_H
#define QUORUM_WORDS_H

#include "quorum_types.h"

extern const char *quorum_loss_text(QuorumLossReason reason);
extern const char *quorum_resign_text(QuorumResignReason reason);
extern const char *quorum_verdict_text(QuorumVerdict verdict);

#endif							/* QUORUM_WORDS_H */
