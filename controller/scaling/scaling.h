/* When a stream in on-demand mode gets more shards, and when fewer.
 *
 * Brokers report how much of a shard's capacity is used, in thousandths; what is remembered of a
 * shard is the mean of the last whole window, and the greatest such mean of the time in which
 * shards must be quiet to be merged. From that follows, for a stream and its open shards:
 *
 *   - a shard that was used for half of its capacity or more during a whole window is split, where
 *     its measured load halves: a stream always has room for twice its peak, and a hot range of
 * keys gets the new shards. One whose load is a single key cannot be helped and is left alone.
 *   - neighbours that together used less than a quarter of one shard's capacity in every window of
 *     `idle_ms` are merged, as long as the stream keeps `least` shards. A split needs twice as much
 *     as the merged shard has: the two never follow from each other.
 *   - a stream with fewer than `least` shards gets them: its widest shards are halved.
 *
 * After each step the stream rests for `cooldown_ms`. Nothing is kept on disk: who becomes the
 * active controller must see a whole window before it splits, and the whole of `idle_ms` before it
 * merges.
 *
 * Pure: no I/O, no clock. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash_key.h"
#include "base/status.h"
#include "controller/reshard/reshard.h"

enum {
    SCALING_SPLIT_PERMILLE = 500,
    SCALING_MERGE_PERMILLE = 250,
    SCALING_LEAST_SHARDS = 4, /* of a stream in on-demand mode, when it has that many */
    SCALING_SHARDS_MAX = 200, /* as AWS has it by default: 200 MiB/s */
    SCALING_STEP_MAX = 128,   /* splits, and merges, of one step */
    SCALING_IDLE_PARTS = 8,
};

struct scaling_config {
    uint64_t window_ms, idle_ms, cooldown_ms;
    uint32_t shards_max;
};

struct scaling;

/* NULL when out of memory. */
struct scaling *scaling_new(const struct scaling_config *config);
void scaling_free(struct scaling *scaling); /* NULL is fine */
/* Forgets everything: no longer active. */
void scaling_clear(struct scaling *scaling);

/* What a leader measured since its last report. */
struct scaling_report {
    uint64_t shard;
    uint32_t permille; /* of its capacity; more than 1000 where more was asked for than it gave */
    bool can_split;    /* `split` is inside its range, and would take load away */
    struct hash_key split; /* the first key of the second half of the load */
};
/* NO_MEMORY: it is as if nothing had been reported. */
NODISCARD enum status scaling_report(struct scaling *scaling, uint64_t now_ms,
                                     const struct scaling_report *report);

struct scaling_split {
    uint32_t shard;
    struct hash_key at;
};
struct scaling_merge {
    uint32_t shard, with; /* neighbours, the lower range first */
};
struct scaling_plan {
    size_t split_count, merge_count;
    struct scaling_split split[SCALING_STEP_MAX];
    struct scaling_merge merge[SCALING_STEP_MAX];
};

/* What to do with the stream now; false: nothing. `open`: all its open shards, sorted here by
 * range. Its rest begins when there is something to do, or when scaling_rest() says so. */
bool scaling_judge(struct scaling *scaling, uint64_t now_ms, uint32_t stream,
                   struct reshard_shard *open, size_t count, uint32_t least,
                   struct scaling_plan *out);
/* The shards of the stream have changed, or are changing. */
void scaling_rest(struct scaling *scaling, uint64_t now_ms, uint32_t stream);

/* Drops shards and streams that nothing was heard of for longer than everything else here takes. */
void scaling_tidy(struct scaling *scaling, uint64_t now_ms);
