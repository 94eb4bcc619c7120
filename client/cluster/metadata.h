/* What a client knows of its cluster: brokers, controllers, streams and their shards, as the
 * controllers' watch tells it. Pure; one home thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash_key.h"
#include "base/limits.h"
#include "base/status.h"
#include "proto/schema/metadata.pb-c.h"

enum { METADATA_VOTERS_MAX = 6, METADATA_PARENTS_MAX = 2 };

struct metadata_broker {
    uint32_t id, disk_gen;
    char name[NODE_NAME_BYTES], zone[ZONE_BYTES], host[HOST_BYTES];
    uint16_t port;
    bool alive;
    uint64_t boot; /* rises with every start */
};

struct metadata_controller {
    uint32_t id;
    char name[NODE_NAME_BYTES], host[HOST_BYTES];
    uint16_t port;
};

struct metadata_voter {
    uint32_t broker, disk_gen;
};

struct metadata_shard {
    bool known; /* its row has come */
    struct hash_range range;
    uint64_t created_s;
    uint32_t phase;                     /* enum Weir__ShardPhase, or a later one */
    uint32_t epoch, leader, generation; /* leader: a broker's id, 0 for none */
    uint32_t voter_count;
    struct metadata_voter voters[METADATA_VOTERS_MAX]; /* cfg and prev_cfg, each once */
    bool waiting; /* for its parents to be closed: nothing is put there, and nobody sees it yet */
    bool sealing; /* about to be closed */
    uint32_t parent_count;
    uint32_t parents[METADATA_PARENTS_MAX]; /* numbers, the lower range first */
    uint64_t final_offset, closed_ms;       /* once it is closed */
};

/* It takes records. */
bool metadata_shard_is_open(const struct metadata_shard *shard);
/* Its children have taken over, and it can still be read. */
bool metadata_shard_is_closed(const struct metadata_shard *shard);

struct metadata_stream {
    uint32_t id;
    char name[STREAM_NAME_MAX + 1];
    uint32_t state; /* enum Weir__StreamState, or a later one */
    uint64_t created_ms;
    uint32_t retention_hours;
    uint32_t shard_count;
    struct metadata_shard *shards; /* by number */
};

/* A zeroed struct knows nothing. */
struct metadata {
    bool known;
    uint8_t cluster[CLUSTER_ID_BYTES];
    uint64_t version;
    uint32_t active_controller;
    size_t broker_count, controller_count, stream_count;
    struct metadata_broker *brokers;         /* by id */
    struct metadata_controller *controllers; /* by id */
    struct metadata_stream *streams;         /* by id */
};

void metadata_release(struct metadata *metadata);

/* Takes an image, or the changes from the version that it has.
 *
 * STALE      changes that do not begin at our version: ask for an image
 * CORRUPT    a row that no controller sends; what is known may be half changed: ask for an image
 * NO_MEMORY  the same */
NODISCARD enum status metadata_apply(struct metadata *metadata, const Weir__MetadataUpdate *update);

/* Takes from `update` (an image of some streams, at a newer version than ours) only newer
 * leaderships of shards that are known. True when something changed. */
bool metadata_apply_leaders(struct metadata *metadata, const Weir__MetadataUpdate *update);

/* NULL: unknown. Borrowed until the next change. */
const struct metadata_broker *metadata_broker(const struct metadata *metadata, uint32_t id);
const struct metadata_controller *metadata_controller(const struct metadata *metadata, uint32_t id);
const struct metadata_stream *metadata_stream(const struct metadata *metadata, uint32_t id);
const struct metadata_stream *metadata_stream_by_name(const struct metadata *metadata,
                                                      const char *name);

/* It is there, and not being deleted. Borrowed as above. */
const struct metadata_stream *metadata_stream_alive(const struct metadata *metadata, uint32_t id);

/* The child of shard `parent` that takes this hash key; false while there is none to be seen. */
bool metadata_child_of(const struct metadata_stream *stream, uint32_t parent, struct hash_key key,
                       uint32_t *out_child);
bool metadata_is_parent(const struct metadata_shard *child, uint32_t parent);

/* Every row of its shards has come, and together they cover the hash keys without hole or overlap.
 */
bool metadata_stream_is_whole(const struct metadata_stream *stream);
