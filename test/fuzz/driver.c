/*
 * driver.c
 *	  Feeds a fuzz target: with seeds and random mutations of them, or for libFuzzer.
 *
 *	fuzz_<name> [--runs N] [--seed S]		seeds, then N mutations of them
 *	fuzz_<name> --seed S --only N			mutation N of that seed, alone
 *	fuzz_<name> --write DIRECTORY			write the seeds, one file each
 *	fuzz_<name> FILE...						these inputs: what libFuzzer has found
 *
 * Exit: 0 nothing was found, 1 wrong usage, anything else: found.  What is found is told by
 * the sanitizer or by fuzz_failed(), then how to repeat it.
 */
#include "fuzz.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SEEDS_MAX		256
#define INPUT_SECONDS	10		/* no input takes longer, sanitized and on a busy machine */

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t dice;
static char directory[64];
static char home[4096];

/* ---- for targets ------------------------------------------------------------ */

void
fuzz_failed(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
	abort();
}

/* The assertions of the core. */
extern _Noreturn void quorum_assert_failed(const char *condition, const char *file, int line);

_Noreturn void
quorum_assert_failed(const char *condition, const char *file, int line)
{
	fuzz_failed(condition, file, line);
}

void
fuzz_dice(uint64_t seed)
{
	dice = seed;
}

/* splitmix64 */
static uint64_t
roll(void)
{
	uint64_t	z = (dice += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t
fuzz_some(uint64_t low, uint64_t high)
{
	return high - low == UINT64_MAX ? roll() : low + roll() % (high - low + 1);
}

static int
remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
	(void) status;
	(void) type;
	(void) where;
	return remove(path);
}

static void
leave_directory(void)
{
	if (directory[0] != '\0')
		(void) nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

void
fuzz_enter_directory(void)
{
	if (directory[0] != '\0')
		return;
	if (getcwd(home, sizeof(home)) == NULL)
		home[0] = '\0';
	snprintf(directory, sizeof(directory), "%s/fuzz.XXXXXX",
			 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(directory) == NULL || chdir(directory) != 0)
	{
		perror(directory);
		_exit(1);
	}
	atexit(leave_directory);
}

void
fuzz_write_file(const char *path, const void *bytes, size_t size)
{
	FILE	   *file = fopen(path, "w");

	if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
	{
		perror(path);
		abort();
	}
}

/* ---- libFuzzer -------------------------------------------------------------- */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size <= FUZZ_INPUT_MAX)
		(void) fuzz_one(data, size);
	return 0;
}

#ifndef FUZZ_LIBFUZZER

/* ---- one input -------------------------------------------------------------- */

static char repeat[256];		/* what to say when something is found */

static void
tell_repeat(void)
{
	if (write(STDERR_FILENO, repeat, strlen(repeat)) < 0)
		return;
}

static void
on_signal(int number)
{
	if (number == SIGALRM)
	{
		static const char text[] = "an input takes too long\n";

		if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
			_exit(3);
	}
	tell_repeat();
	leave_directory();
	_exit(number == SIGALRM ? 3 : 2);
}

/* Of the sanitizers, when they are there: called before they end the program. */
extern void __sanitizer_set_death_callback(void (*callback) (void)) __attribute__((weak));

static void
on_death(void)
{
	tell_repeat();
	leave_directory();
}

/* In memory of its own, so that a look behind its end is found. */
static bool
run_one(const uint8_t *bytes, size_t size)
{
	uint8_t    *copy = malloc(size > 0 ? size : 1);
	bool		taken;

	if (copy == NULL)
		abort();
	memcpy(copy, bytes, size);
	alarm(INPUT_SECONDS);
	taken = fuzz_one(size > 0 ? copy : copy + 1, size);
	alarm(0);
	free(copy);
	return taken;
}

/* ---- mutations -------------------------------------------------------------- */

static uint8_t seeds[SEEDS_MAX][FUZZ_INPUT_MAX];
static size_t sizes[SEEDS_MAX];
static int	seed_count;

static void
make_seeds(void)
{
	while (seed_count < SEEDS_MAX)
	{
		size_t		size = fuzz_seed(seed_count, seeds[seed_count]);

		if (size == 0)
			break;
		fuzz_require(size <= FUZZ_INPUT_MAX);
		sizes[seed_count++] = size;
	}
	fuzz_require(seed_count > 0 && seed_count < SEEDS_MAX);
}

static const uint64_t odd_values[] = {
	0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000,
	0xffffffff, UINT64_C(0x7fffffffffffffff), UINT64_C(0x8000000000000000), UINT64_MAX
};
static const char odd_characters[] = " \t\n\r='\"\\#:,;/.-[](){}%@$0123456789abcxyzABCXYZ";

/* A length that is small more often than not. */
static size_t
some_length(size_t most)
{
	size_t		bound = fuzz_some(0, 3) == 0 ? most : most < 16 ? most : 16;

	return bound == 0 ? 0 : fuzz_some(1, bound);
}

static size_t
cut(uint8_t *bytes, size_t size)
{
	size_t		length = some_length(size);
	size_t		at = fuzz_some(0, size - length);

	memmove(bytes + at, bytes + at + length, size - at - length);
	return size - length;
}

/* Some bytes of a seed, or of the input itself, again; in between or over what is there. */
static size_t
paste(uint8_t *bytes, size_t size, bool insert)
{
	int			from = (int) fuzz_some(0, (uint64_t) seed_count - 1);
	uint8_t		piece[FUZZ_INPUT_MAX];
	size_t		length = some_length(sizes[from]);
	size_t		at = fuzz_some(0, size);

	memcpy(piece, seeds[from] + fuzz_some(0, sizes[from] - length), length);
	if (insert)
	{
		if (length > FUZZ_INPUT_MAX - size)
			length = FUZZ_INPUT_MAX - size;
		memmove(bytes + at + length, bytes + at, size - at);
		size += length;
	}
	else if (length > size - at)
		length = size - at;
	memcpy(bytes + at, piece, length);
	return size;
}

static void
put_odd_value(uint8_t *bytes, size_t size)
{
	uint64_t	value = odd_values[fuzz_some(0, sizeof(odd_values) / sizeof(odd_values[0]) - 1)];
	size_t		width = (size_t) 1 << fuzz_some(0, 3);
	size_t		at = fuzz_some(0, size - 1);

	for (size_t i = 0; i < width && at + i < size; i++)
		bytes[at + i] = (uint8_t) (value >> (8 * i));
}

static size_t
mutate(uint8_t *bytes, size_t size)
{
	switch (size == 0 ? 5 : (int) fuzz_some(0, 7))
	{
		case 0:
			bytes[fuzz_some(0, size - 1)] ^= (uint8_t) (1 << fuzz_some(0, 7));
			return size;
		case 1:
			bytes[fuzz_some(0, size - 1)] = (uint8_t) fuzz_some(0, 255);
			return size;
		case 2:
			bytes[fuzz_some(0, size - 1)] =
				(uint8_t) odd_characters[fuzz_some(0, sizeof(odd_characters) - 2)];
			return size;
		case 3:
			put_odd_value(bytes, size);
			return size;
		case 4:
			bytes[fuzz_some(0, size - 1)] += (uint8_t) fuzz_some(1, 2) * 2 - 3;
			return size;
		case 5:
			return paste(bytes, size, true);
		case 6:
			return paste(bytes, size, false);
		default:
			return cut(bytes, size);
	}
}

/* Mutation `number` of this run: the same bytes whatever ran before. */
static bool
run_mutation(uint64_t seed, long number)
{
	static uint8_t bytes[FUZZ_INPUT_MAX];
	int			from;
	size_t		size;

	fuzz_dice(seed * UINT64_C(0x100000001b3) + (uint64_t) number);
	from = (int) fuzz_some(0, (uint64_t) seed_count - 1);
	size = sizes[from];
	memcpy(bytes, seeds[from], size);
	for (uint64_t times = fuzz_some(1, 6); times > 0; times--)
		size = mutate(bytes, size);
	return run_one(bytes, size);
}

/* ---- main ------------------------------------------------------------------- */

static int
run_file(const char *path)
{
	static uint8_t bytes[FUZZ_INPUT_MAX];
	FILE	   *file = fopen(path, "r");
	size_t		size;

	if (file == NULL)
	{
		perror(path);
		return 1;
	}
	size = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	snprintf(repeat, sizeof(repeat), "input: %s\n", path);
	printf("%s: %s\n", path, run_one(bytes, size) ? "valid" : "refused");
	return 0;
}

static void
write_seeds(const char *path)
{
	char		name[4096];

	(void) mkdir(path, 0777);
	for (int i = 0; i < seed_count; i++)
	{
		snprintf(name, sizeof(name), "%s/seed-%03d", path, i);
		fuzz_write_file(name, seeds[i], sizes[i]);
	}
}

static int
usage(const char *program)
{
	fprintf(stderr, "usage: %s [--runs N] [--seed S] [--only N] | --write DIRECTORY | FILE...\n",
			program);
	return 1;
}

static void
run_all(const char *program, uint64_t seed, long runs, long only)
{
	struct timespec begin;
	struct timespec end;
	static uint8_t bytes[FUZZ_INPUT_MAX];
	size_t		size;
	long		taken = 0;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (int i = 0; i < seed_count; i++)
	{
		snprintf(repeat, sizeof(repeat), "input: seed %d of this target, as it is\n", i);
		fuzz_require(run_one(seeds[i], sizes[i]));
	}
	for (int i = 0; (size = fuzz_refused(i, bytes)) > 0; i++)
	{
		snprintf(repeat, sizeof(repeat), "input: what has to be refused, number %d\n", i);
		fuzz_require(!run_one(bytes, size));
	}
	for (long i = only >= 0 ? only : 0; i < (only >= 0 ? only + 1 : runs); i++)
	{
		snprintf(repeat, sizeof(repeat), "repeat: %s --seed %llu --only %ld\n", program,
				 (unsigned long long) seed, i);
		taken += run_mutation(seed, i);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%s: %d seeds, %ld mutations of seed %llu, %ld of them valid, %.1f s\n",
		   strrchr(program, '/') != NULL ? strrchr(program, '/') + 1 : program, seed_count,
		   only >= 0 ? 1 : runs, (unsigned long long) seed, taken,
		   (double) (end.tv_sec - begin.tv_sec) + (double) (end.tv_nsec - begin.tv_nsec) / 1e9);
}

int
main(int argc, char **argv)
{
	uint64_t	seed = (uint64_t) time(NULL);
	long		runs = 100000;
	long		only = -1;

	signal(SIGALRM, on_signal);
	signal(SIGABRT, on_signal);
	if (__sanitizer_set_death_callback != NULL)
		__sanitizer_set_death_callback(on_death);
	if (argc > 1 && argv[1][0] != '-')
	{
		for (int i = 1; i < argc; i++)
			if (run_file(argv[i]) != 0)
				return 1;
		return 0;
	}
	make_seeds();
	for (int i = 1; i < argc; i += 2)
	{
		if (i + 1 == argc)
			return usage(argv[0]);
		if (strcmp(argv[i], "--runs") == 0)
			runs = atol(argv[i + 1]);
		else if (strcmp(argv[i], "--seed") == 0)
			seed = strtoull(argv[i + 1], NULL, 0);
		else if (strcmp(argv[i], "--only") == 0)
			only = atol(argv[i + 1]);
		else if (strcmp(argv[i], "--write") == 0)
		{
			if (directory[0] != '\0' && home[0] != '\0' && chdir(home) != 0)
				return 1;
			write_seeds(argv[i + 1]);
			return 0;
		}
		else
			return usage(argv[0]);
	}
	run_all(argv[0], seed, runs, only);
	return 0;
}

#endif							/* FUZZ_LIBFUZZER */
