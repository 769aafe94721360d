/*
 * lease_check.c
 *	  What one look at the lease costs in a backend: lease_check_ns(calls), for bench.pl.
 */
#include "postgres.h"

#include "fmgr.h"
#include "portability/instr_time.h"

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(lease_check_ns);

Datum
lease_check_ns(PG_FUNCTION_ARGS)
{
	int64		calls = PG_GETARG_INT64(0);
	int64		yes = 0;
	instr_time	begin;
	instr_time	end;
	bool		(*may_serve) (void);

	if (calls < 1 || calls > 100000000)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("the number of calls is between 1 and 100000000"));
	may_serve = (bool (*) (void)) load_external_function("pg_quorum", "pgq_fence_may_serve", true, NULL);
	INSTR_TIME_SET_CURRENT(begin);
	for (int64 i = 0; i < calls; i++)
		yes += may_serve();
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, begin);
	/* a gate that is shut is found sooner: that would be no measurement */
	if (yes != calls)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("this server did not lead all the time"));
	PG_RETURN_FLOAT8(INSTR_TIME_GET_MICROSEC(end) * 1000.0 / calls);
}
