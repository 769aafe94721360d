/*
 * stream_gap.c
 *	  In the walreceiver: a stream must not begin behind WAL that is not here.
 *
 * The log of a node may end in a record that goes on in the next segment and of which the rest
 * was lost with its leader.  The next leader's timeline begins where that record did, in an
 * earlier segment.  Recovery, which has read the beginning from the old timeline, asks the new one
 * for the segment that comes next nevertheless.  As long as the leader's log has not got there the
 * stream is refused, in a new term for ever, since its gate waits for that stream; and once it has,
 * the segments between would be acknowledged and not be here, until recovery sees that
 * the record does not go on and begins with it anew.
 *
 * So the stream begins where the record does.  Recovery looks at files again only when it boots:
 * the server restarts in place as soon as there is something to read.
 *
 * Nor is it known what a power cut has left of the end of that record which is here: recovery can
 * tell when it has the rest.  If it is torn, it asks for the segment in which the record begins.
 *
 * Rules: P5, V4.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogrecovery.h"
#include "storage/ipc.h"

#include "shmem.h"
#include "stream_gap.h"

static XLogRecPtr stream_start = InvalidXLogRecPtr; /* invalid = what is before it is whole */
static XLogRecPtr gap_from = InvalidXLogRecPtr; /* invalid = there is none */

static bool note_new(TimeLineID tli, XLogRecPtr lsn);

XLogRecPtr
pgq_stream_gap_start(const PgqHistory *history, TimeLineID tli, XLogRecPtr start)
{
	XLogRecPtr	replayed = GetXLogReplayRecPtr(NULL);

	stream_start = start;
	gap_from = InvalidXLogRecPtr;
	if (replayed == InvalidXLogRecPtr)
		return start;			/* recovery has not begun */

	for (int i = 0; i < history->count; i++)
	{
		/* otherwise recovery reads the segment that it asks for, or has begun a record of it */
		if (history->parts[i].tli == tli && replayed <= history->parts[i].begin &&
			note_new(tli, replayed) && replayed < start)
			gap_from = replayed;
	}
	if (gap_from != InvalidXLogRecPtr)
		stream_start = replayed - XLogSegmentOffset(replayed, wal_segment_size);
	return stream_start;
}

bool
pgq_stream_gap_closed(void)
{
	/* a record that is being applied has been read */
	if (stream_start != InvalidXLogRecPtr && GetCurrentReplayRecPtr(NULL) >= stream_start)
		stream_start = InvalidXLogRecPtr;
	return stream_start == InvalidXLogRecPtr;
}

void
pgq_stream_gap_check(XLogRecPtr flush)
{
	if (gap_from == InvalidXLogRecPtr || flush <= gap_from)
		return;
	pgq_request_restart(PGQ_RESTART_IMMEDIATE,
						"its log ended within a record that the log of the leader has not got");
	proc_exit(0);
}

/*
 * Has recovery read the log up to lsn without this timeline?  Asked before each stream, as
 * afterwards its file is here; what time that says proves nothing, a clock may be set back.
 */
static bool
note_new(TimeLineID tli, XLogRecPtr lsn)
{
	char		path[MAXPGPATH];
	XLogSegNo	segment;
	uint32		first = pg_atomic_read_u32(&pgq_shared->first_new_tli);

	XLByteToSeg(lsn, segment, wal_segment_size);
	XLogFilePath(path, tli, segment, wal_segment_size);
	if ((first == 0 || tli < first) && access(path, F_OK) != 0)
	{
		first = tli;
		pg_atomic_write_u32(&pgq_shared->first_new_tli, first);
	}
	return first != 0 && tli >= first;
}
