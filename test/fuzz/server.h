/*
 * server.h
 *	  The few functions of the server that the decoders of src/pg call.
 *
 * A target includes the source file it is about, for its static functions; what else that
 * file refers to is in the server and is never reached: the linker leaves it out.
 */
#ifndef FUZZ_SERVER_H
#define FUZZ_SERVER_H

#include "postgres.h"

#include "fuzz.h"

/* How many times the server would have written to its log. */
extern int	server_logged;

#endif							/* FUZZ_SERVER_H */
