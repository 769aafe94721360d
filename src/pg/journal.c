/*
 * journal.c
 *	  Keeps the durable note of a rewind under way, so that whoever boots next knows
 *	  what the data directory is worth.
 *
 * It does not know what to do about it (rewind.c).  A text file, so that a person can
 * read it; a checksum in its last line tells a whole one.
 *
 * Rules: R1 (temp file, fsync, rename, fsync of the directory), R11, H64.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"

#include "journal.h"

#define JOURNAL_FILE	PGQ_REWIND_DIR "/journal"
#define JOURNAL_TEMP	PGQ_REWIND_DIR "/journal.tmp"
#define JOURNAL_TITLE	"pg_quorum rewind journal 1"
#define JOURNAL_SIZE	2048
#define CLONED_LINE		"cloned\n"

static const char *const phase_names[] = {"none", "failed", "hopeless", "requested", "parking", "rewinding",
"rewound", "placed", "needs-clone"};

static bool parse(char *text, PgqJournal *journal);
static bool parse_phase(const char *name, PgqRewindPhase *phase);
static pg_crc32c checksum(const char *text, size_t length);

const char *
pgq_journal_phase_name(PgqRewindPhase phase)
{
	return phase_names[phase];
}

bool
pgq_journal_read(PgqJournal *journal)
{
	char		text[JOURNAL_SIZE];
	int			fd = BasicOpenFile(JOURNAL_FILE, O_RDONLY | PG_BINARY);
	ssize_t		length;

	memset(journal, 0, sizeof(*journal));
	if (fd < 0)
		return errno == ENOENT;
	length = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (length < 0)
		return false;
	text[length] = '\0';
	return parse(text, journal);
}

bool
pgq_journal_write(const PgqJournal *journal)
{
	char		text[JOURNAL_SIZE];
	int			length;
	int			fd;
	bool		written;

	if (mkdir(PGQ_REWIND_DIR, pg_dir_create_mode) == 0)
		(void) fsync_fname_ext("pg_quorum", true, false, LOG);
	length = snprintf(text, sizeof(text),
					  JOURNAL_TITLE "\n"
					  "phase %s\nterm %u\nsource %u %s %s %u\nattempts %d\nasked " INT64_FORMAT "\n"
					  "end %u %X/%X\nfork %u %X/%X\n%sreason %s\n",
					  phase_names[journal->phase], journal->term,
					  journal->source, journal->source_name, journal->source_host,
					  journal->source_port, journal->attempts, journal->asked_at,
					  journal->end.tli, LSN_FORMAT_ARGS(journal->end.lsn),
					  journal->fork.tli, LSN_FORMAT_ARGS(journal->fork.lsn),
					  journal->cloned ? CLONED_LINE : "", journal->reason);
	length += snprintf(text + length, sizeof(text) - length, "checksum %08X\n",
					   checksum(text, length));

	(void) unlink(JOURNAL_TEMP);
	fd = BasicOpenFile(JOURNAL_TEMP, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY);
	if (fd >= 0)
		errno = ENOSPC;			/* what a short write means */
	written = fd >= 0 && write(fd, text, length) == length && pg_fsync(fd) == 0;
	if (fd >= 0 && close(fd) != 0)
		written = false;
	if (!written)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", JOURNAL_TEMP)));
		return false;
	}
	return durable_rename(JOURNAL_TEMP, JOURNAL_FILE, LOG) == 0;
}

void
pgq_journal_remove(void)
{
	(void) unlink(JOURNAL_TEMP);
	if (unlink(JOURNAL_FILE) != 0 && errno != ENOENT)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not remove file \"%s\": %m", JOURNAL_FILE)));
	(void) rmdir(PGQ_REWIND_DIR);
	(void) fsync_fname_ext("pg_quorum", true, false, LOG);
}

static bool
parse(char *text, PgqJournal *journal)
{
	char		phase[32];
	unsigned int source_port;
	unsigned int end_hi,
				end_lo,
				fork_hi,
				fork_lo;
	unsigned int crc;
	int			used = 0;
	char	   *rest;
	char	   *line;

	line = strstr(text, "\nchecksum ");
	if (line == NULL || sscanf(line + 1, "checksum %8X", &crc) != 1 ||
		checksum(text, line + 1 - text) != (pg_crc32c) crc)
		return false;
	*line = '\0';

	StaticAssertStmt(QUORUM_NAME_SIZE == 64 && QUORUM_HOST_SIZE == 128, "widths below");
	if (sscanf(text,
			   JOURNAL_TITLE "\n"
			   "phase %31s term %u source %u %63s %127s %u attempts %d asked " INT64_FORMAT
			   " end %u %X/%X fork %u %X/%X %n",
			   phase, &journal->term, &journal->source, journal->source_name,
			   journal->source_host, &source_port, &journal->attempts, &journal->asked_at,
			   &journal->end.tli, &end_hi, &end_lo, &journal->fork.tli, &fork_hi, &fork_lo,
			   &used) != 14 || used == 0)
		return false;
	journal->source_port = (uint16) source_port;
	journal->end.lsn = ((uint64) end_hi << 32) | end_lo;
	journal->fork.lsn = ((uint64) fork_hi << 32) | fork_lo;
	rest = text + used;
	journal->cloned = strncmp(rest, CLONED_LINE, strlen(CLONED_LINE)) == 0;
	if (journal->cloned)
		rest += strlen(CLONED_LINE);
	if (strncmp(rest, "reason", 6) != 0)
		return false;
	rest += 6;
	strlcpy(journal->reason, *rest == ' ' ? rest + 1 : rest, sizeof(journal->reason));
	return parse_phase(phase, &journal->phase);
}

static bool
parse_phase(const char *name, PgqRewindPhase *phase)
{
	for (int i = PGQ_REWIND_FAILED; i < (int) lengthof(phase_names); i++)
	{
		if (strcmp(name, phase_names[i]) == 0)
		{
			*phase = (PgqRewindPhase) i;
			return true;
		}
	}
	return false;
}

static pg_crc32c
checksum(const char *text, size_t length)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, text, length);
	FIN_CRC32C(crc);
	return crc;
}
