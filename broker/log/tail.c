/* The batches of a shard that lie in the journal's ring; and where batches lie at all. */
#include <stdlib.h>

#include "base/check.h"
#include "broker/log/private.h"

struct tail_entry *log_tail_entry(const struct shard_log *log, uint32_t index)
{
    return &log->tail[(log->tail_head + index) & (log->tail_capacity - 1)];
}

/* Forgets what the ring has overwritten. */
void log_tail_prune(struct shard_log *log)
{
    uint64_t low = journal_low(log->store->journal);
    while (log->tail_count > 0 && log_tail_entry(log, 0)->position < low) {
        log->tail_head = (log->tail_head + 1) & (log->tail_capacity - 1);
        log->tail_count--;
    }
}

enum status log_tail_reserve(struct shard_log *log)
{
    if (log->tail_count < log->tail_capacity) {
        return STATUS_OK;
    }
    log_tail_prune(log);
    if (log->tail_count < log->tail_capacity / 2) {
        return STATUS_OK;
    }
    uint32_t capacity = log->tail_capacity == 0 ? 4 : 2 * log->tail_capacity;
    struct tail_entry *grown = calloc(capacity, sizeof(*grown));
    if (grown == NULL) {
        return log->tail_count < log->tail_capacity ? STATUS_OK : STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < log->tail_count; i++) {
        grown[i] = *log_tail_entry(log, i);
    }
    free(log->tail);
    log->tail = grown;
    log->tail_head = 0;
    log->tail_capacity = capacity;
    return STATUS_OK;
}

void log_tail_push(struct shard_log *log, const struct tail_entry *entry)
{
    CHECK(log->tail_count < log->tail_capacity);
    log->tail_count++;
    *log_tail_entry(log, log->tail_count - 1) = *entry;
}

void log_tail_cut(struct shard_log *log, uint64_t end)
{
    while (log->tail_count > 0 && log_tail_entry(log, log->tail_count - 1)->base >= end) {
        log->tail_count--;
    }
}

uint32_t log_tail_find(const struct shard_log *log, uint64_t offset)
{
    uint32_t low = 0, high = log->tail_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (log_tail_entry(log, middle)->base <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return UINT32_MAX;
    }
    const struct tail_entry *entry = log_tail_entry(log, low - 1);
    return offset < entry->base + entry->count ? low - 1 : UINT32_MAX;
}

uint32_t shard_log_tail(struct shard_log *log, uint64_t offset, uint64_t end, size_t max_bytes,
                        struct log_batch *out, uint32_t capacity)
{
    log_tail_prune(log);
    uint32_t index = log_tail_find(log, offset);
    size_t bytes = 0;
    uint32_t count = 0;
    for (; index < log->tail_count && count < capacity; index++) {
        const struct tail_entry *entry = log_tail_entry(log, index);
        if (entry->base + entry->count > end || (count > 0 && bytes + entry->bytes > max_bytes)) {
            break;
        }
        bytes += entry->bytes;
        out[count++] = (struct log_batch){
            .base = entry->base,
            .append_ms = entry->append_ms,
            .position = entry->position,
            .count = entry->count,
            .epoch = entry->epoch,
            .crc = entry->crc,
            .prev_crc = entry->prev_crc,
            .keeper = entry->keeper,
            .bytes = bytes_of(journal_at(log->store->journal, entry->position), entry->bytes),
        };
    }
    return count;
}

void shard_log_tail_kept(struct shard_log *log, uint64_t base, uint32_t broker)
{
    if (log->tail_count > 0 && log_tail_entry(log, log->tail_count - 1)->base == base) {
        log_tail_entry(log, log->tail_count - 1)->keeper = broker;
    }
}

bool shard_log_tail_has(const struct shard_log *log, uint64_t position)
{
    return position >= journal_low(log->store->journal);
}

uint64_t shard_log_tail_start(struct shard_log *log)
{
    log_tail_prune(log);
    return log->tail_count > 0 ? log_tail_entry(log, 0)->base : log->last.end;
}

/* A place in the segments. */
struct place {
    uint32_t segment; /* its index */
    uint64_t at;
};

/* Where the batch at `offset` begins, or in the index the last one before it that is there. */
static bool find_place(const struct shard_log *log, uint64_t offset, const struct log_read *read,
                       struct place *out)
{
    if (offset >= log->last.end) {
        bool any = log->segment_count > 0 && offset == log->last.end;
        out->segment = log->segment_count - 1;
        out->at = any ? log->segment[out->segment]->bytes : 0;
        return any;
    }
    const struct segment *segment = log_segment_holding(log, offset, &out->segment);
    if (segment == NULL) {
        return false;
    }
    uint32_t index = log_tail_find(log, offset);
    const struct index_entry *entry = segment_index_by_offset(&segment->index, offset);
    if (segment->base == offset) {
        out->at = 0;
    } else if (index != UINT32_MAX && log_tail_entry(log, index)->base == offset) {
        out->at = log_tail_entry(log, index)->at;
    } else if (read != NULL && read->hint.offset == offset && read->hint.segment == segment->base) {
        out->at = read->hint.at;
    } else {
        out->at = entry != NULL ? entry->at : 0;
    }
    return true;
}

uint64_t shard_log_bytes_between(const struct shard_log *log, uint64_t from, uint64_t to,
                                 const struct log_read *read)
{
    struct place a, b;
    if (from >= to || !find_place(log, from, read, &a) || !find_place(log, to, NULL, &b)) {
        return 0;
    }
    uint64_t bytes = 0;
    for (uint32_t i = a.segment; i < b.segment; i++) {
        bytes += log->segment[i]->bytes;
    }
    bytes += b.at;
    return bytes > a.at ? bytes - a.at : 0;
}
