/*
 * state.c
 *	  The durable state of this node as a file that is valid for this instance only.
 *
 * It does not know what the state means (src/core) nor how its fields become bytes
 * (quorum_message.c).  Plain system calls throughout: the postmaster reads it, and
 * nobody may be thrown out of a half-written file.
 *
 * Rules: R1 (temp file, fsync, rename, fsync of the directory, whatever the setting
 * fsync says), R10 (bound to the instance), R12, S9.
 *
 * Why a damaged file is never replaced by the previous generation: that one may lack
 * the last vote, and a node that votes twice elects two leaders.  A crash cannot
 * damage the newest generation, only disk or operator can.  state.prev is kept for
 * the person who looks into it.
 *
 * Why the device number is not part of the binding: it changes with the order in
 * which disks are found at boot, and a power cut must not take every node out.
 * Inode and time of birth of three places (data directory, pg_quorum, the state
 * file itself) tell a copy instead; a copying tool can set neither.
 */
#include "state.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "port/pg_crc32c.h"

#include "../core/quorum_message.h"

#define STATE_DIR		"pg_quorum"
#define STATE_FILE		STATE_DIR "/state"
#define STATE_PREVIOUS	STATE_DIR "/state.prev"
#define STATE_TEMP		STATE_DIR "/state.tmp"
#define STATE_RESERVE	STATE_DIR "/reserve"

#define STATE_MAGIC		"pgquorum"
#define STATE_OUTDATED	"previous"	/* instead of it */
#define STATE_VERSION	1
#define STATE_BYTES_MAX (QUORUM_ENCODED_MAX + MAXPGPATH + 256)
#define RESERVE_BYTES	(64 * 1024) /* room for a new generation and its entry in the directory */

typedef struct FileIdentity
{
	uint64		inode;
	uint64		birth_ns;		/* 0 = the file system does not tell */
} FileIdentity;

/* What makes this instance this instance. */
typedef struct Binding
{
	FileIdentity data_directory;
	FileIdentity state_directory;
	FileIdentity state_file;
	uint64		machine;		/* hash of /etc/machine-id; 0 = there is none */
	char		path[MAXPGPATH];
} Binding;

/* A cursor over the bytes of the file; failed once, failed for good. */
typedef struct Cursor
{
	uint8	   *bytes;
	size_t		size;
	size_t		used;
	bool		failed;
} Cursor;

static bool read_file(uint8 *bytes, size_t *size, char *why);
static bool open_envelope(const uint8 *bytes, size_t size, Binding *binding, Cursor *payload,
						  char *why);
static bool find_binding(Binding *binding, int state_fd);
static bool same_instance(const Binding *written, const Binding *here, char *why);
static bool same_file(const FileIdentity *a, const FileIdentity *b);
static bool identify(int dirfd, const char *path, FileIdentity *identity);
static uint64 machine_hash(void);
static size_t seal_envelope(uint8 *bytes, const Binding *binding, const QuorumHardState *hard);
static bool write_temp(const QuorumHardState *hard, bool reserve);
static void mark_previous(void);
static void keep_reserve(void);
static bool write_file(const QuorumHardState *hard, int fd);
static bool ensure_directory(void);
static bool sync_directory(const char *path);
static void put_bytes(Cursor *cursor, const void *data, size_t length);
static void put_uint(Cursor *cursor, uint64 value, int width);
static void put_identity(Cursor *cursor, const FileIdentity *identity);
static void get_bytes(Cursor *cursor, void *data, size_t length);
static uint64 get_uint(Cursor *cursor, int width);
static void get_identity(Cursor *cursor, FileIdentity *identity);

PgqMembership
pgq_state_read(QuorumHardState *hard, char *why)
{
	static uint8 bytes[STATE_BYTES_MAX];
	static Binding written;
	static Binding here;
	Cursor		payload;
	uint64		system_identifier;
	size_t		size = 0;

	memset(hard, 0, sizeof(*hard));
	why[0] = '\0';
	if (access(STATE_FILE, F_OK) != 0 && errno == ENOENT)
	{
		/* only a member has a previous generation, and it never lacks the newest one */
		if (access(STATE_PREVIOUS, F_OK) != 0 && errno == ENOENT)
		{
			strlcpy(why, "this server is not a member of a cluster", QUORUM_REASON_SIZE);
			return PGQ_NO_MEMBER;
		}
		strlcpy(why, "pg_quorum/state is missing, but pg_quorum/state.prev is there",
				QUORUM_REASON_SIZE);
		return PGQ_STATE_UNREADABLE;
	}

	if (!read_file(bytes, &size, why) ||
		!open_envelope(bytes, size, &written, &payload, why))
		return PGQ_STATE_UNREADABLE;
	if (!find_binding(&here, AT_FDCWD))
	{
		strlcpy(why, "could not identify the data directory", QUORUM_REASON_SIZE);
		return PGQ_STATE_UNREADABLE;
	}
	if (!same_instance(&written, &here, why))
		return PGQ_STATE_FOREIGN;
	if (!quorum_hard_state_decode(hard, payload.bytes, payload.size))
	{
		int			major;

		memset(hard, 0, sizeof(*hard));
		if (quorum_message_other_major(payload.bytes, payload.size, &major))
			snprintf(why, QUORUM_REASON_SIZE,
					 "pg_quorum/state has version %d, this release of pg_quorum reads %d",
					 major, QUORUM_FORMAT_MAJOR);
		else
			strlcpy(why, "the content of pg_quorum/state is not valid", QUORUM_REASON_SIZE);
		return PGQ_STATE_UNREADABLE;
	}
	system_identifier = pgq_host_system_identifier();
	if (system_identifier != 0 && hard->system_identifier != system_identifier)
	{
		memset(hard, 0, sizeof(*hard));
		strlcpy(why, "pg_quorum/state belongs to another database system (other identifier)",
				QUORUM_REASON_SIZE);
		return PGQ_STATE_FOREIGN;
	}
	return PGQ_MEMBER;
}

bool
pgq_state_write(const QuorumHardState *hard)
{
	bool		written;

	if (!ensure_directory())
		return false;

	/* H85: a full disk keeps nobody from voting; the room for that was put aside */
	written = write_temp(hard, false);
	if (!written && (errno == ENOSPC || errno == EDQUOT))
		written = write_temp(hard, true);

	/* a link, so that at no moment there is no newest generation; losing it loses nothing */
	if (written && access(STATE_FILE, F_OK) == 0)
	{
		(void) unlink(STATE_PREVIOUS);
		if (link(STATE_FILE, STATE_PREVIOUS) != 0)
			pgq_say("could not keep \"%s\": %m", STATE_PREVIOUS);
	}
	if (written && rename(STATE_TEMP, STATE_FILE) != 0)
		written = false;
	if (!written)
	{
		pgq_say("could not write file \"%s\": %m", STATE_FILE);
		(void) unlink(STATE_TEMP);
		return false;
	}
	if (!sync_directory(STATE_DIR))
		return false;
	mark_previous();
	keep_reserve();
	return true;
}

/*
 * It is bound to the instance as the newest one is, and may lack the last vote: whoever moves it
 * back must not make a voter of it.  It has no other name by now.
 */
static void
mark_previous(void)
{
	int			fd = pgq_host_open(STATE_PREVIOUS, O_WRONLY);

	if (fd < 0)
		return;
	if (pwrite(fd, STATE_OUTDATED, strlen(STATE_OUTDATED), 0) < 0)
		pgq_say("could not write file \"%s\": %m", STATE_PREVIOUS);
	close(fd);
}

/*
 * The next generation under its temporary name; errno says why not.  The reserve becomes
 * that file itself: blocks that are given back first are taken by whoever filled the disk.
 */
static bool
write_temp(const QuorumHardState *hard, bool reserve)
{
	bool		written;
	int			saved;
	int			fd;

	/* never reuse an old temp file: a failed fsync may have left pages that look clean (R1) */
	(void) unlink(STATE_TEMP);
	if (!reserve || rename(STATE_RESERVE, STATE_TEMP) == 0)
		fd = pgq_host_open(STATE_TEMP, reserve ? O_RDWR : O_RDWR | O_CREAT | O_EXCL);
	else
	{
		fd = -1;
		errno = ENOSPC;
	}
	written = fd >= 0 && write_file(hard, fd);
	saved = errno;
	if (fd >= 0 && close(fd) != 0 && written)
	{
		written = false;
		saved = errno;
	}
	if (!written)
		(void) unlink(STATE_TEMP);
	errno = saved;
	return written;
}

/* Where there is no room for it there will be, some time. */
static void
keep_reserve(void)
{
	int			fd;

	if (access(STATE_RESERVE, F_OK) == 0)
		return;
	fd = pgq_host_open(STATE_RESERVE, O_RDWR | O_CREAT | O_EXCL);
	if (fd < 0)
		return;
	if (posix_fallocate(fd, 0, RESERVE_BYTES) != 0)
		(void) unlink(STATE_RESERVE);
	close(fd);
}

static bool
read_file(uint8 *bytes, size_t *size, char *why)
{
	int			fd = pgq_host_open(STATE_FILE, O_RDONLY);
	ssize_t		got = 0;

	*size = 0;
	while (fd >= 0 && *size < STATE_BYTES_MAX &&
		   (got = read(fd, bytes + *size, STATE_BYTES_MAX - *size)) > 0)
		*size += got;
	if (fd < 0 || got < 0)
		snprintf(why, QUORUM_REASON_SIZE, "could not read pg_quorum/state: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return fd >= 0 && got >= 0;
}

/* Layout: magic, version, binding, length of the payload, payload, CRC32C of all before it. */
static size_t
seal_envelope(uint8 *bytes, const Binding *binding, const QuorumHardState *hard)
{
	static uint8 payload[QUORUM_ENCODED_MAX];
	Cursor		cursor = {.bytes = bytes, .size = STATE_BYTES_MAX};
	size_t		length = quorum_hard_state_encode(hard, payload, sizeof(payload));
	pg_crc32c	crc;

	put_bytes(&cursor, STATE_MAGIC, 8);
	put_uint(&cursor, STATE_VERSION, 4);
	put_identity(&cursor, &binding->data_directory);
	put_identity(&cursor, &binding->state_directory);
	put_identity(&cursor, &binding->state_file);
	put_uint(&cursor, binding->machine, 8);
	put_uint(&cursor, strlen(binding->path), 2);
	put_bytes(&cursor, binding->path, strlen(binding->path));
	put_uint(&cursor, length, 4);
	put_bytes(&cursor, payload, length);

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes, cursor.used);
	FIN_CRC32C(crc);
	put_uint(&cursor, crc, 4);
	return cursor.failed ? 0 : cursor.used;
}

static bool
open_envelope(const uint8 *bytes, size_t size, Binding *binding, Cursor *payload, char *why)
{
	Cursor		cursor = {.bytes = unconstify(uint8 *, bytes), .size = size};
	char		magic[8];
	size_t		length;
	uint64		version;
	pg_crc32c	crc;

	memset(binding, 0, sizeof(*binding));
	get_bytes(&cursor, magic, sizeof(magic));
	version = get_uint(&cursor, 4);
	if (!cursor.failed && memcmp(magic, STATE_MAGIC, 8) == 0 && version > STATE_VERSION)
	{
		strlcpy(why, "pg_quorum/state was written by a newer release of pg_quorum",
				QUORUM_REASON_SIZE);
		return false;
	}

	get_identity(&cursor, &binding->data_directory);
	get_identity(&cursor, &binding->state_directory);
	get_identity(&cursor, &binding->state_file);
	binding->machine = get_uint(&cursor, 8);
	length = get_uint(&cursor, 2);
	if (length < sizeof(binding->path))
		get_bytes(&cursor, binding->path, length);
	else
		cursor.failed = true;
	payload->size = get_uint(&cursor, 4);
	payload->bytes = cursor.bytes + cursor.used;
	if (cursor.failed || payload->size > size - cursor.used)
		cursor.failed = true;
	else
		cursor.used += payload->size;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes, cursor.used);
	FIN_CRC32C(crc);
	if (get_uint(&cursor, 4) != crc || cursor.failed || cursor.used != size ||
		memcmp(magic, STATE_MAGIC, 8) != 0 || version != STATE_VERSION ||
		strlen(binding->path) != length)
	{
		strlcpy(why, "pg_quorum/state is damaged (checksum or length)", QUORUM_REASON_SIZE);
		return false;
	}
	return true;
}

/* state_fd: the state file under construction, or AT_FDCWD for the one in place. */
static bool
find_binding(Binding *binding, int state_fd)
{
	memset(binding, 0, sizeof(*binding));
	binding->machine = machine_hash();
	return getcwd(binding->path, sizeof(binding->path)) != NULL &&
		identify(AT_FDCWD, ".", &binding->data_directory) &&
		identify(AT_FDCWD, STATE_DIR, &binding->state_directory) &&
		identify(state_fd, state_fd == AT_FDCWD ? STATE_FILE : "", &binding->state_file);
}

static bool
same_instance(const Binding *written, const Binding *here, char *why)
{
	if (strcmp(written->path, here->path) != 0)
		snprintf(why, QUORUM_REASON_SIZE,
				 "pg_quorum/state was written for data directory \"%.90s\"", written->path);
	else if (written->machine != 0 && here->machine != 0 && written->machine != here->machine)
		strlcpy(why, "pg_quorum/state was written on another machine (other machine-id)",
				QUORUM_REASON_SIZE);
	else if (!same_file(&written->data_directory, &here->data_directory))
		strlcpy(why, "this data directory is a copy of the one pg_quorum/state was written for",
				QUORUM_REASON_SIZE);
	else if (!same_file(&written->state_directory, &here->state_directory) ||
			 !same_file(&written->state_file, &here->state_file))
		strlcpy(why, "pg_quorum/state is a copy or was restored", QUORUM_REASON_SIZE);
	else
		return true;
	return false;
}

static bool
same_file(const FileIdentity *a, const FileIdentity *b)
{
	return a->inode == b->inode &&
		(a->birth_ns == b->birth_ns || a->birth_ns == 0 || b->birth_ns == 0);
}

static bool
identify(int dirfd, const char *path, FileIdentity *identity)
{
	struct statx stx;

	if (statx(dirfd, path, AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &stx) != 0)
		return false;
	identity->inode = stx.stx_ino;
	identity->birth_ns = (stx.stx_mask & STATX_BTIME) == 0 ? 0 :
		(uint64) stx.stx_btime.tv_sec * 1000000000 + stx.stx_btime.tv_nsec;
	return true;
}

/* FNV-1a.  Containers may have none: then nothing is concluded from it. */
static uint64
machine_hash(void)
{
	uint64		hash = UINT64CONST(0xcbf29ce484222325);
	uint8		bytes[64];
	int			fd = pgq_host_open("/etc/machine-id", O_RDONLY);
	ssize_t		got = fd >= 0 ? read(fd, bytes, sizeof(bytes)) : 0;

	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i < got; i++)
		hash = (hash ^ bytes[i]) * UINT64CONST(0x100000001b3);
	return got > 0 ? hash : 0;
}

static bool
write_file(const QuorumHardState *hard, int fd)
{
	static uint8 bytes[STATE_BYTES_MAX];
	static Binding binding;
	size_t		size;

	if (!find_binding(&binding, fd))
		return false;
	size = seal_envelope(bytes, &binding, hard);
	errno = ENOSPC;				/* what a short write means */
	return size > 0 && write(fd, bytes, size) == (ssize_t) size &&
		ftruncate(fd, (off_t) size) == 0 && fsync(fd) == 0;
}

static bool
ensure_directory(void)
{
	if (access(STATE_DIR, F_OK) == 0)
		return true;
	if (mkdir(STATE_DIR, pg_dir_create_mode) != 0 && errno != EEXIST)
	{
		pgq_say("could not create directory \"%s\": %m", STATE_DIR);
		return false;
	}
	return sync_directory(".");
}

static bool
sync_directory(const char *path)
{
	int			fd = pgq_host_open(path, O_RDONLY);
	bool		synced = fd >= 0 && fsync(fd) == 0;

	if (!synced)
		pgq_say("could not fsync file \"%s\": %m", path);
	if (fd >= 0)
		close(fd);
	return synced;
}

static void
put_bytes(Cursor *cursor, const void *data, size_t length)
{
	if (cursor->size - cursor->used < length)
	{
		cursor->failed = true;
		return;
	}
	memcpy(cursor->bytes + cursor->used, data, length);
	cursor->used += length;
}

static void
put_uint(Cursor *cursor, uint64 value, int width)
{
	uint8		raw[8];

	for (int i = 0; i < width; i++)
		raw[i] = (uint8) (value >> (8 * i));
	put_bytes(cursor, raw, width);
}

static void
put_identity(Cursor *cursor, const FileIdentity *identity)
{
	put_uint(cursor, identity->inode, 8);
	put_uint(cursor, identity->birth_ns, 8);
}

static void
get_bytes(Cursor *cursor, void *data, size_t length)
{
	if (cursor->failed || cursor->size - cursor->used < length)
	{
		cursor->failed = true;
		memset(data, 0, length);
		return;
	}
	memcpy(data, cursor->bytes + cursor->used, length);
	cursor->used += length;
}

static uint64
get_uint(Cursor *cursor, int width)
{
	uint8		raw[8] = {0};
	uint64		value = 0;

	get_bytes(cursor, raw, width);
	for (int i = 0; i < width; i++)
		value |= (uint64) raw[i] << (8 * i);
	return value;
}

static void
get_identity(Cursor *cursor, FileIdentity *identity)
{
	identity->inode = get_uint(cursor, 8);
	identity->birth_ns = get_uint(cursor, 8);
}
