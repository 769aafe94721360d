/*
 * health.h
 *	  Is this server still able to make WAL durable: does its flush move, is there room?
 */
#ifndef PGQ_HEALTH_H
#define PGQ_HEALTH_H

/* Primary only: the flush of the own WAL has made no progress for one lease. */
extern bool pgq_health_wal_stalled(void);

/* Less than quorum.min_free_space is left where WAL or data are written. */
extern bool pgq_health_space_low(void);

#endif							/* PGQ_HEALTH_H */
