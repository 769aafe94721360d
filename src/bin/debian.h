/*
 * debian.h
 *	  Servers that pg_createcluster made: configuration in one place, data in another.
 */
#ifndef PGQ_DEBIAN_H
#define PGQ_DEBIAN_H

#include "local.h"

/* Sets config_directory when the data directory is that of such a server. */
extern void find_config_directory(LocalServer *server);

/* What its postgresql.conf says of a setting; NULL = nothing.  Included files are not read. */
extern char *config_value(const char *config_directory, const char *name);

#endif							/* PGQ_DEBIAN_H */
