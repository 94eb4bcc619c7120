/* The table of shards, and the small things that a shard log is made of. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "broker/log/private.h"

static uint32_t slot_of(const struct shard_map *map, uint64_t shard)
{
    uint64_t mixed = (shard ^ shard >> 32) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(mixed >> 32) & (map->capacity - 1);
}

static void map_place(struct shard_map *map, struct shard_log *log)
{
    uint32_t at = slot_of(map, log->journal.id);
    while (map->slot[at] != NULL) {
        at = (at + 1) & (map->capacity - 1);
    }
    map->slot[at] = log;
}

enum status shard_map_put(struct shard_map *map, struct shard_log *log)
{
    if (2 * (map->count + 1) > map->capacity) {
        struct shard_map grown = {.capacity = map->capacity == 0 ? 64 : 2 * map->capacity};
        grown.slot = calloc(grown.capacity, sizeof(struct shard_log *));
        if (grown.slot == NULL) {
            return STATUS_NO_MEMORY;
        }
        for (uint32_t i = 0; i < map->capacity; i++) {
            if (map->slot[i] != NULL) {
                map_place(&grown, map->slot[i]);
            }
        }
        grown.count = map->count;
        free(map->slot);
        *map = grown;
    }
    map_place(map, log);
    map->count++;
    return STATUS_OK;
}

struct shard_log *shard_map_get(const struct shard_map *map, uint64_t shard)
{
    if (map->capacity == 0) {
        return NULL;
    }
    uint32_t at = slot_of(map, shard);
    while (map->slot[at] != NULL && map->slot[at]->journal.id != shard) {
        at = (at + 1) & (map->capacity - 1);
    }
    return map->slot[at];
}

void shard_map_remove(struct shard_map *map, uint64_t shard)
{
    uint32_t at = slot_of(map, shard);
    while (map->slot[at] != NULL && map->slot[at]->journal.id != shard) {
        at = (at + 1) & (map->capacity - 1);
    }
    if (map->slot[at] == NULL) {
        return;
    }
    map->slot[at] = NULL;
    map->count--;
    /* What was pushed past this slot moves up. */
    for (uint32_t i = (at + 1) & (map->capacity - 1); map->slot[i] != NULL;
         i = (i + 1) & (map->capacity - 1)) {
        struct shard_log *moved = map->slot[i];
        map->slot[i] = NULL;
        map_place(map, moved);
    }
}

static uint64_t state_bytes_of(const struct shard_log *log)
{
    uint32_t pairs =
        log->history_count < JOURNAL_HISTORY_MAX ? log->history_count : JOURNAL_HISTORY_MAX;
    return journal_state_size(pairs);
}

enum status shard_log_new(struct store *store, uint64_t shard, struct shard_log **out)
{
    struct shard_log *log = calloc(1, sizeof(*log));
    if (log == NULL) {
        return STATUS_NO_MEMORY;
    }
    log->journal.id = shard;
    log->store = store;
    list_init(&log->link);
    list_init(&log->touched_link);
    list_init(&log->syncing_link);
    enum status status = shard_map_put(&store->map, log);
    if (status != STATUS_OK) {
        free(log);
        return status;
    }
    list_push(&store->shards, &log->link);
    store->state_bytes += state_bytes_of(log);
    *out = log;
    return STATUS_OK;
}

void shard_log_free(struct shard_log *log)
{
    log->store->state_bytes -= state_bytes_of(log);
    shard_map_remove(&log->store->map, log->journal.id);
    list_remove(&log->link);
    list_remove(&log->touched_link);
    list_remove(&log->syncing_link);
    for (uint32_t i = 0; i < log->segment_count; i++) {
        log_segment_drop(log->segment[i]);
    }
    free(log->segment);
    free(log->history);
    free(log->hole);
    free(log->tail);
    free(log);
}

enum status log_history_reserve(struct shard_log *log)
{
    if (log->history_count < log->history_capacity) {
        return STATUS_OK;
    }
    uint32_t capacity = log->history_capacity == 0 ? 4 : 2 * log->history_capacity;
    struct epoch_pair *grown = realloc(log->history, capacity * sizeof(*grown));
    if (grown == NULL) {
        return STATUS_NO_MEMORY;
    }
    log->history = grown;
    log->history_capacity = capacity;
    return STATUS_OK;
}

void log_history_note(struct shard_log *log, uint32_t epoch, uint64_t start)
{
    if (log->history_count > 0 && log->history[log->history_count - 1].epoch == epoch) {
        return;
    }
    CHECK(log->history_count < log->history_capacity);
    log->store->state_bytes -= state_bytes_of(log);
    log->history[log->history_count++] = (struct epoch_pair){.epoch = epoch, .start = start};
    log->store->state_bytes += state_bytes_of(log);
}

void log_history_cut(struct shard_log *log, uint64_t end)
{
    log->store->state_bytes -= state_bytes_of(log);
    while (log->history_count > 0 && log->history[log->history_count - 1].start >= end) {
        log->history_count--;
    }
    log->store->state_bytes += state_bytes_of(log);
}

void log_history_drop(struct shard_log *log, uint32_t count)
{
    if (count == 0) {
        return;
    }
    log->store->state_bytes -= state_bytes_of(log);
    log->history_count -= count;
    memmove(log->history, log->history + count, log->history_count * sizeof(*log->history));
    log->store->state_bytes += state_bytes_of(log);
}

uint32_t log_history_before(const struct shard_log *log, uint64_t end)
{
    uint32_t epoch = 0;
    for (uint32_t i = 0; i < log->history_count && log->history[i].start < end; i++) {
        epoch = log->history[i].epoch;
    }
    return epoch;
}

enum status store_write_state(void *context, struct journal *journal)
{
    struct store *store = context;
    LIST_FOR_EACH (node, &store->shards) {
        struct shard_log *log = CONTAINER_OF(node, struct shard_log, link);
        if (!log->listed) {
            continue;
        }
        uint32_t skip =
            log->history_count > JOURNAL_HISTORY_MAX ? log->history_count - JOURNAL_HISTORY_MAX : 0;
        struct journal_state state = {
            .disk_gen = log->disk_gen,
            .promised = log->promised,
            .last = log->last,
            .log_start = log->log_start,
            .commit_hint = log->commit_hint,
            .uncertain = log->uncertain,
            .uncertain_end = log->uncertain_end,
            .seal_end = log->seal_end,
            .synced = log->durable.point,
            .segment_base = log->durable.segment_base,
            .segment_bytes = log->durable.segment_bytes,
            .last_at = log->durable.last_at,
            .history = log->history + skip,
            .history_count = log->history_count - skip,
        };
        enum status status = journal_append_state(journal, &log->journal, &state);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

uint64_t store_state_bytes(void *context)
{
    const struct store *store = context;
    return store->state_bytes;
}

enum status log_segment_new(struct shard_log *log, uint64_t base, struct segment **out)
{
    struct segment *segment = calloc(1, sizeof(*segment));
    if (segment == NULL) {
        return STATUS_NO_MEMORY;
    }
    segment->shard = log->journal.id;
    segment->base = segment->end = base;
    segment->fd = -1;
    *out = segment;
    return STATUS_OK;
}

enum status log_segment_reserve(struct shard_log *log)
{
    if (log->segment_count < log->segment_capacity) {
        return STATUS_OK;
    }
    uint32_t capacity = log->segment_capacity == 0 ? 2 : 2 * log->segment_capacity;
    struct segment **grown = realloc(log->segment, capacity * sizeof(struct segment *));
    if (grown == NULL) {
        return STATUS_NO_MEMORY;
    }
    log->segment = grown;
    log->segment_capacity = capacity;
    return STATUS_OK;
}

void log_segment_free(struct segment *segment)
{
    segment_index_release(&segment->index);
    free(segment->hash);
    free(segment);
}

void log_segment_drop(struct segment *segment)
{
    segment->removed = true;
    if (segment->refs == 0) {
        log_segment_free(segment);
    }
}

struct segment *log_segment_holding(const struct shard_log *log, uint64_t offset,
                                    uint32_t *out_index)
{
    uint32_t low = 0, high = log->segment_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (log->segment[middle]->base <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return NULL;
    }
    if (out_index != NULL) {
        *out_index = low - 1;
    }
    return log->segment[low - 1];
}

struct shard_log *store_find_shard(struct store *store, uint64_t shard)
{
    return shard_map_get(&store->map, shard);
}

struct shard_log *store_next_shard(struct store *store, struct shard_log *log)
{
    struct list *next = log == NULL ? store->shards.next : log->link.next;
    return next == &store->shards ? NULL : CONTAINER_OF(next, struct shard_log, link);
}

enum status store_create_shard(struct store *store, uint64_t shard, uint32_t disk_gen,
                               uint32_t promised, struct shard_log **out, uint64_t *out_lsn)
{
    struct shard_log *log = shard_map_get(&store->map, shard);
    if (log != NULL) {
        *out = log;
        return STATUS_EXISTS;
    }
    if (store->out != STATUS_OK) {
        return store->out;
    }
    enum status status = shard_log_new(store, shard, &log);
    if (status != STATUS_OK) {
        return status;
    }
    log->disk_gen = disk_gen;
    log->promised = promised;
    struct journal_span span;
    status =
        journal_append(store->journal, &log->journal, JOURNAL_CREATE, disk_gen, promised, 0, &span);
    if (status != STATUS_OK) {
        shard_log_free(log);
        return status;
    }
    log->listed = true;
    *out = log;
    *out_lsn = span.lsn;
    return STATUS_OK;
}

enum status store_delete_shard(struct store *store, struct shard_log *log, bool quarantine,
                               uint64_t *out_lsn)
{
    enum status status = log_ops_reserve(store, log->segment_count + 1);
    if (status == STATUS_OK) {
        status = store->out;
    }
    struct journal_span span;
    if (status == STATUS_OK) {
        status = journal_append(store->journal, &log->journal, JOURNAL_DELETE, 0,
                                quarantine ? 1 : 0, 0, &span);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct op op = {
        .type = OP_CLOSE, .lsn = span.lsn, .position = span.position, .shard = log->journal.id};
    for (uint32_t i = 0; i < log->segment_count; i++) {
        op.segment = log->segment[i];
        log_ops_push(store, &op);
    }
    op.segment = NULL;
    op.type = quarantine ? OP_QUARANTINE : OP_REMOVE;
    log_ops_push(store, &op);
    log_reads_cancel(store, log);
    log_checks_cancel(store, log);
    shard_log_free(log);
    *out_lsn = span.lsn;
    return STATUS_OK;
}
