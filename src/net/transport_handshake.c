/*
 * transport_handshake.c
 *	  Proof of the secret in both directions, before the first frame.
 *
 * The bytes are in transport_frame.c, the judgement of identities in transport_peers.c.
 * Nothing the other end says is believed, or logged, before its MAC has been checked.
 */
#include "transport_handshake.h"

#include "transport_log.h"

/* ---- acceptor ----------------------------------------------------------- */

bool
pgq_send_challenge(PgqLink *link, uint64 now)
{
	uint8	   *bytes = pgq_link_reserve(link, PGQ_CHALLENGE_SIZE);

	if (bytes == NULL || !pg_strong_random(link->nonces.acceptor, PGQ_NONCE_SIZE))
		return false;
	pgq_challenge_write(bytes, &link->nonces);
	pgq_link_commit(link, PGQ_CHALLENGE_SIZE, now);
	return true;
}

static void
log_refused_hello(const PgqLink *link, const PgqHello *hello, PgqVerdict verdict)
{
	char		from[PGQ_ADDRESS_TEXT];
	PgqReport	report;

	pgq_host_count(PGQ_COUNT_REJECTED_IDENTITY);
	pgq_address_text(&link->from, from, sizeof(from));
	pgq_report(&report, 0, "refused a connection of node %u from %s to the quorum port: %s",
			   hello->who.node_id, from, pgq_verdict_text(verdict));
	if (verdict == PGQ_VERDICT_OTHER_NODE)
		pgq_report_detail(&report, "It looks for node %u, this is node %u.",
						  hello->target, pgq_transport->identity.node_id);
	else if (verdict == PGQ_VERDICT_OTHER_SYSTEM)
		pgq_report_detail(&report, "Its system identifier is " UINT64_FORMAT ", here it is "
						  UINT64_FORMAT ".", hello->who.system_identifier,
						  pgq_transport->identity.system_identifier);
	pgq_log_report(PGQ_LOG_IDENTITY, &report);
}

/* The Welcome names the verdict, so that the log of the refused node says why, too. */
static bool
send_welcome(PgqLink *link, PgqVerdict verdict, uint64 now)
{
	PgqWelcome	welcome = {.verdict = verdict,.who = pgq_transport->identity};
	uint8	   *bytes = pgq_link_reserve(link, PGQ_WELCOME_SIZE);

	/* Whoever is invited again is a guest like any other; so is who may turn out to be. */
	if (verdict == PGQ_VERDICT_ACCEPTED && link->target != welcome.who.node_id)
		welcome.who.member = false;
	if (bytes == NULL ||
		!pgq_welcome_write(bytes, &welcome, &link->nonces, &pgq_transport->secrets,
						   link->secret))
		return false;
	pgq_link_commit(link, PGQ_WELCOME_SIZE, now);
	return true;
}

/* An obsolete Hello is no fault of the peer. */
static PgqVerdict
judge(const PgqHello *hello, uint64 now)
{
	PgqVerdict	verdict = pgq_is_invited_again(hello) ? PGQ_VERDICT_ACCEPTED :
		pgq_judge_hello(&hello->who, hello->target);

	if (verdict == PGQ_VERDICT_ACCEPTED && hello->who.member &&
		pgq_boot_is_obsolete(hello->who.node_id, hello->who.boot_nonce, now))
		verdict = PGQ_VERDICT_OBSOLETE;
	return verdict;
}

static void
log_wrong_secret(const PgqLink *link)
{
	char		from[PGQ_ADDRESS_TEXT];
	PgqReport	report;

	pgq_host_count(PGQ_COUNT_REJECTED_AUTH);
	pgq_address_text(&link->from, from, sizeof(from));
	pgq_report(&report, 0, "a connection from %s to the quorum port does not know the secret",
			   from);
	pgq_report_hint(&report, "A new secret is the second line of the file on every node, and reloaded there, before it is the first on any.");
	pgq_log_report(PGQ_LOG_AUTH, &report);
}

bool
pgq_answer_hello(PgqLink *link, uint64 now)
{
	PgqHello	hello;
	PgqVerdict	verdict;
	char		from[PGQ_ADDRESS_TEXT];

	if (!pgq_hello_read(link->in, &hello, &link->nonces))
	{
		pgq_host_count(PGQ_COUNT_REJECTED_GARBAGE);
		pgq_address_text(&link->from, from, sizeof(from));
		pgq_log(PGQ_LOG_GARBAGE,
				"a connection from %s to the quorum port does not speak its protocol", from);
		return false;
	}
	link->secret = pgq_hello_verify(link->in, &link->nonces, &pgq_transport->secrets);
	if (link->secret < 0)
	{
		log_wrong_secret(link);
		return false;
	}
	verdict = judge(&hello, now);
	if (verdict != PGQ_VERDICT_ACCEPTED)
	{
		if (verdict != PGQ_VERDICT_OBSOLETE)
			log_refused_hello(link, &hello, verdict);
		(void) send_welcome(link, verdict, now);
		return false;
	}
	link->who = hello.who;
	link->target = hello.target;
	link->counter = 0;
	return pgq_session_key(link->key, &link->nonces, hello.who.node_id, hello.target,
						   &pgq_transport->secrets, link->secret) &&
		send_welcome(link, PGQ_VERDICT_ACCEPTED, now);
}

/* ---- dialler ------------------------------------------------------------ */

bool
pgq_answer_challenge(PgqPeer *peer, uint64 now)
{
	PgqLink    *link = &peer->link;
	PgqHello	hello = {
		.invite = pgq_is_zero_uuid(peer->member.uuid),
		.target = peer->member.id,
		.who = pgq_transport->identity
	};
	uint8	   *bytes = pgq_link_reserve(link, PGQ_HELLO_SIZE);

	if (bytes == NULL || !pgq_challenge_read(link->in, &link->nonces) ||
		!pg_strong_random(link->nonces.dialler, PGQ_NONCE_SIZE))
		return false;
	link->secret = 0;
	link->target = hello.target;
	link->counter = 0;
	if (!pgq_session_key(link->key, &link->nonces, hello.who.node_id, hello.target,
						 &pgq_transport->secrets, link->secret) ||
		!pgq_hello_write(bytes, &hello, &link->nonces, &pgq_transport->secrets))
		return false;
	pgq_link_commit(link, PGQ_HELLO_SIZE, now);
	return true;
}

static void
log_refused_welcome(const PgqPeer *peer, const char *whose, PgqVerdict verdict)
{
	PgqReport	report;

	pgq_host_count(PGQ_COUNT_REJECTED_IDENTITY);
	pgq_report(&report, 0, "node \"%s\" (%u) at host \"%s\", port %u cannot be talked to",
			   peer->member.name, peer->member.id, peer->member.host,
			   peer->member.quorum_port);
	pgq_report_detail(&report, "%s: %s.", whose, pgq_verdict_text(verdict));
	pgq_log_report(PGQ_LOG_IDENTITY, &report);
}

bool
pgq_take_welcome(PgqPeer *peer, uint64 now, const char **why)
{
	PgqLink    *link = &peer->link;
	PgqWelcome	welcome;
	PgqVerdict	verdict;

	if (!pgq_welcome_read(link->in, &welcome))
	{
		pgq_host_count(PGQ_COUNT_REJECTED_GARBAGE);
		*why = "it does not speak the protocol of the quorum port";
		return false;
	}
	if (!pgq_welcome_verify(link->in, &link->nonces, &pgq_transport->secrets, link->secret))
	{
		pgq_host_count(PGQ_COUNT_REJECTED_AUTH);
		*why = "it does not know the secret";
		return false;
	}
	*why = "identity refused";
	if (welcome.verdict == PGQ_VERDICT_OBSOLETE)
		return false;
	if (welcome.verdict != PGQ_VERDICT_ACCEPTED)
	{
		log_refused_welcome(peer, "It says about this node", welcome.verdict);
		if (welcome.verdict == PGQ_VERDICT_NO_MEMBER && pgq_transport->identity.member)
			pgq_transport->handler.disowned(peer->member.id);
		return false;
	}
	verdict = pgq_judge_welcome(peer, &welcome.who);
	if (verdict != PGQ_VERDICT_ACCEPTED)
	{
		log_refused_welcome(peer, "This node says about it", verdict);
		return false;
	}

	/* it was on its way when its sender restarted, and is no second restart */
	if (welcome.who.member &&
		pgq_boot_is_obsolete(welcome.who.node_id, welcome.who.boot_nonce, now))
		return false;
	link->who = welcome.who;
	return true;
}
