/*
 * files.h
 *	  Files of a data directory that the command reads and writes.
 */
#ifndef PGQ_FILES_H
#define PGQ_FILES_H

#include "command.h"

#define SECRET_FILE "pg_quorum.secret"
#define PASSWORD_FILE "pg_quorum.pgpass"

/* A list of settings to be written. */
typedef struct Settings
{
	const char *names[64];
	const char *values[64];
	int			count;
} Settings;

extern void settings_add(Settings *settings, const char *name, const char *value);
/* name=value, as given on the command line; exits when it is not. */
extern void settings_parse(Settings *settings, const char *assignment);

/* The whole file, NULL when it does not exist; every other failure is fatal. */
extern char *file_read(const char *path);
/* Atomic and durable, readable by the owner only. */
extern void file_write(const char *path, const char *text);

/* Lines of a configuration file that set one of the names go away. */
extern char *conf_without(const char *text, const char *const *names);
extern void conf_append(PQExpBuffer text, const Settings *settings);
/* file_read, conf_without, conf_append, file_write. */
extern void conf_change(const char *path, const char *const *drop, const Settings *settings);

extern char *random_hex(int bytes);
extern bool directory_is_empty(const char *path);	/* or does not exist */

/* Password of the role in the password file of a data directory; NULL = none. */
extern char *passfile_password(const char *directory, const char *user);
extern void passfile_write(const char *directory, const char *user, const char *password);

/* Lines for pg_hba.conf that let the role in from there, before all others. */
extern bool hba_allow(const char *path, const char *user, const char *dbname,
					  const char *const *networks, int count);

#endif							/* PGQ_FILES_H */
