/*
 * sqlrollback.c
 *	  The functions behind quorum.rollbacks and quorum.rollback_transactions(): what rewinds
 *	  took out of this node's log, as rows.
 *
 * They read files only, so they answer on a standby too.  Names of relations are found in
 * SQL, as far as the database of the session has them.
 */
#include "postgres.h"

#include <dirent.h>

#include "catalog/pg_type_d.h"
#include "common/string.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"

#include "rollback.h"
#include "sqlrow.h"

PG_FUNCTION_INFO_V1(pgq_get_rollbacks);
PG_FUNCTION_INFO_V1(pgq_get_rollback_transactions);

/* One line of a list: the transaction, and then its relations one by one. */
typedef struct ListedTransaction
{
	int64		xid;
	XLogRecPtr	lsn;			/* 0: none */
	const char *fate;
	TimestampTz at;
	bool		at_known;
} ListedTransaction;

static void row_of_rollback(const PgqRollback *rollback, FunctionCallInfo fcinfo);
static bool parse_transaction(char *line, ListedTransaction *transaction, char **relations);
static const char *fate_name(const char *fate);
static bool parse_time(const char *text, TimestampTz *at);
static void rows_of_transaction(const ListedTransaction *transaction, char *relations,
								FunctionCallInfo fcinfo);

Datum
pgq_get_rollbacks(PG_FUNCTION_ARGS)
{
	DIR		   *dir;
	struct dirent *entry;

	InitMaterializedSRF(fcinfo, 0);
	dir = AllocateDir(PGQ_ROLLBACK_DIR);
	if (dir == NULL && errno == ENOENT)
		return (Datum) 0;
	while ((entry = ReadDir(dir, PGQ_ROLLBACK_DIR)) != NULL)
	{
		PgqRollback *rollback = palloc(sizeof(PgqRollback));

		CHECK_FOR_INTERRUPTS();
		if (pgq_rollback_read(entry->d_name, rollback))
			row_of_rollback(rollback, fcinfo);
		pfree(rollback);
	}
	FreeDir(dir);
	return (Datum) 0;
}

static void
row_of_rollback(const PgqRollback *rollback, FunctionCallInfo fcinfo)
{
	PgqRow		row = {0};
	Datum		names[PGQ_ROLLBACK_RELATIONS];

	for (int i = 0; i < rollback->relation_count; i++)
		names[i] = CStringGetTextDatum(rollback->relations[i]);
	pgq_row_text(&row, rollback->id);
	pgq_row_add(&row, TimestampTzGetDatum(rollback->asked_at), rollback->asked_at != 0);
	pgq_row_int8(&row, rollback->fork.tli, true);
	pgq_row_lsn(&row, rollback->fork.lsn);
	pgq_row_int8(&row, rollback->end.tli, true);
	pgq_row_lsn(&row, rollback->end.lsn);
	pgq_row_int8(&row, rollback->bytes, true);
	pgq_row_text(&row, rollback->source);
	pgq_row_int8(&row, rollback->term, rollback->term != 0);
	pgq_row_int8(&row, rollback->commits, rollback->commits >= 0);
	pgq_row_add(&row, PointerGetDatum(construct_array(names, rollback->relation_count, TEXTOID, -1,
													  false, TYPALIGN_INT)),
				rollback->commits >= 0);
	pgq_row_put(&row, fcinfo);
}

Datum
pgq_get_rollback_transactions(PG_FUNCTION_ARGS)
{
	char	   *id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char		path[MAXPGPATH];
	PgqRollback *rollback = palloc(sizeof(PgqRollback));
	StringInfoData line;
	FILE	   *file;

	InitMaterializedSRF(fcinfo, 0);
	if (!pgq_rollback_read(id, rollback))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no rollback \"%s\" on this node", id),
				 errdetail("Each node keeps what it lost itself, within quorum.rollback_keep_size and quorum.rollback_keep_age."),
				 errhint("View quorum.rollbacks lists what there is.")));
	snprintf(path, sizeof(path), PGQ_ROLLBACK_DIR "/%s/list", rollback->id);
	file = AllocateFile(path, PG_BINARY_R);
	if (file == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", path)));
	initStringInfo(&line);
	while (pg_get_line_buf(file, &line))
	{
		ListedTransaction transaction = {0};
		char	   *relations;

		CHECK_FOR_INTERRUPTS();
		line.data[strcspn(line.data, "\n")] = '\0';
		if (parse_transaction(line.data, &transaction, &relations))
			rows_of_transaction(&transaction, relations, fcinfo);
	}
	FreeFile(file);
	return (Datum) 0;
}

/* "xid <tab> lsn <tab> fate <tab> tablespace/database/relation:inserted/updated/deleted ..." */
static bool
parse_transaction(char *line, ListedTransaction *transaction, char **relations)
{
	char	   *fields[3];
	uint32		hi;
	uint32		lo;

	if (line[0] == '#')
		return false;
	for (int i = 0; i < 3; i++)
	{
		fields[i] = strsep(&line, "\t");
		if (fields[i] == NULL || line == NULL)
			return false;
	}
	*relations = line;
	transaction->xid = strtoul(fields[0], NULL, 10);
	transaction->lsn = sscanf(fields[1], "%X/%X", &hi, &lo) == 2 ? ((uint64) hi << 32) | lo : 0;
	transaction->fate = fate_name(fields[2]);
	transaction->at_known = parse_time(fields[2], &transaction->at);
	return true;
}

static const char *
fate_name(const char *fate)
{
	static const char *const names[][2] = {
		{"COMMIT_PREPARED", "commit prepared"}, {"COMMIT", "commit"},
		{"ABORT_PREPARED", "rollback prepared"}, {"ABORT", "rollback"}, {"PREPARE", "prepare"}
	};

	for (size_t i = 0; i < lengthof(names); i++)
	{
		if (strncmp(fate, names[i][0], strlen(names[i][0])) == 0)
			return names[i][1];
	}
	return "unfinished";
}

/* "... 2026-11-21 04:36:33.123456 UTC": pg_waldump is run in that zone. */
static bool
parse_time(const char *text, TimestampTz *at)
{
	for (; *text != '\0'; text++)
	{
		int			year,
					month,
					day,
					hour,
					minute,
					second,
					us,
					used = 0;

		if (sscanf(text, "%4d-%2d-%2d %2d:%2d:%2d.%6d UTC%n", &year, &month, &day, &hour, &minute,
				   &second, &us, &used) != 7 || used == 0 || year < 2000)
			continue;
		*at = (TimestampTz) (date2j(year, month, day) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY +
			((hour * MINS_PER_HOUR + minute) * SECS_PER_MINUTE + second) * USECS_PER_SEC + us;
		return true;
	}
	return false;
}

/* One for each relation it touched; one alone when it touched none. */
static void
rows_of_transaction(const ListedTransaction *transaction, char *relations,
					FunctionCallInfo fcinfo)
{
	char	   *item;
	bool		told = false;

	while ((item = strsep(&relations, " ")) != NULL || !told)
	{
		PgqRow		row = {0};
		unsigned int n[6] = {0};
		bool		known = item != NULL &&
			sscanf(item, "%u/%u/%u:%u/%u/%u", &n[0], &n[1], &n[2], &n[3], &n[4], &n[5]) == 6;

		if (!known && item != NULL)
			continue;
		pgq_row_int8(&row, transaction->xid, true);
		pgq_row_text(&row, transaction->fate);
		pgq_row_add(&row, TimestampTzGetDatum(transaction->at), transaction->at_known);
		pgq_row_lsn(&row, transaction->lsn);
		for (int i = 0; i < 3; i++)
			pgq_row_add(&row, ObjectIdGetDatum(n[i]), known);
		for (int i = 3; i < 6; i++)
			pgq_row_int8(&row, n[i], known);
		pgq_row_put(&row, fcinfo);
		told = true;
	}
}
