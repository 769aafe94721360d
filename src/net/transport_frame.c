/*
 * transport_frame.c
 *	  The bytes of the quorum port: handshake messages, frames, and their MACs.
 *
 * No socket, no clock, no connection state: those are in transport_link.c and above.
 * Nothing here allocates after pgq_frame_start, and no reader looks past the fixed
 * size its caller promised.
 */
#include "transport_frame.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/hmac.h"

#define FLAG_MEMBER		1
#define FLAG_INVITE		2

/* Longest secret file: two secrets with some white space around them. */
#define SECRET_FILE_MAX	(PGQ_SECRETS * PGQ_SECRET_MAX + 1024)

static const uint8 magic[PGQ_MAGIC_SIZE] = {'p', 'g', 'q', 'u', 'o', 'r', 'u', 'm'};

/* Each purpose has its label, so that no MAC is good for anything else. */
static const char label_hello[] = "pg_quorum hello";
static const char label_welcome[] = "pg_quorum welcome";
static const char label_session[] = "pg_quorum session";
static const char label_stream[] = "pg_quorum stream";

static pg_hmac_ctx *mac_context;

bool
pgq_frame_start(PgqReport *why)
{
	if (mac_context == NULL)
		mac_context = pgq_host_hmac();
	if (mac_context == NULL)
		pgq_report(why, ENOMEM, "could not prepare the authentication of messages: %m");
	return mac_context != NULL;
}

void
pgq_frame_stop(void)
{
	pg_hmac_free(mac_context);
	mac_context = NULL;
}

/* ---- secrets ------------------------------------------------------------ */

/* Take one line, without the white space around it; empty lines do not count. */
static bool
take_secret(const char *path, PgqSecrets *secrets, const char *line, size_t size, PgqReport *why)
{
	while (size > 0 && strchr(" \t\r", line[size - 1]) != NULL)
		size--;
	while (size > 0 && strchr(" \t\r", line[0]) != NULL)
	{
		line++;
		size--;
	}
	if (size == 0)
		return true;
	if (secrets->count == PGQ_SECRETS)
	{
		pgq_report(why, 0, "secret file \"%s\" has more than %d lines", path, PGQ_SECRETS);
		pgq_report_hint(why, "The first line is used, the second is still accepted.");
		return false;
	}
	if (size < PGQ_SECRET_MIN || size > PGQ_SECRET_MAX)
	{
		pgq_report(why, 0, "secret in file \"%s\" must have %d to %d bytes",
				   path, PGQ_SECRET_MIN, PGQ_SECRET_MAX);
		pgq_report_detail(why, "Secret %d has %zu bytes.", secrets->count + 1, size);
		pgq_report_hint(why, "Create one with: openssl rand -hex 32.");
		return false;
	}
	memcpy(secrets->item[secrets->count].bytes, line, size);
	secrets->item[secrets->count].size = size;
	secrets->count++;
	return true;
}

/* Is it a file that only its owner can read? */
static bool
is_private_file(int fd, const char *path, PgqReport *why)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
	{
		pgq_report(why, 0, "secret file \"%s\" is not a regular file", path);
		pgq_report_hint(why, "Name a file that holds the secret.");
		return false;
	}
	if (st.st_uid != geteuid() || (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
	{
		pgq_report(why, 0, "secret file \"%s\" is accessible to others", path);
		pgq_report_detail(why, "It must belong to the user of this process and have mode 0600 or 0400.");
		pgq_report_hint(why, "Change its owner and its mode, and the secret if others may have read it.");
		return false;
	}
	return true;
}

/* Read the file into text; how many bytes, -1 and a report when that is not possible. */
static ssize_t
read_secret_file(const char *path, char *text, size_t capacity, PgqReport *why)
{
	size_t		size = 0;
	ssize_t		got;
	int			fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
	{
		pgq_report(why, errno, "could not open secret file \"%s\": %m", path);
		pgq_report_hint(why, "Create it with the same content on every node and mode 0600.");
		return -1;
	}
	if (!is_private_file(fd, path, why))
	{
		close(fd);
		return -1;
	}
	while (size < capacity && (got = read(fd, text + size, capacity - size)) > 0)
		size += got;
	close(fd);
	return (ssize_t) size;
}

bool
pgq_secrets_load(const char *path, PgqSecrets *secrets, PgqReport *why)
{
	char		text[SECRET_FILE_MAX];
	ssize_t		size = read_secret_file(path, text, sizeof(text), why);
	ssize_t		start = 0;
	bool		good = true;

	memset(secrets, 0, sizeof(*secrets));
	if (size < 0)
		return false;
	if (size == sizeof(text))
	{
		pgq_report(why, 0, "secret file \"%s\" is too large", path);
		pgq_report_hint(why, "It holds one or two secrets of %d to %d bytes, one on each line.",
						PGQ_SECRET_MIN, PGQ_SECRET_MAX);
		size = 0;
		good = false;
	}
	for (ssize_t at = 0; at <= size && good; at++)
	{
		if (at < size && text[at] != '\n')
			continue;
		good = take_secret(path, secrets, text + start, (size_t) (at - start), why);
		start = at + 1;
	}
	explicit_bzero(text, sizeof(text));
	if (good && secrets->count == 0)
	{
		pgq_report(why, 0, "secret file \"%s\" is empty", path);
		pgq_report_hint(why, "Create one with: openssl rand -hex 32.");
		good = false;
	}
	return good;
}

/* ---- bytes -------------------------------------------------------------- */

static uint8 *
put_uint(uint8 *to, uint64 value, int width)
{
	for (int i = 0; i < width; i++)
		*to++ = (uint8) (value >> (8 * i));
	return to;
}

static uint8 *
put_bytes(uint8 *to, const void *bytes, size_t size)
{
	memcpy(to, bytes, size);
	return to + size;
}

static uint64
get_uint(const uint8 **from, int width)
{
	uint64		value = 0;

	for (int i = 0; i < width; i++)
		value |= (uint64) (*from)[i] << (8 * i);
	*from += width;
	return value;
}

static void
get_bytes(const uint8 **from, void *bytes, size_t size)
{
	memcpy(bytes, *from, size);
	*from += size;
}

static uint8 *
put_head(uint8 *to)
{
	to = put_bytes(to, magic, sizeof(magic));
	return put_uint(to, PGQ_WIRE_VERSION, 1);
}

static bool
get_head(const uint8 **from)
{
	const uint8 *start = *from;

	*from += PGQ_MAGIC_SIZE + 1;
	return memcmp(start, magic, PGQ_MAGIC_SIZE) == 0 &&
		start[PGQ_MAGIC_SIZE] == PGQ_WIRE_VERSION;
}

static uint8 *
put_identity(uint8 *to, const PgqIdentity *who)
{
	to = put_bytes(to, who->cluster_id, QUORUM_UUID_SIZE);
	to = put_uint(to, who->system_identifier, 8);
	to = put_uint(to, who->node_id, 4);
	to = put_bytes(to, who->uuid, QUORUM_UUID_SIZE);
	return put_uint(to, who->boot_nonce, 8);
}

static void
get_identity(const uint8 **from, PgqIdentity *who)
{
	get_bytes(from, who->cluster_id, QUORUM_UUID_SIZE);
	who->system_identifier = get_uint(from, 8);
	who->node_id = (QuorumNodeId) get_uint(from, 4);
	get_bytes(from, who->uuid, QUORUM_UUID_SIZE);
	who->boot_nonce = get_uint(from, 8);
}

/* ---- MACs --------------------------------------------------------------- */

/* HMAC over up to three pieces; false when the library fails. */
static bool
make_mac(uint8 *mac, const uint8 *key, size_t key_size, const void *label, size_t label_size,
		 const PgqNonces *nonces, const uint8 *bytes, size_t size)
{
	bool		good;

	if (mac_context == NULL)
		return false;
	good = pg_hmac_init(mac_context, key, key_size) == 0;
	if (good && label != NULL)
		good = pg_hmac_update(mac_context, label, label_size) == 0;
	if (good && nonces != NULL)
		good = pg_hmac_update(mac_context, nonces->acceptor, PGQ_NONCE_SIZE) == 0 &&
			pg_hmac_update(mac_context, nonces->dialler, PGQ_NONCE_SIZE) == 0;
	return good && pg_hmac_update(mac_context, bytes, size) == 0 &&
		pg_hmac_final(mac_context, mac, PGQ_MAC_SIZE) == 0;
}

static bool
secret_mac(uint8 *mac, const PgqSecrets *secrets, int secret, const char *label,
		   const PgqNonces *nonces, const uint8 *bytes, size_t size)
{
	Assert(secret >= 0 && secret < secrets->count);
	/* the label's NUL is part of it: no label can be the beginning of another */
	return make_mac(mac, secrets->item[secret].bytes, secrets->item[secret].size,
					label, strlen(label) + 1, nonces, bytes, size);
}

static bool
same_mac(const uint8 *mac, const uint8 *other)
{
	return timingsafe_bcmp(mac, other, PGQ_MAC_SIZE) == 0;
}

bool
pgq_session_key(uint8 *key, const PgqNonces *nonces, QuorumNodeId dialler,
				QuorumNodeId target, const PgqSecrets *secrets, int secret)
{
	uint8		ids[8];

	put_uint(put_uint(ids, dialler, 4), target, 4);
	return secret_mac(key, secrets, secret, label_session, nonces, ids, sizeof(ids));
}

bool
pgq_stream_mac(uint8 *mac, const PgqStreamClaim *claim, const PgqSecrets *secrets, int secret)
{
	uint8		bytes[8 + 4 + 4 + 8 + 8 + 8];
	uint8	   *to = put_uint(bytes, claim->system_identifier, 8);

	to = put_uint(to, claim->from, 4);
	to = put_uint(to, claim->to, 4);
	to = put_uint(to, claim->from_boot, 8);
	to = put_uint(to, claim->to_boot, 8);
	to = put_uint(to, claim->count, 8);
	Assert(to - bytes == sizeof(bytes));
	return secret_mac(mac, secrets, secret, label_stream, NULL, bytes, to - bytes);
}

bool
pgq_stream_verify(const uint8 *mac, const PgqStreamClaim *claim, const PgqSecrets *secrets)
{
	uint8		good[PGQ_MAC_SIZE];

	for (int i = 0; i < secrets->count; i++)
		if (pgq_stream_mac(good, claim, secrets, i) && same_mac(mac, good))
			return true;
	return false;
}

/* ---- handshake ---------------------------------------------------------- */

void
pgq_challenge_write(uint8 *bytes, const PgqNonces *nonces)
{
	put_bytes(put_head(bytes), nonces->acceptor, PGQ_NONCE_SIZE);
}

bool
pgq_challenge_read(const uint8 *bytes, PgqNonces *nonces)
{
	if (!get_head(&bytes))
		return false;
	get_bytes(&bytes, nonces->acceptor, PGQ_NONCE_SIZE);
	return true;
}

bool
pgq_hello_write(uint8 *bytes, const PgqHello *hello, const PgqNonces *nonces,
				const PgqSecrets *secrets)
{
	uint8	   *to = put_head(bytes);

	to = put_uint(to, (hello->who.member ? FLAG_MEMBER : 0) |
				  (hello->invite ? FLAG_INVITE : 0), 1);
	to = put_uint(to, hello->target, 4);
	to = put_identity(to, &hello->who);
	to = put_bytes(to, nonces->dialler, PGQ_NONCE_SIZE);
	Assert(to - bytes == PGQ_HELLO_SIZE - PGQ_MAC_SIZE);
	return secret_mac(to, secrets, 0, label_hello, nonces, bytes, to - bytes);
}

bool
pgq_hello_read(const uint8 *bytes, PgqHello *hello, PgqNonces *nonces)
{
	uint8		flags;

	memset(hello, 0, sizeof(*hello));
	if (!get_head(&bytes))
		return false;
	flags = (uint8) get_uint(&bytes, 1);
	hello->who.member = (flags & FLAG_MEMBER) != 0;
	hello->invite = (flags & FLAG_INVITE) != 0;
	hello->target = (QuorumNodeId) get_uint(&bytes, 4);
	get_identity(&bytes, &hello->who);
	get_bytes(&bytes, nonces->dialler, PGQ_NONCE_SIZE);
	return (flags & ~(FLAG_MEMBER | FLAG_INVITE)) == 0;
}

int
pgq_hello_verify(const uint8 *bytes, const PgqNonces *nonces, const PgqSecrets *secrets)
{
	const size_t size = PGQ_HELLO_SIZE - PGQ_MAC_SIZE;
	uint8		mac[PGQ_MAC_SIZE];

	for (int i = 0; i < secrets->count; i++)
		if (secret_mac(mac, secrets, i, label_hello, nonces, bytes, size) &&
			same_mac(mac, bytes + size))
			return i;
	return -1;
}

bool
pgq_welcome_write(uint8 *bytes, const PgqWelcome *welcome, const PgqNonces *nonces,
				  const PgqSecrets *secrets, int secret)
{
	uint8	   *to = put_head(bytes);

	to = put_uint(to, welcome->who.member ? FLAG_MEMBER : 0, 1);
	to = put_uint(to, welcome->verdict, 1);
	to = put_identity(to, &welcome->who);
	Assert(to - bytes == PGQ_WELCOME_SIZE - PGQ_MAC_SIZE);
	return secret_mac(to, secrets, secret, label_welcome, nonces, bytes, to - bytes);
}

bool
pgq_welcome_read(const uint8 *bytes, PgqWelcome *welcome)
{
	uint8		flags;

	memset(welcome, 0, sizeof(*welcome));
	if (!get_head(&bytes))
		return false;
	flags = (uint8) get_uint(&bytes, 1);
	welcome->who.member = (flags & FLAG_MEMBER) != 0;
	welcome->verdict = (PgqVerdict) get_uint(&bytes, 1);
	get_identity(&bytes, &welcome->who);
	return (flags & ~FLAG_MEMBER) == 0;
}

bool
pgq_welcome_verify(const uint8 *bytes, const PgqNonces *nonces,
				   const PgqSecrets *secrets, int secret)
{
	const size_t size = PGQ_WELCOME_SIZE - PGQ_MAC_SIZE;
	uint8		mac[PGQ_MAC_SIZE];

	return secret_mac(mac, secrets, secret, label_welcome, nonces, bytes, size) &&
		same_mac(mac, bytes + size);
}

/* ---- frames ------------------------------------------------------------- */

size_t
pgq_frame_size(const uint8 *bytes)
{
	uint64		size = get_uint(&bytes, 4) + 4;

	return size < PGQ_FRAME_MIN || size > PGQ_FRAME_MAX ? 0 : (size_t) size;
}

size_t
pgq_frame_seal(uint8 *bytes, size_t payload_size, uint64 counter, const uint8 *key)
{
	size_t		size = PGQ_FRAME_MIN + payload_size;
	uint8	   *to = bytes;

	Assert(payload_size <= QUORUM_ENCODED_MAX);
	to = put_uint(to, size - 4, 4);
	to = put_uint(to, PGQ_WIRE_VERSION, 1);
	to = put_uint(to, PGQ_FRAME_MESSAGE, 1);
	to = put_uint(to, counter, 8);
	to += payload_size;
	return make_mac(to, key, PGQ_MAC_SIZE, NULL, 0, NULL, bytes, to - bytes) ? size : 0;
}

PgqFrameCheck
pgq_frame_check(const uint8 *bytes, size_t size, uint64 counter, const uint8 *key)
{
	const uint8 *from = bytes + 4;
	uint8		mac[PGQ_MAC_SIZE];
	uint64		version;
	uint64		type;

	Assert(size >= PGQ_FRAME_MIN && size <= PGQ_FRAME_MAX);
	if (!make_mac(mac, key, PGQ_MAC_SIZE, NULL, 0, NULL, bytes, size - PGQ_MAC_SIZE) ||
		!same_mac(mac, bytes + size - PGQ_MAC_SIZE))
		return PGQ_FRAME_FORGED;
	version = get_uint(&from, 1);
	type = get_uint(&from, 1);
	if (get_uint(&from, 8) != counter)
		return PGQ_FRAME_FORGED;
	return version == PGQ_WIRE_VERSION && type == PGQ_FRAME_MESSAGE ?
		PGQ_FRAME_GOOD : PGQ_FRAME_GARBAGE;
}
