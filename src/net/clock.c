/*
 * clock.c
 *	  The three clocks of a node, in microseconds.
 *
 * Which of them counts for what is decided in src/core (QuorumInstant).
 */
#include "host.h"

#include <time.h>

static uint64
now_of(clockid_t clock)
{
	struct timespec ts;

	(void) clock_gettime(clock, &ts);
	return (uint64) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

uint64
pgq_now_boot(void)
{
	return now_of(CLOCK_BOOTTIME);
}

uint64
pgq_now_mono(void)
{
	return now_of(CLOCK_MONOTONIC);
}

uint64
pgq_now_wall(void)
{
	return now_of(CLOCK_REALTIME);
}

QuorumInstant
pgq_now(void)
{
	QuorumInstant now;

	now.mono = (QuorumTime) pgq_now_mono();
	now.boot = (QuorumTime) pgq_now_boot();
	now.wall = (QuorumTime) pgq_now_wall();
	return now;
}
