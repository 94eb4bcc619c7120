/* Which hash keys the records of a shard went to lately, to find where its load halves. Only of
 * shards in on-demand mode. Private, pure. */
#pragma once

#include "broker/api/api.h"

enum {
    LOAD_BUCKETS = 64,     /* equal parts of a shard's range */
    LOAD_SAMPLES_MAX = 64, /* records of one batch that are looked at */
};

struct loads;

/* NULL when out of memory. */
struct loads *loads_new(void);
void loads_free(struct loads *loads); /* NULL is fine */

/* A record of `bytes` went there. Without memory it is not noted. */
void loads_note(struct loads *loads, uint64_t shard, struct hash_range range, struct hash_key key,
                uint64_t bytes);

/* The load since the last call for this shard, by its counters; older notes count half from now on.
 * False: there is nothing yet to compare with. */
bool loads_take(struct loads *loads, uint64_t shard, struct hash_range range, uint64_t now_ms,
                const struct shard_counters *counters, const struct api_limits *capacity,
                struct api_load *out);

/* Forgets shards that were not asked for since `since_ms`. */
void loads_tidy(struct loads *loads, uint64_t since_ms);
