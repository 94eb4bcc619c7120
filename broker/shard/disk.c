/* Which effects the disk holds: the journal syncs records of all shards in one order, each shard's
 * core counts its own. */
#include <stdlib.h>

#include "base/check.h"
#include "base/trace.h"
#include "broker/shard/internal.h"

enum status syncs_reserve(struct shards *set, uint32_t more)
{
    if (set->sync_count + more <= set->sync_capacity) {
        return STATUS_OK;
    }
    uint32_t capacity = set->sync_capacity == 0 ? 1024 : set->sync_capacity * 2;
    while (capacity < set->sync_count + more) {
        capacity *= 2;
    }
    struct pending_sync *ring = malloc(capacity * sizeof(*ring));
    if (ring == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < set->sync_count; i++) {
        ring[i] = set->syncs[(set->sync_first + i) & (set->sync_capacity - 1)];
    }
    free(set->syncs);
    set->syncs = ring;
    set->sync_capacity = capacity;
    set->sync_first = 0;
    return STATUS_OK;
}

void syncs_push(struct shards *set, struct shard *shard, uint64_t lsn, uint64_t seq)
{
    CHECK(set->sync_count < set->sync_capacity);
    uint32_t at = (set->sync_first + set->sync_count++) & (set->sync_capacity - 1);
    set->syncs[at] = (struct pending_sync){.lsn = lsn, .shard = shard, .seq = seq};
}

static void shard_is_gone(struct shards *set, struct shard *shard)
{
    list_remove(&shard->node);
    uint64_t id = shard->id;
    bool deleted = !shard->quarantined;
    free(shard);
    if (deleted) {
        set->hooks.dropped(set->hooks.context, id);
    }
}

/* One SYNCED for each shard, however many of its records the sync covered. */
void syncs_done(struct shards *set, uint64_t lsn)
{
    while (set->sync_count > 0 && set->syncs[set->sync_first].lsn <= lsn) {
        struct pending_sync done = set->syncs[set->sync_first];
        set->sync_first = (set->sync_first + 1) & (set->sync_capacity - 1);
        set->sync_count--;
        if (done.seq == 0) {
            shard_is_gone(set, done.shard);
            continue;
        }
        done.shard->synced_seq = done.seq;
        if (list_empty(&done.shard->node) && !done.shard->dropped) {
            list_push(&set->synced, &done.shard->node);
        }
    }
    while (!list_empty(&set->synced)) {
        struct shard *shard = CONTAINER_OF(list_pop(&set->synced), struct shard, node);
        shard_input(shard, REPLICA_SYNCED)->seq = shard->synced_seq;
        status_ignore(shard_step(shard, NULL), "STALE: the replica is halted");
    }
}

void shards_fail(struct shards *set, enum status status, const char *what)
{
    if (set->out) {
        return;
    }
    set->out = true;
    trace(
        TRACE_ERROR, "shards",
        "the disk is out (%s: %s): this broker reads and writes nothing new until it is restarted",
        what, status_text(status));
    /* What waits may still be committed by the others' disks, but nobody here will hear of it. */
    for (struct shard *shard = shards_next(set, NULL); shard != NULL;
         shard = shards_next(set, shard)) {
        puts_fail(shard, STATUS_UNCERTAIN);
        readers_wake(shard, UINT64_MAX, STATUS_NOT_LEADER);
    }
    shards_resign(set);
    shards_schedule(set);
}

void shards_poll(struct shards *set)
{
    uint64_t lsn = store_synced(set->store);
    enum status status = store_poll(set->store, &lsn);
    if (status != STATUS_OK) {
        shards_fail(set, status, "journal");
    }
    if (!set->out) {
        syncs_done(set, lsn);
    }
    shards_schedule(set);
}
