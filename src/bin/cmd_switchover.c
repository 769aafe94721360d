/*
 * cmd_switchover.c
 *	  pg_quorum switchover, pause, resume, force: who leads, and whether that may change.
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
static const AdminUsage pause_usage = {"pause", false,
	"pause: no elections for a while, for maintenance.\n\n"
	"Usage:\n  pg_quorum pause [--for=TIME] [connection options]\n\n"
	"      --for=TIME         when the pause ends by itself, such as 30min (default: 1h)\n"
	"\nWhile it lasts no node takes over, also when the leader is lost.\n"
};
static const AdminUsage resume_usage = {"resume", false,
	"resume: end a pause.\n\nUsage:\n  pg_quorum resume [connection options]\n"
};
static const AdminUsage force_usage = {"force", true,
	"force: make a node leader without a majority. Data may be lost.\n\n"
	"Usage:\n  pg_quorum force NAME [connection options]\n\n"
	"For the day when most voters are gone for good. It says what may be lost, then asks to\n"
	"type the name of the node.\n"
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

int
cmd_pause(int argc, char **argv)
{
	Admin		admin = {0};
	Survey	   *survey;
	const char *values[1];
	bool		lost;
	int			code;

	if (!admin_options(&admin, &pause_usage, argc, argv, &code))
		return code;
	values[0] = seconds_text(admin.seconds, 3600);
	if (admin_call(survey_leader(&survey, &admin.common, 0), "SELECT quorum.pause($1::interval)",
				   1, values, 15000, &lost) == NULL)
		return EXIT_DEGRADED;
	printf("no elections for %s; \"%s resume\" ends it before\n", values[0], progname);
	return EXIT_FINE;
}

int
cmd_resume(int argc, char **argv)
{
	Admin		admin = {0};
	Survey	   *survey;
	bool		lost;
	int			code;

	if (!admin_options(&admin, &resume_usage, argc, argv, &code))
		return code;
	if (admin_call(survey_leader(&survey, &admin.common, 0), "SELECT quorum.resume()", 0, NULL,
				   15000, &lost) == NULL)
		return EXIT_DEGRADED;
	printf("elections are possible again\n");
	return EXIT_FINE;
}

/* ---- force ---------------------------------------------------------------------------------- */

static void
tell_what_may_be_lost(const Survey *survey, const Member *chosen)
{
	printf("%s would lead with WAL up to %s on timeline %s.\n", chosen->name,
		   chosen->lsn ? chosen->lsn : "?", chosen->timeline ? chosen->timeline : "?");
	for (int i = 0; i < survey->count; i++)
	{
		const Member *member = &survey->members[i];

		if (member != chosen && !member->heard)
			printf("  %s is unreachable; its WAL was known to reach %s on timeline %s\n",
				   member->name, member->lsn ? member->lsn : "?",
				   member->timeline ? member->timeline : "?");
	}
	printf("Every commit that only unreachable nodes hold is lost, also acknowledged ones.\n"
		   "Be sure that none of them still runs: there would be two leaders.\n");
}

static int
force(const Admin *admin, const Survey *survey)
{
	const Member *chosen = survey_member(survey, admin->argument);
	PGresult   *result;
	char	   *answer;
	bool		lost;

	if (chosen == NULL || chosen->own == NULL)
	{
		pg_log_error(chosen == NULL ? "there is no member \"%s\"" : "\"%s\" does not answer",
					 admin->argument);
		return EXIT_DEGRADED;
	}
	if (survey->leader != NULL)
	{
		pg_log_error("\"%s\" leads: there is nothing to force", survey->leader->name);
		pg_log_error_hint("Use \"%s switchover\".", progname);
		return EXIT_DEGRADED;
	}
	result = query_ok(chosen->own->conn, "SELECT pg_catalog.to_regproc('quorum.force') AS f", 0,
					  NULL, 10000);
	if (result == NULL || field(result, 0, "f") == NULL)
	{
		pg_log_error("this release of the extension cannot force a leader yet");
		pg_log_error_hint("Bring back enough voters: %d of %d are needed, %d are there.",
						  survey->quorum, survey->voters, survey->voters_heard);
		return EXIT_DEGRADED;
	}
	tell_what_may_be_lost(survey, chosen);
	answer = ask_text("Type the name of the node to go on: ", true);
	if (answer == NULL || strcmp(answer, chosen->name) != 0)
	{
		pg_log_error("not confirmed, nothing was changed");
		return EXIT_DEGRADED;
	}
	if (admin_call(chosen->own->conn, "SELECT quorum.force()", 0, NULL, 60000, &lost) == NULL)
		return EXIT_DEGRADED;
	printf("%s leads\n", chosen->name);
	return EXIT_FINE;
}

int
cmd_force(int argc, char **argv)
{
	Admin		admin = {0};
	Survey	   *survey;
	int			code;

	if (!admin_options(&admin, &force_usage, argc, argv, &code))
		return code;
	survey = survey_take(&admin.common);
	if (interrupted())
		return EXIT_INTERRUPTED;
	if (survey->reference == NULL)
	{
		survey_report_nobody(survey);
		return EXIT_NOBODY;
	}
	return force(&admin, survey);
}
