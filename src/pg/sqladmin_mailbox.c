/*
 * sqladmin_mailbox.c
 *	  One request at a time from SQL functions to the worker, and its outcome back.
 *
 * A request is no part of the transaction that makes it.  One that the worker has taken
 * goes on when the caller goes away; the same call made again waits for it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/proc.h"

#include "compat.h"
#include "sqladmin.h"

#define POLL_MS		20

static void wait_for_outcome(uint64 id, int64 timeout_us, PgqRequest *outcome);
static uint64 put_request(const PgqRequest *wanted);
static bool poll_request(uint64 id, PgqRequest *outcome);
static void withdraw_request(uint64 id);
static bool request_taken(uint64 id);

QuorumNodeId
pgq_ask_worker(const PgqRequest *wanted, int64 timeout_us)
{
	PgqRequest	outcome;

	wait_for_outcome(put_request(wanted), timeout_us, &outcome);
	if (outcome.failed)
		ereport(ERROR,
				(errcode(outcome.sqlerrcode != 0 ? outcome.sqlerrcode :
						 ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s", outcome.reason),
				 outcome.hint[0] != '\0' ? errhint("%s", outcome.hint) : 0));
	return outcome.node_id;
}

static pg_noinline void
wait_for_outcome(uint64 id, int64 timeout_us, PgqRequest *outcome)
{
	uint64		give_up_at = pgq_now_mono() + timeout_us;

	pgq_shmem_wake_worker();
	PG_TRY();
	{
		while (!poll_request(id, outcome))
		{
			if (pgq_now_mono() >= give_up_at)
				ereport(ERROR,
						(errcode(ERRCODE_QUERY_CANCELED),
						 errmsg("the worker of pg_quorum is not done yet"),
						 request_taken(id) ?
						 errdetail("The request goes on.") :
						 errdetail("The worker did not take the request; it is withdrawn."),
						 errhint("The same call made again waits for it; quorum.members shows how "
								 "far it is.")));
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, POLL_MS,
							 PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
	}
	PG_CATCH();
	{
		withdraw_request(id);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static bool
same_request(const PgqRequest *a, const PgqRequest *b)
{
	return a->type == b->type && a->kind == b->kind && a->quorum_port == b->quorum_port &&
		(a->limit_us == b->limit_us || a->type != PGQ_REQUEST_PAUSE) &&
		strcmp(a->name, b->name) == 0 && strcmp(a->host, b->host) == 0;
}

static int
describe_request(const PgqRequest *request)
{
	switch (request->type)
	{
		case PGQ_REQUEST_ADD_MEMBER:
			return errdetail("Member \"%s\" at %s:%u is being added.", request->name,
							 request->host, request->quorum_port);
		case PGQ_REQUEST_REMOVE_MEMBER:
			return errdetail("Member \"%s\" is being removed.", request->name);
		case PGQ_REQUEST_SWITCHOVER:
			return errdetail("A switchover is under way.");
		case PGQ_REQUEST_CHANGE_KIND:
		case PGQ_REQUEST_CHANGE_ADDRESS:
			return errdetail("Member \"%s\" is being changed.", request->name);
		case PGQ_REQUEST_PAUSE:
			return errdetail("A pause is being started or ended.");
		case PGQ_REQUEST_FORCE:
			return errdetail("This node is being forced to lead.");
		default:
			return errdetail("The cluster is being started.");
	}
}

/* Returns the id of the request to wait for: ours, or the same one under way. */
static uint64
put_request(const PgqRequest *wanted)
{
	PgqRequest *box = &pgq_shared->request;
	PgqRequest	under_way;
	uint64		id = 0;

	LWLockAcquire(pgq_shared->lock, LW_EXCLUSIVE);
	under_way = *box;
	if (box->type == PGQ_REQUEST_NONE || box->done)
	{
		/* done, and still there: nobody waits for it any more */
		*box = *wanted;
		box->requester = pgq_my_proc_number();
		box->id = id = ++pgq_shared->next_request_id;
	}
	else if (same_request(box, wanted))
		id = box->id;
	LWLockRelease(pgq_shared->lock);

	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("another request is under way"),
				 describe_request(&under_way),
				 errhint("The member set changes one step at a time: try again later.")));
	return id;
}

/*
 * True when it is done.  The outcome stays in the box: a second caller may wait for
 * it, and the next request overwrites it.
 */
static bool
poll_request(uint64 id, PgqRequest *outcome)
{
	bool		running;

	LWLockAcquire(pgq_shared->lock, LW_EXCLUSIVE);
	*outcome = pgq_shared->request;
	if (outcome->id == id && outcome->done)
		pgq_shared->request.collected = true;
	running = pgq_shared->worker_pid != 0;
	LWLockRelease(pgq_shared->lock);

	if (outcome->id != id)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the outcome of the request is not known"),
				 errdetail("Another request took its place, or the worker was restarted."),
				 errhint("See quorum.members for what happened.")));
	if (!outcome->done && !running)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the worker of pg_quorum has ended"),
				 errhint("See the server log for the reason.")));
	return outcome->done;
}

static bool
request_taken(uint64 id)
{
	bool		taken;

	LWLockAcquire(pgq_shared->lock, LW_SHARED);
	taken = pgq_shared->request.id == id && pgq_shared->request.taken;
	LWLockRelease(pgq_shared->lock);
	return taken;
}

/* The caller goes away: a request that nobody has looked at shall not happen later. */
static void
withdraw_request(uint64 id)
{
	PgqRequest *box = &pgq_shared->request;

	LWLockAcquire(pgq_shared->lock, LW_EXCLUSIVE);
	if (box->id == id && !box->taken && !box->done)
		memset(box, 0, sizeof(*box));
	LWLockRelease(pgq_shared->lock);
}
