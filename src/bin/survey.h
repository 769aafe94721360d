/*
 * survey.h
 *	  What all members that can be asked say of the cluster, put together.
 */
#ifndef PGQ_SURVEY_H
#define PGQ_SURVEY_H

#include "connect.h"

#define MEMBERS_MAX 32

/* One member: its own words when it answers, else those of another node. */
typedef struct Member
{
	const char *name;
	const char *host;
	const char *pg_port;		/* NULL = not known */
	const char *kind;
	const Endpoint *own;		/* it answers here; NULL = it does not */
	const char *error;			/* why not; NULL = it was not even asked (no port known) */
	bool		denied;			/* because it does not let us in */
	const Endpoint *teller;		/* whose row of quorum.members is used for it */
	int			row;			/* that row */
	bool		serves;			/* leader with an open gate, by its own word */
	bool		heard;			/* by itself or by the teller */
	bool		refuses;		/* nobody listens on its port, as seen from here */
	const char *state;			/* one word or two for people */
	const char *reason;			/* what is wrong with it; NULL = nothing known */
	const char *lsn;
	const char *timeline;
} Member;

typedef struct Survey
{
	Endpoints	endpoints;
	ConnSpec   *spec;
	Member		members[MEMBERS_MAX];
	int			count;
	const Endpoint *reference;	/* whose list of members counts; NULL = nobody answers */
	const Member *leader;		/* the one that serves; NULL = none; by the word of a follower
								 * that acknowledges its WAL when it has no own word */
	const char *term;
	const char *paused_until;	/* NULL = not paused */
	int			voters;
	int			voters_heard;
	int			quorum;			/* of voters */
	int			electable;		/* followers that could take over */
	char	   *problems[MEMBERS_MAX + 8];
	int			problem_count;
	ExitCode	code;			/* EXIT_FINE .. EXIT_NOBODY */
} Survey;

extern Survey *survey_take(const Common *common);
extern void survey_free(Survey *survey);

/* Says on standard error why no node could be asked. */
extern void survey_report_nobody(const Survey *survey);

extern const Member *survey_member(const Survey *survey, const char *name);

/* A value of the row that is used for the member, or of its own quorum.status. */
extern const char *member_row(const Member *member, const char *column);
extern const char *member_own(const Member *member, const char *column);

/*
 * An open connection to the leader; exits with an explanation when there is none.
 * With wait_seconds it is looked for that long.
 */
extern PGconn *survey_leader(Survey **survey, const Common *common, int wait_seconds);

#endif							/* PGQ_SURVEY_H */
