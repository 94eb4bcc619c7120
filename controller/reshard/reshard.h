/* How a stream gets from the shards it has to another number of them with equal ranges: the next
 * step, and what belongs together in it.
 *
 * A step makes children, each of one parent or of two that are neighbours (that is what a shard's
 * lineage can say), and closes every parent of them. When no equal range lies over more than two
 * shards, one step is all: each range that is not a shard already becomes a child of the one or two
 * shards that it lies over. Otherwise neighbours are merged first: a range over k shards has k - 1
 * of their boundaries inside, may keep one, and each merge takes away one. So a plan makes the
 * fewest intermediate shards that there can be, the sum of k - 2 over such ranges, and never has
 * more open shards than the greater of both numbers. Nothing has to be remembered between steps:
 * the next one follows from the shards that are open then.
 *
 * Pure: no I/O, no clock. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/hash_key.h"
#include "base/status.h"

enum { RESHARD_PARENTS_MAX = 2 };

struct reshard_shard {
    uint32_t number;
    struct hash_range range;
};

struct reshard_child {
    struct hash_range range;
    uint32_t parent_count;
    uint32_t parent[RESHARD_PARENTS_MAX]; /* numbers, the lower range first */
    uint32_t component; /* children with a parent in common, directly or not, have the same */
};

/* Owned by whoever receives it; a zeroed struct is empty. */
struct reshard_step {
    struct reshard_child *child; /* by range */
    size_t count;                /* 0: nothing is left to do */
    bool last;                   /* the shards are as wanted after it */
};
void reshard_step_release(struct reshard_step *step);

/* `open` are all open shards, in any order: sorted here. INVALID: they do not cover all hash keys
 * without hole or overlap, or `target` is 0. NO_MEMORY. */
NODISCARD enum status reshard_next_step(struct reshard_shard *open, size_t count, uint32_t target,
                                        struct reshard_step *out);

/* Numbers the components of the children from 0; returns how many there are. Parents of one
 * component are closed, and its children opened, together: at any other moment the open shards
 * would leave a hole, or overlap. NO_MEMORY. */
NODISCARD enum status reshard_components(struct reshard_child *child, size_t count,
                                         uint32_t *out_components);

/* The two halves of `range` if the second began at `at`. INVALID: one of them would be empty. */
NODISCARD enum status reshard_split(struct hash_range range, struct hash_key at,
                                    struct hash_range out[2]);
/* The middle of it: where a split without a place cuts. */
struct hash_key reshard_middle(struct hash_range range);
/* Whether b begins where a ends. */
bool reshard_adjacent(struct hash_range a, struct hash_range b);
