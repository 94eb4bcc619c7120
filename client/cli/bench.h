/* weir bench: what its two halves share. Private. */
#pragma once

#include <pthread.h>

#include "client/cli/program.h"

enum {
    BENCH_HEAD_BYTES = 24,  /* of a record's data: magic, run, when it was put */
    BENCH_SIDES_MAX = 64,   /* producers, and consumers */
    BENCH_SHARDS_MAX = 1024 /* readers of one consumer */
};

struct bench_options {
    uint32_t producers, consumers, record_bytes, keys, duration_ms;
    uint64_t rate; /* records a second of all producers; 0: no limit */
    struct weir_producer_options producer;
};

struct bench_producer {
    const struct bench *bench;
    struct weir_client *client;
    struct weir_producer *producer;
    pthread_t thread;
    bool running;
    enum weir_status status; /* why it ended; OK: its time was over */
};

struct bench_consumer;

/* One reader. */
struct bench_shard {
    struct bench_consumer *consumer;
    uint32_t number;
    struct weir_reader *reader;
};

struct bench_consumer {
    const struct bench *bench;
    struct weir_client *client;
    pthread_mutex_t lock;
    /* Under the lock. */
    uint64_t records, bytes, lag_ms, lag_most_ms;
    struct weir_producer_stats latencies; /* only .latency is used */
    char problem[WEIR_ERROR_TEXT_BYTES];  /* "" while there is none */
    uint32_t opening;
    bool closing;
    uint32_t shard_count;
    struct bench_shard *shards[BENCH_SHARDS_MAX];
};

struct bench {
    struct program *program;
    const char *stream;
    struct bench_options options;
    uint64_t run; /* marks the records of this run */
    uint64_t begin_us;
    struct bench_producer producers[BENCH_SIDES_MAX];
    struct bench_consumer consumers[BENCH_SIDES_MAX];
};

uint64_t bench_now_us(void);

/* bench_put.c */
int bench_producers_open(struct bench *bench);
int bench_producers_start(struct bench *bench);
int bench_producers_join(struct bench *bench); /* ... and flush */
void bench_producers_close(struct bench *bench);

/* bench_get.c */
int bench_consumers_open(struct bench *bench); /* at the tip of every shard */
void bench_consumers_close(struct bench *bench);
