/*
 * strings.c
 *	  strlcpy() and strlcat() as PostgreSQL has them, but compiled with the sanitizer: both
 *	  read their source up to its NUL, wherever that is.
 */
#include "c.h"

size_t
strlcpy(char *target, const char *source, size_t size)
{
	size_t		length = 0;

	while (source[length] != '\0')
	{
		if (length + 1 < size)
			target[length] = source[length];
		length++;
	}
	if (size > 0)
		target[Min(length, size - 1)] = '\0';
	return length;
}

size_t
strlcat(char *target, const char *source, size_t size)
{
	size_t		used = strnlen(target, size);

	return used + strlcpy(target + used, source, size - used);
}
