/*
 * memory.c
 *	  The memory of the programs under a fuzz target, and their exit.
 *
 * The command and the witness never free what they read, and end where something is wrong:
 * a target that calls them millions of times has to do both for them.  Each piece is one of
 * malloc's own, so that the sanitizer sees its bounds.
 */
#include "postgres_fe.h"

#include <setjmp.h>

#include "fuzz.h"

#define PIECES_MAX	65536

/* The real ones: the linker leads all others here (--wrap). */
extern void __real_free(void *pointer);
extern void __wrap_free(void *pointer);
extern _Noreturn void __real_exit(int code);
extern _Noreturn void __wrap_exit(int code);

static void *pieces[PIECES_MAX];
static size_t sizes[PIECES_MAX];
static int	piece_count;
static size_t in_use;
static jmp_buf *at_exit;

static void *
add(size_t size, bool zero)
{
	void	   *piece = zero ? calloc(1, size > 0 ? size : 1) : malloc(size > 0 ? size : 1);

	fuzz_require(piece != NULL);
	fuzz_require(piece_count < PIECES_MAX);
	in_use += size;
	fuzz_require(in_use <= FUZZ_MEMORY_MAX);
	sizes[piece_count] = size;
	pieces[piece_count++] = piece;
	return piece;
}

static int
find(const void *pointer)
{
	int			i = piece_count - 1;

	while (i >= 0 && pieces[i] != pointer)
		i--;
	return i;
}

void
__wrap_free(void *pointer)
{
	int			i = pointer != NULL ? find(pointer) : -1;

	if (i >= 0)
	{
		in_use -= sizes[i];
		piece_count--;
		pieces[i] = pieces[piece_count];
		sizes[i] = sizes[piece_count];
	}
	__real_free(pointer);
}

void
fuzz_release(void)
{
	while (piece_count > 0)
		__real_free(pieces[--piece_count]);
	in_use = 0;
}

/* ---- as src/common/fe_memutils.c has them ----------------------------------- */

void *
pg_malloc(size_t size)
{
	return add(size, false);
}

void *
pg_malloc0(size_t size)
{
	return add(size, true);
}

void *
pg_malloc_extended(size_t size, int flags)
{
	return add(size, (flags & MCXT_ALLOC_ZERO) != 0);
}

void *
pg_realloc(void *pointer, size_t size)
{
	int			i = find(pointer);
	void	   *bigger = add(size, false);

	if (pointer == NULL)
		return bigger;
	fuzz_require(i >= 0);
	memcpy(bigger, pointer, Min(size, sizes[i]));
	__wrap_free(pointer);
	return bigger;
}

char *
pg_strdup(const char *text)
{
	return strcpy(add(strlen(text) + 1, false), text);
}

void
pg_free(void *pointer)
{
	__wrap_free(pointer);
}

void *
palloc(Size size)
{
	return add(size, false);
}

void *
palloc0(Size size)
{
	return add(size, true);
}

void *
palloc_extended(Size size, int flags)
{
	return add(size, (flags & MCXT_ALLOC_ZERO) != 0);
}

void *
repalloc(void *pointer, Size size)
{
	return pg_realloc(pointer, size);
}

char *
pstrdup(const char *text)
{
	return pg_strdup(text);
}

char *
pnstrdup(const char *text, Size size)
{
	size_t		length = strnlen(text, size);
	char	   *copy = add(length + 1, true);

	return memcpy(copy, text, length);
}

void
pfree(void *pointer)
{
	__wrap_free(pointer);
}

/* ---- the end of the program ------------------------------------------------- */

void
__wrap_exit(int code)
{
	if (at_exit == NULL)
		__real_exit(code);		/* the end of the fuzzer itself */
	fuzz_require(code != 0);
	longjmp(*at_exit, 1);
}

bool
fuzz_survives(void (*what) (void *arg), void *arg)
{
	jmp_buf		here;
	volatile bool survived = false;

	at_exit = &here;
	if (setjmp(here) == 0)
	{
		what(arg);
		survived = true;
	}
	at_exit = NULL;
	return survived;
}
