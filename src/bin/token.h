/*
 * token.h
 *	  The text that lets a new host in: where the cluster is, and its secrets.
 */
#ifndef PGQ_TOKEN_H
#define PGQ_TOKEN_H

#include "command.h"

typedef struct Token
{
	char	   *hosts;			/* of PostgreSQL: comma separated, as libpq has them */
	char	   *ports;
	char	   *dbname;			/* where the extension is */
	char	   *user;			/* role for streams and for joining */
	char	   *password;		/* its password; NULL = none needed or found elsewhere */
	char	   *secret;			/* of the quorum ports: contents of quorum.secret_file */
	char	   *conninfo;		/* quorum.conninfo of the cluster */
} Token;

extern char *token_encode(const Token *token);

/*
 * From the text itself, @file, - (standard input) or, with NULL, PG_QUORUM_TOKEN of the
 * environment.  Exits with an explanation when it is not one.
 */
extern Token *token_read(const char *given);

#endif							/* PGQ_TOKEN_H */
