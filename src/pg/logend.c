/*
 * logend.c
 *	  At a promotion: is the log as long as this node has said?
 *
 * Recovery takes a record that it cannot read for the end of the log, whatever comes behind
 * it.  A node that was elected for WAL which it acknowledged and has not replayed, and of
 * which the disk has damaged a byte since, would begin its timeline before that WAL, and
 * whoever has it whole would be rewound.
 *
 * It runs in the startup process, right before the new timeline exists (promote.c).
 *
 * Rules: P7 (R13, H88).
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogrecovery.h"
#include "storage/pmsignal.h"

#include "logend.h"
#include "shmem.h"
#include "timeline.h"
#include "walread.h"

#define KEEP_STEP_US	10000
#define KEEP_STEPS		6000	/* 60 s */

/* The WAL behind the end of recovery, up to what was acknowledged. */
typedef struct Tail
{
	PgqWalPages pages;
	XLogRecPtr	end;
	bool		beyond;			/* the reader asked for bytes that never came */
} Tail;

static bool is_incomplete_record(Tail *tail, XLogRecPtr from);
static bool has_record_behind(XLogReaderState *reader, XLogRecPtr from, XLogRecPtr end);
static int	read_page(XLogReaderState *reader, XLogRecPtr page, int wanted, XLogRecPtr record,
					  char *buffer);

bool
pgq_logend_reached(void)
{
	PgqHistory	history = {0};
	Tail		tail = {0};
	TimeLineID	tli = 0;
	XLogRecPtr	replayed = GetXLogReplayRecPtr(&tli);
	QuorumWalPos said;
	bool		reached;

	SpinLockAcquire(&pgq_shared->stream_mutex);
	said = pgq_shared->stream.log_end;
	SpinLockRelease(&pgq_shared->stream_mutex);

	if (said.tli < tli || (said.tli == tli && said.lsn <= replayed))
		return true;

	/* a timeline of which a byte was acknowledged begins where recovery has been */
	reached = pgq_history_load(&history, said.tli) &&
		pgq_history_contains(&history, tli, replayed);
	if (reached && said.lsn > replayed)
	{
		tail.pages = (PgqWalPages) {&history, history.count - 1, -1, 0};
		tail.end = said.lsn;
		reached = is_incomplete_record(&tail, replayed);
		pgq_walread_close(&tail.pages);
	}
	free(history.parts);
	if (!reached)
		ereport(LOG,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("quorum: recovery ended at %X/%X, but this node acknowledged WAL up to %X/%X of timeline %u",
						LSN_FORMAT_ARGS(replayed), LSN_FORMAT_ARGS(said.lsn), said.tli),
				 errdetail("The record in between cannot be read: the disk may have damaged it."),
				 errhint("Nothing is lost while another member has it. This node votes again when a leader has sent it once more.")));
	return reached;
}

bool
pgq_logend_keep(void)
{
	pg_atomic_write_u32(&pgq_shared->log_damaged, 1);
	for (int i = 0; i < KEEP_STEPS && PostmasterIsAlive(); i++)
	{
		if (pg_atomic_read_u32(&pgq_shared->log_damage_kept) != 0)
			return true;
		pgq_shmem_wake_worker();
		pg_usleep(KEEP_STEP_US);
	}
	return false;
}

/* Its beginning is here, and to read on takes bytes that nobody has sent. */
static bool
is_incomplete_record(Tail *tail, XLogRecPtr from)
{
	XLogReaderState *reader = XLogReaderAllocate(wal_segment_size, NULL,
												 XL_ROUTINE(.page_read = read_page), tail);
	char	   *error;
	bool		incomplete;

	if (reader == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));

	/* where one page ends the next record begins behind the header of the other */
	if (XLogSegmentOffset(from, wal_segment_size) == 0)
		from += SizeOfXLogLongPHD;
	else if (from % XLOG_BLCKSZ == 0)
		from += SizeOfXLogShortPHD;
	XLogBeginRead(reader, from);
	incomplete = XLogReadRecord(reader, &error) == NULL && tail->beyond &&
		!has_record_behind(reader, from, tail->end);
	XLogReaderFree(reader);
	return incomplete;
}

/*
 * A damaged length may claim more than was ever written.  On another page that shows; on the
 * one where it begins, what shows is a whole record behind it.
 */
static bool
has_record_behind(XLogReaderState *reader, XLogRecPtr from, XLogRecPtr end)
{
	XLogRecPtr	next_page = from - from % XLOG_BLCKSZ + XLOG_BLCKSZ;
	char	   *error;

	for (XLogRecPtr at = MAXALIGN64(from + 1); at < Min(end, next_page); at += MAXIMUM_ALIGNOF)
	{
		XLogRecord *record;

		XLogBeginRead(reader, at);
		record = XLogReadRecord(reader, &error);
		if (record != NULL && record->xl_prev >= from)
			return true;
	}
	return false;
}

static int
read_page(XLogReaderState *reader, XLogRecPtr page, int wanted, XLogRecPtr record, char *buffer)
{
	Tail	   *tail = reader->private_data;
	int			length;

	(void) record;
	if (page + wanted > tail->end)
	{
		tail->beyond = true;
		return XLREAD_FAIL;
	}
	length = (int) Min(tail->end - page, XLOG_BLCKSZ);
	if (!pgq_walread_page(&tail->pages, page, buffer, length))
		return XLREAD_FAIL;
	return length;
}
