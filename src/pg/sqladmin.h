/*
 * sqladmin.h
 *	  What the SQL functions that change the cluster have in common.
 */
#ifndef PGQ_SQLADMIN_H
#define PGQ_SQLADMIN_H

#include "postgres.h"

#include "fmgr.h"

#include "shmem.h"

/* Arguments; NULL or out of range is an error. */
extern int64 pgq_timeout_arg(FunctionCallInfo fcinfo, int arg);
extern char *pgq_text_arg(FunctionCallInfo fcinfo, int arg, const char *what);

/* An error that says why when there is no worker to ask. */
extern void pgq_require_worker(void);

/* Fills view; an error that says whom to ask when this node takes no part, or does not lead. */
extern void pgq_require_part(QuorumView *view);
extern void pgq_require_leader(QuorumView *view);

/* The member of that name; an error with the names there are when there is none. */
extern const QuorumMemberView *pgq_require_member(const QuorumView *view, const char *name);

/* Fills host and port of the request from host:port; an error with a hint. */
extern void pgq_address_arg(const char *address, PgqRequest *request);

/* An error when another member has the address of the request; self: the member it is about. */
extern void pgq_refuse_same_address(const QuorumView *view, const PgqRequest *request,
									QuorumNodeId self);

/* An error when there would be as many witnesses as data voters with these changes. */
extern void pgq_refuse_witnesses(const QuorumView *view, int more_witnesses, int fewer_voters);

/* Put the request, wait for its outcome, report that; the member it was about. */
extern QuorumNodeId pgq_ask_worker(const PgqRequest *wanted, int64 timeout_us);

#endif							/* PGQ_SQLADMIN_H */
