/*
 * fuzz_transport.c
 *	  Fuzz target: the quorum port, from the first byte to a message (src/net/transport*.c).
 *
 * The input is a play: what strangers and members do on some connections.  They may know the
 * secret, for a MAC cannot be guessed, and what they say with it is as odd as it likes.
 *
 * Rules that must hold: who did not prove the secret is never up, and is never heard; a
 * message comes from the node that the connection belongs to; what is not a frame in its
 * place is not delivered.
 */
#include "transport_handshake.h"

#include <sys/stat.h>
#include <unistd.h>

#include "../../src/core/quorum_members.h"
#include "common/hmac.h"
#include "fuzz.h"
#include "network.h"
#include "samples.h"
#include "transport_dial.h"
#include "transport_log.h"

#define FIRST_FD		1000000 /* no descriptor of this process: close() does no harm */
#define SELF			1
#define ACTS_MAX		64

typedef struct Play
{
	const uint8 *bytes;
	size_t		size;
	size_t		used;
} Play;

static PgqIdentity self;
static QuorumMemberSet members;
static bool started;
static bool member_now;			/* is this node one? */
static int	next_fd;
static int	delivered;
static int	connections;

/* ---- what src/net needs ------------------------------------------------------ */

int
pgq_host_open(const char *path, int flags)
{
	(void) path;
	(void) flags;
	return -1;
}

uint64
pgq_host_system_identifier(void)
{
	return self.system_identifier;
}

/* ---- what is heard ---------------------------------------------------------- */

static void
on_message(const QuorumMessage *message)
{
	Channel    *channel = NULL;
	QuorumMessage answer;

	for (int i = 0; i < OURS; i++)
		if (network.channels[i].link != NULL && network.channels[i].link == network.dispatched)
			channel = &network.channels[i];
	fuzz_require(channel != NULL);
	fuzz_require(channel->proved);
	fuzz_require(channel->good_frames > 0);
	fuzz_require(message->from == channel->id);
	fuzz_require((member_now && message->to == SELF) || message->type == QUORUM_MSG_INVITE);
	channel->good_frames--;
	delivered++;
	check_set(&message->members);

	/* as the core does: an answer, and now and then another member set */
	memset(&answer, 0, sizeof(answer));
	answer.type = QUORUM_MSG_STATUS;
	answer.from = SELF;
	answer.to = message->from;
	pgq_transport_send(&answer);
	if (message->type == QUORUM_MSG_MEMBERS &&
		quorum_members_find(&message->members, SELF) >= 0)
		pgq_transport_set_members(&self, &message->members);
}

static void
on_connected(QuorumNodeId peer)
{
	fuzz_require(peer == network.channels[OURS].id);
	fuzz_require(network.channels[OURS].proved);
	connections++;
}

static void
on_peer(QuorumNodeId peer)
{
	fuzz_require(peer != QUORUM_NO_NODE);
}

static void
on_incarnation(QuorumNodeId peer, uint64 boot_nonce)
{
	(void) boot_nonce;
	on_peer(peer);
}

/* After every act. */
static void
check_links(void)
{
	for (int i = 0; i < PGQ_MAX_INCOMING; i++)
	{
		PgqLink    *link = &pgq_transport->in[i];

		fuzz_require(link->in_size <= link->in_capacity);
		fuzz_require(link->out_start <= link->out_end && link->out_end <= link->out_capacity);
		if (link->phase == PGQ_LINK_UP)
		{
			Channel    *channel = network_channel_of(link->sock.fd);

			fuzz_require(channel != NULL && channel->proved);
			fuzz_require(link->who.node_id == channel->id);
		}
	}
	for (int i = 0; i < QUORUM_MAX_NODES; i++)
	{
		PgqLink    *link = &pgq_transport->peers[i].link;

		fuzz_require(link->in_size <= link->in_capacity);
		fuzz_require(link->phase != PGQ_LINK_UP || network.channels[OURS].proved);
	}
}

/* ---- the play --------------------------------------------------------------- */

static uint64
next(Play *play, int width)
{
	uint64		value = 0;

	for (int i = 0; i < width; i++)
		if (play->used < play->size)
			value |= (uint64) play->bytes[play->used++] << (8 * i);
	return value;
}

/* So many of the bytes that follow, if there are as many. */
static size_t
next_length(Play *play)
{
	size_t		length = (size_t) next(play, 2);

	return Min(length, play->size - play->used);
}

static void
say_raw(Channel *channel, Play *play)
{
	size_t		length = next_length(play);

	network_say(channel, play->bytes + play->used, length);
	play->used += length;
}

/* Known to this node: one of its own two, or a third that it does not have. */
static const PgqSecrets *
some_secrets(uint64 which)
{
	static PgqSecrets other;

	other = pgq_transport->secrets;
	if (which % 4 == 2)
		other.item[0] = other.item[1];
	else if (which % 4 == 3)
		memset(other.item[0].bytes, 'x', other.item[0].size);
	return &other;
}

static PgqIdentity
some_identity(Play *play, bool member)
{
	PgqIdentity who = self;
	uint64		odd = next(play, 1);

	who.member = member;
	who.node_id = (QuorumNodeId) next(play, 1);
	memset(who.uuid, (int) who.node_id, sizeof(who.uuid));
	who.boot_nonce = next(play, 1) + 1;
	if (odd == 1)
		who.cluster_id[0]++;
	if (odd == 2)
		who.system_identifier++;
	if (odd == 3)
		who.uuid[0]++;
	return who;
}

static void
say_hello(Channel *channel, Play *play)
{
	uint64		flags = next(play, 1);
	uint64		secret = next(play, 1);
	PgqHello	hello = {0};
	PgqNonces	nonces = channel->link->nonces;
	uint8		bytes[PGQ_HELLO_SIZE];

	hello.invite = (flags & 2) != 0;
	hello.target = (QuorumNodeId) next(play, 1);
	hello.who = some_identity(play, (flags & 1) != 0);
	memset(nonces.dialler, 0xd1, sizeof(nonces.dialler));
	fuzz_require(pgq_hello_write(bytes, &hello, &nonces, some_secrets(secret)));
	if (channel->start == channel->end && channel->link->in_size == 0 && !channel->proved &&
		secret % 4 != 3)
	{
		channel->proved = true;
		channel->id = hello.who.node_id;
		fuzz_require(pgq_session_key(channel->key, &nonces, hello.who.node_id, hello.target,
									 some_secrets(secret), 0));
	}
	network_say(channel, bytes, sizeof(bytes));
}

static void
say_challenge(Channel *channel)
{
	PgqNonces	nonces;
	uint8		bytes[PGQ_CHALLENGE_SIZE];

	memset(&nonces, 0xac, sizeof(nonces));
	pgq_challenge_write(bytes, &nonces);
	network_say(channel, bytes, sizeof(bytes));
}

static void
say_welcome(Channel *channel, Play *play)
{
	uint64		flags = next(play, 1);
	uint64		secret = next(play, 1);
	PgqWelcome	welcome = {0};
	uint8		bytes[PGQ_WELCOME_SIZE];

	welcome.verdict = (PgqVerdict) next(play, 1);
	welcome.who = some_identity(play, (flags & 1) != 0);
	fuzz_require(pgq_welcome_write(bytes, &welcome, &channel->link->nonces,
								   some_secrets(secret), 0));
	if (secret % 4 < 2)
		channel->proved = true;
	network_say(channel, bytes, sizeof(bytes));
}

static void
make_mac(const Channel *channel, uint8 *bytes, size_t size)
{
	static pg_hmac_ctx *context;

	if (context == NULL)
		context = pg_hmac_create(PG_SHA256);
	fuzz_require(pg_hmac_init(context, channel->key, PGQ_MAC_SIZE) == 0);
	fuzz_require(pg_hmac_update(context, bytes, size) == 0);
	fuzz_require(pg_hmac_final(context, bytes + size, PGQ_MAC_SIZE) == 0);
}

/* kind 0: as it has to be; else with another length, version, type or counter. */
static void
say_frame(Channel *channel, Play *play)
{
	static uint8 bytes[PGQ_FRAME_MAX];
	uint64		kind = next(play, 1);
	size_t		length = next_length(play);
	size_t		size;

	length = Min(length, QUORUM_ENCODED_MAX);
	memcpy(bytes + PGQ_FRAME_HEADER, play->bytes + play->used, length);
	play->used += length;
	size = pgq_frame_seal(bytes, length, channel->counter + 1 + (kind == 4), channel->key);
	fuzz_require(size > 0);
	if (kind >= 1 && kind <= 3)
	{
		bytes[kind == 1 ? 1 : kind + 2] ^= (uint8) (1 + next(play, 1) % 255);
		make_mac(channel, bytes, size - PGQ_MAC_SIZE);
	}
	else if (kind == 5)
		bytes[size - 1]++;
	else if (kind != 4)
	{
		channel->counter++;
		channel->good_frames++;
	}
	network_say(channel, bytes, size);
}

static void
open_channel(Channel *channel)
{
	int			index = (int) (channel - network.channels);
	PgqPeer    *peer = pgq_peer_find(2);
	PgqLink    *link = index == OURS ? (peer != NULL ? &peer->link : NULL) :
		&pgq_transport->in[index];

	if (link == NULL)
		return;
	pgq_link_close(link);
	memset(channel, 0, offsetof(Channel, bytes));
	channel->start = channel->end = 0;
	channel->link = link;
	channel->fd = next_fd++;
	link->sock.fd = channel->fd;
	pgq_link_open(link, index == OURS ? PGQ_LINK_CHALLENGE : PGQ_LINK_HELLO, network.clock_us,
				  network.clock_us + PGQ_HANDSHAKE_US);
	if (index == OURS)
		channel->id = 2;
	else if (!pgq_send_challenge(link, network.clock_us))
		pgq_link_close(link);
}

static void
act(Play *play)
{
	uint64		what = next(play, 1);
	Channel    *channel = &network.channels[(what >> 4) % CHANNELS];

	if (channel->link == NULL || (what & 15) == 0)
		open_channel(channel);
	if (channel->link == NULL)
		return;
	switch (what & 15)
	{
		case 1:
			say_raw(channel, play);
			break;
		case 2:
			if (channel != &network.channels[OURS])
				say_hello(channel, play);
			else
				say_challenge(channel);
			break;
		case 3:
			if (channel != &network.channels[OURS])
				say_frame(channel, play);
			else
				say_welcome(channel, play);
			break;
		case 4:
			channel->ended = true;
			break;
		case 5:
			network.clock_us += next(play, 1) * 100000;
			break;
		case 6:
			network.piece = (size_t) next(play, 1) + 1;
			break;
		case 7:
			network.room = (size_t) next(play, 2);
			break;
		case 8:
			pgq_transport_decline((QuorumNodeId) next(play, 1));
			break;
		case 9:
			member_now = !member_now;
			self.member = member_now;
			pgq_transport_set_members(&self, &members);
			break;
		case 10:
			pgq_transport_probe((QuorumNodeId) next(play, 1));
			break;
	}
}

static void
start(void)
{
	static const PgqTransportHandler handler = {
		.message = on_message,.connected = on_connected,.lost = on_peer,
		.incarnation = on_incarnation,.restarted = on_peer,.dead = on_peer,.disowned = on_peer
	};
	static const char secrets[] = "0123456789abcdef\nfedcba9876543210\n";
	PgqReport	why;

	self.member = true;
	self.node_id = SELF;
	memset(self.cluster_id, 0xc1, sizeof(self.cluster_id));
	memset(self.uuid, SELF, sizeof(self.uuid));
	self.system_identifier = 77;
	self.boot_nonce = 5;
	members.id = (QuorumSetId) {1, 1};
	members.next_node_id = 5;
	members.count = 3;
	for (int i = 0; i < members.count; i++)
	{
		QuorumMember *member = &members.members[i];

		member->id = (QuorumNodeId) i + 1;
		member->kind = QUORUM_VOTER;
		member->quorum_port = member->pg_port = 9;
		snprintf(member->name, sizeof(member->name), "n%d", i + 1);
		strlcpy(member->host, "127.0.0.1", sizeof(member->host));
		if (i < 2)
			memset(member->uuid, i + 1, sizeof(member->uuid));
	}
	fuzz_enter_directory();
	umask(077);
	fuzz_write_file("secret", secrets, sizeof(secrets) - 1);
	if (!pgq_transport_start(&self, "127.0.0.1", 0, "secret", &handler, &why))
	{
		fprintf(stderr, "%s %s\n", why.message, why.detail);
		abort();
	}
	started = true;
}

static void
begin(void)
{
	if (!started)
		start();
	network.clock_us = 1000000;
	network.random_count = 1;
	next_fd = FIRST_FD;
	network.piece = BYTES_MAX;
	network.room = BYTES_MAX;
	delivered = connections = 0;
	member_now = self.member = true;
	pgq_transport->declined = QUORUM_NO_NODE;
	for (int i = 0; i < PGQ_MAX_INCOMING; i++)
		pgq_link_close(&pgq_transport->in[i]);
	for (int i = 0; i < QUORUM_MAX_NODES; i++)
	{
		pgq_link_close(&pgq_transport->peers[i].link);
		pgq_probe_cancel(&pgq_transport->peers[i]);
	}
	for (int i = 0; i < CHANNELS; i++)
	{
		network.channels[i].link = NULL;
		network.channels[i].fd = -1;
		network.channels[i].proved = false;
	}
	memset(pgq_transport->boots, 0, sizeof(pgq_transport->boots));
	memset(pgq_transport->peers[0].member.uuid, 0, QUORUM_UUID_SIZE);
	pgq_transport_set_members(&self, &members);
}

bool
fuzz_one(const uint8_t *bytes, size_t size)
{
	Play		play = {bytes, size, 0};

	begin();
	for (int acts = 0; acts < ACTS_MAX && play.used < play.size; acts++)
	{
		act(&play);
		(void) pgq_transport_wait(0);
		check_links();
	}
	for (int i = 0; i < 200 && network_is_waiting(); i++)	/* whatever comes in pieces */
	{
		(void) pgq_transport_wait(0);
		check_links();
	}
	return delivered > 0 || connections > 0;
}

/* ---- seeds ------------------------------------------------------------------ */

static size_t
put(uint8 *bytes, size_t used, const void *more, size_t size)
{
	memcpy(bytes + used, more, size);
	return used + size;
}

typedef struct Route
{
	QuorumNodeId from;
	QuorumNodeId to;
} Route;

static const Route to_self = {2, SELF};

static size_t
put_frame(uint8 *bytes, size_t used, QuorumMessageType type, Route route, bool full)
{
	static QuorumMessage message;
	static uint8 encoded[QUORUM_ENCODED_MAX];
	size_t		size;
	uint8		head[4];

	sample_message(&message, type, full);
	message.from = route.from;
	message.to = route.to;
	size = quorum_message_encode(&message, encoded, sizeof(encoded));
	head[0] = 3;
	head[1] = 0;
	head[2] = (uint8) size;
	head[3] = (uint8) (size >> 8);
	return put(bytes, put(bytes, used, head, sizeof(head)), encoded, size);
}

size_t
fuzz_seed(int number, uint8_t *bytes)
{
	/* open; hello: member, secret 0, to 1, nothing odd, node 2, nonce 1 */
	static const uint8 hello[] = {0x00, 0x02, 1, 0, SELF, 0, 2, 1};
	static const uint8 second_secret[] = {0x00, 0x02, 1, 2, SELF, 0, 2, 1};
	/* pieces of 7 bytes; open, challenge, welcome: member, secret 0, accepted, node 2 */
	static const uint8 ours[] = {0x06, 90, 0x30, 0x32, 0x33, 1, 0, 0, 0, 2, 1};
	/* this node is no member: invited by node 2 to be its node 1 */
	static const uint8 guest[] = {0x09, 0x00, 0x02, 3, 0, SELF, 0, 2, 1};
	/* this node may have been removed: node 2 wants it back as its node 9 */
	static const uint8 again[] = {0x00, 0x02, 3, 0, 9, 0, 2, 1};
	size_t		used;

	if (number > QUORUM_MSG_INVITE_REPLY + 3)
		return 0;
	fuzz_dice((uint64_t) number);
	if (number == 0)
		return put(bytes, 0, ours, sizeof(ours));
	if (number <= QUORUM_MSG_INVITE_REPLY)
	{
		used = put(bytes, 0, hello, sizeof(hello));
		used = put_frame(bytes, used, (QuorumMessageType) number, to_self, false);
		return put_frame(bytes, used, QUORUM_MSG_HEARTBEAT, to_self, true);
	}
	if (number == QUORUM_MSG_INVITE_REPLY + 1)
	{
		used = put(bytes, 0, second_secret, sizeof(second_secret));
		return put_frame(bytes, used, QUORUM_MSG_VOTE_REQUEST, to_self, false);
	}
	if (number == QUORUM_MSG_INVITE_REPLY + 2)
		return put_frame(bytes, put(bytes, 0, guest, sizeof(guest)), QUORUM_MSG_INVITE, to_self, true);
	return put_frame(bytes, put(bytes, 0, again, sizeof(again)), QUORUM_MSG_INVITE, (Route) {2, 9}, true);
}

size_t
fuzz_refused(int number, uint8_t *bytes)
{
	static const uint8 hellos[][10] = {
		{0x0f, 0x0f, 0x00, 0x02, 3, 0, 9, 0, 0, 1}, /* invited again, by node 0 */
		{0x0f, 0x0f, 0x00, 0x02, 3, 0, 9, 1, 2, 1}, /* ... by another cluster */
		{0x0f, 0x0f, 0x00, 0x02, 3, 0, 9, 2, 2, 1}, /* ... by another system */
		{0x0f, 0x0f, 0x00, 0x02, 3, 0, 9, 3, 2, 1}, /* ... by another incarnation */
		{0x08, 9, 0x00, 0x02, 3, 0, 9, 0, 2, 1},	/* ... and that was declined */
		{0x0f, 0x0f, 0x00, 0x02, 1, 3, SELF, 0, 2, 1},	/* a secret that this node does not have */
		{0x0f, 0x0f, 0x00, 0x02, 1, 0, 3, 0, 2, 1}, /* looks for another node */
		{0x0f, 0x0f, 0x00, 0x02, 1, 0, SELF, 1, 2, 1},	/* of another cluster */
		{0x0f, 0x0f, 0x00, 0x02, 1, 0, SELF, 2, 2, 1},	/* of another system */
		{0x0f, 0x0f, 0x00, 0x02, 1, 0, SELF, 3, 2, 1},	/* of another incarnation */
	};
	Route		route = to_self;

	if (number >= (int) lengthof(hellos))
		return 0;
	if (number < 5)
		route = (Route) {number == 0 ? QUORUM_NO_NODE : 2, 9};
	return put_frame(bytes, put(bytes, 0, hellos[number], sizeof(hellos[number])),
					 QUORUM_MSG_INVITE, route, false);
}
