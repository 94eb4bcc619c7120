/* The other side of repairs: batches and hashes for brokers that ask. Private to this folder. */
#pragma once

#include "broker/shard/shard.h"
#include "proto/net/net.h"

struct repair_serve {
    struct shards *shards;
    uint64_t *served; /* counts */
    uint32_t reading;
};

void repair_serve_init(struct repair_serve *serve, struct shards *shards, uint64_t *served);

/* REPAIR_GET and SEGMENT_HASH; false: another method. */
bool repair_serve_called(struct repair_serve *serve, struct session_call *call);
