/*
 * core.c
 *	  One event through the real core of a node, by number: before, event, after.
 *
 * The core is driven through quorum_drive, as in the server.  What it makes of an event
 * depends on nothing but its own state, the event and the facts, so it is remembered.
 */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "canon.h"

#define CACHE_SIZE	(UINT32_C(1) << 21)

typedef struct Cached
{
	uint32_t	core;
	uint32_t	event;
	uint64_t	facts;
	Step		step;
} Cached;

Table		messages;
int			core_tell;

static Table cores;
static Ends *all_ends;			/* of each message */
static uint32_t ends_size;
static Shared *shareds;			/* of each number */
static uint32_t shareds_size;
static Cached *cache;
static QuorumScratch scratch;
static QuorumEvent event_now;
static jmp_buf stop;
static char assertion[200];
static bool stepping;

/* The drive under way. */
static Local local;
static uint64_t facts_now;
static Step *step_now;
static bool torn_now;
static QuorumHardState disk_before;

_Noreturn void
quorum_assert_failed(const char *condition, const char *file, int line)
{
	snprintf(assertion, sizeof(assertion), "%s (%s:%d)", condition, file, line);
	if (!stepping)
	{
		fprintf(stderr, "assertion: %s\n", assertion);
		abort();
	}
	longjmp(stop, 1);
}

void
core_start(void)
{
	memset(&cores, 0, sizeof(cores));
	cache = calloc(CACHE_SIZE, sizeof(Cached));
	if (cache == NULL)
		abort();
}

uint32_t
core_count(void)
{
	return cores.count;
}

size_t
core_bytes(void)
{
	return cores.bytes + messages.bytes;
}

const Shared *
core_shared(uint32_t core)
{
	return &shareds[core];
}

/* ---- numbers ------------------------------------------------------------ */

static uint32_t
number_of(Local *what)
{
	uint8_t		bytes[PACKED_MAX];
	uint32_t	before = cores.count;
	uint32_t	number;

	canon_local(what);
	number = intern(&cores, bytes, canon_pack(what, bytes));
	if (cores.count == before)
		return number;
	if (number >= shareds_size)
	{
		shareds_size = shareds_size == 0 ? 1024 : 2 * shareds_size;
		shareds = realloc(shareds, shareds_size * sizeof(Shared));
		if (shareds == NULL)
			abort();
	}
	canon_shared(what, &shareds[number]);
	return number;
}

static void
load(uint32_t core, Local *to)
{
	size_t		size;
	const uint8_t *bytes = interned(&cores, core, &size);

	canon_unpack(bytes, size, to);
}

void
message_read(uint32_t message, QuorumMessage *to)
{
	size_t		size;
	const uint8_t *bytes = interned(&messages, message, &size);

	if (!quorum_message_decode(to, bytes, size))
		abort();
}

static uint32_t
message_number(QuorumMessage *message)
{
	uint8_t		bytes[QUORUM_ENCODED_MAX];
	uint32_t	number;

	canon_message(message);
	number = intern(&messages, bytes, quorum_message_encode(message, bytes, sizeof(bytes)));
	if (number >= ends_size)
	{
		ends_size = ends_size == 0 ? 1024 : 2 * ends_size;
		all_ends = realloc(all_ends, ends_size * sizeof(Ends));
		if (all_ends == NULL)
			abort();
	}
	all_ends[number] = (Ends) {(uint8_t) (message->from - 1), (uint8_t) (message->to - 1),
	(uint8_t) message->type};
	return number;
}

const Ends *
message_ends(uint32_t message)
{
	return &all_ends[message];
}

/* `by` has passed on the clock of the leader that the message is from, or answers. */
uint32_t
message_age(uint32_t message, int64_t by)
{
	static QuorumMessage read;

	message_read(message, &read);
	if (read.sent_at == 0)
		return message;
	read.sent_at -= by;
	return message_number(&read);
}

/* ---- the calls of drive ------------------------------------------------- */

static void
make_facts(uint64_t key, QuorumFacts *facts)
{
	FactsKey	of = {.key = key};

	memset(facts, 0, sizeof(*facts));
	facts->phase = of.f.phase == PG_PRIMARY ? QUORUM_PHASE_PRIMARY :
		of.f.phase == PG_STANDBY ? QUORUM_PHASE_STANDBY : QUORUM_PHASE_STARTING;
	facts->position.tli = of.f.tli;
	facts->position.lsn = (QuorumLsn) of.f.lsn * LSN_STEP;
	facts->newest_tli = of.f.tli;
	facts->fence_term = local.published.fence;
	facts->replay_lsn = facts->position.lsn;
	facts->sync_ready = true;
	facts->wal_held = of.f.phase == PG_PRIMARY && local.published.hold_wal;
	if (of.f.phase == PG_PRIMARY)
		return;
	facts->replay_tli = of.f.tli;
	facts->promotable = of.f.phase == PG_STANDBY && of.f.tli != 0;
	facts->rewind_begun = (of.f.set & FACTS_REWIND) != 0;
	facts->diverged = of.f.diverged != 0 && of.f.diverged == facts->fence_term;
	facts->streaming = of.f.stream_term != 0 && of.f.stream_term == facts->fence_term;
	if (facts->streaming && of.f.acked > 0)
	{
		facts->stream_term = of.f.stream_term;
		facts->stream_flush = (QuorumLsn) of.f.acked * LSN_STEP;
	}
}

static bool
do_fence(void *arg, const QuorumFence *fence)
{
	(void) arg;
	if (fence->term < local.published.fence)
		quorum_assert_failed("the fence falls", "drive", 0);
	local.published.fence = (uint8_t) fence->term;
	if (!fence->gate_may_stay_open)
		local.published.gate_open = false;
	local.published.hold_wal = local.published.hold_wal || fence->hold_wal;
	return true;
}

/* Facts, with what the fence adds to them. */
static uint64_t
facts_behind_fence(void)
{
	return facts_now | (uint64_t) local.published.fence << 56 |
		(uint64_t) local.published.hold_wal << 55;
}

static bool
do_read_facts(void *arg, QuorumEvent *event)
{
	(void) arg;
	event->type = QUORUM_EVENT_FACTS;
	event->now = (QuorumInstant) {NOW, NOW, NOW};
	make_facts(facts_now, &event->u.facts);
	local.published.told = facts_behind_fence();
	return true;
}

static bool
do_persist(void *arg, const QuorumHardState *hard)
{
	(void) arg;
	if (hard->term < local.disk.term ||
		(hard->term == local.disk.term && local.disk.vote != 0 && hard->vote != local.disk.vote))
		quorum_assert_failed("term and vote on disk never go back", "drive", 0);
	if (step_now->sent_count > 0 && !torn_now)
	{
		torn_now = true;
		disk_before = local.disk;
	}
	local.disk = *hard;
	return true;
}

static bool
do_send(void *arg, const QuorumMessage *message)
{
	QuorumMessage copy = *message;
	uint32_t	number;

	(void) arg;
	number = message_number(&copy);
	for (int i = 0; i < step_now->sent_count; i++)
	{
		if (step_now->sent[i] == number)
			return true;
	}
	if (step_now->sent_count == (int) (sizeof(step_now->sent) / sizeof(step_now->sent[0])))
		quorum_assert_failed("the model has no room for so many messages", "drive", 0);
	step_now->sent[step_now->sent_count++] = number;
	return true;
}

static bool
do_act(void *arg, const QuorumAction *action)
{
	(void) arg;
	switch (action->type)
	{
		case QUORUM_ACTION_PROMOTE:
			step_now->promote = (uint8_t) action->term;
			break;
		case QUORUM_ACTION_DEMOTE:
			step_now->demote = true;
			break;
		case QUORUM_ACTION_HAND_OVER:
			step_now->hand_over = true;
			break;
		case QUORUM_ACTION_REWIND:
			step_now->rewind = (uint8_t) action->peer;
			break;
		case QUORUM_ACTION_PROBE:
			break;
	}
	return true;
}

static bool
do_note(void *arg, const QuorumNote *note)
{
	(void) arg;
	if (core_tell)
		canon_tell(&local.node, note);
	return true;
}

static bool
do_publish(void *arg, const QuorumView *view)
{
	Published  *to = &local.published;

	(void) arg;
	to->gate_open = view->gate_open;
	to->hold_wal = view->hold_wal;
	to->role = (uint8_t) view->role;
	to->leader = (uint8_t) view->leader;
	to->term = (uint8_t) view->term;
	to->lease_until = view->lease_until_boot;

	/* A rule counts on a leader only, as in engine_publish.c. */
	to->need = 255;
	to->rule = 0;
	if (view->role == QUORUM_ROLE_LEADER || scope.broken == BREAK_RULE)
	{
		to->need = (uint8_t) view->sync.need;
		for (int i = 0; i < view->sync.count; i++)
			to->rule |= (uint8_t) (1 << (view->sync.ids[i] - 1));
	}
	return true;
}

static const QuorumDriverOps ops = {
	do_fence, do_read_facts, do_persist, do_send, do_act, do_note, do_publish
};

/* ---- events ------------------------------------------------------------- */

static void
drive(QuorumEventType type)
{
	event_now.type = type;
	event_now.now = (QuorumInstant) {NOW, NOW, NOW};
	if (!quorum_drive(&local.node, &event_now, &scratch, &ops, NULL))
		abort();
}

static void
drive_facts(void)
{
	memset(&event_now, 0, sizeof(event_now));
	make_facts(facts_now, &event_now.u.facts);
	local.published.told = facts_behind_fence();
	drive(QUORUM_EVENT_FACTS);
}

static void
drive_message(uint32_t number)
{
	static QuorumMessage message;

	message_read(number, &message);

	/* As the worker does: what a heartbeat is answered with is of now. */
	if ((message.type == QUORUM_MSG_HEARTBEAT || message.type == QUORUM_MSG_HEARTBEAT_ACK) &&
		local.published.told != facts_behind_fence())
		drive_facts();
	memset(&event_now, 0, sizeof(event_now));
	event_now.u.message = message;
	drive(QUORUM_EVENT_MESSAGE);
}

static void
drive_peer(QuorumEventType type, uint32_t peer)
{
	memset(&event_now, 0, sizeof(event_now));
	event_now.peer = peer + 1;
	drive(type);
}

/* param: 16 * what + member; 0 = to learner, 1 = to voter, 2 = remove */
static void
drive_admin(QuorumAdminType type, uint32_t param)
{
	QuorumAdmin *admin = &event_now.u.admin;

	memset(&event_now, 0, sizeof(event_now));
	admin->type = type;
	admin->request_id = 1;
	admin->kind = param / 16 == 0 ? QUORUM_LEARNER : QUORUM_VOTER;
	admin->limit_us = type == QUORUM_ADMIN_SWITCHOVER ? FAR : 0;
	if (param / 16 == 2)
		admin->type = QUORUM_ADMIN_REMOVE_MEMBER;
	admin->name[0] = 'n';
	admin->name[1] = (char) ('1' + param % 16);
	drive(QUORUM_EVENT_ADMIN);
}

static void
drive_closing(QuorumClosing closing)
{
	memset(&event_now, 0, sizeof(event_now));
	event_now.closing = closing;
	drive(QUORUM_EVENT_CLOSING);
}

static void
die(void)
{
	local.alive = false;
	memset(&local.node, 0, sizeof(local.node));
	memset(&local.published, 0, sizeof(local.published));
}

static void
boot(bool lost)
{
	if (lost)
		canon_hard(&local.disk, local.self);
	local.alive = true;
	local.published.fence = (uint8_t) local.disk.term;
	canon_init(&local);
}

static void
dispatch(CoreEvent event, uint32_t param)
{
	canon_prepare(&local.node, event == CORE_FIRE, event == CORE_GIVE_UP);
	switch (event)
	{
		case CORE_FACTS:
			drive_facts();
			break;
		case CORE_FIRE:
		case CORE_GIVE_UP:
			memset(&event_now, 0, sizeof(event_now));
			drive(QUORUM_EVENT_TICK);
			break;
		case CORE_MESSAGE:
			drive_message(param);
			break;
		case CORE_CONNECTED:
			drive_peer(QUORUM_EVENT_PEER_CONNECTED, param);
			break;
		case CORE_DEAD:
			drive_peer(QUORUM_EVENT_PEER_DEAD, param);
			break;
		case CORE_RESTARTED:
			drive_peer(QUORUM_EVENT_PEER_RESTARTED, param);
			break;
		case CORE_CLOSING:
			drive_closing(QUORUM_CLOSING_POSTMASTER_DIED);
			break;
		case CORE_STOPPING:
			drive_closing(QUORUM_CLOSING_SHUTDOWN);
			break;
		case CORE_ADMIN:
			drive_admin(QUORUM_ADMIN_CHANGE_KIND, param);
			break;
		case CORE_SWITCH:
			drive_admin(QUORUM_ADMIN_SWITCHOVER, param);
			break;
		case CORE_DIE:
			die();
			break;
		case CORE_BOOT:
		case CORE_BOOT_LOST:
			boot(event == CORE_BOOT_LOST);
			break;
		case CORE_AGE:
			canon_age(&local, param);
			break;
	}
}

static void
run_step(uint32_t core, CoreEvent event, uint32_t param, uint64_t facts, Step *step)
{
	memset(step, 0, sizeof(*step));
	load(core, &local);
	facts_now = facts;
	step_now = step;
	torn_now = false;
	stepping = true;
	if (setjmp(stop) == 0)
		dispatch(event, param);
	else
	{
		step->broken = strdup(assertion);
		step->core = core;
		stepping = false;
		return;
	}
	stepping = false;
	step->core = number_of(&local);
	if (torn_now)
	{
		die();
		local.disk = disk_before;
		step->torn = number_of(&local);
	}
}

void
core_step(uint32_t core, CoreEvent event, uint32_t param, uint64_t facts, Step *step)
{
	uint64_t	key[3] = {core | (uint64_t) event << 32, param, facts};
	Cached	   *cached = &cache[hash_bytes(key, sizeof(key)) & (CACHE_SIZE - 1)];
	uint32_t	what = (uint32_t) event | param << 4;

	if (core_tell || cached->core != core || cached->event != what || cached->facts != facts)
	{
		run_step(core, event, param, facts, step);
		if (core_tell)
			return;
		cached->core = core;
		cached->event = what;
		cached->facts = facts;
		cached->step = *step;
	}
	else
		*step = cached->step;
}

uint32_t
core_first(int node)
{
	memset(&local, 0, sizeof(local));
	local.self = (uint8_t) node;
	canon_hard(&local.disk, node);
	return number_of(&local);
}
