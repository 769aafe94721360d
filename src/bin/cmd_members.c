/*
 * cmd_members.c
 *	  pg_quorum remove, replace: members that go.
 */
#include "admin.h"

static const AdminUsage remove_usage = {"remove", true,
	"remove: remove a member.\n\n"
	"Usage:\n  pg_quorum remove NAME [OPTION]... [connection options]\n\n"
	"  -y, --yes              do not ask\n"
	"      --wait=SECONDS     how long it may take (default: 60)\n"
	"\nThe node may be down. The leader hands over first. Its data directory stays.\n"
	"Exit codes: 0 done, 1 refused or failed, 2 no leader, 3 nobody to ask, 4 wrong options.\n"
};
static const AdminUsage replace_usage = {"replace", true,
	"replace: remove a member that is gone, and join in its place.\n\n"
	"Usage:\n  pg_quorum replace NAME -D DIRECTORY --address=HOST[:PORT] [OPTION]... TOKEN\n"
	"  pg_quorum replace NAME [OPTION]... [connection options]\n\n"
	"With --address it is run on the new host and does what join does, whose options and token\n"
	"it takes; the new node has the old name unless --name is given. Without, it only removes\n"
	"the member and tells how its successor joins.\n\n"
	"  -y, --yes              do not ask\n"
	"      --wait=SECONDS     how long it may take (default: 60, with a join 600)\n"
	"\nWhen the old node still works, join the new one first and remove the old one then:\n"
	"so there is always the same redundancy. Replace is for a node that is gone.\n"
};

/* What the loss of this member would leave; false when the user does not want that. */
static bool
confirm(const Survey *survey, const Member *member, bool yes)
{
	int			voters = survey->voters - (strcmp(member->kind, "learner") != 0);

	printf("%s (%s, %s) is removed; %d of %d voters stay\n", member->name, member->kind,
		   member->state, voters, survey->voters);
	if (voters < 3)
		pg_log_warning("fewer than three voters cannot lose one");
	return yes || ask_yes("Remove it?");
}

static bool
remove_member(const Admin *admin)
{
	Survey	   *survey;
	PGconn	   *leader = survey_leader(&survey, &admin->common, 0);
	const Member *member = survey_member(survey, admin->argument);
	int			seconds = admin->seconds > 0 ? admin->seconds : 60;
	const char *values[] = {admin->argument, psprintf("%d s", seconds)};
	PGresult   *result;
	bool		lost;

	if (member == NULL)
	{
		pg_log_error("there is no member \"%s\"", admin->argument);
		pg_log_error_hint("\"%s status\" shows their names.", progname);
		return false;
	}
	if (!confirm(survey, member, admin->yes))
		return false;
	if (member == survey->leader)
	{
		/* The leader cannot leave: somebody else has to lead first. */
		survey_free(survey);
		if (admin_switchover(admin, 5) == NULL)
			return false;
		leader = survey_leader(&survey, &admin->common, 10);
	}
	result = admin_call(leader, "SELECT quorum.remove_member($1, $2::interval)", 2, values,
						(seconds + 5) * 1000, &lost);
	PQclear(result);
	if (lost && !interrupted())
		pg_log_error_hint("See \"%s status\" for whether it is done.", progname);
	if (result != NULL)
		printf("%s is no member any more; its server and its data are left to you\n",
			   admin->argument);
	return result != NULL;
}

int
cmd_remove(int argc, char **argv)
{
	Admin		admin = {0};
	int			code;

	if (!admin_options(&admin, &remove_usage, argc, argv, &code))
		return code;
	return remove_member(&admin) ? EXIT_FINE : EXIT_DEGRADED;
}

int
cmd_replace(int argc, char **argv)
{
	Admin		admin = {0};
	int			code;

	for (int i = 2; i < argc; i++)
	{
		if (strncmp(argv[i], "--address", strlen("--address")) != 0 || argv[1][0] == '-')
			continue;

		/* The name of the old member goes, the rest is for join. */
		admin.argument = argv[1];
		argv[1] = argv[0];
		return join_in_place_of(admin.argument, argc - 1, argv + 1);
	}
	if (!admin_options(&admin, &replace_usage, argc, argv, &code))
		return code;
	if (!remove_member(&admin))
		return EXIT_DEGRADED;
	printf("\nOn a member, as the owner of its server:\n\n  %s token\n\n"
		   "prints the line with which its successor joins; the name \"%s\" is free again.\n",
		   progname, admin.argument);
	return EXIT_FINE;
}
