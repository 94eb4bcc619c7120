/* A binary heap of the shards that want to be woken, the earliest first. An idle shard is not in
 * it: no timer per shard. */
#include <stdlib.h>

#include "base/check.h"
#include "broker/shard/internal.h"

enum status deadlines_reserve(struct shards *set, uint32_t shards)
{
    if (shards + 1 <= set->heap_capacity) {
        return STATUS_OK;
    }
    uint32_t capacity = set->heap_capacity == 0 ? 16 : set->heap_capacity;
    while (capacity < shards + 1) {
        capacity *= 2;
    }
    struct shard **heap = realloc(set->heap, capacity * sizeof(struct shard *));
    if (heap == NULL) {
        return STATUS_NO_MEMORY;
    }
    set->heap = heap;
    set->heap_capacity = capacity;
    return STATUS_OK;
}

static void put_at(struct shards *set, uint32_t i, struct shard *shard)
{
    set->heap[i] = shard;
    shard->heap_index = i;
}

static void sift_up(struct shards *set, uint32_t i, struct shard *shard)
{
    while (i > 1 && shard->deadline_ms < set->heap[i / 2]->deadline_ms) {
        put_at(set, i, set->heap[i / 2]);
        i /= 2;
    }
    put_at(set, i, shard);
}

static void sift_down(struct shards *set, uint32_t i, struct shard *shard)
{
    for (;;) {
        uint32_t child = i * 2;
        if (child > set->heap_count) {
            break;
        }
        if (child < set->heap_count &&
            set->heap[child + 1]->deadline_ms < set->heap[child]->deadline_ms) {
            child++;
        }
        if (shard->deadline_ms <= set->heap[child]->deadline_ms) {
            break;
        }
        put_at(set, i, set->heap[child]);
        i = child;
    }
    put_at(set, i, shard);
}

static void leave(struct shards *set, struct shard *shard)
{
    uint32_t i = shard->heap_index;
    if (i == 0) {
        return;
    }
    shard->heap_index = 0;
    struct shard *last = set->heap[set->heap_count--];
    if (last == shard) {
        return;
    }
    if (i > 1 && last->deadline_ms < set->heap[i / 2]->deadline_ms) {
        sift_up(set, i, last);
    } else {
        sift_down(set, i, last);
    }
}

void deadline_set(struct shard *shard, uint64_t at_ms)
{
    struct shards *set = shard->set;
    if (at_ms == UINT64_MAX) {
        leave(set, shard);
        shard->deadline_ms = at_ms;
    } else if (shard->heap_index == 0) {
        CHECK(set->heap_count + 1 < set->heap_capacity);
        shard->deadline_ms = at_ms;
        sift_up(set, ++set->heap_count, shard);
    } else if (at_ms != shard->deadline_ms) {
        bool earlier = at_ms < shard->deadline_ms;
        shard->deadline_ms = at_ms;
        if (earlier) {
            sift_up(set, shard->heap_index, shard);
        } else {
            sift_down(set, shard->heap_index, shard);
        }
    }
}

uint64_t deadline_next(const struct shard *shard)
{
    uint64_t core_ms = replica_deadline(shard->replica);
    return core_ms < shard->resign_ms ? core_ms : shard->resign_ms;
}

uint64_t shards_deadline(const struct shards *set)
{
    return set->heap_count == 0 ? UINT64_MAX : set->heap[1]->deadline_ms;
}

void shards_tick(struct shards *set)
{
    uint64_t now_ms = set->hooks.now_ms(set->hooks.context);
    /* Each at most once: a step may set a deadline that is due again. */
    for (uint32_t left = set->heap_count; left > 0 && shards_deadline(set) <= now_ms; left--) {
        struct shard *shard = set->heap[1];
        shard_input(shard, REPLICA_TICK);
        status_ignore(shard_step(shard, NULL), "a tick has no answer; the core keeps its deadline");
        uint64_t next_ms = deadline_next(shard);
        deadline_set(shard, next_ms <= now_ms ? now_ms + 1 : next_ms);
    }
}
