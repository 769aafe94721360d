/*
 * proof.h
 *	  A stream counts for a member only when it proved to be that member's.
 */
#ifndef PGQ_PROOF_H
#define PGQ_PROOF_H

#include "shmem.h"

#define PGQ_PROOF_SIZE	160		/* of the text, with its end */

/* From _PG_init in the postmaster, before the prefix of the settings is reserved. */
extern void pgq_proof_init(void);

/* From the worker: this incarnation of a member has shown the secret on the quorum port. */
extern void pgq_proof_note_incarnation(QuorumNodeId id, uint64 boot_nonce);

/* From the worker: those it uses on the quorum port. */
extern void pgq_proof_publish_secrets(const PgqSecrets *secrets);

/*
 * In the walreceiver: what to put into the connection's options, for this connection to
 * this leader only.  False: why says what is missing.
 */
extern bool pgq_proof_make(QuorumNodeId leader, char *option, const char **why);

/* Has the walsender with this pid proved to be that of the member?  hint: any place, kept. */
extern bool pgq_proof_is_owner(QuorumNodeId id, pid_t pid, int *hint) pg_attribute_hot;

#endif							/* PGQ_PROOF_H */
