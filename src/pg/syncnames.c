/*
 * syncnames.c
 *	  Keeps synchronous_standby_names = ANY k (the other voters) in postgresql.auto.conf.
 *
 * It does not decide the rule (the core).  The names only make PostgreSQL wait; what an
 * acknowledgement needs is the ledger's business (ledger.c), so a moment with other names
 * costs time, not commits.
 *
 * Rules: S5, H13, H14; V11 is answered by the ledger.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "replication/syncrep.h"
#include "replication/walsender_private.h"
#include "storage/lwlock.h"
#include "utils/guc.h"

#include "autoconf.h"
#include "slots.h"
#include "syncnames.h"

#define NAMES_SETTING		"synchronous_standby_names"
#define NAMES_SIZE			(32 + QUORUM_MAX_NODES * 24)
#define RETRY_INTERVAL_US	(500 * UINT64CONST(1000))	/* between two writes or reloads */
#define OVERRULED_AFTER		4	/* reloads without effect; then tell, and be slower */
#define OVERRULED_INTERVAL_US	(10 * UINT64CONST(1000000))
#define COMPLAIN_INTERVAL_US	(60 * UINT64CONST(1000000))

static void wanted_names(const QuorumSyncRule *rule, char *names);
static bool in_force(const char *names);
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

	if (!pgq_autoconf_keep(NAMES_SETTING, names))
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
	uint8		status;

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
