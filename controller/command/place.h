/* Private to controller/command: brokers that are alive, and new shards on them. */
#pragma once

#include "controller/db/db.h"
#include "controller/placement/placement.h"

struct place {
    struct db_broker *row;
    struct placement_broker *broker; /* what placement_choose() takes, and counts in */
    uint32_t count, capacity;
    bool failed; /* out of memory */
};

void place_load(struct db *db, struct place *place);
void place_release(struct place *place);

/* Puts a new shard that is to be elected in its first epoch, on the brokers that were chosen; the
 * caller has filled in its id, range and creation. */
void place_shard(struct db *db, const struct place *place, const struct placement_choice *choice,
                 struct db_shard *shard);

/* The same on the brokers of another shard. */
void place_beside(struct db *db, const struct db_shard *other, struct db_shard *shard);

/* Adds what the choices have added to the counts of brokers: once, at the end. */
void place_loads(struct db *db, const struct place *place);
