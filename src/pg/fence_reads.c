/*
 * fence_reads.c
 *	  In every client backend: a node that does not lead answers no reads but its own status.
 *
 * It does not judge commits (fence.c).
 *
 * Rules:
 *	S6, V10	no reads before the gate is open
 *	S7, R25	the lease is looked at after the rows were read: what was read while it was
 *			valid is what the leader had
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"
#include "tcop/pquery.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "fence.h"
#include "read_level.h"

#define STATUS_SCHEMA	"quorum"

static ExecutorRun_hook_type previous_run = NULL;
static object_access_hook_type previous_access = NULL;
static bool called = false;		/* by the client itself, in this transaction */
static int	depth = 0;			/* queries of functions run inside that of the client */

static void on_executor_run(PGQ_EXECUTOR_RUN_PARAMS) pg_attribute_hot;
static void on_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id,
							 void *arg) pg_attribute_hot;
static bool is_client(void) pg_attribute_hot;
static void check_query(PlannedStmt *pstmt) pg_attribute_hot;
static void confirm_query(PlannedStmt *pstmt);
static void refuse(const char *what);
static bool shows_only_status(PlannedStmt *pstmt);
static bool plan_shows_status(Plan *plan, Oid *schema);
static bool list_shows_status(List *plans, Oid *schema);
static bool calls_other_functions(Node *node, void *schema);
static bool is_other_function(Oid function, void *schema);

void
pgq_fence_reads_init(void)
{
	previous_run = ExecutorRun_hook;
	ExecutorRun_hook = on_executor_run;
	previous_access = object_access_hook;
	object_access_hook = on_object_access;
}

/*
 * A function call of the protocol (libpq's PQfn, which reads large objects) passes neither
 * executor nor utilities: no portal is active.  Functions that the planner evaluates are not
 * volatile.
 */
static void
on_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_access)
		previous_access(access, class_id, object_id, sub_id, arg);
	if (access != OAT_FUNCTION_EXECUTE || ActivePortal != NULL || !pgq_is_member() ||
		MyBackendType != B_BACKEND || func_volatile(object_id) != PROVOLATILE_VOLATILE)
		return;
	called = true;
	pgq_fence_check_read();
}

/* After reading counts (S7); nothing of ours runs at the end of the call, so its commit is it. */
void
pgq_fence_confirm_calls(void)
{
	if (called)
		pgq_fence_confirm_read();
}

void
pgq_fence_forget_calls(void)
{
	called = false;
}

/* SQL comes over connections for replication as well. */
static bool
is_client(void)
{
	return MyBackendType == B_BACKEND || MyBackendType == B_WAL_SENDER;
}

/* For reads that do not pass the executor. */
void
pgq_fence_check_read(void)
{
	if (!is_client() || pgq_read_level_is_local())
		return;
	if (!pgq_fence_may_serve() && !RecoveryInProgress())
		refuse("read");
}

/* After such a read: what the client asked for is confirmed, as a query of its own is. */
void
pgq_fence_confirm_read(void)
{
	pgq_fence_check_read();
	if (is_client() && depth == 0 && pgq_read_level_waits() &&
		!pgq_read_level_confirm(pgq_fence_may_serve))
		refuse("read");
}

/*
 * Before: a fenced node need not work for nothing.  After: this is the check that counts.
 * Parallel workers are no client backends; their leader looks for them.
 */
static void
on_executor_run(PGQ_EXECUTOR_RUN_PARAMS)
{
	check_query(query->plannedstmt);

	depth++;
	PG_TRY();
	{
		if (previous_run)
			previous_run(PGQ_EXECUTOR_RUN_ARGS);
		else
			standard_ExecutorRun(PGQ_EXECUTOR_RUN_ARGS);
	}
	PG_FINALLY();
	{
		depth--;
	}
	PG_END_TRY();

	check_query(query->plannedstmt);
	if (depth == 0 && pgq_read_level_waits())
		confirm_query(query->plannedstmt);
}

/* The query of the client, not those of its functions, is confirmed: it ends last. */
static void
confirm_query(PlannedStmt *pstmt)
{
	if (is_client() && pstmt->commandType == CMD_SELECT &&
		!shows_only_status(pstmt) && !pgq_read_level_confirm(pgq_fence_may_serve))
		refuse("read");
}

static void
check_query(PlannedStmt *pstmt)
{
	if (!is_client() || pgq_fence_may_serve() || RecoveryInProgress())
		return;
	if (pstmt->commandType != CMD_SELECT || pstmt->hasModifyingCTE)
		refuse("write");
	if (!pgq_read_level_is_local() && !shows_only_status(pstmt))
		refuse("read");
}

static void
refuse(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("this node does not lead its cluster: %s refused", what),
			 errdetail_internal("%s", pgq_fence_reason()),
			 errhint("Reconnect with a connection string that names all nodes and target_session_attrs=read-write.")));
}

/*
 * May a fenced node answer this?  Yes when the plan scans no relation at all and calls
 * nothing but functions of our own schema and harmless ones of pg_catalog.  Only then
 * can no stale row get out.  Functions that run queries come by here again.
 */
static bool
shows_only_status(PlannedStmt *pstmt)
{
	Oid			schema = get_namespace_oid(STATUS_SCHEMA, true);

	return plan_shows_status(pstmt->planTree, &schema) &&
		list_shows_status(pstmt->subplans, &schema);
}

static bool
list_shows_status(List *plans, Oid *schema)
{
	ListCell   *cell;

	foreach(cell, plans)
	{
		if (!plan_shows_status((Plan *) lfirst(cell), schema))
			return false;
	}
	return true;
}

/* Only node types whose every expression is looked at here; all others scan something. */
static bool
plan_shows_status(Plan *plan, Oid *schema)
{
	List	   *expressions;

	if (plan == NULL)
		return true;
	expressions = list_make2(plan->targetlist, plan->qual);

	switch (nodeTag(plan))
	{
		case T_ProjectSet:
		case T_CteScan:
		case T_Material:
		case T_Sort:
		case T_IncrementalSort:
		case T_Unique:
		case T_Group:
		case T_Agg:
			break;
		case T_WindowAgg:
			expressions = lappend(expressions, ((WindowAgg *) plan)->startOffset);
			expressions = lappend(expressions, ((WindowAgg *) plan)->endOffset);
			break;
		case T_Result:
			expressions = lappend(expressions, ((Result *) plan)->resconstantqual);
			break;
		case T_FunctionScan:
			expressions = lappend(expressions, ((FunctionScan *) plan)->functions);
			break;
		case T_ValuesScan:
			expressions = lappend(expressions, ((ValuesScan *) plan)->values_lists);
			break;
		case T_Limit:
			expressions = lappend(expressions, ((Limit *) plan)->limitOffset);
			expressions = lappend(expressions, ((Limit *) plan)->limitCount);
			break;
		case T_NestLoop:
			expressions = lappend(expressions, ((Join *) plan)->joinqual);
			break;
		case T_MergeJoin:
			expressions = lappend(expressions, ((Join *) plan)->joinqual);
			expressions = lappend(expressions, ((MergeJoin *) plan)->mergeclauses);
			break;
		case T_HashJoin:
			expressions = lappend(expressions, ((Join *) plan)->joinqual);
			expressions = lappend(expressions, ((HashJoin *) plan)->hashclauses);
			expressions = lappend(expressions, ((HashJoin *) plan)->hashkeys);
			break;
		case T_Hash:
			expressions = lappend(expressions, ((Hash *) plan)->hashkeys);
			break;
		case T_SubqueryScan:
			if (!plan_shows_status(((SubqueryScan *) plan)->subplan, schema))
				return false;
			break;
		case T_Append:
			if (!list_shows_status(((Append *) plan)->appendplans, schema))
				return false;
			break;
		default:
			return false;
	}

	return !calls_other_functions((Node *) expressions, schema) &&
		plan_shows_status(plan->lefttree, schema) &&
		plan_shows_status(plan->righttree, schema);
}

static bool
calls_other_functions(Node *node, void *schema)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, is_other_function, schema))
		return true;
	return expression_tree_walker(node, calls_other_functions, schema);
}

/*
 * Volatile functions of pg_catalog may read tables behind the executor's back (lo_get,
 * nextval); of those only the ones that tell about the server itself are harmless.
 */
static bool
is_other_function(Oid function, void *schema)
{
	Oid			namespace = get_func_namespace(function);

	if (OidIsValid(namespace) && namespace == *(Oid *) schema)
		return false;
	if (namespace != PG_CATALOG_NAMESPACE)
		return true;
	if (func_volatile(function) != PROVOLATILE_VOLATILE)
		return false;

	switch (function)
	{
		case F_PG_IS_IN_RECOVERY:
		case F_CLOCK_TIMESTAMP:
		case F_PG_CURRENT_WAL_LSN:
		case F_PG_CURRENT_WAL_FLUSH_LSN:
		case F_PG_LAST_WAL_RECEIVE_LSN:
		case F_PG_LAST_WAL_REPLAY_LSN:
			return false;
		default:
			return true;
	}
}
