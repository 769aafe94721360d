/*
 * sqlrow.h
 *	  Fill the row of a SQL function column by column, in the order of its columns.
 */
#ifndef PGQ_SQLROW_H
#define PGQ_SQLROW_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#define PGQ_ROW_COLUMNS_MAX	24

typedef struct PgqRow
{
	int			count;
	Datum		values[PGQ_ROW_COLUMNS_MAX];
	bool		nulls[PGQ_ROW_COLUMNS_MAX];
} PgqRow;

static inline void
pgq_row_add(PgqRow *row, Datum value, bool known)
{
	Assert(row->count < PGQ_ROW_COLUMNS_MAX);
	row->values[row->count] = known ? value : (Datum) 0;
	row->nulls[row->count] = !known;
	row->count++;
}

static inline void
pgq_row_null(PgqRow *row)
{
	pgq_row_add(row, (Datum) 0, false);
}

/* NULL or empty: NULL */
static inline void
pgq_row_text(PgqRow *row, const char *text)
{
	if (text == NULL || text[0] == '\0')
		pgq_row_null(row);
	else
		pgq_row_add(row, CStringGetTextDatum(text), true);
}

static inline void
pgq_row_bool(PgqRow *row, bool value, bool known)
{
	pgq_row_add(row, BoolGetDatum(value), known);
}

static inline void
pgq_row_int4(PgqRow *row, int32 value, bool known)
{
	pgq_row_add(row, Int32GetDatum(value), known);
}

static inline void
pgq_row_int8(PgqRow *row, int64 value, bool known)
{
	pgq_row_add(row, Int64GetDatum(value), known);
}

/* 0 is no position: NULL */
static inline void
pgq_row_lsn(PgqRow *row, XLogRecPtr lsn)
{
	pgq_row_add(row, LSNGetDatum(lsn), !XLogRecPtrIsInvalid(lsn));
}

/* Microseconds since 1970 as PostgreSQL counts */
static inline TimestampTz
pgq_wall_timestamp(int64 wall)
{
	return wall - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

/* 0 is no instant: NULL */
static inline void
pgq_row_wall(PgqRow *row, int64 wall)
{
	pgq_row_add(row, TimestampTzGetDatum(pgq_wall_timestamp(wall)), wall != 0);
}

static inline Datum
pgq_interval_us(int64 us)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = us;
	return IntervalPGetDatum(interval);
}

static inline void
pgq_row_interval(PgqRow *row, int64 us, bool known)
{
	if (known)
		pgq_row_add(row, pgq_interval_us(us), true);
	else
		pgq_row_null(row);
}

/*
 * Send it to the tuplestore that InitMaterializedSRF made.  While a cluster is upgraded the
 * library is newer than the SQL objects: columns are only ever appended to a function, and
 * what it does not have yet is left out.  The other way round nothing can be made up.
 */
static inline void
pgq_row_put(PgqRow *row, FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	if (row->count < result->setDesc->natts)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the library of pg_quorum on this node is older than the SQL objects of the extension"),
				 errdetail("The function returns %d columns, the library knows %d.",
						   result->setDesc->natts, row->count),
				 errhint("Install the same release of pg_quorum on this node and restart it.")));
	tuplestore_putvalues(result->setResult, result->setDesc, row->values, row->nulls);
}

#endif							/* PGQ_SQLROW_H */
