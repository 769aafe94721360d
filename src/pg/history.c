/*
 * history.c
 *	  Tells the story of this node, event by event, in the server log as well as in
 *	  a small file that survives restarts.
 *
 * The file is for people: nothing is decided from it, so it is written without fsync
 * and a line that cannot be written is only said in the log.  One event is one line,
 * appended with one write; fields are separated by tabs, "-" is an absent one.
 *
 * Not here: which events there are (the core's notes, and what other files tell), and their
 * words (story.c).
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "storage/fd.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "history.h"
#include "story.h"

#define HISTORY_DIR			"pg_quorum"
#define HISTORY_FILE		HISTORY_DIR "/history"
#define HISTORY_TEMP		HISTORY_DIR "/history.tmp"
#define LINES_KEPT			1000
#define LINES_MAX			1500
#define LINE_SIZE			512
#define READ_BYTES_MAX		(1024 * 1024)	/* nobody reads more, whoever wrote it */

/* Of the worker process. */
static uint64 previous_phase_at = 0;	/* mono microseconds; 0 = no election under way */
static int	file_lines = -1;	/* -1 = not counted yet */
static bool file_torn = false;	/* the last line has no end */

static void write_event(const char *event, QuorumTerm term, const char *node, char *detail,
						double ms);
static double phase_ms(const PgqStory *story);
static void append_line(const char *line);
static void count_lines(void);
static void trim(void);
static bool parse_line(char *line, PgqHistoryEntry *entry);

static void
say_why_diverged(PgqStory *story)
{
	if (pgq_shared == NULL)
		return;
	SpinLockAcquire(&pgq_shared->stream_mutex);
	if (pgq_shared->stream.diverged)
		memcpy(story->detail, pgq_shared->stream.reason, QUORUM_REASON_SIZE);
	SpinLockRelease(&pgq_shared->stream_mutex);
}

void
pgq_history_note(const QuorumNote *note, const QuorumMemberSet *members)
{
	PgqStory	story;

	pgq_story_tell(&story, note, members);
	if (note->type == QUORUM_NOTE_DIVERGED)
		say_why_diverged(&story);
	if (story.starts_clock_if_idle)
		story.starts_clock = previous_phase_at == 0;
	ereport(LOG, (errmsg("quorum: %s", story.text)));
	write_event(story.event, note->term,
				note->peer == QUORUM_NO_NODE ? "" : pgq_story_name(note->peer, members),
				story.detail, phase_ms(&story));
}

void
pgq_history_tell(const char *event, QuorumTerm term, const char *node, const char *detail,
				 double ms)
{
	char		copy[PGQ_HISTORY_DETAIL_SIZE];

	strlcpy(copy, detail, sizeof(copy));
	write_event(event, term, node, copy, ms);
}

/* detail is changed; what is empty, 0 or negative is written as absent. */
static void
write_event(const char *event, QuorumTerm term, const char *node, char *detail, double ms)
{
	char		line[LINE_SIZE];
	char		ms_text[32] = "-";
	char		term_text[16] = "-";
	struct pg_tm tm;
	fsec_t		fsec;

	if (ms >= 0)
		snprintf(ms_text, sizeof(ms_text), "%.3f", ms);
	if (term != 0)
		snprintf(term_text, sizeof(term_text), "%u", term);
	for (char *p = detail; *p != '\0'; p++)
		if (*p == '\t' || *p == '\n')
			*p = ' ';
	if (timestamp2tm(GetCurrentTimestamp(), NULL, &tm, &fsec, NULL, NULL) != 0)
		return;
	snprintf(line, sizeof(line), "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ\t%s\t%s\t%s\t%s\t%s\n",
			 tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int) fsec,
			 event, term_text, node[0] == '\0' ? "-" : node, detail[0] == '\0' ? "-" : detail,
			 ms_text);
	append_line(line);
}

void
pgq_history_forget(void)
{
	if (unlink(HISTORY_FILE) != 0 && errno != ENOENT)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not remove file \"%s\": %m", HISTORY_FILE)));
	file_lines = -1;
	previous_phase_at = 0;
}

/* Time since the previous event of the same election; negative when there was none. */
static double
phase_ms(const PgqStory *story)
{
	uint64		now = pgq_now_mono();
	double		result = -1;

	if (previous_phase_at != 0 && !story->starts_clock)
		result = (now - previous_phase_at) / 1000.0;
	if (story->starts_clock || previous_phase_at != 0)
		previous_phase_at = now;
	if (story->stops_clock)
		previous_phase_at = 0;
	return result;
}

static void
append_line(const char *line)
{
	char		whole[LINE_SIZE + 1];
	size_t		length;
	int			fd;
	bool		written;

	if (file_lines < 0)
		count_lines();
	if (file_lines >= LINES_MAX)
		trim();

	snprintf(whole, sizeof(whole), "%s%s", file_torn ? "\n" : "", line);
	length = strlen(whole);
	fd = open(HISTORY_FILE, O_WRONLY | O_APPEND | O_CREAT | PG_BINARY, pg_file_create_mode);
	if (fd < 0 && errno == ENOENT && mkdir(HISTORY_DIR, pg_dir_create_mode) == 0)
		fd = open(HISTORY_FILE, O_WRONLY | O_APPEND | O_CREAT | PG_BINARY, pg_file_create_mode);
	errno = 0;
	written = fd >= 0 && write(fd, whole, length) == (ssize_t) length;
	if (!written)
	{
		if (errno == 0)
			errno = ENOSPC;
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write to file \"%s\": %m", HISTORY_FILE),
				 errdetail("The event is missing in quorum.history.")));
		file_lines = -1;		/* look again what the file holds */
	}
	else
	{
		file_lines++;
		file_torn = false;
	}
	if (fd >= 0)
		close(fd);
}

static void
count_lines(void)
{
	char		block[4096];
	ssize_t		length;
	int			fd = open(HISTORY_FILE, O_RDONLY | PG_BINARY);

	file_lines = 0;
	file_torn = false;
	if (fd < 0)
		return;
	while ((length = read(fd, block, sizeof(block))) > 0)
	{
		for (ssize_t i = 0; i < length; i++)
			file_lines += block[i] == '\n';
		file_torn = block[length - 1] != '\n';
	}
	close(fd);
}

/* Keep the newest lines.  Whatever fails: the file stays as it is. */
static void
trim(void)
{
	char		block[4096];
	int			skip = file_lines - LINES_KEPT;
	ssize_t		length;
	bool		ok = true;
	int			from = open(HISTORY_FILE, O_RDONLY | PG_BINARY);
	int			to = open(HISTORY_TEMP, O_WRONLY | O_CREAT | O_TRUNC | PG_BINARY,
						  pg_file_create_mode);

	if (from < 0 || to < 0)
		ok = false;
	while (ok && (length = read(from, block, sizeof(block))) > 0)
	{
		ssize_t		start = 0;

		while (skip > 0 && start < length)
			skip -= block[start++] == '\n';
		if (start < length)
			ok = write(to, block + start, length - start) == length - start;
	}
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	if (ok && rename(HISTORY_TEMP, HISTORY_FILE) == 0)
		file_lines = LINES_KEPT;
	else
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not shorten file \"%s\": %m", HISTORY_FILE)));
		unlink(HISTORY_TEMP);
		file_lines = LINES_KEPT;	/* try again only after many more events */
	}
}

void
pgq_history_read(void (*fn) (const PgqHistoryEntry *entry, void *arg), void *arg)
{
	char		line[LINE_SIZE];
	FILE	   *file = AllocateFile(HISTORY_FILE, PG_BINARY_R);
	struct stat status;

	if (file == NULL)
	{
		if (errno == ENOENT)
			return;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", HISTORY_FILE)));
	}
	if (fstat(fileno(file), &status) == 0 && status.st_size > READ_BYTES_MAX)
		fseek(file, -READ_BYTES_MAX, SEEK_END);
	while (fgets(line, sizeof(line), file) != NULL)
	{
		PgqHistoryEntry entry;

		if (parse_line(line, &entry))
			fn(&entry, arg);
	}
	FreeFile(file);
}

static bool
parse_line(char *line, PgqHistoryEntry *entry)
{
	char	   *fields[6];
	char	   *rest = line;
	int			year,
				month,
				day,
				hour,
				minute,
				second,
				us;

	memset(entry, 0, sizeof(*entry));
	line[strcspn(line, "\n")] = '\0';
	for (int i = 0; i < 6; i++)
	{
		fields[i] = strsep(&rest, "\t");
		if (fields[i] == NULL)
			return false;
	}
	if (sscanf(fields[0], "%4d-%2d-%2dT%2d:%2d:%2d.%6dZ", &year, &month, &day, &hour, &minute,
			   &second, &us) != 7)
		return false;
	if (year < 2000 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 ||
		minute < 0 || minute > 59 || second < 0 || second > 60 || us < 0)
		return false;
	entry->at = (TimestampTz) (date2j(year, month, day) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY +
		((hour * MINS_PER_HOUR + minute) * SECS_PER_MINUTE + second) * USECS_PER_SEC + us;
	strlcpy(entry->event, fields[1], sizeof(entry->event));
	entry->term = strtoul(fields[2], NULL, 10);
	if (strcmp(fields[3], "-") != 0)
		strlcpy(entry->node, fields[3], sizeof(entry->node));
	if (strcmp(fields[4], "-") != 0)
		strlcpy(entry->detail, fields[4], sizeof(entry->detail));
	entry->phase_ms = strcmp(fields[5], "-") == 0 ? -1 : strtod(fields[5], NULL);
	return true;
}
