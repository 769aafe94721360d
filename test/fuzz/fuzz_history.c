/*
 * fuzz_history.c
 *	  Fuzz target: histories of timelines (src/pg/timeline.c), which come from other nodes,
 *	  and the lines of quorum.history (src/pg/history.c).
 *
 * The first two bytes are the timeline, the others the text of its file.
 */
#include "server.h"

#include "../../src/pg/timeline.c"
#define trim trim_history
#include "../../src/pg/history.c"

/* The parts are the log, from its beginning, each behind the one before. */
static void
check_history(const PgqHistory *history, TimeLineID tli)
{
	fuzz_require(history->count > 0 && history->count <= history->room);
	for (int i = 0; i < history->count; i++)
	{
		const PgqTimelinePart *part = &history->parts[i];

		fuzz_require(part->tli != 0);
		fuzz_require(part->begin == (i > 0 ? history->parts[i - 1].end : InvalidXLogRecPtr));
		fuzz_require(i == 0 || part->tli > history->parts[i - 1].tli);
		if (i + 1 < history->count)
			fuzz_require(part->end != InvalidXLogRecPtr && part->end >= part->begin);
	}
	fuzz_require(history->parts[history->count - 1].tli == tli);
	fuzz_require(history->parts[history->count - 1].end == InvalidXLogRecPtr);
}

static void
check_questions(const PgqHistory *history, TimeLineID tli)
{
	for (int i = 0; i < history->count && i < 16; i++)
	{
		XLogRecPtr	end = history->parts[i].end;

		fuzz_require(pgq_history_has(history, history->parts[i].tli));
		fuzz_require(pgq_history_contains(history, history->parts[i].tli, end));
		if (end != InvalidXLogRecPtr && end < PG_UINT64_MAX)
		{
			fuzz_require(!pgq_history_contains(history, history->parts[i].tli, end + 1));
			fuzz_require(pgq_history_timeline_of(history, end + 1) > history->parts[i].tli);
		}
	}
	if (history->parts[history->count - 1].begin < PG_UINT64_MAX)
		fuzz_require(pgq_history_timeline_of(history, PG_UINT64_MAX) == tli);
}

/* The file that the server would write about the same history. */
static void
check_round_trip(const PgqHistory *history, TimeLineID tli)
{
	static PgqHistory again;
	static char text[FUZZ_INPUT_MAX * 4];
	size_t		used = 0;

	for (int i = 0; i + 1 < history->count; i++)
		used += snprintf(text + used, sizeof(text) - used, "%s%u\t%X/%X\tno recovery target\n",
						 i > 0 ? "\n" : "", history->parts[i].tli,
						 LSN_FORMAT_ARGS(history->parts[i].end));
	fuzz_require(used < sizeof(text));
	fuzz_require(pgq_history_parse(&again, tli, text, used));
	fuzz_require(again.count == history->count);
	fuzz_require(memcmp(again.parts, history->parts,
						sizeof(PgqTimelinePart) * history->count) == 0);
}

static void
check_event(const uint8 *bytes, size_t size)
{
	static char line[LINE_SIZE];
	PgqHistoryEntry *entry = malloc(sizeof(PgqHistoryEntry));

	size = Min(size, sizeof(line) - 1);
	memcpy(line, bytes, size);
	line[size] = '\0';
	if (parse_line(line, entry))
	{
		fuzz_require(memchr(entry->event, '\0', sizeof(entry->event)) != NULL);
		fuzz_require(memchr(entry->node, '\0', sizeof(entry->node)) != NULL);
		fuzz_require(memchr(entry->detail, '\0', sizeof(entry->detail)) != NULL);
	}
	free(entry);
}

bool
fuzz_one(const uint8_t *bytes, size_t size)
{
	static PgqHistory history;
	TimeLineID	tli;

	if (size < 2)
		return false;
	check_event(bytes, size);
	tli = (TimeLineID) (bytes[0] | bytes[1] << 8) + 1;
	if (!pgq_history_parse(&history, tli, (const char *) bytes + 2, size - 2))
	{
		fuzz_require(history.count == 0);
		return false;
	}
	check_history(&history, tli);
	check_questions(&history, tli);
	check_round_trip(&history, tli);
	return true;
}

size_t
fuzz_seed(int number, uint8_t *bytes)
{
	static const char *const texts[] = {
		"",
		"# no leader in this term\n",
		"1\t0/3000148\tno recovery target specified\n",
		"1\t0/3000148\tone\n\n2\t0/4000000\ttwo\n\n# comment\n5\t1/A0\tthree\n",
		"2021-11-21T04:36:33.123456Z\tleads\t7\tn1\telected by 2 of 3\t12.5\n#"
	};

	if (number == (int) lengthof(texts) - 1)
	{
		/* a reason longer than a line has room for */
		memcpy(bytes, "\11\0001\t0/3000148\t", 14);
		memset(bytes + 14, 'r', 300);
		return 14 + 300;
	}
	if (number >= (int) lengthof(texts))
		return 0;
	bytes[0] = 9;
	bytes[1] = 0;
	memcpy(bytes + 2, texts[number], strlen(texts[number]));
	return 2 + strlen(texts[number]);
}

size_t
fuzz_refused(int number, uint8_t *bytes)
{
	static const char *const texts[] = {
		"9 0/1 its own parent\n", "0 0/1 timeline 0\n", "2 0/2\n2 0/3\n", "2 0/2\n1 0/3\n",
		"1 0/3\n2 0/2\n", "1 0\n", "one\n", "1 0/0 no part at all\n",
		"2021-11-21T04:36:33.123456Z\tleads\t7\tn1\telected by 2 of 3\t12.5\n"
	};

	if (number >= (int) lengthof(texts))
		return 0;
	bytes[0] = 8;
	bytes[1] = 0;
	memcpy(bytes + 2, texts[number], strlen(texts[number]));
	return 2 + strlen(texts[number]);
}
