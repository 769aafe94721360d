/*
 * client_server.h
 *	  The one connection of a client: to a server that takes its transactions.
 */
#ifndef CLIENT_SERVER_H
#define CLIENT_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum Answer
{
	ANSWERED,
	REFUSED,					/* an error: the transaction has no effect */
	SILENT						/* no answer: whatever was asked may have happened */
} Answer;

/* Microseconds of CLOCK_MONOTONIC. */
extern int64_t now_us(void);

/*
 * addresses (host:port, comma separated) is taken apart; false when it is none.  of_kind:
 * "reader" or "standby" for a client that only reads, otherwise "".
 */
extern bool server_init(char *addresses, const char *user, const char *of_kind);

/* Connect to the next one that takes writes, or reads when it is for a standby client. */
extern bool server_find(void);

extern bool server_connected(void);
extern void server_disconnect(void);

/* Is the connection outside of a transaction? */
extern bool server_idle(void);

extern const char *server_port(void);

/* The term in which the connected server leads; a server that leads again has cut everybody off. */
extern const char *server_term(void);

/*
 * Send one statement and wait for its answer; value (may be NULL) gets the first field, or
 * the SQLSTATE of a refusal.
 */
extern Answer server_run(const char *sql, char *value, size_t size);

/* Wait; the end of the standard input ends this and every other wait, and the client. */
extern void server_pause(int64_t us);
extern bool server_input_ended(void);

#endif							/* CLIENT_SERVER_H */
