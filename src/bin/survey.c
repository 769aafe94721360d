/*
 * survey.c
 *	  Asks every member, also those that only other members know of, who is what.
 *
 * A node speaks for itself; for one that does not answer the leader speaks, or else the
 * node that heard it last.  Not here: how that is shown (cmd_status.c).
 */
#include "survey.h"

#include <time.h>

/* Two results: the node itself, then its members. */
static const char question[] =
"SELECT s.*, extract(epoch FROM s.lease_left)::float8 AS lease_left_seconds,"
" pg_catalog.current_setting('server_version') AS version,"
" (SELECT r.state FROM quorum.replication r WHERE r.direction = 'from' LIMIT 1) AS stream,"
" (SELECT r.counted FROM quorum.replication r WHERE r.direction = 'from' LIMIT 1) AS counted,"
" (SELECT r.why_not FROM quorum.replication r WHERE r.direction = 'from' LIMIT 1) AS why_not"
" FROM quorum.status s;"
"SELECT m.*, extract(epoch FROM m.last_heard)::float8 AS last_heard_seconds,"
" extract(epoch FROM m.lag_interval)::float8 AS lag_seconds"
" FROM quorum.members m ORDER BY m.node_id";

static const char *
own_status(const Endpoint *e, const char *column)
{
	return e != NULL && e->error == NULL ? field(e->results[0], 0, column) : NULL;
}

static bool
is_member(const Endpoint *e)
{
	const char *membership = own_status(e, "membership");

	return membership != NULL && strcmp(membership, "member") == 0;
}

static bool
serves(const Endpoint *e)
{
	const char *role = own_status(e, "role");
	const char *gate = own_status(e, "gate");

	return is_member(e) && role != NULL && strcmp(role, "leader") == 0 &&
		gate != NULL && strcmp(gate, "open") == 0;
}

static const char *
self_name(const Endpoint *e)
{
	return is_member(e) ? own_status(e, "node_name") : NULL;
}

/* The one that serves, else the one that knows of the latest term. */
static const Endpoint *
find_reference(const Survey *survey)
{
	const Endpoint *best = NULL;
	long		best_rank = -1;

	for (int i = 0; i < survey->endpoints.count; i++)
	{
		const Endpoint *e = &survey->endpoints.list[i];
		const char *term = own_status(e, "term");
		long		rank;

		if (!is_member(e))
			continue;
		rank = (term != NULL ? atol(term) : 0) * 2 + serves(e);
		if (rank > best_rank)
		{
			best = e;
			best_rank = rank;
		}
	}
	return best;
}

static const Endpoint *
find_own(const Survey *survey, const char *name)
{
	for (int i = 0; i < survey->endpoints.count; i++)
	{
		const char *self = self_name(&survey->endpoints.list[i]);

		if (self != NULL && strcmp(self, name) == 0)
			return &survey->endpoints.list[i];
	}
	return NULL;
}

/* True when there is somebody to ask whom nobody asked. */
static bool
add_unknown_members(Survey *survey)
{
	int			before = survey->endpoints.count;
	const PGresult *rows = survey->reference->results[1];

	for (int i = 0; i < PQntuples(rows); i++)
	{
		const char *port = field(rows, i, "pg_port");

		if (port != NULL && find_own(survey, field(rows, i, "name")) == NULL)
			endpoints_add(&survey->endpoints, field(rows, i, "host"), port);
	}
	return survey->endpoints.count > before;
}

static int
row_of(const Endpoint *e, const char *name)
{
	for (int i = 0; i < PQntuples(e->results[1]); i++)
	{
		if (strcmp(field(e->results[1], i, "name"), name) == 0)
			return i;
	}
	return -1;
}

/* Who tells about this member: the leader, or else who heard it last, or else itself. */
static void
find_teller(const Survey *survey, Member *member)
{
	double		best = -1;

	member->teller = survey->reference;
	member->row = row_of(survey->reference, member->name);
	if (serves(survey->reference))
		return;
	if (member->own != NULL && row_of(member->own, member->name) >= 0)
	{
		member->teller = member->own;
		member->row = row_of(member->own, member->name);
		return;
	}
	for (int i = 0; i < survey->endpoints.count; i++)
	{
		const Endpoint *e = &survey->endpoints.list[i];
		int			row = is_member(e) ? row_of(e, member->name) : -1;
		const char *heard = row >= 0 ? field(e->results[1], row, "last_heard_seconds") : NULL;

		if (heard == NULL || (best >= 0 && atof(heard) >= best))
			continue;
		best = atof(heard);
		member->teller = e;
		member->row = row;
	}
}

const char *
member_row(const Member *member, const char *column)
{
	return field(member->teller->results[1], member->row, column);
}

const char *
member_own(const Member *member, const char *column)
{
	return own_status(member->own, column);
}

static bool
own_is(const Member *member, const char *column, const char *value)
{
	const char *found = member_own(member, column);

	return found != NULL && strcmp(found, value) == 0;
}

static void
describe_silent(Member *member)
{
	const char *role = member_row(member, "role");

	member->heard = is_true(member_row(member, "reachable"));
	member->reason = member_row(member, "reason");
	if (!member->heard)
	{
		member->state = "unreachable";
		member->reason = member->error;
	}
	else if (strcmp(member->kind, "witness") == 0)
		member->state = "votes";
	else if (role != NULL && strcmp(role, "leader") == 0)
		member->state = "leads";
	else
		member->state = "runs";
	member->refuses = member->error != NULL &&
		strncmp(member->error, strerror(ECONNREFUSED), strlen(strerror(ECONNREFUSED))) == 0;
	if (member->heard && member->error != NULL)
		member->reason = psprintf("not asked: %s", member->error);
}

static void
describe(Member *member)
{
	member->timeline = member_row(member, "timeline");
	member->lsn = member_row(member, "flush_lsn");
	if (member->own == NULL)
	{
		describe_silent(member);
		return;
	}
	member->heard = true;
	member->serves = serves(member->own);
	/* Its own word on where its log ends is newer than what others heard. */
	if (row_of(member->own, member->name) >= 0)
	{
		int			row = row_of(member->own, member->name);

		member->timeline = field(member->own->results[1], row, "timeline");
		member->lsn = field(member->own->results[1], row, "flush_lsn");
	}
	member->reason = member_own(member, "reason");
	if (member->serves)
		member->state = "serves";
	else if (is_true(member_own(member, "needs_rewind")))
		member->state = "needs rewind";
	else if (own_is(member, "role", "leader"))
		member->state = "takes over";
	else if (own_is(member, "role", "candidate") || own_is(member, "role", "pre_candidate"))
		member->state = "stands";
	else if (own_is(member, "phase", "starting"))
		member->state = "starts";
	else if (own_is(member, "stream", "streaming"))
		member->state = is_true(member_own(member, "counted")) ? "streams" : "streams, not counted";
	else
		member->state = "waits";
	if (is_true(member_row(member, "left_out")))
		member->state = psprintf("%s, left out", member->state);
	if (member->reason == NULL && !member->serves)
		member->reason = member_own(member, "why_not");
}

/*
 * A leader that does not let us in, perhaps for want of a password, leads when a
 * follower says so whose acknowledgements count.
 */
static const Member *
leader_by_hearsay(const Survey *survey)
{
	for (int i = 0; i < survey->count; i++)
	{
		const Member *follower = &survey->members[i];
		const char *name = member_own(follower, "leader");
		const Member *leader = name != NULL ? survey_member(survey, name) : NULL;

		if (leader != NULL && leader->denied && leader->heard &&
			own_is(follower, "stream", "streaming") && is_true(member_own(follower, "counted")))
			return leader;
	}
	return NULL;
}

static void
collect_members(Survey *survey)
{
	const PGresult *rows = survey->reference->results[1];

	for (int i = 0; i < PQntuples(rows) && survey->count < MEMBERS_MAX; i++)
	{
		Member	   *member = &survey->members[survey->count++];

		member->name = field(rows, i, "name");
		member->kind = field(rows, i, "kind");
		member->host = field(rows, i, "host");
		member->pg_port = field(rows, i, "pg_port");
		member->own = find_own(survey, member->name);
		for (int e = 0; e < survey->endpoints.count && member->own == NULL; e++)
		{
			const Endpoint *endpoint = &survey->endpoints.list[e];

			if (member->pg_port != NULL && endpoint->error != NULL && endpoint->host != NULL &&
				strcmp(endpoint->host, member->host) == 0 && endpoint->port != NULL &&
				strcmp(endpoint->port, member->pg_port) == 0)
			{
				member->error = endpoint->error;
				member->denied = endpoint->denied;
			}
		}
		find_teller(survey, member);
		describe(member);
		if (member->serves)
			survey->leader = member;
	}
	if (survey->leader == NULL)
		survey->leader = leader_by_hearsay(survey);
}

static void pg_attribute_printf(2, 3)
problem(Survey *survey, const char *format,...)
{
	char		text[1024];
	va_list		args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (survey->problem_count < (int) lengthof(survey->problems))
		survey->problems[survey->problem_count++] = pg_strdup(text);
}

static void
judge_member(Survey *survey, const Member *member)
{
	bool		voter = strcmp(member->kind, "learner") != 0;
	bool		could = is_true(member_row(member, "electable"));

	if (voter && member->heard)
		survey->voters_heard++;
	if (!member->heard)
		problem(survey, "%s is unreachable", member->name);
	else if (member->refuses)
		problem(survey, "%s refuses connections", member->name);
	else if (voter && member != survey->leader && !could && strcmp(member->kind, "witness") != 0 &&
			 survey->paused_until == NULL)
		problem(survey, "%s could not take over%s%s", member->name,
				member_row(member, "reason") ? ": " : "",
				member_row(member, "reason") ? member_row(member, "reason") : "");
	else if (voter && member != survey->leader && could)
		survey->electable++;
}

static void
judge(Survey *survey)
{
	const char *voters = own_status(survey->reference, "voters");
	const char *quorum = own_status(survey->reference, "quorum");

	survey->voters = voters != NULL ? atoi(voters) : 0;
	survey->quorum = quorum != NULL ? atoi(quorum) : 0;
	survey->term = own_status(survey->reference, "term");
	survey->paused_until = own_status(survey->reference, "paused_until");
	if (survey->paused_until != NULL)
		problem(survey, "paused until %.19s: nobody takes over by itself", survey->paused_until);
	for (int i = 0; i < survey->count; i++)
		judge_member(survey, &survey->members[i]);
	if (survey->leader == NULL)
	{
		if (survey->voters_heard < survey->quorum)
			problem(survey, "only %d of %d voters are there, %d are needed",
					survey->voters_heard, survey->voters, survey->quorum);
		survey->code = EXIT_NO_LEADER;
		return;
	}
	if (survey->voters_heard - 1 < survey->quorum || survey->electable == 0)
	{
		if (survey->voters == 1)
			problem(survey, "a single voter cannot be lost: use three");
		else if (survey->voters == 2)
			problem(survey, "two voters cannot lose one: use three");
		else
			problem(survey, "the loss of one more of the %d voters that are there stops the "
					"cluster", survey->voters_heard);
	}
	survey->code = survey->problem_count > 0 ? EXIT_DEGRADED : EXIT_FINE;
}

Survey *
survey_take(const Common *common)
{
	Survey	   *survey = pg_malloc0(sizeof(Survey));

	survey->spec = spec_make(common, &survey->endpoints);
	survey->code = EXIT_NOBODY;
	/* A node knows others, those may know newer ones: twice is enough but for a race. */
	for (int round = 0; round < 3; round++)
	{
		endpoints_ask(&survey->endpoints, survey->spec, question);
		survey->reference = find_reference(survey);
		if (survey->reference == NULL || interrupted() || !add_unknown_members(survey))
			break;
	}
	if (survey->reference == NULL)
		return survey;
	collect_members(survey);
	judge(survey);
	return survey;
}

void
survey_free(Survey *survey)
{
	endpoints_close(&survey->endpoints);
	PQconninfoFree(survey->spec->options);
	free(survey->spec);
	for (int i = 0; i < survey->problem_count; i++)
		free(survey->problems[i]);
	free(survey);
}

void
survey_report_nobody(const Survey *survey)
{
	bool		missing = false;

	pg_log_error("no member of a cluster could be asked");
	for (int i = 0; i < survey->endpoints.count; i++)
	{
		const Endpoint *e = &survey->endpoints.list[i];

		if (e->error != NULL)
			pg_log_error_detail("%s: %s", endpoint_name(e), e->error);
		else
			pg_log_error_detail("%s: %s%s%s", endpoint_name(e), own_status(e, "membership"),
								own_status(e, "reason") ? ", " : "",
								own_status(e, "reason") ? own_status(e, "reason") : "");
		if (e->result_count > 0 && (has_sqlstate(e->results[0], "42P01") ||
									has_sqlstate(e->results[0], "3F000")))
			missing = true;
	}
	if (missing)
		pg_log_error_hint("The extension is not in database \"%s\": name the one where it is "
						  "with -d, or run \"%s init\".", spec_value(survey->spec, "dbname"),
						  progname);
	else
		pg_log_error_hint("Name the hosts with -h or -d, for example -h alpha,beta,gamma.");
}

const Member *
survey_member(const Survey *survey, const char *name)
{
	for (int i = 0; i < survey->count; i++)
	{
		if (strcmp(survey->members[i].name, name) == 0)
			return &survey->members[i];
	}
	return NULL;
}

PGconn *
survey_leader(Survey **survey, const Common *common, int wait_seconds)
{
	time_t		give_up_at = time(NULL) + wait_seconds;

	for (;;)
	{
		*survey = survey_take(common);
		if (interrupted())
			exit(EXIT_INTERRUPTED);
		if ((*survey)->leader != NULL && (*survey)->leader->own != NULL)
			return (*survey)->leader->own->conn;
		if (time(NULL) >= give_up_at)
			break;
		survey_free(*survey);
		pg_usleep(200 * 1000);
	}
	if ((*survey)->reference == NULL)
	{
		survey_report_nobody(*survey);
		exit(EXIT_NOBODY);
	}
	if ((*survey)->leader != NULL)
	{
		pg_log_error("the leader \"%s\" does not answer here: %s", (*survey)->leader->name,
					 (*survey)->leader->error ? (*survey)->leader->error : "its port is not known");
		pg_log_error_hint("Connect as a role that can reach every member, for example with "
						  "--token or -D.");
		exit(EXIT_NOBODY);
	}
	pg_log_error("no leader serves");
	for (int i = 0; i < (*survey)->problem_count; i++)
		pg_log_error_detail("%s.", (*survey)->problems[i]);
	pg_log_error_hint("See \"%s status\".", progname);
	exit(EXIT_NO_LEADER);
}
