/* Brokers without sockets: real stores in memory-backed directories, real cores, and messages that
 * the test delivers. One shard, id SHARD_ID, on all of them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/shard/shard.h"

enum { WORLD_BROKERS = 3 };
#define SHARD_ID (UINT64_C(7) << 32 | 2)

struct message;

struct world_broker {
    struct world *world;
    uint32_t id;
    char dir[96];
    struct store *store;
    struct shards *shards;
    struct list woken; /* shard_peer.node */
    bool scheduled;
    /* What the hooks saw. */
    uint32_t reports, leadings, dropped, seals, resignations;
    uint32_t resigned_epoch, resigned_promised; /* of the last resignation */
    uint64_t sealed_end;
    struct replica_report report;
    bool cut; /* receives and sends nothing */
};

struct world {
    uint64_t now_ms, wall_ms;
    uint64_t reserve_bytes;
    const struct disk *disk;                       /* of broker 1; NULL: the operating system's */
    struct world_broker broker[WORLD_BROKERS + 1]; /* by id */
    struct list messages;                          /* answers on their way */
    uint32_t keeper;                               /* of what is put from now on */
    uint32_t spared;                               /* appends without their payload */
    struct replica_config config;
};

void world_open(struct world *w);
void world_close(struct world *w);

/* A clean stop and a new start of one broker. */
void world_restart(struct world *w, uint32_t broker);

/* Delivers, polls and turns until nothing moves any more. */
void world_settle(struct world *w);
/* Until `broker` has committed so much, and not one turn of it longer: nobody was answered yet. */
void world_commit(struct world *w, uint32_t broker, uint64_t commit);
/* Polls and turns one broker, delivering nothing. */
void world_turn(struct world *w, uint32_t broker);

struct shard *world_shard(struct world *w, uint32_t broker);

/* Fences all that are not cut and grants the epoch to `leader`; settles. */
void world_elect(struct world *w, uint32_t leader, uint32_t epoch);

/* A batch of `count` records, valid until the next call. */
struct bytes world_batch(uint32_t count, uint64_t producer, uint16_t epoch, uint32_t seq);

/* Puts it at a broker; *put remembers the outcome. */
struct world_put {
    struct shard_put put;
    enum status refused; /* what shard_put() said */
    struct error error;
    int done; /* how often it was answered */
};
void world_put(struct world *w, uint32_t broker, struct bytes batch, struct world_put *put);

/* All bytes below the commit, from segments or the tail. */
void world_read_all(struct world *w, uint32_t broker, struct buf *out);
