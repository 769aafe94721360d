/*
 * autoconf.h
 *	  Sets one setting in postgresql.auto.conf, as ALTER SYSTEM does.
 */
#ifndef PGQ_AUTOCONF_H
#define PGQ_AUTOCONF_H

#include "postgres.h"

/*
 * From the worker: true when the file says so, which it may have done before.  Never
 * throws; a failure is logged, and worth another try.  The caller makes the server read it.
 */
extern bool pgq_autoconf_keep(const char *name, const char *value);

#endif							/* PGQ_AUTOCONF_H */
