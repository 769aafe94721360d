/*
 * foreign.c
 *	  Whether somebody has written to this member's log who was not elected to.
 *
 * The longest log is elected, and how long one is its last timeline and position tell: which
 * means something only as long as every timeline has one writer (S4).  What sees to that is
 * this library.  A server that was promoted without it, or wrote in single-user mode, or whose
 * WAL was reset, has a log that ends behind those of all others and lacks what they hold.
 * Whoever follows it, or takes its WAL for the same as the leader's, has other data.
 *
 * What such a life leaves behind on the disk of a member, and nothing else does:
 *
 *	- a timeline above the term it has promised: a term is promised before its WAL comes
 *	- a server that was a primary on the timeline of that term, in which it was not elected
 *	- a last checkpoint that follows no record
 *
 * Not here: what becomes of such data (rewind.c).
 *
 * Rules: W5 (R27, H110, H111), S10.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/timestamp.h"

#include "foreign.h"
#include "walfiles.h"

static bool has_foreign_log(const QuorumHardState *hard, char *why);
static bool was_primary(const ControlFileData *control);
static bool follows_nothing(const ControlFileData *control);

/*
 * Not a rewind: where such a log left that of the cluster cannot be told when two have written on
 * one timeline.
 */
bool
pgq_foreign_log(QuorumHardState *hard, PgqJournal *journal)
{
	char		why[QUORUM_REASON_SIZE];

	if (pgq_state_read(hard, why) != PGQ_MEMBER || !has_foreign_log(hard, why))
		return false;
	ereport(LOG,
			(errmsg("quorum: the log of this node is not the cluster's any more: %s", why),
			 errdetail("It neither votes nor leads before it has a new copy of the leader's data.")));
	memset(journal, 0, sizeof(*journal));
	journal->term = hard->term;
	journal->attempts = 1;
	journal->asked_at = GetCurrentTimestamp();
	strlcpy(journal->source_name, "nobody", sizeof(journal->source_name));
	strlcpy(journal->source_host, "-", sizeof(journal->source_host));
	strlcpy(journal->reason, why, sizeof(journal->reason));
	return true;
}

static bool
has_foreign_log(const QuorumHardState *hard, char *why)
{
	bool		crc_ok;
	ControlFileData *control = get_controlfile(DataDir, &crc_ok);
	TimeLineID	tli = control->checkPointCopy.ThisTimeLineID;
	TimeLineID	newest = Max(tli, pgq_walfiles_newest(true));

	why[0] = '\0';
	if (!crc_ok)
		;						/* the server says so itself, and does not start */
	else if (newest > hard->term)
		snprintf(why, QUORUM_REASON_SIZE,
				 "it has a timeline %u, but promised no term above %u: it was promoted without pg_quorum",
				 newest, hard->term);
	else if (tli == hard->term && hard->vote != hard->node_id && was_primary(control))
		snprintf(why, QUORUM_REASON_SIZE,
				 "it was a primary on timeline %u without pg_quorum: it was not elected in that term",
				 tli);
	else if (follows_nothing(control))
		strlcpy(why, "its WAL was reset by pg_resetwal", QUORUM_REASON_SIZE);
	pfree(control);
	return why[0] != '\0';
}

/* A base backup brings the state of its source, and backup_label until recovery has begun. */
static bool
was_primary(const ControlFileData *control)
{
	return (control->state == DB_SHUTDOWNED || control->state == DB_SHUTDOWNING ||
			control->state == DB_IN_PRODUCTION) && access(BACKUP_LABEL_FILE, F_OK) != 0;
}

/* As initdb and pg_resetwal write it, at the beginning of a segment. */
static bool
follows_nothing(const ControlFileData *control)
{
	uint32		offset = XLogSegmentOffset(control->checkPoint, wal_segment_size);
	char		path[MAXPGPATH];
	XLogRecord	record;
	XLogSegNo	segno;
	bool		read;
	int			fd;

	if (offset != SizeOfXLogLongPHD)
		return false;
	XLByteToSeg(control->checkPoint, segno, wal_segment_size);
	XLogFilePath(path, control->checkPointCopy.ThisTimeLineID, segno, wal_segment_size);
	fd = BasicOpenFile(path, O_RDONLY | PG_BINARY);
	read = fd >= 0 && pread(fd, &record, SizeOfXLogRecord, offset) == (ssize_t) SizeOfXLogRecord;
	if (fd >= 0)
		close(fd);
	return read && record.xl_rmid == RM_XLOG_ID && record.xl_prev == InvalidXLogRecPtr;
}
