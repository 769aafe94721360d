/*
 * fuzz_journal.c
 *	  Fuzz target: the journal of a rewind (src/pg/journal.c).
 *
 * The input is the journal without its last line, the check sum, which is put behind it.
 */
#include "server.h"

#include <fcntl.h>

#include "../../src/pg/journal.c"

static void
write_journal(const char *text)
{
	static bool made = false;

	if (!made)
	{
		fuzz_enter_directory();
		fuzz_require(mkdir("pg_quorum", 0700) == 0);
		fuzz_require(mkdir(PGQ_REWIND_DIR, 0700) == 0);
	}
	made = true;
	fuzz_write_file(JOURNAL_FILE, text, strlen(text));
}

static bool
is_one_word(const char *text, size_t size)
{
	size_t		length = strnlen(text, size);

	fuzz_require(length < size);
	return length > 0 && strcspn(text, " \t\n\r\f\v") == length;
}

/* What was understood is what will be understood of what is written about it. */
static void
check_journal(const PgqJournal *journal)
{
	PgqJournal *again = malloc(sizeof(PgqJournal));

	fuzz_require(journal->phase >= PGQ_REWIND_FAILED && journal->phase <= PGQ_REWIND_NEEDS_CLONE);
	fuzz_require(is_one_word(journal->source_name, sizeof(journal->source_name)));
	fuzz_require(is_one_word(journal->source_host, sizeof(journal->source_host)));
	fuzz_require(strnlen(journal->reason, QUORUM_REASON_SIZE) < QUORUM_REASON_SIZE);
	fuzz_require(pgq_journal_write(journal));
	fuzz_require(pgq_journal_read(again));
	fuzz_require(again->phase == journal->phase);
	fuzz_require(again->term == journal->term);
	fuzz_require(again->source == journal->source);
	fuzz_require(strcmp(again->source_name, journal->source_name) == 0);
	fuzz_require(strcmp(again->source_host, journal->source_host) == 0);
	fuzz_require(again->source_port == journal->source_port);
	fuzz_require(again->attempts == journal->attempts);
	fuzz_require(again->asked_at == journal->asked_at);
	fuzz_require(again->end.tli == journal->end.tli && again->end.lsn == journal->end.lsn);
	fuzz_require(again->fork.tli == journal->fork.tli && again->fork.lsn == journal->fork.lsn);
	fuzz_require(again->cloned == journal->cloned);
	fuzz_require(strcmp(again->reason, journal->reason) == 0);
	free(again);
}

bool
fuzz_one(const uint8_t *bytes, size_t size)
{
	static PgqJournal journal;
	static char text[FUZZ_INPUT_MAX + 64];
	bool		taken;

	memcpy(text, bytes, size);
	text[size] = '\0';
	write_journal(text);
	(void) pgq_journal_read(&journal);

	size = strlen(text);
	snprintf(text + size, 64, "checksum %08X\n", checksum(text, size));
	write_journal(text);
	taken = pgq_journal_read(&journal);
	if (taken)
		check_journal(&journal);
	return taken;
}

size_t
fuzz_seed(int number, uint8_t *bytes)
{
	static char text[JOURNAL_SIZE];
	PgqJournal	journal = {0};
	int			fd;
	ssize_t		size;

	if (number >= (int) lengthof(phase_names) - 1)
		return 0;
	write_journal("");
	fuzz_dice((uint64_t) number);
	journal.phase = (PgqRewindPhase) (number + 1);
	journal.term = (QuorumTerm) fuzz_some(0, UINT32_MAX);
	journal.source = 3;
	memset(journal.source_name, 'n', number == 1 ? sizeof(journal.source_name) - 1 : 3);
	memset(journal.source_host, 'h', number == 1 ? sizeof(journal.source_host) - 1 : 9);
	journal.source_port = 5432;
	journal.attempts = 2;
	journal.asked_at = (int64) fuzz_some(0, INT64_MAX);
	journal.end = (QuorumWalPos) {4, fuzz_some(0, UINT64_MAX)};
	journal.fork = (QuorumWalPos) {3, fuzz_some(0, UINT64_MAX)};
	journal.cloned = number % 2 == 0;
	memset(journal.reason, 'r', number == 1 ? sizeof(journal.reason) - 1 : (size_t) number);
	fuzz_require(pgq_journal_write(&journal));
	fd = open(JOURNAL_FILE, O_RDONLY);
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	fuzz_require(size > 0);
	text[size] = '\0';
	size = strstr(text, "checksum ") - text;
	memcpy(bytes, text, (size_t) size);
	return (size_t) size;
}

size_t
fuzz_refused(int number, uint8_t *bytes)
{
	(void) number;
	(void) bytes;
	return 0;
}
