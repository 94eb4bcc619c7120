/* Watching a broker from outside: what is counted of the streams here, its pages, its readiness,
 * its log level. Private to this folder. One home thread, that of the loop. */
#pragma once

#include <uv.h>

#include "broker/shard/shard.h"
#include "proto/net/process.h"

struct server;

enum { OBSERVE_STREAMS_MAX = 2000 };

/* Sums of the shards here, which never fall: a shard may move away, what was counted of it stays.
 */
struct stream_counts {
    uint32_t stream;
    struct shard_counters counters;
};

struct observe {
    struct process process;
    struct stream_counts *streams; /* rising ids */
    uint32_t count;
    struct shard_counters all;
    char name[NODE_NAME_BYTES];
    uv_signal_t hang_up;
    bool has_signal;
};

/* Serves the pages where the configuration says so; SIGHUP reads log-level and log-format again. */
NODISCARD enum status observe_open(struct server *s, struct error *error);
void observe_close(struct server *s);
void observe_release(struct server *s);

/* Once a second: adds up what the shards have counted. */
void observe_count(struct server *s);

/* metrics.c */
void observe_write_metrics(void *server, struct metrics *m);
