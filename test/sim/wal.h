/*
 * wal.h
 *	  Write-ahead logs of the model: records, positions, timeline histories.
 *
 * Part of sim.h, which includes it.
 */
#ifndef SIM_WAL_H
#define SIM_WAL_H

/* One record; hash covers it and everything before it, so it names the whole prefix. */
typedef struct SimRecord
{
	QuorumLsn	end;
	uint64_t	hash;
	QuorumTerm	tli;
} SimRecord;

typedef struct SimLog
{
	SimRecord  *records;		/* the last one may be there in part only */
	int			count;
	int			capacity;
	QuorumLsn	write;			/* bytes given to the operating system */
	QuorumLsn	flush;			/* bytes that survive a loss of power */
} SimLog;

/* A timeline's history file: where it left its parent. */
typedef struct SimHistory
{
	QuorumTerm	tli;
	int			parent;			/* index in sim->histories; -1 = none */
	QuorumLsn	begin;
} SimHistory;

typedef struct SimCommit
{
	int			index;			/* of its record */
	QuorumLsn	end;
	uint64_t	hash;
} SimCommit;

/* A client that waits for its commit to be acknowledged. */
typedef struct SimWaiting
{
	SimCommit	commit;
	bool		async;			/* the quorum need not hold it, only be near (max_lag) */
	bool		told;
	QuorumLsn	want;			/* the quorum holds everything up to here */
	SimCommit	promised;		/* the last record up to there */
	uint32_t	rewound;		/* who held that until it was rewound: 1 << index */
} SimWaiting;

/* One that was acknowledged asynchronously. */
typedef struct SimAsync
{
	SimCommit	commit;
	QuorumTerm	tli;			/* written on */
	bool		lost;			/* a failover took it back */
} SimAsync;

/* wal.c; what it says of history files is in sim.h */
extern void sim_log_append(SimLog *log, QuorumTerm tli, QuorumLsn end, uint64_t payload);
extern int	sim_log_complete(const SimLog *log, QuorumLsn lsn);
extern void sim_log_cut(SimLog *log, QuorumLsn lsn);
extern void sim_log_copy(SimLog *to, const SimLog *from, QuorumLsn upto);
extern QuorumWalPos sim_log_end(const SimLog *log);
extern QuorumWalPos sim_log_raw(const SimLog *log, QuorumLsn lsn);
extern bool sim_log_holds(const SimLog *log, QuorumLsn durable, const SimCommit *commit);
extern bool sim_log_same(const SimLog *a, const SimLog *b, QuorumLsn lsn);

#endif							/* SIM_WAL_H */
