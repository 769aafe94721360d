/*
 * files.h
 *	  Small tools for files and directories; each logs a failure.
 */
#ifndef PGQ_FILES_H
#define PGQ_FILES_H

#include "postgres.h"

/* A link counts, wherever it leads. */
extern bool pgq_file_exists(const char *path);

/* Remove a file or a directory with all that is in it; false when something is left. */
extern bool pgq_file_remove(const char *path);

/* Bytes on disk of a file or of a directory with all that is in it. */
extern int64 pgq_file_size(const char *path);

/* The copy is durable, its name is not yet. */
extern bool pgq_file_copy(const char *from, const char *to);

extern bool pgq_directory_sync(const char *path);

/* Log what errno says: "could not <doing> <path>".  Returns false. */
extern bool pgq_file_complain(const char *doing, const char *path);

#endif							/* PGQ_FILES_H */
