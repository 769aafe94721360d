/*
 * cmd_witness.c
 *	  pg_quorum witness: becomes the program pg_quorum_witness.
 *
 * That one does without libpq and the libraries that come with it (src/witness).
 */
#include "local.h"

#include <unistd.h>

int
cmd_witness(int argc, char **argv)
{
	char	   *path = program("pg_quorum_witness");

	(void) argc;
	argv[0] = path;
	execv(path, argv);
	pg_log_error("could not run \"%s\": %m", path);
	return EXIT_DEGRADED;
}
