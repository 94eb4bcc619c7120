/* Where the replicas of new shards go, and who should lead them.
 *
 * Every shard gets REPLICAS_PER_SHARD different brokers in as many different failure domains,
 * chosen so that all brokers carry the same number of replicas and prefer to lead the same number
 * of shards, as far as the domains allow.
 *
 * Pure: no I/O, no clock, no threads; the same input gives the same answer on every controller. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/status.h"

struct placement_broker {
    uint32_t id;
    const char *zone;   /* borrowed */
    uint32_t replicas;  /* that it carries; placement_choose() adds to it */
    uint32_t preferred; /* shards that prefer it as leader; ditto */
};

struct placement_choice {
    uint32_t broker[REPLICAS_PER_SHARD]; /* the first is the preferred leader */
};

/* One choice for each of `shard_count` shards. `brokers` are those that are alive, ascending by id;
 * their counts are raised by what was chosen.
 *
 * PLACEMENT  too few brokers or domains: the sentence says what is missing and what there is. With
 *            `fewer_zones` replicas may share a domain (as few as possible do), never a broker.
 * On error the counts and the choices are untouched. */
NODISCARD enum status placement_choose(struct placement_broker *brokers, uint32_t broker_count,
                                       uint32_t shard_count, bool fewer_zones,
                                       struct placement_choice *out_choices, struct error *error);
