/* Which shard, which broker: the metadata image that a broker watches (docs/architecture.md).
 *
 * Rows replace rows with the same id; the image only moves forward. It stays as it was while no
 * controller can be reached: the data path never asks for more. Pointers that look-ups return stay
 * valid until the next route_apply().
 *
 * No I/O, no clock. One home thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/hash_key.h"
#include "base/limits.h"
#include "base/status.h"
#include "proto/schema/metadata.pb-c.h"

enum { ROUTE_PARENTS_MAX = 2 };

struct route;

/* A row that the image does not fill stays zero. */
struct route_broker {
    uint32_t id;
    char name[NODE_NAME_BYTES], zone[ZONE_BYTES], host[HOST_BYTES];
    uint16_t port;
    uint64_t boot;
    uint32_t disk_gen;
    bool alive;
};

struct route_shard {
    uint64_t shard; /* stream id << 32 | number */
    struct hash_range range;
    uint64_t created_s;
    Weir__ShardPhase phase;
    uint32_t epoch, leader_broker, generation;
    uint32_t replica_count;
    uint32_t replica_brokers[REPLICAS_PER_SHARD];
    bool open; /* takes records: neither closed nor waiting for its parents to be */
    bool waiting;
    uint32_t parent_count; /* 0, 1, or two neighbours, the lower range first */
    uint32_t parents[ROUTE_PARENTS_MAX];
    uint64_t final_offset, closed_ms; /* closed: where its SEAL ends, and when */
};

struct route_stream {
    uint32_t id;
    char name[STREAM_NAME_MAX + 1];
    Weir__StreamState state;
    uint32_t retention_hours;
    uint64_t created_ms;
    const Weir__StreamAttributes *attributes; /* never NULL */
    uint32_t shard_count; /* rows of `shards`: shards ever made; a row not seen yet is zero */
    struct route_shard *shards;
};

/* NULL when out of memory. An empty image has version 0. */
struct route *route_new(const uint8_t cluster[CLUSTER_ID_BYTES]);
void route_free(struct route *route);

/* Takes an image or the changes that follow the version we have.
 *
 * STALE          it does not follow our version: watch again from version 0
 * WRONG_CLUSTER  it is another cluster's
 * INVALID        a row is not well formed; NO_MEMORY
 * On INVALID and NO_MEMORY a part of it may have been taken and the version is 0, so that the next
 * thing accepted is a fresh image. */
NODISCARD enum status route_apply(struct route *route, const Weir__MetadataUpdate *update,
                                  struct error *error);

/* What to watch from: 0 until the first image is complete. */
uint64_t route_version(const struct route *route);

/* NULL: not in the image. */
const struct route_stream *route_stream(const struct route *route, uint32_t id);
const struct route_stream *route_stream_by_name(const struct route *route, const char *name);
const struct route_shard *route_shard(const struct route *route, uint64_t shard);
const struct route_broker *route_broker(const struct route *route, uint32_t id);

/* The open shard of the stream that takes this hash key; NULL while none is known. */
const struct route_shard *route_find(const struct route_stream *stream, struct hash_key key);

/* The next shard that has `parent` (a number) as a parent and is or was open, after *previous in
 * the order of numbers; NULL for both at the ends. */
const struct route_shard *route_next_child(const struct route_stream *stream, uint32_t parent,
                                           const struct route_shard *previous);

/* What holds for all of the cluster; a default one until the controllers have told. */
const Weir__ClusterSettings *route_settings(const struct route *route);

/* Streams in the order of their ids. */
uint32_t route_stream_count(const struct route *route);
const struct route_stream *route_stream_at(const struct route *route, uint32_t index);

/* Name of the broker that leads the shard, "" while nobody is known to: the hint of NOT_LEADER. */
const char *route_leader_name(const struct route *route, uint64_t shard);

/* Brokers in the order of their ids. */
uint32_t route_broker_count(const struct route *route);
const struct route_broker *route_broker_at(const struct route *route, uint32_t index);
