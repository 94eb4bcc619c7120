/* The operations of the data path: PUT, READ, RESOLVE and SHARD_STATUS (proto/rpc/methods.def).
 *
 * A call is answered exactly once: at once, when its put is committed, or when a record arrives for
 * a reader that waits. Everything that waits is bounded: by the calls of a session, by the limits
 * of a shard, and by API_READS_MAX for reads from segments.
 *
 * One home thread, that of the loop. */
#pragma once

#include "base/metrics.h"
#include "broker/crypt/vault.h"
#include "broker/route/route.h"
#include "broker/shard/shard.h"
#include "proto/net/net.h"

enum {
    API_TIP_MS = 1000,            /* "at the tip" is said for so long after it was made sure of */
    API_READS_MAX = 64,           /* segment reads at a time; further ones queue */
    API_READ_BYTES = 1024 * 1024, /* of a READ that names no size */
    API_READ_BYTES_MAX = 8 * 1024 * 1024, /* of one reply, unless one batch alone is larger */
    API_WAIT_MS_MAX = 60 * 1000,          /* a longer wait is cut to this */
    API_STATUS_SHARDS_MAX = 16384,        /* in one SHARD_STATUS */
};

/* Of each shard, a second; 0: no limit. They hold for calls that ask for it
 * (proto/schema/data.proto, `limited`): those of Kinesis clients. */
struct api_limits {
    uint64_t write_bytes, write_records, read_bytes, read_calls;
    uint64_t iterator_calls;     /* GetShardIterator; counted by the broker that is asked */
    uint64_t subscription_bytes; /* of each consumer */
};

/* A question whether a shard is led here still. */
struct api_tip {
    struct list node; /* of whom it was given to */
    uint64_t shard;
    void (*done)(struct api_tip *tip, bool leads);
};

struct api_options {
    struct net_loop *loop;
    struct shards *shards;
    const struct route *route;
    uint32_t broker;
    /* Asks the other voters of a shard that is led here whether that is still so; tip->done comes
     * later (docs/replication.md 2.10). */
    void (*confirm)(void *context, struct api_tip *tip);
    void *context;
    struct api_limits limits;
    struct vault *vault; /* NULL: encrypted batches are given out as they are */
};

struct api;

/* Everything in the options is borrowed. NULL when out of memory. */
struct api *api_new(const struct api_options *options);

/* New calls are answered CLOSING. What waits is answered by shards_close() and store_close(). */
void api_close(struct api *api);

/* After the store and the loop's sessions are closed. NULL is fine. */
void api_free(struct api *api);

/* What holds for the shard's stream: its own limits, else the options'. */
struct api_limits api_limits_of(const struct api *api, uint64_t shard);

/* False: the shard's limit of GetShardIterator is reached. Counts the call. */
bool api_may_iterate(struct api *api, uint64_t shard);

/* ---- what is counted ---- */

struct api_stats {
    struct histogram committed; /* puts, from their coming to their commit */
    uint32_t reading;           /* reads from segments under way */
    uint32_t reads_queued, subscriptions;
};
void api_stats(const struct api *api, struct api_stats *out);

/* Counts since this broker started: sums over brokers are a shard's. */
struct api_shard_metrics {
    uint64_t shard;
    uint32_t enabled; /* bits of StreamAttributes.monitoring (proto/schema/metadata.proto) */
    struct shard_counters counters;
};

/* Tells of each shard here whose stream has metrics enabled; ascending by nothing. */
void api_metrics_each(const struct api *api,
                      void (*visit)(const struct api_shard_metrics *metrics, void *context),
                      void *context);

/* How much of its capacity a shard in on-demand mode uses that this broker leads, since it was
 * asked last. Capacity is the stream's limits; where there are none, AWS's. */
struct api_load {
    uint64_t shard;
    uint32_t permille;
    bool can_split;
    struct hash_key split; /* where the load halves */
};

/* Up to `capacity` of them, beginning behind shard *cursor (0: at the first), which moves on; 0
 * there again when all have been told. Returns how many. */
uint32_t api_loads(struct api *api, uint64_t *cursor, struct api_load *out, uint32_t capacity);

/* False: the method is not one of the data path; the call is untouched. */
bool api_called(struct api *api, struct session_call *call);
