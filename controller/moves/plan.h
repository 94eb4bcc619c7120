/* Which replicas should move, and where to (docs/replication.md 2.9).
 *
 * In this order: replicas whose disk is gone from a broker that is back; those of brokers that have
 * been dead for too long, or are to be replaced; those of brokers that are drained; and, when it
 * was asked for, those that make brokers carry uneven numbers. A shard has one move at a time, a
 * broker takes PLAN_LEARNERS_MAX at a time, and a move never leaves a shard's replicas in fewer
 * zones.
 *
 * Pure: no I/O, no clock; what it returns are proposals, which the rows judge once more. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/election/election.h"

enum {
    PLAN_LEARNERS_MAX = 2, /* on their way to one broker */
    PLAN_TEXT_BYTES = 160,
};

struct plan_broker {
    uint32_t id, disk_gen;
    const char *zone; /* borrowed */
    bool alive;
    bool takes;        /* replicas: neither drained, replaced, removed nor full */
    bool leaves;       /* its replicas are to go, now */
    uint64_t dead_ms;  /* for so long; 0: it is alive */
    uint32_t replicas; /* placed on it, those on their way included; plan_moves() counts on */
    uint32_t learners; /* on their way to it; ditto */
};

struct plan_shard {
    uint64_t shard;
    bool free; /* ACTIVE, stable, and nothing of it moves */
    struct election_config cfg;
};

struct plan_move {
    uint64_t shard;
    struct election_replica from;
    uint32_t to;
    const char *reason; /* of static life */
};

struct plan_input {
    struct plan_broker *brokers; /* ascending by id */
    size_t broker_count;
    const struct plan_shard *shards;
    size_t shard_count;
    uint64_t replace_after_ms;
    bool rebalance;
    uint32_t under_way, at_once; /* moves, and how many there may be */
};

struct plan_output {
    struct plan_move *moves; /* the caller's, room for input.at_once */
    size_t count;
    uint32_t missing;                /* replicas that should move and are not on their way */
    bool even;                       /* rebalancing has nothing left to do */
    char waits_for[PLAN_TEXT_BYTES]; /* why the first of the missing ones waits; "": it does not */
};

/* out->moves is set by the caller. */
void plan_moves(const struct plan_input *input, struct plan_output *out);

/* How many different zones these are. */
uint32_t plan_zones(const char *const *zones, uint32_t count);
