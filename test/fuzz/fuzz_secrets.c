/*
 * fuzz_secrets.c
 *	  Fuzz target: the file of secrets (src/net/transport_frame.c, pgq_secrets_load()).
 */
#include "transport_frame.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

static void
write_secrets(const void *bytes, size_t size)
{
	static int	fd = -1;

	if (fd < 0)
	{
		fuzz_enter_directory();
		fd = open("secret", O_RDWR | O_CREAT, 0600);
	}
	fuzz_require(fd >= 0);
	fuzz_require(pwrite(fd, bytes, size, 0) == (ssize_t) size);
	fuzz_require(ftruncate(fd, (off_t) size) == 0);
}

static bool
load(PgqSecrets *secrets)
{
	PgqReport	why;
	bool		good;

	memset(&why, 0, sizeof(why));
	good = pgq_secrets_load("secret", secrets, &why);
	fuzz_require(good || (why.message[0] != '\0' && why.hint[0] != '\0'));
	return good;
}

/* One line for each, as somebody would write them. */
static void
check_round_trip(const PgqSecrets *secrets)
{
	static PgqSecrets again;
	static char text[PGQ_SECRETS * (PGQ_SECRET_MAX + 1)];
	size_t		used = 0;

	for (int i = 0; i < secrets->count; i++)
	{
		memcpy(text + used, secrets->item[i].bytes, secrets->item[i].size);
		used += secrets->item[i].size;
		text[used++] = '\n';
	}
	write_secrets(text, used);
	fuzz_require(load(&again));
	fuzz_require(memcmp(&again, secrets, sizeof(again)) == 0);
}

bool
fuzz_one(const uint8_t *bytes, size_t size)
{
	PgqSecrets *secrets = malloc(sizeof(PgqSecrets));
	bool		good;

	write_secrets(bytes, size);
	good = load(secrets);
	if (good)
	{
		fuzz_require(secrets->count >= 1 && secrets->count <= PGQ_SECRETS);
		for (int i = 0; i < secrets->count; i++)
		{
			fuzz_require(secrets->item[i].size >= PGQ_SECRET_MIN);
			fuzz_require(secrets->item[i].size <= PGQ_SECRET_MAX);
			fuzz_require(memchr(secrets->item[i].bytes, '\n', secrets->item[i].size) == NULL);
		}
		check_round_trip(secrets);
	}
	free(secrets);
	return good;
}

size_t
fuzz_seed(int number, uint8_t *bytes)
{
	static const size_t sizes[][2] = {{16, 0}, {64, 0}, {1024, 0}, {16, 16}, {1024, 1024}};
	size_t		used = 0;

	if (number >= (int) lengthof(sizes))
		return 0;
	for (int i = 0; i < PGQ_SECRETS && sizes[number][i] > 0; i++)
	{
		memset(bytes + used, 'a' + i, sizes[number][i]);
		used += sizes[number][i];
		memcpy(bytes + used, " \r\n", 3);
		used += 3;
	}
	return used;
}

size_t
fuzz_refused(int number, uint8_t *bytes)
{
	(void) number;
	(void) bytes;
	return 0;
}
