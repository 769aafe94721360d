/*
 * conninfo.c
 *	  Reads connection strings of libpq's keyword form, such as quorum.conninfo.
 *
 * The server has no parser of its own for them.  URIs are refused: hosts, ports and more
 * are put behind what the user wrote, where the last of two equal keywords counts.
 */
#include "postgres.h"

#include <ctype.h>

#include "miscadmin.h"

#include "conninfo.h"

#define HINT \
	"Write keywords and values, such as user=replicator sslmode=verify-full; hosts and ports are those of the members."

bool
pgq_conninfo_valid(const char *text, const char **why_not, const char **hint)
{
	char		keyword[PGQ_KEYWORD_SIZE];
	char		value[PGQ_VALUE_SIZE];

	*hint = HINT;
	*why_not = "It is a URI.";
	if (strncmp(text, "postgres://", 11) == 0 || strncmp(text, "postgresql://", 13) == 0)
		return false;
	*why_not = "It is not a list of keywords and values.";
	while (isspace((unsigned char) *text))
		text++;
	while (*text != '\0')
	{
		if (!pgq_conninfo_next(&text, keyword, value))
			return false;
	}
	return true;
}

void
pgq_conninfo_get(const char *text, const char *keyword, char *value, size_t size)
{
	char		one[PGQ_KEYWORD_SIZE];
	char		its[PGQ_VALUE_SIZE];

	value[0] = '\0';
	while (isspace((unsigned char) *text))
		text++;
	while (*text != '\0' && pgq_conninfo_next(&text, one, its))
	{
		if (strcmp(one, keyword) == 0)
			strlcpy(value, its, size);
	}
}

/* At the start nothing is refused here: the server starts, and takes no part (guc.c). */
bool
pgq_conninfo_check_hook(char **value, void **extra, GucSource source)
{
	const char *why_not;
	const char *hint;

	(void) extra;
	(void) source;
	if (process_shared_preload_libraries_in_progress || *value == NULL ||
		pgq_conninfo_valid(*value, &why_not, &hint))
		return true;
	GUC_check_errdetail("%s", why_not);
	GUC_check_errhint("%s", hint);
	return false;
}

bool
pgq_conninfo_next(const char **text, char *keyword, char *value)
{
	const char *c = *text;
	size_t		length = 0;
	bool		quoted;

	while (*c != '\0' && *c != '=' && !isspace((unsigned char) *c) && length + 1 < PGQ_KEYWORD_SIZE)
		keyword[length++] = *c++;
	keyword[length] = '\0';
	while (isspace((unsigned char) *c))
		c++;
	if (length == 0 || *c++ != '=')
		return false;
	while (isspace((unsigned char) *c))
		c++;

	quoted = *c == '\'';
	if (quoted)
		c++;
	for (length = 0; *c != '\0' && length + 1 < PGQ_VALUE_SIZE; c++)
	{
		if (quoted ? *c == '\'' : isspace((unsigned char) *c))
			break;
		if (*c == '\\' && *++c == '\0')
			break;				/* one that escapes nothing is dropped */
		value[length++] = *c;
	}
	value[length] = '\0';

	/* its end, or the room for it; what is left would be taken for a keyword */
	if (quoted ? *c++ != '\'' : *c != '\0' && !isspace((unsigned char) *c))
		return false;
	while (isspace((unsigned char) *c))
		c++;
	*text = c;
	return true;
}
