/* The inside of a weir_consumer: the shell around its core.
 *
 *     controllers <--- sync.c ---+
 *     brokers <------ lease.c ---+--- shell.c: the core's effects (loop thread)
 *     callbacks <----- pool.c ---+
 *
 * Everything but pool.c's queue and the public functions is the loop thread's. */
#pragma once

#include <pthread.h>

#include <weir/consumer.h>

#include "client/consumer/core.h"
#include "client/handle/handle.h"
#include "proto/schema/lease.pb-c.h"

enum {
    CONSUMER_STREAMS_MAX = 64,
    APPLICATION_NAME_MAX = 128,
    WORKER_NAME_MAX = 128,
    INCARNATION_BYTES = 16,
    CHECKPOINT_ITEMS_MAX = 1000,
    FETCH_WAIT_MS = 10000,
    OPEN_READER_MS = 10000,
    SYNC_TIMEOUT_MS = 4000,
    CHECKPOINT_TIMEOUT_MS = 8000,
    STOP_MS = 30000,
    THREADS_DEFAULT = 4,
    THREADS_MAX = 4096,
};

/* What one get of a reader brought. */
struct fetched {
    struct core_batch core;
    struct weir_records *records;
    uint64_t left; /* keys and data of the records that were not handed over */
};

struct weir_lease {
    struct core_lease core;
    struct weir_consumer *consumer;
    char stream[STREAM_NAME_MAX + 1];
    char shard_id[WEIR_SHARD_ID_BYTES];
    uint32_t number;
    uint64_t created_s;
    struct weir_reader *reader;
    bool skipped, lost; /* to be told with the next records */
    /* How far the last thing read was behind the newest, then. */
    uint64_t tip_records, tip_bytes, tip_ms;
    uint64_t newest_ms;        /* arrival of the last record read */
    struct weir_error trouble; /* told last */
    struct list checkpoint;    /* on consumer.checkpoints */

    /* The callback under way; the processing thread's from consumer_run() to `processed`. */
    struct list job; /* on consumer.jobs */
    enum core_job kind;
    bool hand_over, good;
    struct weir_delivery delivery;
    struct weir_lease_start start;
    struct net_mail processed;

    void *data; /* the program's */
};

struct consumer_opening {
    struct net_mail mail;
    weir_consumer_opened_fn *opened; /* NULL once it was called */
    void *context;
    struct net_timer patience;
    uint32_t timeout_ms;
};

struct weir_consumer {
    struct weir_client *client;
    struct weir_processor processor;
    char application[APPLICATION_NAME_MAX + 1], worker[WORKER_NAME_MAX + 1];
    uint8_t incarnation[INCARNATION_BYTES];
    char streams[CONSUMER_STREAMS_MAX][STREAM_NAME_MAX + 1];
    size_t stream_count;
    enum weir_from from;
    bool push;
    bool pumping;         /* the core's effects are being done */
    bool checkpoint_busy; /* `checkpointing` is under way */
    uint64_t timestamp_ms;

    struct consumer_opening opening;
    struct core core;
    struct net_timer timer;
    struct net_mail stop_mail;
    uint64_t stop_within_ms;
    char failed_text[WEIR_ERROR_TEXT_BYTES];
    struct weir_error sync_trouble;

    /* sync.c */
    struct cluster_call sync;
    Weir__LeaseSync sync_body;
    uint64_t *lists; /* of sync_body */
    Weir__LeaseStream *sync_streams, **sync_stream_list;
    Weir__LeasePosition initial;
    struct cluster_call checkpointing;
    Weir__LeaseCheckpoint checkpoint_body;
    Weir__LeaseCheckpointItem *items, **item_list;
    Weir__LeasePosition *positions;
    struct weir_lease **item_leases;
    struct list checkpoints; /* leases that want one */

    /* pool.c */
    pthread_mutex_t lock;
    pthread_cond_t news, over;
    struct list jobs; /* weir_lease.job */
    uint32_t threads_max, threads, idle, jobs_waiting;
    pthread_t *thread_ids;
    bool poll, quit;         /* no job comes any more */
    bool stop_sent, stopped; /* under the lock; `stopped`: the core has ended */
    struct weir_error why;   /* once stopped */
    struct weir_consumer_counters counters;
    void (*execute)(void (*run)(void *job), void *job, void *context);
    void *execute_context;
};

/* shell.c */
void consumer_pump(struct weir_consumer *consumer); /* after every input to the core */
void consumer_trouble(struct weir_consumer *consumer, struct weir_lease *lease, enum status status,
                      const char *text);
void consumer_on_stop(struct net_mail *mail);

/* sync.c */
NODISCARD enum status consumer_sync_init(struct weir_consumer *consumer);
void consumer_sync_release(struct weir_consumer *consumer);
void consumer_sync(struct weir_consumer *consumer);
void consumer_checkpoint(struct weir_consumer *consumer); /* what waits in consumer.checkpoints */

/* lease.c */
struct weir_lease *lease_new(struct weir_consumer *consumer, const char *stream, uint64_t shard);
void lease_open(struct weir_lease *lease);
void lease_fetch(struct weir_lease *lease);
void lease_close(struct weir_lease *lease);
void lease_deliver(struct weir_lease *lease, const struct core_effect *effect);
void lease_answer(struct core_request *request);
void lease_drop(struct core_batch *batch);

/* pool.c */
NODISCARD enum status consumer_pool_init(struct weir_consumer *consumer);
void consumer_run(struct weir_lease *lease); /* its callback, on another thread */
void consumer_pool_release(struct weir_consumer *consumer);
