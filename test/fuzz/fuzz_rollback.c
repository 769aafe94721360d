/*
 * fuzz_rollback.c
 *	  Fuzz target: the list of what a rewind took out, from what pg_waldump says, and back
 *	  into rows (src/pg/rollback_list.c, rollback.c, sqlrollback.c).
 */
#include "server.h"

#include "../../src/pg/timeline.c"
#include "../../src/pg/rollback_list.c"
#include "../../src/pg/rollback.c"
#include "../../src/pg/sqlrollback.c"

#define DIRECTORY	"pgsql_tmp.rollback"

int			pgq_rollback_keep_age;
int			pgq_rollback_keep_size;

static RollbackList list;
static PgqRollback rollback;
static char *listed;
static size_t listed_size;

static void
begin(void)
{
	memset(&list, 0, offsetof(RollbackList, tallies));
	memset(&rollback, 0, sizeof(rollback));
	list.rollback = &rollback;
	list.file = open_memstream(&listed, &listed_size);
	fuzz_require(list.file != NULL);
}

/* As program.c gives them: without their ends. */
static void
note_lines(char *text)
{
	char	   *line;

	while ((line = strsep(&text, "\n")) != NULL)
		note_record(line, &list);
	tell_rest(&list);
	fclose(list.file);
}

/* Each line that was written is one transaction, which can be read again. */
static int
check_list(void)
{
	char	   *rest = listed;
	char	   *line;
	int			count = 0;

	while ((line = strsep(&rest, "\n")) != NULL && rest != NULL)
	{
		ListedTransaction transaction = {0};
		char	   *relations;
		unsigned int n[6];

		fuzz_require(parse_transaction(line, &transaction, &relations));
		fuzz_require(transaction.fate != NULL);
		fuzz_require(relations[0] == '\0' ||
					 sscanf(relations, " %u/%u/%u:%u/%u/%u", &n[0], &n[1], &n[2], &n[3], &n[4],
							&n[5]) == 6);
		count++;
	}
	fuzz_require(count == list.lines);
	return count;
}

static void
check_about(void)
{
	static PgqRollback again;
	PgqJournal	journal = {.term = 5,.fork = {3, 0x1000},.end = {4, 0x2000},.asked_at = 7};
	FILE	   *file;

	strlcpy(journal.source_name, "n2", sizeof(journal.source_name));
	fuzz_enter_directory();
	write_about(&journal, ".", &rollback);
	file = fopen("about", "r");
	fuzz_require(file != NULL);
	memset(&again, 0, sizeof(again));
	fuzz_require(read_about(file, &again));
	fclose(file);
	fuzz_require(again.fork.lsn == 0x1000 && again.end.tli == 4 && again.term == 5);
	fuzz_require(again.commits == rollback.commits);
	fuzz_require(again.relation_count == rollback.relation_count);
	fuzz_require(memcmp(again.relations, rollback.relations, sizeof(again.relations)) == 0);
}

/* The input as "about", and as a list, whatever it is. */
static void
read_as_files(const uint8 *bytes, size_t size)
{
	static PgqRollback other;
	static char text[FUZZ_INPUT_MAX + 1];
	ListedTransaction transaction = {0};
	char	   *relations;
	FILE	   *file = fmemopen(unconstify(uint8 *, bytes), size, "r");

	memset(&other, 0, sizeof(other));
	fuzz_require(file != NULL);
	(void) read_about(file, &other);
	fclose(file);
	fuzz_require(other.relation_count <= PGQ_ROLLBACK_RELATIONS);
	fuzz_require(memchr(other.source, '\0', sizeof(other.source)) != NULL);
	memcpy(text, bytes, size);
	text[size] = '\0';
	(void) parse_transaction(text, &transaction, &relations);
}

bool
fuzz_one(const uint8_t *bytes, size_t size)
{
	char	   *text;
	int			count;

	if (size == 0)
		return false;
	read_as_files(bytes, size);
	text = malloc(size + 1);
	memcpy(text, bytes, size);
	text[size] = '\0';
	begin();
	note_lines(text);
	free(text);
	fuzz_require(list.count == 0 || list.lines == LINES_MAX);
	fuzz_require(rollback.relation_count <= PGQ_ROLLBACK_RELATIONS);
	fuzz_require(rollback.commits <= list.lines);
	count = check_list();
	free(listed);
	if (count > 0)
		check_about();
	return count > 0;
}

#define RECORD(manager, xid, description) \
	"rmgr: " manager " len (rec/tot): 59/59, tx: " xid ", lsn: 0/030001A8, prev 0/03000170, desc: " \
	description "\n"

size_t
fuzz_seed(int number, uint8_t *bytes)
{
	static const char *const texts[] = {
		RECORD("Heap       ", "735", "INSERT off 1 flags 0x00, blkref #0: rel 1663/5/16384 blk 0")
		RECORD("Heap       ", "735", "HOT_UPDATE off 1 xmax 735, blkref #0: rel 1663/5/16384 blk 0")
		RECORD("Transaction", "735", "COMMIT 2026-11-21 04:36:33.123456 UTC; inval msgs: x"),
		RECORD("Heap2      ", "736", "MULTI_INSERT 61 tuples flags 0x02, blkref #0: rel 1663/5/16385 blk 0")
		RECORD("Heap       ", "737", "DELETE off 1 flags 0x00, blkref #0: rel 1663/5/16385 blk 0")
		RECORD("Transaction", "736", "COMMIT 2026-11-21 04:36:33.1 UTC; subxacts: 737 738; sync"),
		RECORD("Heap2      ", "740", "MULTI_INSERT ntuples: 3, blkref #0: rel 1663/5/16385 blk 0")
		"pg_waldump: error: out of memory\n",
		RECORD("Transaction", "741", "PREPARE gid 'x': 2026-11-21 04:36:33.1 UTC")
		RECORD("Transaction", "742", "ABORT 2026-11-21 04:36:33.1 UTC"),
		RECORD("Transaction", "743", "PREPARE gid a\tb: 2026-11-21 04:36:33.1 UTC"),
		"rmgr: Transaction len (rec/tot): 1/1, tx: 1, lsn: 0/0123456789ABCDEF0123456789ABCDEF012345,"
		" prev 0/1, desc: COMMIT 2026-11-21 04:36:33.1 UTC\n"
	};

	if (number >= (int) lengthof(texts))
		return 0;
	memcpy(bytes, texts[number], strlen(texts[number]));
	return strlen(texts[number]);
}

size_t
fuzz_refused(int number, uint8_t *bytes)
{
	(void) number;
	(void) bytes;
	return 0;
}
