/*
 * guc.h
 *	  Every setting of the extension, and their translation into the core's configuration.
 */
#ifndef PGQ_GUC_H
#define PGQ_GUC_H

#include "shmem.h"

extern char *pgq_node_name;		/* quorum.node_name */
extern char *pgq_address;		/* quorum.address: host:port of the quorum port */
extern char *pgq_secret_file;	/* quorum.secret_file, relative to the data directory */
extern char *pgq_conninfo;		/* quorum.conninfo: libpq options for streams between members */
extern int	pgq_lease_duration; /* quorum.lease_duration, ms */
extern int	pgq_heartbeat_interval; /* quorum.heartbeat_interval, ms; 0 = a tenth of the lease */
extern int	pgq_promotion_limit;	/* quorum.promotion_limit, ms */
extern int	pgq_priority;		/* quorum.priority */
extern bool pgq_death_proof;	/* quorum.death_proof: refused ports prove death */
extern bool pgq_allow_local_commit; /* quorum.allow_local_commit */
extern bool pgq_strict;			/* quorum.strict */
extern bool pgq_auto_rewind;	/* quorum.auto_rewind */
extern int	pgq_min_free_space; /* quorum.min_free_space, MB; 0 = off */
extern bool pgq_auto_clone;		/* quorum.auto_clone */
extern int	pgq_rollback_keep_size; /* quorum.rollback_keep_size, MB */
extern int	pgq_rollback_keep_age;	/* quorum.rollback_keep_age, minutes */

/* From _PG_init; preloaded = in shared_preload_libraries (else only what backends may see). */
extern void pgq_guc_init(bool preloaded);

/* From _PG_init of a member: what the extension manages itself, overridden in memory. */
extern void pgq_guc_override_managed(QuorumNodeId node_id);

/*
 * Are the settings fit for taking part?  False with errmsg/errdetail/errhint texts
 * (each QUORUM_REASON_SIZE) when not.  Usable in the postmaster.
 */
extern bool pgq_guc_check(char *msg, char *detail, char *hint);

/* May a node have this name? */
extern bool pgq_guc_valid_name(const char *name);

/* Split quorum.address; host has QUORUM_HOST_SIZE bytes. */
extern bool pgq_guc_split_address(const char *address, char *host, uint16 *port);

extern void pgq_guc_core_config(QuorumConfig *config);

/* quorum.heartbeat_interval, or what stands for its 0. */
extern QuorumTime pgq_guc_heartbeat_us(void);

#endif							/* PGQ_GUC_H */
