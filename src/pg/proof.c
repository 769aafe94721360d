/*
 * proof.c
 *	  A stream counts for a member only when it proved to be that member's.
 *
 * Whoever may connect for replication can use the name and the slot of a member.  So a
 * walreceiver puts a MAC under the cluster's secret into the options of its connection, and
 * the walsender looks at it before it serves.  What is counted is the ledger's
 * business (ledger.c); the secret and the MAC are those of the quorum port (src/net).
 *
 * Rules:
 *	K1	only a walsender that showed a good proof of member m owns what m acknowledges
 *	K2	a proof is good for one connection: it names both incarnations, as they know each
 *		other from the quorum port, and a number that only grows
 *	K3	without one, nobody streams under the name of a member
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "replication/walsender.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "guc.h"
#include "proof.h"
#include "slots.h"
#include "transport_frame.h"

/* Port keeps its layout without the GSSAPI headers, which a build need not have. */
#undef ENABLE_GSS
#include "libpq/auth.h"

#define SETTING			"quorum.stream_proof"
#define NAME_PREFIX		"quorum_"

static char *proof_setting = NULL;	/* only so that the server takes the option */
static ClientAuthentication_hook_type previous_authentication = NULL;

static void on_authentication(Port *port, int status);
static void check_proof(const char *text);
static void refuse(QuorumNodeId id, const char *detail);
static bool read_claim(const char *text, PgqStreamClaim *claim, uint8 *mac);
static bool accept_claim(const PgqStreamClaim *claim);
static PgqIncarnation *find_incarnation(QuorumNodeId id);
static bool look_up(QuorumNodeId id, uint64 *boot_nonce, QuorumNodeId *self);
static bool copy_secrets(PgqSecrets *secrets, PgqReport *why);
static void forget_owner(int code, Datum arg);

void
pgq_proof_init(void)
{
	DefineCustomStringVariable(SETTING, "Shows a leader that a stream is that of a member.",
							   "For the streams between members; nobody else can make one.",
							   &proof_setting, "", PGC_BACKEND,
							   GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE,
							   NULL, NULL, NULL);
	previous_authentication = ClientAuthentication_hook;
	ClientAuthentication_hook = on_authentication;
}

static uint64
owner_of(QuorumNodeId id, pid_t pid)
{
	return (uint64) id << 32 | (uint32) pid;
}

/* ---- in the worker --------------------------------------------------------------- */

static bool
is_member_id(QuorumNodeId id)
{
	const QuorumView *view = &pgq_shared->view;

	for (int i = 0; i < view->member_count; i++)
		if (view->members[i].member.id == id)
			return true;
	return false;
}

/*
 * The stream of an earlier incarnation keeps its owner: what it acknowledged is true, and
 * the next proof takes the place.
 */
void
pgq_proof_note_incarnation(QuorumNodeId id, uint64 boot_nonce)
{
	PgqIncarnation *entry;

	LWLockAcquire(pgq_shared->lock, LW_EXCLUSIVE);
	entry = find_incarnation(id);
	for (int i = 0; entry == NULL && i < PGQ_INCARNATIONS; i++)
	{
		PgqIncarnation *other = &pgq_shared->incarnations[i];

		if (other->id == QUORUM_NO_NODE || !is_member_id(other->id))
		{
			entry = other;
			entry->id = id;
			entry->boot_nonce = ~boot_nonce;
			pg_atomic_write_u64(&entry->owner, 0);
		}
	}
	if (entry != NULL && entry->boot_nonce != boot_nonce)
	{
		entry->boot_nonce = boot_nonce;
		entry->last_count = 0;
	}
	LWLockRelease(pgq_shared->lock);
}

StaticAssertDecl(PGQ_INCARNATIONS > QUORUM_MAX_NODES, "members leave a place to spare");

/* With the lock held. */
static PgqIncarnation *
find_incarnation(QuorumNodeId id)
{
	for (int i = 0; i < PGQ_INCARNATIONS; i++)
		if (pgq_shared->incarnations[i].id == id)
			return &pgq_shared->incarnations[i];
	return NULL;
}

/* And who this node is: boot_node_id does not know of a server that became a member since. */
static bool
look_up(QuorumNodeId id, uint64 *boot_nonce, QuorumNodeId *self)
{
	const PgqIncarnation *entry;

	LWLockAcquire(pgq_shared->lock, LW_SHARED);
	entry = find_incarnation(id);
	if (entry != NULL)
		*boot_nonce = entry->boot_nonce;
	*self = pgq_shared->view.node_id;
	LWLockRelease(pgq_shared->lock);
	return entry != NULL;
}

void
pgq_proof_publish_secrets(const PgqSecrets *secrets)
{
	LWLockAcquire(pgq_shared->lock, LW_EXCLUSIVE);
	pgq_shared->secrets = *secrets;
	LWLockRelease(pgq_shared->lock);
}

/* ---- on both sides --------------------------------------------------------------- */

/* Those of the worker: a file that cannot be used any more changes nothing before a restart. */
static bool
copy_secrets(PgqSecrets *secrets, PgqReport *why)
{
	LWLockAcquire(pgq_shared->lock, LW_SHARED);
	*secrets = pgq_shared->secrets;
	LWLockRelease(pgq_shared->lock);
	pgq_report(why, 0, "the worker has not read the secret yet");
	return secrets->count > 0 && pgq_frame_start(why);
}

/* ---- in the walreceiver ---------------------------------------------------------- */

bool
pgq_proof_make(QuorumNodeId leader, char *option, const char **why)
{
	static PgqReport report;
	PgqSecrets	secrets;
	PgqStreamClaim claim = {
		.system_identifier = GetSystemIdentifier(),
		.to = leader,
		.from_boot = pgq_shared->boot_nonce
	};
	uint8		mac[PGQ_MAC_SIZE];
	char		hex[2 * PGQ_MAC_SIZE + 1];
	bool		good;

	*why = "the leader has not been heard on the quorum port";
	if (!look_up(leader, &claim.to_boot, &claim.from))
		return false;
	*why = report.message;
	if (!copy_secrets(&secrets, &report))
		return false;
	claim.count = pg_atomic_add_fetch_u64(&pgq_shared->proofs_made, 1);
	good = pgq_stream_mac(mac, &claim, &secrets, 0);
	explicit_bzero(&secrets, sizeof(secrets));
	*why = "no MAC could be made";
	hex[hex_encode((const char *) mac, sizeof(mac), hex)] = '\0';
	snprintf(option, PGQ_PROOF_SIZE, "-c " SETTING "=%u." UINT64_FORMAT ".%s", claim.from,
			 claim.count, hex);
	return good;
}

/* ---- in the walsender ------------------------------------------------------------ */

/* "quorum_<id>", written as we write it; 0 = another name. */
static QuorumNodeId
id_of_name(const char *name)
{
	char		canonical[NAMEDATALEN];
	QuorumNodeId id;

	if (name == NULL || strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX)) != 0)
		return QUORUM_NO_NODE;
	id = (QuorumNodeId) strtoul(name + strlen(NAME_PREFIX), NULL, 10);
	pgq_slot_name(id, canonical);
	return strcmp(canonical, name) == 0 ? id : QUORUM_NO_NODE;
}

/* The client is who pg_hba.conf lets it be; is it the member whose name it uses? */
static void
on_authentication(Port *port, int status)
{
	const char *proof = NULL;
	QuorumNodeId id;

	if (previous_authentication)
		previous_authentication(port, status);
	if (status != STATUS_OK || !am_walsender || !pgq_is_member())
		return;

	if (port->cmdline_options != NULL)
		proof = strstr(port->cmdline_options, SETTING "=");
	id = id_of_name(port->application_name);
	if (proof != NULL)
		check_proof(proof + strlen(SETTING "="));
	else if (id != QUORUM_NO_NODE)
		refuse(id, "It did not show that it knows the secret of the cluster.");
}

static void
refuse(QuorumNodeId id, const char *detail)
{
	ereport(FATAL,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("stream in the name of node %u of the cluster refused", id),
			 errdetail("%s", detail),
			 errhint("Only members use application names and slots that begin with \"%s\".",
					 NAME_PREFIX)));
}

static void
check_proof(const char *text)
{
	PgqStreamClaim claim = {.system_identifier = GetSystemIdentifier()};
	PgqSecrets	secrets;
	PgqReport	report;
	uint8		mac[PGQ_MAC_SIZE];
	bool		good;

	if (!read_claim(text, &claim, mac))
		refuse(claim.from, "Its proof has another form than those of this release.");
	claim.to_boot = pgq_shared->boot_nonce;
	if (!look_up(claim.from, &claim.from_boot, &claim.to))
		refuse(claim.from, "That node has not been heard on the quorum port.");
	if (!copy_secrets(&secrets, &report))
		refuse(claim.from, report.message);
	good = pgq_stream_verify(mac, &claim, &secrets);
	explicit_bzero(&secrets, sizeof(secrets));
	if (!good)
		refuse(claim.from,
			   "Its proof was made for another leader, by an earlier life of that node, or with another secret.");
	if (!accept_claim(&claim))
		refuse(claim.from, "Its proof has been used before.");
	before_shmem_exit(forget_owner, UInt32GetDatum(claim.from));
}

/* "<node id>.<number>.<MAC>" */
static bool
read_claim(const char *text, PgqStreamClaim *claim, uint8 *mac)
{
	char	   *end;

	claim->from = (QuorumNodeId) strtoul(text, &end, 10);
	if (claim->from == QUORUM_NO_NODE || *end != '.')
		return false;
	claim->count = strtoull(end + 1, &end, 10);
	if (*end++ != '.' || strspn(end, "0123456789abcdef") != 2 * PGQ_MAC_SIZE)
		return false;
	return hex_decode(end, 2 * PGQ_MAC_SIZE, (char *) mac) == PGQ_MAC_SIZE;
}

/* K2: each number once.  The incarnation may have changed since it was looked up. */
static bool
accept_claim(const PgqStreamClaim *claim)
{
	PgqIncarnation *entry;
	bool		good;

	LWLockAcquire(pgq_shared->lock, LW_EXCLUSIVE);
	entry = find_incarnation(claim->from);
	good = entry != NULL && entry->boot_nonce == claim->from_boot &&
		claim->count > entry->last_count;
	if (good)
	{
		entry->last_count = claim->count;
		pg_atomic_write_u64(&entry->owner, owner_of(claim->from, MyProcPid));
	}
	LWLockRelease(pgq_shared->lock);
	return good;
}

/* A later process may get the same pid. */
static void
forget_owner(int code, Datum arg)
{
	uint64		mine = owner_of(DatumGetUInt32(arg), MyProcPid);

	(void) code;
	for (int i = 0; i < PGQ_INCARNATIONS; i++)
	{
		uint64		owner = mine;

		(void) pg_atomic_compare_exchange_u64(&pgq_shared->incarnations[i].owner, &owner, 0);
	}
}

/* ---- in every backend ------------------------------------------------------------ */

bool
pgq_proof_is_owner(QuorumNodeId id, pid_t pid, int *hint)
{
	uint64		owner = owner_of(id, pid);

	for (int tried = 0; tried < PGQ_INCARNATIONS; tried++)
	{
		int			place = (*hint + tried) % PGQ_INCARNATIONS;

		if (pg_atomic_read_u64(&pgq_shared->incarnations[place].owner) == owner)
		{
			*hint = place;
			return true;
		}
	}
	return false;
}
