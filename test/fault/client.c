/*
 * client.c
 *	  One client of torture.pl: runs small transactions of known meaning against whatever
 *	  server takes them, and writes down what it was told about each.
 *
 * It judges nothing.  What it does is client_work.c, where it does it client_server.c; the
 * Torture*.pm read its lines, one transaction each:
 *
 *	  <start> <end> <ok|failed|unknown> <isolation> <port> <term> <kind> <operation> ...
 *
 * Instants are microseconds of CLOCK_MONOTONIC; isolation is 0 (read committed), 1
 * (repeatable read) or 2 (serializable); term is that in which the server leads, 0 on a
 * standby.  A failed transaction was refused with an error, an unknown one was never
 * answered.  Operations, by kind:
 *
 *	  list		a:<key>:<value> appended, r:<key>:<v>,<v>,... read
 *	  ledger	l:<id> inserted
 *	  bank		t:<from>:<to>:<amount>, sum:<total>
 *	  seq		n:<number>
 *	  register	R:<key>:<value> read, W:<key>:<value> written, C:<key>:<old>:<new>:<1|0> set
 *				when it was old, or found to be another one
 *	  any		p:gone what was prepared was not there to be committed
 *
 * usage: client <host:port, comma separated> <user> <number of this client> <seed> [reader|standby]
 * A reader only reads, so that no commit keeps it from a leader that should serve no more; on
 * every other connection it has a majority confirm its reads (quorum.read_consistency = quorum).
 * A standby client only reads, too, on any server, at quorum.read_consistency = committed.
 * A client ends when its standard input does.
 */
#include "client_server.h"
#include "client_work.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define PAUSE_US 2000			/* between two transactions */
#define RETRY_US 20000			/* between two servers */

int
main(int argc, char **argv)
{
	const char *kind = argc > 5 ? argv[5] : "";

	if (argc < 5 || !server_init(argv[1], argv[2], kind))
	{
		fprintf(stderr, "usage: client <host:port, ...> <user> <number> <seed> [reader|standby]\n");
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	work_init(atoi(argv[3]), strtoull(argv[4], NULL, 10), kind);
	while (!server_input_ended())
	{
		if (!server_connected() && !server_find())
		{
			server_disconnect();
			server_pause(RETRY_US);
			continue;
		}
		work_transaction();
		server_pause(PAUSE_US + draw(PAUSE_US));
	}
	server_disconnect();
	return 0;
}
