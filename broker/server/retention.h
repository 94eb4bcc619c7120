/* What may be dropped: retention by cluster time, guarded (docs/replication.md 2.12). Nothing is
 * ever deleted on one clock's word, and never much at once unless an operator has lowered
 * retention. */
#pragma once

#include "broker/route/route.h"
#include "broker/server/peers.h"
#include "broker/shard/shard.h"

enum {
    RETENTION_EVERY_MS = 5000,
    RETENTION_CLOCKS_APART_MS = 2000,  /* clocks of two brokers that confirm each other */
    RETENTION_SEGMENTS_PER_MINUTE = 2, /* of one shard */
};

/* Whether at least two brokers of the shard's replicas, this one included, agree about the time. */
bool retention_clock_is_confirmed(const struct shard *shard, const struct peers *peers,
                                  uint64_t wall_ms);

/* Proposes a higher log start to each shard that this broker leads, where one is due. */
void retention_run(struct shards *shards, const struct route *route, const struct peers *peers,
                   uint64_t now_ms, uint64_t wall_ms);
