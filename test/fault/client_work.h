/*
 * client_work.h
 *	  What a client does: small transactions of known meaning, each with its line.
 */
#ifndef CLIENT_WORK_H
#define CLIENT_WORK_H

#include <stdint.h>

/* of_kind: "reader" or "standby" for a client that only reads, otherwise "". */
extern void work_init(int number, uint64_t seed, const char *of_kind);

/* A number below n, of the generator of this client. */
extern int	draw(int n);

/* One transaction on the connected server, and its line on the standard output. */
extern void work_transaction(void);

#endif							/* CLIENT_WORK_H */
