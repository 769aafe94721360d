/*
 * shim.c
 *	  Between a server and its C library in a torture: fsync that is slow or fails, clocks
 *	  that are off.
 *
 * It decides nothing.  The file that QUORUM_FAULTS names is mapped by every process of a node
 * and written by TortureShim.pm while they run; without it the library is as ever.  All
 * fields are 8 bytes in the order of the machine.
 *
 * A rate changes without a step: the line that gives the clock its new rate begins a moment
 * after it was written, where the old one ends.  Timers of the kernel keep the true rate.
 * An fsync that fails has not been asked of the disk: what it was for may be lost, or not.
 */
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
#include <sys/time.h>
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
	int64_t		error;			/* errno; 0 = none */
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
	if (strstr(path, "/pg_wal") != NULL)
		return PLACE_WAL;
	return strstr(path, "/pg_quorum/") != NULL || (length > 10 && strcmp(path + length - 10, "/pg_quorum") == 0) ?
		PLACE_STATE : PLACE_DATA;
}

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

	if (error == 0)
		return real(fd);
	errno = error;
	return -1;
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

/* A server does it once, when it starts: of its data. */
int
syncfs(int fd)
{
	return sync_with(real_syncfs, fd);
}
