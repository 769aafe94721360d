/*
 * queue.h
 *	  Events of the simulated world, and the queue they wait in.
 */
#ifndef SIM_QUEUE_H
#define SIM_QUEUE_H

#define SIM_BUCKET			1024	/* virtual us of one bucket of the queue */
#define SIM_BUCKETS			4096

struct Sim;
struct SimNode;

typedef enum SimEventType
{
	/* need the processor of their node: wait while it is frozen */
	SIM_EV_MESSAGE,
	SIM_EV_TICK,
	SIM_EV_FACTS,
	SIM_EV_PERIODIC,
	SIM_EV_PEER,
	SIM_EV_CLOSING,
	SIM_EV_FLUSH,
	SIM_EV_BOOTED,
	SIM_EV_PROMOTE,
	SIM_EV_STREAM_CONNECT,
	SIM_EV_STREAM_DATA,
	SIM_EV_STREAM_FLUSH,
	SIM_EV_STREAM_REPLY,
	SIM_EV_STREAM_ACK,
	SIM_EV_STREAM_END,
	SIM_EV_STOPPED,
	SIM_EV_LAST_OF_NODE = SIM_EV_STOPPED,
	/* happen whatever the node does */
	SIM_EV_CONNECT,
	SIM_EV_CONN_TIMEOUT,
	SIM_EV_PROBE,
	SIM_EV_KILL,
	SIM_EV_BOOT,
	SIM_EV_WORKER_START,
	SIM_EV_THAW,
	SIM_EV_REWIND,
	SIM_EV_INVITED,
	SIM_EV_OPERATOR,
	SIM_EV_SWITCH_CHECK,
	SIM_EV_CLIENT,
	SIM_EV_FAULT,
	SIM_EV_LINKS_UP,
	SIM_EV_DISK_OK,
	SIM_EV_HEAL,
	SIM_EV_DEADLINE
} SimEventType;

typedef struct SimBytes
{
	size_t		size;
	uint8_t		bytes[];
} SimBytes;

typedef struct SimEvent
{
	SimTime		at;
	uint64_t	order;			/* ties are broken by order of creation */
	uint8_t		type;
	uint8_t		node;			/* index */
	uint8_t		peer;			/* index */
	uint32_t	life;			/* of the process the event is for; stale ones are dropped */
	uint32_t	id;				/* of the stream it belongs to */
	uint64_t	number;
	SimBytes   *data;			/* owned; MESSAGE only */
} SimEvent;

typedef struct SimSlot
{
	SimEvent	event;
	int			bucket;			/* -1 = the slot is free */
	int			previous;		/* slots of the same bucket; -1 = none */
	int			next;
} SimSlot;

typedef struct SimQueue
{
	SimSlot    *slots;
	int			capacity;
	int			used;			/* slots that are, or were */
	int			free;			/* first of those that were */
	int			first[SIM_BUCKETS + 1]; /* the last bucket: more than a turn ahead */
	int			last[SIM_BUCKETS + 1];
	uint64_t	busy[SIM_BUCKETS / 64]; /* a bit for each bucket of the wheel */
} SimQueue;

extern SimEvent *sim_after(struct Sim *sim, SimTime delay, SimEventType type, struct SimNode *node);
extern SimEvent *sim_at(struct Sim *sim, SimTime at, SimEventType type, struct SimNode *node);
extern bool sim_next(struct Sim *sim, SimTime until, SimEvent *event);
extern SimEvent *sim_queued(const struct Sim *sim, int i);
extern void sim_queue_clear(struct Sim *sim);
extern void sim_again(struct Sim *sim, const SimEvent *event, SimTime at);

#endif							/* SIM_QUEUE_H */
