/*
 * fuzz_state.c
 *	  Fuzz target: the state file (src/net/state.c, quorum_hard_state_decode()).
 *
 * The input is the file without its check sum, which is put behind it: else nothing would
 * get further.  The instance that it is bound to is made up, so that no file is needed.
 */
#include "host.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "samples.h"

static int	fake_statx(int fd, const char *path, int flags, unsigned int mask, struct statx *stx);
static char *fake_getcwd(char *path, size_t size);
static int	fake_access(const char *path, int mode);

#define statx(fd, path, flags, mask, stx) fake_statx(fd, path, flags, mask, stx)
#define getcwd(path, size) fake_getcwd(path, size)
#define access(path, mode) fake_access(path, mode)

#include "../../src/net/state.c"

static const uint8 *file;		/* what pg_quorum/state holds */
static size_t file_size;
static uint64 system_identifier;

static int
fake_statx(int fd, const char *path, int flags, unsigned int mask, struct statx *stx)
{
	(void) fd;
	(void) flags;
	memset(stx, 0, sizeof(*stx));
	stx->stx_ino = 100 + strlen(path);
	stx->stx_mask = mask;
	stx->stx_btime.tv_sec = 1;
	return 0;
}

static char *
fake_getcwd(char *path, size_t size)
{
	strlcpy(path, "/data", size);
	return path;
}

static int
fake_access(const char *path, int mode)
{
	(void) path;
	(void) mode;
	return 0;
}

int
pgq_host_open(const char *path, int flags)
{
	int			fd;

	(void) flags;
	if (strcmp(path, STATE_FILE) != 0)
		return -1;
	fd = memfd_create("state", 0);
	fuzz_require(fd >= 0);
	fuzz_require(write(fd, file, file_size) == (ssize_t) file_size);
	fuzz_require(lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

uint64
pgq_host_system_identifier(void)
{
	return system_identifier;
}

/* The state is what the envelope holds, and would be written as it was read. */
static void
check_state(const QuorumHardState *hard)
{
	static Binding binding;
	static uint8 again[STATE_BYTES_MAX];
	char		why[QUORUM_REASON_SIZE];
	Cursor		payload;
	size_t		size;

	check_set(&hard->members);
	fuzz_require(hard->node_id != QUORUM_NO_NODE);
	fuzz_require(hard->promise_us >= 0);
	fuzz_require(open_envelope(file, file_size, &binding, &payload, why));
	fuzz_require(strcmp(binding.path, "/data") == 0);
	size = seal_envelope(again, &binding, hard);
	fuzz_require(size > 0);
	if (payload.bytes[1] == QUORUM_FORMAT_MINOR)
		fuzz_require(size == file_size && memcmp(again, file, size) == 0);
}

/* As the server reads it.  `why` is as long as it has to be and no longer. */
static PgqMembership
read_state(void)
{
	static QuorumHardState hard;
	static const QuorumHardState none;
	char	   *why = malloc(QUORUM_REASON_SIZE);
	PgqMembership membership = pgq_state_read(&hard, why);

	fuzz_require(memchr(why, '\0', QUORUM_REASON_SIZE) != NULL);
	if (membership == PGQ_MEMBER)
		check_state(&hard);
	else
	{
		fuzz_require(why[0] != '\0');
		fuzz_require(memcmp(&hard, &none, sizeof(hard)) == 0 ||
					 membership == PGQ_STATE_UNREADABLE);
	}
	free(why);
	return membership;
}

bool
fuzz_one(const uint8_t *bytes, size_t size)
{
	PgqMembership membership;
	uint8	   *whole = malloc(size + 4);
	pg_crc32c	crc;

	/* damaged, but for one case in 2^32 */
	file = bytes;
	file_size = size;
	system_identifier = 0;
	(void) read_state();

	memcpy(whole, bytes, size);
	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes, size);
	FIN_CRC32C(crc);
	for (int i = 0; i < 4; i++)
		whole[size + i] = (uint8) (crc >> (8 * i));
	file = whole;
	file_size = size + 4;
	membership = read_state();
	fuzz_require(membership != PGQ_NO_MEMBER);

	/* of another system, as far as it can be told */
	system_identifier = 1;
	fuzz_require(read_state() != PGQ_MEMBER || membership == PGQ_MEMBER);
	free(whole);
	return membership == PGQ_MEMBER;
}

size_t
fuzz_seed(int number, uint8_t *bytes)
{
	static QuorumHardState hard;
	static Binding binding;

	if (number >= 12)
		return 0;
	fuzz_dice((uint64_t) number);
	sample_hard_state(&hard, number < 4);
	fuzz_require(find_binding(&binding, AT_FDCWD));
	return seal_envelope(bytes, &binding, &hard) - 4;
}

size_t
fuzz_refused(int number, uint8_t *bytes)
{
	size_t		size = fuzz_seed(5, bytes);
	const size_t path_at = 8 + 4 + 3 * 16 + 8;

	switch (number)
	{
		case 0:					/* a version that never was */
			bytes[8] = 0;
			return size;
		case 1:					/* a later one */
			bytes[8] = STATE_VERSION + 1;
			return size;
		case 2:					/* a path with a NUL in it */
			memmove(bytes + path_at + 2 + 6, bytes + path_at + 2 + 5, size - path_at - 2 - 5);
			bytes[path_at] = 6;
			bytes[path_at + 2 + 5] = '\0';
			return size + 1;
		case 3:					/* of another directory */
			bytes[path_at + 3] = 'D';
			return size;
		case 4:					/* another file, as a copy is */
			bytes[12]++;
			return size;
		case 5:					/* one byte less, one more */
			return size - 1;
		case 6:
			bytes[size] = 0;
			return size + 1;
	}
	return 0;
}
