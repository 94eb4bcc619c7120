/* Random work on a store, and what each shard must look like after every record of it: for tests
 * that lose power. */
#pragma once

#include "base/rng.h"
#include "tests/support/store_fixture.h"

enum { MODEL_SHARDS = 5 };

/* What a shard must look like after a record. */
struct model_shard {
    bool exists, uncertain;
    uint32_t promised, generation;
    struct log_point last;
    uint64_t log_start;
};

struct store_model {
    struct store_fixture *f;
    struct rng rng;
    struct model_shard now[MODEL_SHARDS];
    /* By lsn: the whole world after that record; the owner makes it large enough. */
    struct model_shard (*after)[MODEL_SHARDS];
    uint64_t last_lsn;
    size_t large_payload; /* of one batch in thirty */
};

uint64_t store_model_shard(uint32_t i); /* its id */

/* One random operation. BUSY: it was not possible now. */
enum status store_model_step(struct store_model *m);
void store_model_record(struct store_model *m, uint64_t lsn);

/* `damage`: the shard may have been marked uncertain on top. */
bool store_model_shard_is(struct store_model *m, uint32_t i, const struct model_shard *e,
                          bool damage);
bool store_model_is(struct store_model *m, const struct model_shard *after);
/* Says what was found beside what was synced and what was last. */
void store_model_explain(struct store_model *m, uint64_t synced);
