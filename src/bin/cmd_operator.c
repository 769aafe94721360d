/*
 * cmd_operator.c
 *	  pg_quorum pause, resume, set, force: what only an operator decides.
 */
#include "admin.h"

#define ANSWER_MS 20000

static const AdminUsage pause_usage = {"pause", false,
	"pause: nobody takes over by itself for a while, for maintenance.\n\n"
	"Usage:\n  pg_quorum pause [--for=TIME] [connection options]\n\n"
	"      --for=TIME         when the pause ends by itself, such as 30min (default: 1h, at most 1d)\n"
	"\nWhile it lasts nobody takes over when the leader is lost, but the leader itself when it\n"
	"returns. A switchover works. It can be made longer or shorter at any time.\n"
	"Exit codes: 0 done, 1 refused, 2 no leader, 3 nobody to ask, 4 wrong options.\n"
};
static const AdminUsage resume_usage = {"resume", false,
	"resume: end a pause.\n\nUsage:\n  pg_quorum resume [connection options]\n\n"
	"When nobody leads, the nodes that answer are told to take over in spite of the pause.\n"
	"Exit codes: 0 done, 1 refused, 3 nobody to ask, 4 wrong options.\n"
};
static const AdminUsage set_usage = {"set", true,
	"set: make a member a voter or a learner, or tell where it is now.\n\n"
	"Usage:\n  pg_quorum set NAME [--kind=KIND] [--address=HOST:PORT] [connection options]\n\n"
	"      --kind=KIND        voter or learner\n"
	"      --address=HOST:PORT  of its quorum port; its quorum.address has to say the same\n"
	"      --wait=SECONDS     how long it may take (default: 60)\n"
	"\nNot the leader itself: switch over first.\n"
	"Exit codes: 0 done, 1 refused or failed, 2 no leader, 3 nobody to ask, 4 wrong options.\n"
};
static const AdminUsage force_usage = {"force", true,
	"force: make a node leader without a majority. Data may be lost.\n\n"
	"Usage:\n  pg_quorum force NAME [connection options]\n\n"
	"For the day when most voters are gone for good. It says what may be lost, then asks to\n"
	"type the name of the node. The others follow it when they return, and vote again when they\n"
	"have caught up.\n"
	"Exit codes: 0 done, 1 refused or failed, 3 nobody to ask, 4 wrong options.\n"
};

/* ---- pause and resume ----------------------------------------------------------------------- */

int
cmd_pause(int argc, char **argv)
{
	Admin		admin = {0};
	Survey	   *survey;
	PGresult   *result;
	const char *values[1];
	bool		lost;
	int			code;

	if (!admin_options(&admin, &pause_usage, argc, argv, &code))
		return code;
	values[0] = psprintf("%d s", admin.seconds > 0 ? admin.seconds : 3600);
	result = admin_call(survey_leader(&survey, &admin.common, 0),
						"SELECT pg_catalog.date_trunc('second', quorum.pause($1::interval)) AS until", 1,
						values, ANSWER_MS, &lost);
	if (result == NULL)
		return EXIT_DEGRADED;
	printf("nobody takes over by itself before %s; \"%s resume\" ends it earlier\n",
		   field(result, 0, "until"), progname);
	return EXIT_FINE;
}

/* Nobody leads: whoever answers may take over. */
static int
resume_without_leader(const Survey *survey)
{
	int			told = 0;

	for (int i = 0; i < survey->count; i++)
	{
		const Member *member = &survey->members[i];
		bool		lost;

		if (member->own == NULL ||
			admin_call(member->own->conn, "SELECT quorum.resume()", 0, NULL, ANSWER_MS, &lost) == NULL)
			continue;
		printf("%s may take over\n", member->name);
		told++;
	}
	if (told == 0)
		pg_log_error("no node could be told");
	return told > 0 ? EXIT_FINE : EXIT_DEGRADED;
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
	survey = survey_take(&admin.common);
	if (interrupted())
		return EXIT_INTERRUPTED;
	if (survey->reference != NULL && survey->leader == NULL)
		return resume_without_leader(survey);
	if (admin_call(survey_leader(&survey, &admin.common, 0), "SELECT quorum.resume()", 0, NULL,
				   ANSWER_MS, &lost) == NULL)
		return EXIT_DEGRADED;
	printf("whoever is up to date takes over again when the leader is lost\n");
	return EXIT_FINE;
}

/* ---- set ------------------------------------------------------------------------------------ */

static bool
set_one(const Admin *admin, PGconn *leader, const char *sql, const char *value)
{
	int			seconds = admin->seconds > 0 ? admin->seconds : 60;
	const char *values[] = {admin->argument, value, psprintf("%d s", seconds)};
	bool		lost;

	if (admin_call(leader, sql, 3, values, (seconds + 5) * 1000, &lost) == NULL)
		return false;
	printf("%s: %s\n", admin->argument, value);
	return true;
}

int
cmd_set(int argc, char **argv)
{
	Admin		admin = {0};
	Survey	   *survey;
	PGconn	   *leader;
	int			code;

	if (!admin_options(&admin, &set_usage, argc, argv, &code))
		return code;
	if (admin.kind == NULL && admin.address == NULL)
	{
		pg_log_error("nothing to set");
		pg_log_error_hint("Use --kind or --address.");
		return usage_error("set");
	}
	leader = survey_leader(&survey, &admin.common, 0);
	if (admin.address != NULL &&
		!set_one(&admin, leader, "SELECT quorum.set_member_address($1, $2, $3::interval)",
				 admin.address))
		return EXIT_DEGRADED;
	if (admin.kind != NULL &&
		!set_one(&admin, leader, "SELECT quorum.set_member_kind($1, $2, $3::interval)", admin.kind))
		return EXIT_DEGRADED;
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

		if (member == chosen || strcmp(member->kind, "witness") == 0)
			continue;
		printf(member->heard ? "  %s is there, with WAL to %s on timeline %s\n" :
			   "  %s is unreachable; its WAL was known to reach %s on timeline %s\n", member->name,
			   member->lsn ? member->lsn : "?", member->timeline ? member->timeline : "?");
	}
	printf("Every commit that %s does not hold is lost, also acknowledged ones. What of it is on\n"
		   "nodes that return is kept aside there (quorum.rollbacks).\n"
		   "Be sure that no other node serves: there would be two leaders.\n", chosen->name);
}

static int
force(const Admin *admin, const Survey *survey)
{
	const Member *chosen = survey_member(survey, admin->argument);
	const char *values[] = {admin->argument};
	char	   *answer;
	bool		lost;

	if (chosen == NULL || chosen->own == NULL)
	{
		pg_log_error(chosen == NULL ? "there is no member \"%s\"" : "\"%s\" does not answer",
					 admin->argument);
		pg_log_error_hint("\"%s status\" shows who does.", progname);
		return EXIT_DEGRADED;
	}
	if (survey->leader != NULL)
	{
		pg_log_error("\"%s\" leads: there is nothing to force", survey->leader->name);
		pg_log_error_hint("Use \"%s switchover\".", progname);
		return EXIT_DEGRADED;
	}
	if (survey->voters_heard >= survey->quorum)
		pg_log_warning("%d of %d voters are there, enough to elect a leader: see \"%s check\" first",
					   survey->voters_heard, survey->voters, progname);
	tell_what_may_be_lost(survey, chosen);
	answer = ask_text("Type the name of the node to go on: ", true);
	if (answer == NULL || strcmp(answer, chosen->name) != 0)
	{
		pg_log_error("not confirmed, nothing was changed");
		return EXIT_DEGRADED;
	}
	if (admin_call(chosen->own->conn, "SELECT quorum.force($1)", 1, values, 70000, &lost) == NULL)
		return EXIT_DEGRADED;
	printf("%s leads and serves; the others are learners until they have caught up\n", chosen->name);
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
