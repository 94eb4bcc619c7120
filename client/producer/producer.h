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
#include "proto/schema/data.pb-c.h"

enum {
    ATTEMPT_MS = 10000, /* a leader that is silent for so long is asked again */
    STALL_MS = 500,     /* ... and after this we look whether somebody else leads */
};

/* A batch from its first record to its last acknowledgement. */
struct producer_batch {
    struct batcher_batch gathered;
    struct delivery_batch delivery;
    struct session_request request;
    struct list outstanding; /* on producer.outstanding; under the lock */
    struct list done;        /* on producer.done */
    uint64_t number;         /* rises with the order of creation */
    uint64_t bytes;          /* counted against the buffer */
    struct lane *lane;
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
    uint32_t hint, hint_epoch; /* NOT_LEADER told us: this broker, while that epoch is the newest
                                * we know */
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
    struct lane *lanes;    /* by shard number, only open shards */
    struct lane **by_hash; /* by range */

    pthread_mutex_t lock;
    /* Under the lock. */
    pthread_cond_t room;
    uint32_t blocked; /* threads that wait for room */
    struct list dirty, outstanding, flushes;
    bool wake_sent, closing, gone;
    uint64_t next_number;
    struct weir_producer_counters counters;

    /* The loop's. */
    struct net_mail wake;
    struct net_mail close;
    struct cluster_watcher watcher;
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
void lane_abandon(struct lane *lane); /* everything fails */
bool lane_is_quiet(const struct lane *lane);

/* producer.c */
/* Runs callbacks of finished batches, and frees those. May free the producer: the last thing done.
 */
void producer_tell(struct weir_producer *producer);
void producer_on_wake(struct net_mail *mail);
void producer_on_change(struct cluster_watcher *watcher);
void producer_abandon(struct weir_producer *producer);
void producer_free(struct weir_producer *producer);
