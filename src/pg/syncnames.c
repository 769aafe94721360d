/*
 * syncnames.c
 *	  Keeps synchronous_standby_names = ANY k (the other voters) in postgresql.auto.conf.
 *
 * It does not decide the rule (the core).  The names only make PostgreSQL wait; what an
 * acknowledgement needs is the ledger's business (slots.c), so a moment with other names
 * costs time, not commits.
 *
 * Rules: S5, H13, H14; V11 is answered by the ledger.
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "replication/walsender_private.h"
#include "storage/fd.h"
#include "storage/lwlock.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "slots.h"
#include "syncnames.h"

#define NAMES_SETTING		"synchronous_standby_names"
#define AUTOCONF_TEMP		PG_AUTOCONF_FILENAME ".tmp"
#define NAMES_SIZE			(32 + QUORUM_MAX_NODES * 24)
#define RETRY_INTERVAL_US	(500 * UINT64CONST(1000))	/* between two writes or reloads */
#define OVERRULED_AFTER		4	/* reloads without effect; then tell, and be slower */
#define OVERRULED_INTERVAL_US	(10 * UINT64CONST(1000000))
#define COMPLAIN_INTERVAL_US	(60 * UINT64CONST(1000000))

static void wanted_names(const QuorumSyncRule *rule, char *names);
static bool in_force(const char *names);
static bool make_file_right(const char *names);
static void write_file_if_needed(const char *names);
static void read_file(ConfigVariable **head);
static bool says(const ConfigVariable *head, const char *names);
static void compose(StringInfo buf, const ConfigVariable *head, const char *names);
static void append_setting(StringInfo buf, const char *name, const char *value);
static void replace_file(const StringInfo buf);
static bool may_complain(void);

bool
pgq_syncnames_keep(const QuorumSyncRule *rule)
{
	static uint64 next_try = 0;
	static int	vain_reloads = 0;
	char		names[NAMES_SIZE];
	uint64		now;

	wanted_names(rule, names);
	if (in_force(names))
	{
		vain_reloads = 0;
		next_try = 0;
		return true;
	}

	now = pgq_now_mono();
	if (now < next_try)
		return false;
	next_try = now + (vain_reloads > OVERRULED_AFTER ? OVERRULED_INTERVAL_US : RETRY_INTERVAL_US);

	if (!make_file_right(names))
		return false;
	kill(PostmasterPid, SIGHUP);

	if (++vain_reloads > OVERRULED_AFTER && may_complain())
		ereport(LOG,
				(errmsg("%s cannot be kept as the cluster needs it", NAMES_SETTING),
				 errdetail("In force is \"%s\", %s says \"%s\".",
						   SyncRepStandbyNames ? SyncRepStandbyNames : "",
						   PG_AUTOCONF_FILENAME, names),
				 errhint("Take the setting off the server's command line, or mend the configuration file that pg_file_settings shows with an error.")));
	return false;
}

/* Commas, numbers and names of our own only: never anything to quote. */
static void
wanted_names(const QuorumSyncRule *rule, char *names)
{
	int			used;

	Assert(rule->count <= QUORUM_MAX_NODES);
	names[0] = '\0';
	if (rule->need <= 0 || rule->count <= 0)
		return;

	used = snprintf(names, NAMES_SIZE, "ANY %d (", rule->need);
	for (int i = 0; i < rule->count; i++)
	{
		char		name[NAMEDATALEN];

		pgq_slot_name(rule->ids[i], name);
		used += snprintf(names + used, NAMES_SIZE - used, "%s%s", i > 0 ? ", " : "", name);
	}
	snprintf(names + used, NAMES_SIZE - used, ")");
}

/*
 * In this process after its last reload, and for the backends: they look at what the
 * checkpointer made of the setting (H13).
 */
static bool
in_force(const char *names)
{
	bool		defined;
	bits8		status;

	if (SyncRepStandbyNames == NULL || strcmp(SyncRepStandbyNames, names) != 0)
		return false;

	LWLockAcquire(SyncRepLock, LW_SHARED);
	status = WalSndCtl->sync_standbys_status;
	LWLockRelease(SyncRepLock);
	if ((status & SYNC_STANDBY_INIT) == 0)
		return false;
	defined = (status & SYNC_STANDBY_DEFINED) != 0;
	return defined == (names[0] != '\0');
}

/* No ERROR leaves this function, and no memory stays behind. */
static bool
make_file_right(const char *names)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch;
	volatile bool done = false;

	/* an ALTER SYSTEM is under way: rather come back than stop the worker */
	if (!LWLockConditionalAcquire(AutoFileLock, LW_EXCLUSIVE))
		return false;

	scratch = AllocSetContextCreate(caller, "pg_quorum configuration", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(scratch);
	PG_TRY();
	{
		write_file_if_needed(names);
		LWLockRelease(AutoFileLock);
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(scratch);
		error = CopyErrorData();
		FlushErrorState();
		LWLockReleaseAll();
		if (may_complain())
			ereport(LOG,
					(errcode(error->sqlerrcode),
					 errmsg("could not keep %s: %s", NAMES_SETTING, error->message)));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	return done;
}

/* As AlterSystemSetConfigFile does it, whose helpers are private to guc.c. */
static void
write_file_if_needed(const char *names)
{
	ConfigVariable *head = NULL;
	StringInfoData buf;

	read_file(&head);
	if (says(head, names))
		return;
	initStringInfo(&buf);
	compose(&buf, head, names);
	replace_file(&buf);
}

static void
read_file(ConfigVariable **head)
{
	ConfigVariable *tail = NULL;
	FILE	   *file = AllocateFile(PG_AUTOCONF_FILENAME, "r");
	bool		parsed;

	if (file == NULL)
	{
		if (errno == ENOENT)
			return;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", PG_AUTOCONF_FILENAME)));
	}
	parsed = ParseConfigFp(file, PG_AUTOCONF_FILENAME, 0, LOG, head, &tail);
	FreeFile(file);

	/* a file nobody can read is not overwritten: it may hold more than we know */
	if (!parsed)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("could not parse contents of file \"%s\"", PG_AUTOCONF_FILENAME)));
}

/* The last entry of a name counts. */
static bool
says(const ConfigVariable *head, const char *names)
{
	const char *value = NULL;

	for (const ConfigVariable *item = head; item != NULL; item = item->next)
	{
		if (pg_strcasecmp(item->name, NAMES_SETTING) == 0)
			value = item->value;
	}
	return value != NULL && strcmp(value, names) == 0;
}

/* All other settings in their order; ours where it stood first, else at the end. */
static void
compose(StringInfo buf, const ConfigVariable *head, const char *names)
{
	bool		written = false;

	appendStringInfoString(buf,
						   "# Do not edit this file manually!\n"
						   "# It will be overwritten by the ALTER SYSTEM command.\n");
	for (const ConfigVariable *item = head; item != NULL; item = item->next)
	{
		if (pg_strcasecmp(item->name, NAMES_SETTING) != 0)
			append_setting(buf, item->name, item->value);
		else if (!written)
		{
			append_setting(buf, NAMES_SETTING, names);
			written = true;
		}
	}
	if (!written)
		append_setting(buf, NAMES_SETTING, names);
}

static void
append_setting(StringInfo buf, const char *name, const char *value)
{
	char	   *escaped = escape_single_quotes_ascii(value);

	if (escaped == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	appendStringInfo(buf, "%s = '%s'\n", name, escaped);
	free(escaped);
}

static void
replace_file(const StringInfo buf)
{
	int			fd = BasicOpenFile(AUTOCONF_TEMP, O_CREAT | O_RDWR | O_TRUNC);
	bool		written;
	int			save_errno;

	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", AUTOCONF_TEMP)));

	errno = 0;
	written = write(fd, buf->data, buf->len) == buf->len && pg_fsync(fd) == 0;
	save_errno = errno != 0 ? errno : ENOSPC;
	if (close(fd) != 0 && written)
	{
		written = false;
		save_errno = errno;
	}
	if (!written)
	{
		(void) unlink(AUTOCONF_TEMP);
		errno = save_errno;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write to file \"%s\": %m", AUTOCONF_TEMP)));
	}
	(void) durable_rename(AUTOCONF_TEMP, PG_AUTOCONF_FILENAME, ERROR);
}

static bool
may_complain(void)
{
	static uint64 next_complaint = 0;
	uint64		now = pgq_now_mono();

	if (now < next_complaint)
		return false;
	next_complaint = now + COMPLAIN_INTERVAL_US;
	return true;
}
