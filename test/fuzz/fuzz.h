/*
 * fuzz.h
 *	  What a fuzz target gives its driver, and what the driver gives the target.
 *
 * A target is one file fuzz_<name>.c.  The driver (driver.c) is either a main() of its own,
 * which feeds it seeds and random mutations of them, or clang's libFuzzer.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Seeds and inputs are at most this long. */
#define FUZZ_INPUT_MAX	16384

/* ---- the target ------------------------------------------------------------- */

/*
 * Decode.  True when the bytes were taken for valid: then everything that can be said of
 * what came out has been checked.  bytes has exactly `size` bytes: one more is an error.
 */
extern bool fuzz_one(const uint8_t *bytes, size_t size);

/*
 * The seed of this number, made by the encoders; its size, 0 = there are no more.  Every
 * one of them is valid: a target whose seeds are refused looks at nothing.
 */
extern size_t fuzz_seed(int number, uint8_t *bytes);

/*
 * Likewise what has to be refused: what was once found, or what one check alone keeps out.
 * No target needs to have any.
 */
extern size_t fuzz_refused(int number, uint8_t *bytes);

/* ---- the driver ------------------------------------------------------------- */

/* Never returns when it does not hold: whoever drives it tells which input it was. */
#define fuzz_require(condition) \
	((condition) ? (void) 0 : fuzz_failed(#condition, __FILE__, __LINE__))

extern _Noreturn void fuzz_failed(const char *condition, const char *file, int line);

/* Reproducible numbers for seeds; anew with each fuzz_dice(). */
extern void fuzz_dice(uint64_t seed);
extern uint64_t fuzz_some(uint64_t low, uint64_t high);

/* A directory of its own, which is the current one and is removed at the end. */
extern void fuzz_enter_directory(void);
extern void fuzz_write_file(const char *path, const void *bytes, size_t size);

/* memory.c: what the product has allocated since the last release is freed. */
extern void fuzz_release(void);

/* And that was never more than this at once. */
#define FUZZ_MEMORY_MAX	(4 * 1024 * 1024)

/*
 * memory.c: run it until it returns, or until the product would have ended the program;
 * false: it would have ended it.
 */
extern bool fuzz_survives(void (*what) (void *arg), void *arg);

#endif							/* FUZZ_H */
