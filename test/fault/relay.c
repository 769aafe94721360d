/*
 * relay.c
 *	  Carries the packets between the hosts of a torture, late, out of order, or slowly.
 *
 * The hub routes what is to be held up into a TUN device; this program reads it there, keeps
 * each packet for as long as its link says, and writes it back, to be routed on.  It decides
 * nothing: QuorumNet.pm tells it on standard input, one line a link:
 *
 *	  <from> <to> <delay in ms> <jitter in ms> <kbit/s; 0 = no limit>
 *	  clear
 *
 * Numbers of hosts stand in the third byte of their addresses.  A jitter puts packets out of
 * order.  What is on its way when a link is cleared still takes its time, as on a real one.
 *
 * usage: relay <name of the device> <seed>
 * It ends when its standard input does.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_tun.h>

#define HOSTS_MAX 17
#define HELD_MAX 16384			/* packets; more are lost, as in a router */
#define PACKET_MAX 2048
#define QUEUE_LIMIT_NS INT64_C(1000000000)	/* a slow link holds no more than this */

typedef struct Link
{
	int64_t		delay_ns;
	int64_t		jitter_ns;
	int64_t		kbits;
	int64_t		free_at;		/* when a slow link has sent all it has got */
} Link;

typedef struct Packet
{
	int64_t		due;
	uint64_t	serial;			/* equal instants: first come, first served */
	size_t		length;
	char	   *data;
} Packet;

static Link links[HOSTS_MAX][HOSTS_MAX];
static Packet heap[HELD_MAX];
static int	held;
static uint64_t serial;
static uint64_t dice;
static int	device;

static int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* xorshift64*; below n */
static int64_t
draw(int64_t n)
{
	dice ^= dice >> 12;
	dice ^= dice << 25;
	dice ^= dice >> 27;
	return n <= 0 ? 0 : (int64_t) ((dice * UINT64_C(2685821657736338717) >> 2) % (uint64_t) n);
}

/* ---- the packets that are held: a heap, the one that is due first on top ---------------- */

static bool
is_before(const Packet *a, const Packet *b)
{
	return a->due != b->due ? a->due < b->due : a->serial < b->serial;
}

static void
push(Packet packet)
{
	int			at = held++;

	while (at > 0 && is_before(&packet, &heap[(at - 1) / 2]))
	{
		heap[at] = heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	heap[at] = packet;
}

static Packet
pop(void)
{
	Packet		first = heap[0];
	Packet		last = heap[--held];
	int			at = 0;

	for (;;)
	{
		int			child = 2 * at + 1;

		if (child >= held)
			break;
		if (child + 1 < held && is_before(&heap[child + 1], &heap[child]))
			child++;
		if (!is_before(&heap[child], &last))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = last;
	return first;
}

/* ---- what comes and goes ---------------------------------------------------------------- */

/* The instant at which a packet leaves its link; -1: it is lost. */
static int64_t
due_at(Link *link, size_t length, int64_t now)
{
	int64_t		leaves = now;

	if (link->kbits > 0)
	{
		if (link->free_at < now)
			link->free_at = now;
		if (link->free_at - now > QUEUE_LIMIT_NS)
			return -1;
		link->free_at += (int64_t) length * 8 * 1000000 / link->kbits;
		leaves = link->free_at;
	}
	return leaves + link->delay_ns + draw(link->jitter_ns);
}

static void
take_packet(void)
{
	char		data[PACKET_MAX];
	ssize_t		length = read(device, data, sizeof(data));
	const unsigned char *header = (const unsigned char *) data;
	int			from;
	int			to;
	int64_t		due;
	Packet		packet;

	if (length < 20 || header[0] >> 4 != 4)
		return;
	from = header[14];
	to = header[18];
	if (from >= HOSTS_MAX || to >= HOSTS_MAX || held == HELD_MAX)
		return;
	due = due_at(&links[from][to], (size_t) length, now_ns());
	if (due < 0)
		return;
	packet = (Packet) {.due = due, .serial = serial++, .length = (size_t) length, .data = malloc((size_t) length)};
	if (packet.data == NULL)
		return;
	memcpy(packet.data, data, (size_t) length);
	push(packet);
}

static void
send_due(void)
{
	int64_t		now = now_ns();

	while (held > 0 && heap[0].due <= now)
	{
		Packet		packet = pop();

		/* a device that takes nothing loses it */
		if (write(device, packet.data, packet.length) < 0 && errno == EBADF)
			exit(1);
		free(packet.data);
	}
}

static void
obey(const char *line)
{
	int			from;
	int			to;
	long long	delay;
	long long	jitter;
	long long	kbits;

	if (strcmp(line, "clear\n") == 0)
		memset(links, 0, sizeof(links));
	else if (sscanf(line, "%d %d %lld %lld %lld", &from, &to, &delay, &jitter, &kbits) == 5 &&
			 from > 0 && from < HOSTS_MAX && to > 0 && to < HOSTS_MAX)
		links[from][to] = (Link) {delay * 1000000, jitter * 1000000, kbits, 0};
	else
	{
		fprintf(stderr, "relay: not understood: %s", line);
		exit(1);
	}
}

static int
open_device(const char *name)
{
	struct ifreq request;
	int			fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	memset(&request, 0, sizeof(request));
	request.ifr_flags = IFF_TUN | IFF_NO_PI;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0)
	{
		perror("relay: /dev/net/tun");
		exit(1);
	}
	return fd;
}

int
main(int argc, char **argv)
{
	if (argc != 3)
	{
		fprintf(stderr, "usage: relay <name of the device> <seed>\n");
		return 1;
	}
	dice = strtoull(argv[2], NULL, 10) * UINT64_C(0x9E3779B97F4A7C15) + 1;
	device = open_device(argv[1]);
	setvbuf(stdin, NULL, _IONBF, 0);
	printf("ready\n");
	fflush(stdout);
	for (;;)
	{
		struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = device, .events = POLLIN}};
		int64_t		left = held > 0 ? heap[0].due - now_ns() : 1000000000;
		struct timespec limit = {left > 0 ? left / 1000000000 : 0, left > 0 ? left % 1000000000 : 0};
		char		line[128];

		if (ppoll(fds, 2, &limit, NULL) < 0 && errno != EINTR)
			return 1;
		send_due();
		if (fds[1].revents != 0)
			take_packet();
		if (fds[0].revents != 0)
		{
			if (fgets(line, sizeof(line), stdin) == NULL)
				return 0;
			obey(line);
		}
	}
}
