/*
 * consistent.c
 *	  Whether a server could start with the data of this node as they are.
 *
 * Data that were rewound or copied may hold pages of which the WAL comes later.  Until recovery
 * has read it the node must not count as a holder of anything: it could not lead with it.
 *
 * Not here: whether a rewind has helped (rewind_request.c), whether what was written is on the
 * disk (walsync.c).
 *
 * Rules: W4.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "miscadmin.h"

#include "consistent.h"

/*
 * Not only of data that this node has rewound or copied by itself: whoever made a copy by hand
 * may have left out its last WAL.  The record that is being applied counts: its WAL is here, and
 * minRecoveryPoint may be its end.  A torn read of the control file says no, and the next reply
 * asks again.
 */
bool
pgq_data_consistent(void)
{
	static bool consistent = false;
	ControlFileData *control;
	bool		crc_ok;

	if (consistent)
		return true;
	control = get_controlfile(DataDir, &crc_ok);
	consistent = crc_ok && XLogRecPtrIsInvalid(control->backupStartPoint) &&
		control->minRecoveryPoint <= GetCurrentReplayRecPtr(NULL);
	pfree(control);
	return consistent;
}

/*
 * PostgreSQL compares this with the end of the record that changes the timeline, so what is missing
 * behind a fork, and is no longer than that record, would be taken for read.
 */
QuorumWalPos
pgq_data_needed_log(void)
{
	QuorumWalPos needed = {0, InvalidXLogRecPtr};
	bool		crc_ok;
	ControlFileData *control = get_controlfile(DataDir, &crc_ok);

	if (!crc_ok)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("\"pg_control\" was being written")));
	needed.tli = control->minRecoveryPointTLI;
	needed.lsn = control->minRecoveryPoint;
	pfree(control);
	return needed;
}
