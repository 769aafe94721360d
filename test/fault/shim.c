/*
 * shim.c
 *	  Between a server and its C library in a torture: fsync that is slow or fails, what a
 *	  power cut would take away, clocks that are off.
 *
 * It decides nothing.  The file that QUORUM_FAULTS names is mapped by every process of a node
 * and written by TortureHosts.pm while they run; without it the library is as ever.  All
 * fields are 8 bytes in the order of the machine.
 *
 * A rate changes without a step: the line that gives the clock its new rate begins a moment
 * after it was written, where the old one ends.  Timers of the kernel keep the true rate.
 * An fsync that fails has not been asked of the disk: what it was for may be lost, or not.
 * So it is with one that is lost, but that it says that all is well.
 *
 * The directory that QUORUM_UNDO names has, one file for each inode, how WAL and state looked
 * before they were written to, until an fsync succeeds: what is there when a node is killed is
 * what its host would not have had on its disk (TorturePower.pm).  It may be too little, as a
 * disk may keep more than it was told to: what is written while an fsync runs, zeros that fill
 * a new segment, names that come or go without a rename.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define LINES_MAX 2000

/* From `true_ns` on the clock shows shown_ns + (true - true_ns) * (1 + ppm / 1,000,000). */
typedef struct Line
{
	int64_t		true_ns;
	int64_t		shown_ns;
	int64_t		ppm;
} Line;

typedef struct Clock
{
	int64_t		count;			/* written last */
	Line		lines[LINES_MAX];
} Clock;

typedef struct Faults
{
	int64_t		places;			/* which fsync: bits of PLACE_... */
	int64_t		delay_us;
	int64_t		error;			/* errno; 0 = none; < 0 = none is told, and nothing is kept */
	int64_t		wall_offset_ns; /* of CLOCK_REALTIME */
	Clock		mono;
	Clock		boot;
} Faults;

#define PLACE_WAL 1
#define PLACE_STATE 2
#define PLACE_DATA 4			/* whatever is neither */

static const volatile Faults *faults;

static int	(*real_clock_gettime) (clockid_t, struct timespec *);
static int	(*real_fsync) (int);
static int	(*real_fdatasync) (int);
static int	(*real_syncfs) (int);
static int	(*real_rename) (const char *, const char *);
static ssize_t (*real_write) (int, const void *, size_t);
static ssize_t (*real_pwrite) (int, const void *, size_t, off_t);

static const char *undo_dir;

__attribute__((constructor)) static void
shim_init(void)
{
	const char *path = getenv("QUORUM_FAULTS");
	int			fd;
	void	   *map;

	/* dlsym() gives no function pointer that ISO C knows */
	*(void **) &real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
	*(void **) &real_fsync = dlsym(RTLD_NEXT, "fsync");
	*(void **) &real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
	*(void **) &real_syncfs = dlsym(RTLD_NEXT, "syncfs");
	*(void **) &real_rename = dlsym(RTLD_NEXT, "rename");
	*(void **) &real_write = dlsym(RTLD_NEXT, "write");
	*(void **) &real_pwrite = dlsym(RTLD_NEXT, "pwrite");

	/* a copy: a server writes what it calls itself over its environment */
	undo_dir = getenv("QUORUM_UNDO");
	undo_dir = undo_dir == NULL ? NULL : strdup(undo_dir);
	if (path == NULL || (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return;
	map = mmap(NULL, sizeof(Faults), PROT_READ, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED)
		faults = map;
	close(fd);
}

/* ---- clocks ----------------------------------------------------------------------------- */

static int64_t
shown(const volatile Clock *clock, int64_t true_ns)
{
	int64_t		count = __atomic_load_n(&clock->count, __ATOMIC_ACQUIRE);

	for (int64_t i = (count < LINES_MAX ? count : LINES_MAX) - 1; i >= 0; i--)
	{
		const volatile Line *line = &clock->lines[i];

		if (true_ns >= line->true_ns)
			return line->shown_ns + (true_ns - line->true_ns) +
				(int64_t) ((__int128) (true_ns - line->true_ns) * line->ppm / 1000000);
	}
	return true_ns;
}

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	int64_t		ns;

	/* before the constructor, in that of another library */
	if (real_clock_gettime == NULL)
		*(void **) &real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
	if (real_clock_gettime(clock, ts) != 0)
		return -1;
	if (faults == NULL)
		return 0;
	ns = (int64_t) ts->tv_sec * 1000000000 + ts->tv_nsec;
	if (clock == CLOCK_REALTIME)
		ns += faults->wall_offset_ns;
	else if (clock == CLOCK_MONOTONIC)
		ns = shown(&faults->mono, ns);
	else if (clock == CLOCK_BOOTTIME)
		ns = shown(&faults->boot, ns);
	else
		return 0;
	ts->tv_sec = ns / 1000000000;
	ts->tv_nsec = ns % 1000000000;
	return 0;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void) zone;
	if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
		return -1;
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *result)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
		return (time_t) -1;
	if (result != NULL)
		*result = ts.tv_sec;
	return ts.tv_sec;
}

/* ---- disks ------------------------------------------------------------------------------ */

static int64_t
place_of_path(const char *path)
{
	size_t		length = strlen(path);

	if (strstr(path, "/pg_wal") != NULL)
		return PLACE_WAL;
	return strstr(path, "/pg_quorum/") != NULL || (length > 10 && strcmp(path + length - 10, "/pg_quorum") == 0) ?
		PLACE_STATE : PLACE_DATA;
}

static int64_t
place_of(int fd)
{
	char		link[64];
	char		path[PATH_MAX];
	ssize_t		length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	if (length < 0)
		return PLACE_DATA;
	path[length] = '\0';
	return place_of_path(path);
}

/* ---- what is not on disk yet ------------------------------------------------------------ */

enum
{
	UNDO_BYTES = 1,				/* `length` bytes were at `offset` of a file of `size` bytes */
	UNDO_RENAME					/* from, to, where the old file is kept; each with its zero */
};

typedef struct Undo
{
	int64_t		kind;
	int64_t		offset;
	int64_t		size;
	int64_t		length;			/* of what follows */
} Undo;

static void
undo_path(const struct stat *of, char *path)
{
	snprintf(path, PATH_MAX, "%s/%llu-%llu", undo_dir, (unsigned long long) of->st_dev,
			 (unsigned long long) of->st_ino);
}

/* A disk without room for it keeps everything. */
static void
remember(const struct stat *of, const Undo *undo, const void *what)
{
	char		path[PATH_MAX];
	struct iovec parts[2] = {{(void *) undo, sizeof(*undo)}, {(void *) what, (size_t) undo->length}};
	int			fd;

	undo_path(of, path);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (writev(fd, parts, 2) != (ssize_t) sizeof(*undo) + undo->length && ftruncate(fd, 0) != 0)
		(void) unlink(path);
	close(fd);
}

static void
forget(int fd)
{
	struct stat of;
	char		path[PATH_MAX];
	int			error = errno;

	if (undo_dir == NULL || fstat(fd, &of) != 0)
		return;
	undo_path(&of, path);
	(void) unlink(path);
	errno = error;
}

static void
forget_all(void)
{
	DIR		   *dir = undo_dir == NULL ? NULL : opendir(undo_dir);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		(void) unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir != NULL)
		closedir(dir);
}

/* offset < 0: where the file stands. */
static void
remember_bytes(int fd, size_t length, off_t offset)
{
	struct stat of;
	char		again[64];
	void	   *bytes = NULL;
	Undo		undo = {UNDO_BYTES, offset, 0, 0};
	int			error = errno;

	if (undo_dir == NULL || fstat(fd, &of) != 0 || !S_ISREG(of.st_mode) ||
		(place_of(fd) & (PLACE_WAL | PLACE_STATE)) == 0)
		return;
	if (offset < 0)
		undo.offset = (fcntl(fd, F_GETFL) & O_APPEND) != 0 ? of.st_size : lseek(fd, 0, SEEK_CUR);
	undo.size = of.st_size;
	if (undo.offset < of.st_size)
	{
		int			old;

		snprintf(again, sizeof(again), "/proc/self/fd/%d", fd);
		old = open(again, O_RDONLY | O_CLOEXEC);
		bytes = malloc(length);
		if (old >= 0 && bytes != NULL)
			undo.length = pread(old, bytes, length, undo.offset);
		if (old >= 0)
			close(old);
	}
	if (undo.length >= 0)
		remember(&of, &undo, bytes);
	free(bytes);
	errno = error;
}

ssize_t
write(int fd, const void *buffer, size_t length)
{
	if (real_write == NULL)
		*(void **) &real_write = dlsym(RTLD_NEXT, "write");
	remember_bytes(fd, length, -1);
	return real_write(fd, buffer, length);
}

ssize_t
pwrite(int fd, const void *buffer, size_t length, off_t offset)
{
	remember_bytes(fd, length, offset);
	return real_pwrite(fd, buffer, length, offset);
}

/* The directory of a path, and the path without links and dots. */
static bool
place_in_directory(const char *name, char *whole, struct stat *directory)
{
	char		parent[PATH_MAX];
	const char *base = strrchr(name, '/');
	size_t		length = base == NULL ? 0 : (size_t) (base - name);

	if (length >= sizeof(parent))
		return false;
	memcpy(parent, base == NULL ? "." : name, base == NULL ? 2 : length);
	if (base != NULL)
		parent[length] = '\0';
	if (realpath(parent, whole) == NULL || stat(whole, directory) != 0)
		return false;
	length = strlen(whole);
	return (size_t) snprintf(whole + length, PATH_MAX - length, "/%s", base == NULL ? name : base + 1) < PATH_MAX - length;
}

/* A file that another one takes the name of stays what it is, with another name. */
static void
remember_rename(const char *from, const char *to)
{
	char		names[3 * PATH_MAX];
	char		whole_from[PATH_MAX];
	char		whole_to[PATH_MAX];
	char		kept[PATH_MAX] = "";
	struct stat of;
	struct stat directory;
	struct timespec now;
	Undo		undo = {UNDO_RENAME, 0, 0, 0};
	int			error = errno;

	if (undo_dir == NULL || lstat(from, &of) != 0 || !S_ISREG(of.st_mode) ||
		!place_in_directory(from, whole_from, &directory) || !place_in_directory(to, whole_to, &directory) ||
		(place_of_path(whole_to) & (PLACE_WAL | PLACE_STATE)) == 0)
		return;
	if (lstat(to, &of) == 0)
	{
		real_clock_gettime(CLOCK_MONOTONIC, &now);
		snprintf(kept, sizeof(kept), "%s/kept-%lld.%09ld", undo_dir, (long long) now.tv_sec, now.tv_nsec);
		if (link(to, kept) != 0)
			return;
	}
	undo.length = snprintf(names, sizeof(names), "%s%c%s%c%s", whole_from, '\0', whole_to, '\0', kept) + 1;
	remember(&directory, &undo, names);
	errno = error;
}

int
rename(const char *from, const char *to)
{
	remember_rename(from, to);
	return real_rename(from, to);
}

/* ---- fsync ------------------------------------------------------------------------------ */

/* What is wrong with this fsync: 0, or an errno.  A slow one is slow here. */
static int
fault_of(int fd)
{
	int			error;

	if (faults == NULL || faults->places == 0 || (place_of(fd) & faults->places) == 0)
		return 0;

	/* a disk that hangs is one that becomes well again in the end */
	error = (int) faults->error;
	for (int64_t left = faults->delay_us; left > 0 && faults->delay_us > 0; left -= 10000)
	{
		struct timespec pause = {0, (left < 10000 ? left : 10000) * 1000};

		while (nanosleep(&pause, &pause) != 0 && errno == EINTR)
			;
	}
	return error;
}

static int
sync_with(int (*real) (int), int fd)
{
	int			error = fault_of(fd);

	if (error > 0)
	{
		errno = error;
		return -1;
	}
	if (error < 0)
		return 0;
	if (real(fd) != 0)
		return -1;
	forget(fd);
	return 0;
}

int
fsync(int fd)
{
	return sync_with(real_fsync, fd);
}

int
fdatasync(int fd)
{
	return sync_with(real_fdatasync, fd);
}

/* When a server starts, and after a rewind: all of its disk, which is one. */
int
syncfs(int fd)
{
	int			error = fault_of(fd);

	if (error > 0)
	{
		errno = error;
		return -1;
	}
	if (error < 0)
		return 0;
	if (real_syncfs(fd) != 0)
		return -1;
	forget_all();
	return 0;
}
