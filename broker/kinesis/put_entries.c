#include "broker/kinesis/put.h"

static const struct route_shard *find_closed(struct put_entry *e, const struct route_stream *stream,
                                             uint64_t closed_ms)
{
    while (e->asked < stream->shard_count) {
        const struct route_shard *s = &stream->shards[e->asked++];
        if (s->shard != 0 && s->phase == WEIR__SHARD_PHASE__SHARD_SEALED &&
            s->closed_ms >= closed_ms && hash_range_has(s->range, e->hash)) {
            return s;
        }
    }
    return NULL;
}

void put_entries_route(struct put_entry *entries, uint32_t count, const struct route_stream *stream,
                       uint64_t closed_ms)
{
    for (uint32_t i = 0; i < count; i++) {
        struct put_entry *e = &entries[i];
        const struct route_shard *shard = NULL;
        if (e->state == PUT_WAITING && closed_ms != UINT64_MAX) {
            shard = find_closed(e, stream, closed_ms);
            e->was_closed = shard != NULL;
        }
        if (e->state == PUT_WAITING && shard == NULL) {
            shard = route_find(stream, e->hash);
        }
        if (shard != NULL) {
            e->shard = shard->shard;
            e->created_s = shard->created_s;
            e->state = PUT_ROUTED;
        }
    }
}

enum status put_entries_batch(struct put_entry *entries, uint32_t count, uint64_t shard,
                              struct batch_builder *batch)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool goes = entries[i].state == PUT_ROUTED && entries[i].shard == shard;
        bytes += goes ? batch_record_bytes(&entries[i].record) : 0;
    }
    enum status status = batch_builder_reserve(batch, bytes);
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        if (entries[i].state == PUT_ROUTED && entries[i].shard == shard) {
            status = batch_builder_add(batch, &entries[i].record);
        }
    }
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (entries[i].state == PUT_ROUTED && entries[i].shard == shard) {
            entries[i].state = PUT_SENT;
        }
    }
    return STATUS_OK;
}

static bool is_refused(struct bytes refused, uint32_t at)
{
    return at / 8 < refused.size && (refused.data[at / 8] & 1U << at % 8) != 0;
}

void put_entries_settle(struct put_entry *entries, uint32_t count, uint64_t shard,
                        const struct put_outcome *outcome)
{
    uint32_t at = 0;
    uint64_t offset = outcome->base_offset;
    for (uint32_t i = 0; i < count; i++) {
        struct put_entry *e = &entries[i];
        if (e->state != PUT_SENT || e->shard != shard) {
            continue;
        }
        if (outcome->status == STATUS_SEALED) {
            e->state = PUT_WAITING;
        } else if (outcome->status == STATUS_THROTTLED ||
                   (outcome->status == STATUS_OK && is_refused(outcome->refused, at))) {
            e->state = PUT_THROTTLED;
        } else if (outcome->status != STATUS_OK) {
            e->state = PUT_FAILED;
            e->status = outcome->status;
        } else {
            e->state = PUT_DONE;
            e->offset = offset++;
            e->append_ms = outcome->append_ms;
            e->generation = outcome->generation;
        }
        at++;
    }
}
