/* The inside of a weir_producer.
 *
 * Any thread puts: under the producer's lock it finds the shard's lane and adds the record to the
 * lane's batcher. The loop's thread takes batches from there and delivers them; all else of a lane
 * is its alone. */
#pragma once

#include <pthread.h>

#include <weir/producer.h>

#include "client/handle/handle.h"
#include "client/producer/batcher.h"
#include "client/producer/delivery.h"
#include "client/producer/encode.h"
#include "proto/schema/data.pb-c.h"

enum {
    ATTEMPT_MS = 10000, /* a leader that is silent for so long is asked again */
    STALL_MS = 500,     /* ... and after this we look whether somebody else leads */
    PACE_MS_MAX = 5000, /* no broker makes us wait longer at once */
};

/* A batch from its first record to its last acknowledgement. */
struct producer_batch {
    struct batcher_batch gathered;
    struct encoded encoded; /* since the loop took it */
    struct delivery_batch delivery;
    struct session_request request;
    struct list outstanding; /* on producer.outstanding; under the lock */
    struct list done;        /* on producer.done */
    uint64_t number;         /* rises with the order of creation */
    uint64_t bytes;          /* counted against the buffer */
    uint32_t moved;          /* so many of its records have gone to children of its shard ... */
    size_t moved_bytes;      /* ... which are so many bytes of its payload */
    uint64_t early_ms; /* when the first of its records that were never sent runs out of time, or
                        * earlier; UINT64_MAX: none does before the others */
    struct lane *lane;
    struct weir_attempt history[WEIR_ATTEMPTS_KEPT]; /* the newest, oldest first */
    uint32_t attempts;
    enum status status; /* once done */
    const char *text;   /* a static sentence, or `detail` */
    char detail[224];
    uint64_t base_offset, append_ms;
    uint32_t generation;
    bool duplicate;
};

/* One shard. */
struct lane {
    struct weir_producer *producer;
    uint32_t shard;
    struct hash_range range;
    uint64_t created_s;

    /* Under the producer's lock. */
    struct batcher batcher;
    struct list dirty; /* on producer.dirty: the loop should look */

    /* The loop's. */
    struct delivery delivery;
    struct net_timer timer;
    uint32_t leader, epoch;    /* where batches go */
    uint32_t serial;           /* of the session with it */
    char refusal[144];         /* why the last batch was not taken, "" when one was since */
    bool moved;                /* its shard is closed, its records are its children's */
    uint32_t hint, hint_epoch; /* NOT_LEADER told us: this broker, while that epoch is the newest
                                * we know */
};

/* Which lane takes a range of hash keys: first that of the shard, then those of its children. */
struct lane_route {
    struct hash_range range;
    struct lane *lane;
};

struct flush {
    struct net_mail mail;
    struct list node;
    struct weir_producer *producer;
    uint64_t number; /* over when no batch up to this one is outstanding */
    weir_done_fn *done;
    void *context;
};

struct weir_producer {
    struct weir_client *client;
    struct weir_producer_options options;
    uint32_t stream;
    uint64_t id; /* the brokers' name for us */
    uint32_t lane_count;
    struct lane **lanes; /* in the order that we met their shards; none goes before the end */

    pthread_mutex_t lock;
    /* Under the lock. */
    uint32_t route_count;
    struct lane_route *routes; /* by range; they cover all hash keys */
    pthread_cond_t room;
    uint32_t blocked; /* threads that wait for room */
    struct list dirty, outstanding, flushes;
    bool wake_sent, closing, gone;
    bool drop_wanted;  /* the loop should drop what is too much */
    bool has_timeouts; /* a record came that has its own */
    uint64_t next_number;
    struct weir_producer_stats stats;

    /* The loop's. */
    struct net_mail wake;
    struct net_mail close;
    struct cluster_watcher watcher;
    struct encoding encoding;
    struct encoder encoder;
    struct list done;      /* batches whose records are to be told, in order */
    bool telling;          /* producer_tell() is at work below us */
    bool ending;           /* everything was abandoned: free it when it is quiet */
    struct waiter *closer; /* who waits for that; NULL: nobody */
};

/* lane.c: loop thread only. */
void lane_init(struct lane *lane, struct weir_producer *producer, uint32_t shard,
               const struct metadata_shard *row);
void lane_route(struct lane *lane);   /* looks where batches should go */
void lane_pump(struct lane *lane);    /* does what there is to do; then producer_tell() */
void lane_soon(struct lane *lane);    /* routes it, and pumps it in the loop's next turn */
void lane_abandon(struct lane *lane); /* everything fails */
bool lane_is_quiet(const struct lane *lane);
/* Its records are to be told: it is on no list of the lane any more. `text` is static or the
 * batch's. */
void batch_done(struct producer_batch *batch, enum status status, const char *text);
void batch_encode(struct producer_batch *batch);

/* stats.c: of a latency in tenths of milliseconds. */
uint32_t latency_bucket(uint32_t tenths);

/* move.c: loop thread only. */
/* NULL: out of memory. */
struct lane *producer_lane_add(struct weir_producer *producer, uint32_t shard,
                               const struct metadata_shard *row);
/* When the lane's shard is closed, everything of it is known not to be there, and its children are
 * known: hands some of its records to them, in order; once it has none left, its keys are routed
 * there. Returns when to go on; UINT64_MAX: when something changes. */
uint64_t producer_move(struct lane *lane, uint64_t now_ms);

/* gather.c */
/* Under the lock. What a record costs while it waits: itself and its token. */
uint64_t producer_cost(const struct record *record);
/* Under the lock: gathers a record in the lane. `before`: the batch that it was in; NULL: it is
 * new.
 */
NODISCARD enum status producer_gather(struct lane *lane, const struct record *record,
                                      struct batcher_token token, uint64_t now_ms,
                                      struct producer_batch *before, bool *out_news);
struct producer_batch *producer_batch_new(struct lane *lane); /* NULL: out of memory */
void producer_batch_free(struct producer_batch *batch);
/* When a record with a time of its own runs out of it, on handle_now_ms(). */
uint64_t producer_until(const struct batcher_token *token);

/* giveup.c: loop thread only. */
/* Drops the oldest records that were never sent until the buffer is within its size. */
void producer_make_room(struct weir_producer *producer);
/* Fails the lane's records whose own time is over before they were sent. Returns when the next one
 * is; UINT64_MAX: none. */
uint64_t lane_expire(struct lane *lane, uint64_t now_ms);

/* The clock of tokens: tenths of milliseconds, wrapping. */
static inline uint32_t put_clock(uint64_t us)
{
    return (uint32_t)(us / 100);
}

/* producer.c */
/* Runs callbacks of finished batches, and frees those. May free the producer: the last thing done.
 */
void producer_tell(struct weir_producer *producer);
void producer_on_wake(struct net_mail *mail);
void producer_on_change(struct cluster_watcher *watcher);
void producer_abandon(struct weir_producer *producer);
void producer_free(struct weir_producer *producer);
