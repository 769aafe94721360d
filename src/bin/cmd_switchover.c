/*
 * cmd_switchover.c
 *	  pg_quorum switchover: another node leads.
 */
#include "admin.h"

#include <time.h>

#include "portability/instr_time.h"

static const AdminUsage switchover_usage = {"switchover", false,
	"switchover: hand over to another node.\n\n"
	"Usage:\n  pg_quorum switchover [--to=NAME] [OPTION]... [connection options]\n\n"
	"      --to=NAME          the next leader (default: the best one)\n"
	"      --wait=SECONDS     give up after that, and go on as before (default: 5)\n"
	"\nExit codes: 0 done, 1 refused or given up, 2 no leader, 3 nobody to ask, 4 wrong options.\n"
};
static char *
seconds_text(int seconds, int standard)
{
	return psprintf("%d s", seconds > 0 ? seconds : standard);
}

/*
 * The function answers when the new leader has all WAL, a moment before it serves; and
 * the old leader restarts in place, which may end our connection before the answer.
 */
static char *
wait_for_new_leader(const Admin *admin, const char *old, int seconds)
{
	time_t		give_up_at = time(NULL) + seconds;
	char	   *found = NULL;

	while (found == NULL && !interrupted() && time(NULL) <= give_up_at)
	{
		Survey	   *survey = survey_take(&admin->common);

		if (survey->leader != NULL && survey->leader->serves &&
			strcmp(survey->leader->name, old) != 0)
			found = pg_strdup(survey->leader->name);
		survey_free(survey);
		if (found == NULL)
			pg_usleep(10 * 1000);
	}
	if (found == NULL && !interrupted())
	{
		pg_log_error("no other node than \"%s\" leads after %d s", old, seconds);
		pg_log_error_hint("See \"%s status\".", progname);
	}
	return found;
}

static bool
check_target(const Survey *survey, const char *target)
{
	if (target == NULL || survey_member(survey, target) != NULL)
		return true;
	pg_log_error("there is no member \"%s\"", target);
	pg_log_error_hint("\"%s status\" shows their names.", progname);
	return false;
}

char *
admin_switchover(const Admin *admin, int seconds)
{
	Survey	   *survey;
	PGconn	   *leader = survey_leader(&survey, &admin->common, 0);
	char	   *old = pg_strdup(survey->leader->name);
	const char *values[] = {admin->to, seconds_text(seconds, 5)};
	bool		lost;
	PGresult   *result;
	instr_time	begin;
	instr_time	end;
	char	   *new;

	if (!check_target(survey, admin->to))
		return NULL;
	if (admin->to != NULL && strcmp(admin->to, old) == 0)
	{
		printf("%s leads already\n", old);
		return old;
	}
	INSTR_TIME_SET_CURRENT(begin);
	result = admin_call(leader, "SELECT quorum.switchover($1, $2::interval) AS leader", 2, values,
						(seconds + 5) * 1000, &lost);
	if (result == NULL && (!lost || interrupted()))
		return NULL;
	new = wait_for_new_leader(admin, old, seconds + 5);
	if (new == NULL)
		return NULL;
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, begin);
	printf("%s leads now instead of %s, after %.0f ms\n", new, old, INSTR_TIME_GET_MILLISEC(end));
	return new;
}

int
cmd_switchover(int argc, char **argv)
{
	Admin		admin = {0};
	int			code;

	if (!admin_options(&admin, &switchover_usage, argc, argv, &code))
		return code;
	return admin_switchover(&admin, admin.seconds > 0 ? admin.seconds : 5) != NULL ?
		EXIT_FINE : EXIT_DEGRADED;
}
