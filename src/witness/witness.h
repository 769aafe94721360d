/*
 * witness.h
 *	  The witness: a voter without data, as a small program of its own.
 *
 * Its parts, from the outside in: main.c (options, the loop), config.c
 * (settings), files.c (the directory, and what others see of a running witness),
 * node.c (the core), host.c and wait.c (what src/net needs).
 */
#ifndef PGQ_WITNESS_H
#define PGQ_WITNESS_H

#include "../bin/command.h"

#include "transport.h"

#define WITNESS_CONF		"witness.conf"
#define WITNESS_SECRET		"pg_quorum.secret"

typedef struct WitnessSettings
{
	char		name[QUORUM_NAME_SIZE];
	char		host[QUORUM_HOST_SIZE];
	int			port;
	char		secret_file[MAXPGPATH]; /* relative to the directory of the witness */
	int			lease_ms;		/* as quorum.lease_duration on the servers */
	bool		death_proof;	/* likewise */
} WitnessSettings;

/* ---- config.c -------------------------------------------------------------- */

/* A setting by its name, from an option or a line; false: said why, with `where` in front. */
extern bool witness_set(WitnessSettings *settings, const char *name, const char *value,
						const char *where);

/*
 * Defaults, then witness.conf in the current directory, then what was given as options
 * (names and values in turn).  False: said why.
 */
extern bool witness_configure(WitnessSettings *settings, const char *const *options, int count);

/* ---- files.c --------------------------------------------------------------- */

/* Make the directory when it is not there, check it, and go there. */
extern bool witness_enter(const char *directory, bool create);

/* One witness for one directory, as long as this process lives. */
extern bool witness_lock(void);

/* What it knows, for pg_quorum witness --status; once a second at most. */
extern void witness_status_changed(const char *membership, const QuorumView *view,
								   const QuorumMemberSet *members);
extern void witness_status_write(void);
extern QuorumTime witness_status_deadline(void);

/* Print that file; an exit code. */
extern int	witness_status_print(void);

/* systemd, when it is there and wants to know. */
extern void witness_notify(const char *state);

/* ---- node.c ---------------------------------------------------------------- */

/* Read the state, open the port, take part; false: said why. */
extern bool witness_node_start(const WitnessSettings *settings);

/* Wait for whatever comes next, and deal with it; PGQ_WAIT_* bits; -1 = a write failed. */
extern int	witness_node_wait(void);

/* name and address stay as they were at the start. */
extern void witness_node_reconfigure(const WitnessSettings *settings);
extern void witness_node_stop(void);

/* ---- host.c ---------------------------------------------------------------- */

/* A report as the last words of this program. */
extern void witness_fail(const PgqReport *report);

extern uint64 witness_counter(PgqCounter counter);

/* ---- wait.c ---------------------------------------------------------------- */

/* From here on signals only come in while the witness waits. */
extern void witness_signals_start(void);
extern bool witness_shall_stop(void);
extern bool witness_shall_reload(void); /* once for each SIGHUP */

#endif							/* PGQ_WITNESS_H */
