/* What the files of this folder share about a loop: its timer heap, its turns, its memory. */
#pragma once

#include <uv.h>

#include "base/metrics.h"
#include "proto/net/net.h"

/* A TLS record of 16 KiB has at most 16,406 bytes on the wire: four of them, whole. */
enum {
    CHUNK_BYTES = 4 * 16406,
    CHUNKS_KEPT = 128,       /* 8 MiB at most stay with an idle loop */
    READ_BYTES = 128 * 1024, /* one read of a socket; within the L2 cache */
    TRACES_PER_SECOND = 10,  /* about strangers' connections */
    NET_METHODS_MAX = 256,   /* numbers of methods, for counting */
    TURN_ROUNDS = 8,         /* a turn may schedule turns; then the sockets get a look in */
};

/* What is counted of the sessions on a loop, for metrics. */
struct net_stats {
    uint64_t accepted, turned_away; /* connections; by a limit */
    uint64_t refused;               /* ended before their handshake was over */
    struct {
        uint64_t calls, failed; /* that came in and are answered; with another status than OK */
        struct histogram answered;
    } method[NET_METHODS_MAX];
};

/* A stretch of bytes: [begin, end) of `data` is filled. */
struct chunk {
    struct list node;
    size_t begin, end, capacity;
    uint8_t data[];
};

struct net_loop {
    uv_loop_t own;
    uv_loop_t *uv; /* &own, or the caller's */
    uv_prepare_t prepare;
    uv_idle_t idle; /* keeps the loop awake while turns are left over */
    uv_timer_t timer;
    uv_async_t async;
    bool is_own, is_idle_on;
    int stopping;     /* atomic */
    uint32_t handles; /* of the loop itself that are not closed yet */
    uint32_t objects; /* sessions, watches, ... not closed yet */

    struct net_timer **heap; /* [1 ... heap_count]; the earliest first */
    uint32_t heap_count, heap_capacity;
    uint64_t armed_at_ms; /* UINT64_MAX: the uv timer is not running */

    struct list turns; /* of net_turn */

    struct list chunks; /* spare ones of CHUNK_BYTES */
    uint32_t chunk_count;
    uint8_t *read_buffer; /* READ_BYTES; used only within one read callback */

    struct net_stats stats;

    uint64_t trace_second;
    uint32_t traced, untraced; /* in that second */
};

/* An empty chunk of at least `capacity` bytes; NULL when out of memory. */
struct chunk *chunk_new(struct net_loop *loop, size_t capacity);
void chunk_free(struct net_loop *loop, struct chunk *chunk);

/* timer.c */
uint64_t timer_next_ms(const struct net_loop *loop); /* UINT64_MAX when none is started */
void timer_fire_due(struct net_loop *loop);

/* Traces an event that strangers can cause, a bounded number of times a second. */
void net_trace(struct net_loop *loop, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
