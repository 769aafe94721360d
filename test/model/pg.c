/*
 * pg.c
 *	  Logs as counts: how many records of each timeline.
 *
 * One node writes a timeline, once (S4, which the search checks), so records of one
 * timeline at one place are the same and a count says it all.
 */
#include <string.h>

#include "model.h"

int
log_count(const uint8_t *log)
{
	int			count = 0;

	for (int t = 1; t < TERMS; t++)
		count += log[t];
	return count;
}

/* Timeline of the last record; 0 = empty. */
int
log_tli(const uint8_t *log)
{
	for (int t = TERMS - 1; t > 0; t--)
	{
		if (log[t] > 0)
			return t;
	}
	return 0;
}

/* Is it the beginning of the leader's? */
bool
log_fits(const uint8_t *log, const uint8_t *leader)
{
	bool		over = false;

	for (int t = 1; t < TERMS; t++)
	{
		if (log[t] > leader[t] || (over && log[t] > 0))
			return false;
		over = over || log[t] < leader[t];
	}
	return true;
}

/* What both have. */
void
log_cut_to(uint8_t *log, const uint8_t *leader)
{
	bool		over = false;

	for (int t = 1; t < TERMS; t++)
	{
		bool		differs = log[t] != leader[t];

		if (over)
			log[t] = 0;
		else if (log[t] > leader[t])
			log[t] = leader[t];
		over = over || differs;
	}
}
