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
#define KEEP_STEPS		1000	/* 10 s */

/* The WAL behind the end of recovery, up to what was acknowledged. */
typedef struct Tail
{
	PgqHistory	history;		/* of the timeline that was acknowledged last */
	XLogRecPtr	end;
	bool		beyond;			/* the reader asked for bytes that never came */
	int			fd;
	XLogSegNo	segno;
} Tail;

static bool is_incomplete_record(Tail *tail, XLogRecPtr from);
static int	read_page(XLogReaderState *reader, XLogRecPtr page, int wanted, XLogRecPtr record,
					  char *buffer);

bool
pgq_logend_reached(void)
{
	Tail		tail = {.fd = -1};
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
	tail.end = said.lsn;
	reached = pgq_history_load(&tail.history, said.tli) &&
		pgq_history_contains(&tail.history, tli, replayed) &&
		(said.lsn <= replayed || is_incomplete_record(&tail, replayed));
	free(tail.history.parts);
	if (tail.fd >= 0)
		close(tail.fd);
	if (!reached)
		ereport(LOG,
				(errmsg("quorum: recovery ended at %X/%X, but this node acknowledged WAL up to %X/%X of timeline %u",
						LSN_FORMAT_ARGS(replayed), LSN_FORMAT_ARGS(said.lsn), said.tli),
				 errdetail("The record in between cannot be read: the disk may have damaged it."),
				 errhint("Nothing is lost while another member has it. This node votes again when a leader has sent it once more.")));
	return reached;
}

void
pgq_logend_keep(void)
{
	pg_atomic_write_u32(&pgq_shared->log_damaged, 1);
	for (int i = 0; i < KEEP_STEPS && PostmasterIsAlive(); i++)
	{
		if (pg_atomic_read_u32(&pgq_shared->log_damage_kept) != 0)
			return;
		pgq_shmem_wake_worker();
		pg_usleep(KEEP_STEP_US);
	}
}

/* Its beginning is here, and to read on takes bytes that nobody has sent. */
static bool
is_incomplete_record(Tail *tail, XLogRecPtr from)
{
	XLogReaderState *reader = XLogReaderAllocate(wal_segment_size, NULL,
												 XL_ROUTINE(.page_read = read_page), tail);
	char	   *error;
	bool		complete;

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
	complete = XLogReadRecord(reader, &error) != NULL;
	XLogReaderFree(reader);
	return !complete && tail->beyond;
}

static int
read_page(XLogReaderState *reader, XLogRecPtr page, int wanted, XLogRecPtr record, char *buffer)
{
	Tail	   *tail = reader->private_data;
	int			length;
	XLogSegNo	segno;

	(void) record;
	if (page + wanted > tail->end)
	{
		tail->beyond = true;
		return XLREAD_FAIL;
	}
	length = (int) Min(tail->end - page, XLOG_BLCKSZ);
	XLByteToSeg(page, segno, wal_segment_size);
	if (tail->fd < 0 || tail->segno != segno)
	{
		if (tail->fd >= 0)
			close(tail->fd);
		tail->fd = pgq_walread_open(&tail->history, tail->history.count - 1, segno);
		tail->segno = segno;
	}
	if (tail->fd < 0 ||
		pread(tail->fd, buffer, length, XLogSegmentOffset(page, wal_segment_size)) != length)
		return XLREAD_FAIL;
	return length;
}
