/*
 * server.c
 *	  The few functions of the server that the decoders of src/pg call.
 */
#include "server.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "storage/fd.h"
#include "utils/datetime.h"

#include "compat.h"
#include "shmem.h"

int			server_logged;

/* Of the server, the library and its settings: nothing is decided from them here. */
volatile sig_atomic_t InterruptPending;
char	   *GUC_check_errdetail_string;
char	   *GUC_check_errhint_string;
int			wal_segment_size = 16 * 1024 * 1024;
PgqShared  *pgq_shared;

/* Of what is only logged nothing is put together; an error is none that a decoder may raise. */
bool
errstart(int elevel, const char *domain)
{
	(void) domain;
	fuzz_require(elevel < ERROR);
	server_logged++;
	return false;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

int
BasicOpenFile(const char *path, int flags)
{
	return open(path, flags, 0600);
}

int
pg_fsync(int fd)
{
	(void) fd;
	return 0;
}

int
fsync_fname_ext(const char *path, bool is_directory, bool ignore, int elevel)
{
	(void) path;
	(void) is_directory;
	(void) ignore;
	(void) elevel;
	return 0;
}

int
durable_rename(const char *old, const char *new, int elevel)
{
	(void) elevel;
	return rename(old, new);
}

FILE *
AllocateFile(const char *path, const char *mode)
{
	return fopen(path, mode);
}

int
FreeFile(FILE *file)
{
	return fclose(file);
}

/* Days since the beginning of the Julian calendar, as src/backend/utils/adt/datetime.c. */
int
date2j(int year, int month, int day)
{
	int			months = month > 2 ? month + 1 : month + 13;
	int			years = month > 2 ? year + 4800 : year + 4799;

	return years * 365 - 32167 + years / 4 - years / 100 + years / 400 + 7834 * months / 256 + day;
}

uint64
pgq_now_mono(void)
{
	return 0;
}

void
ExceptionalCondition(PGQ_EXCEPTIONAL_CONDITION_PARAMS)
{
	fuzz_failed(condition, file, line);
}
