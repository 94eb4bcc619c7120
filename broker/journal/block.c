#include "broker/journal/block.h"

#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "proto/wire/batch.h"

enum { HEADER_MAGIC = 0x48424a57, TRAILER_MAGIC = 0x54424a57 };

static uint32_t sector_crc(const uint8_t *at)
{
    return crc32c(0, at + 8, BLOCK_SECTOR - 8);
}

void journal_header_encode(struct block_header *h, const uint8_t id[JOURNAL_ID_BYTES], uint8_t *at)
{
    CHECK(h->prev_shard_count <= BLOCK_HEADER_SHARDS || h->prev_shard_count == BLOCK_SHARDS_FAR);
    memset(at, 0, BLOCK_SECTOR);
    put_u32(at, HEADER_MAGIC);
    memcpy(at + 8, id, JOURNAL_ID_BYTES);
    put_u64(at + 24, h->number);
    put_u64(at + 32, h->prev_number);
    put_u32(at + 40, h->prev_crc);
    put_u32(at + 44, h->records_crc);
    put_u32(at + 48, h->bytes);
    put_u32(at + 52, h->used);
    put_u32(at + 56, h->records);
    put_u32(at + 60, h->run);
    put_u64(at + 64, h->oldest);
    put_u16(at + BLOCK_FORMAT_AT, BLOCK_FORMAT);
    put_u32(at + 76, h->prev_shard_count);
    for (uint32_t i = 0; h->prev_shard_count != BLOCK_SHARDS_FAR && i < h->prev_shard_count; i++) {
        put_u64(at + 96 + 8 * i, h->prev_shards[i]);
    }
    h->crc = sector_crc(at);
    put_u32(at + 4, h->crc);
}

enum status journal_header_decode(const uint8_t *at, const uint8_t id[JOURNAL_ID_BYTES],
                                  struct block_header *out)
{
    if (get_u32(at) != HEADER_MAGIC || memcmp(at + 8, id, JOURNAL_ID_BYTES) != 0 ||
        get_u32(at + 4) != sector_crc(at)) {
        return STATUS_CORRUPT;
    }
    if (get_u16(at + BLOCK_FORMAT_AT) != BLOCK_FORMAT) {
        return STATUS_UNSUPPORTED;
    }
    struct block_header h = {
        .crc = get_u32(at + 4),
        .number = get_u64(at + 24),
        .prev_number = get_u64(at + 32),
        .prev_crc = get_u32(at + 40),
        .records_crc = get_u32(at + 44),
        .bytes = get_u32(at + 48),
        .used = get_u32(at + 52),
        .records = get_u32(at + 56),
        .run = get_u32(at + 60),
        .oldest = get_u64(at + 64),
        .prev_shard_count = get_u32(at + 76),
    };
    if (h.bytes < BLOCK_BYTES_MIN || h.bytes % BLOCK_UNIT != 0 ||
        h.used > h.bytes - 2 * BLOCK_SECTOR || h.prev_number >= h.number || h.oldest > h.number) {
        return STATUS_CORRUPT;
    }
    if (h.prev_shard_count != BLOCK_SHARDS_FAR) {
        if (h.prev_shard_count > BLOCK_HEADER_SHARDS) {
            return STATUS_CORRUPT;
        }
        for (uint32_t i = 0; i < h.prev_shard_count; i++) {
            h.prev_shards[i] = get_u64(at + 96 + 8 * i);
        }
    }
    *out = h;
    return STATUS_OK;
}

void journal_trailer_encode(const struct block_trailer *t, const uint8_t id[JOURNAL_ID_BYTES],
                            uint8_t *at)
{
    CHECK(t->shard_count <= BLOCK_TRAILER_SHARDS || t->shard_count == BLOCK_SHARDS_FAR);
    memset(at, 0, BLOCK_SECTOR);
    put_u32(at, TRAILER_MAGIC);
    memcpy(at + 8, id, JOURNAL_ID_BYTES);
    put_u64(at + 24, t->number);
    put_u32(at + 32, t->header_crc);
    put_u32(at + 36, t->shard_count);
    put_u64(at + 40, t->oldest);
    put_u64(at + 48, t->prev_number);
    for (uint32_t i = 0; t->shard_count != BLOCK_SHARDS_FAR && i < t->shard_count; i++) {
        put_u64(at + 56 + 8 * i, t->shards[i]);
    }
    put_u32(at + 4, sector_crc(at));
}

enum status journal_trailer_decode(const uint8_t *at, const uint8_t id[JOURNAL_ID_BYTES],
                                   struct block_trailer *out)
{
    if (get_u32(at) != TRAILER_MAGIC || memcmp(at + 8, id, JOURNAL_ID_BYTES) != 0 ||
        get_u32(at + 4) != sector_crc(at)) {
        return STATUS_CORRUPT;
    }
    struct block_trailer t = {
        .number = get_u64(at + 24),
        .header_crc = get_u32(at + 32),
        .shard_count = get_u32(at + 36),
        .oldest = get_u64(at + 40),
        .prev_number = get_u64(at + 48),
    };
    if (t.prev_number >= t.number || t.oldest > t.number) {
        return STATUS_CORRUPT;
    }
    if (t.shard_count != BLOCK_SHARDS_FAR) {
        if (t.shard_count > BLOCK_TRAILER_SHARDS) {
            return STATUS_CORRUPT;
        }
        for (uint32_t i = 0; i < t.shard_count; i++) {
            t.shards[i] = get_u64(at + 56 + 8 * i);
        }
    }
    *out = t;
    return STATUS_OK;
}

void journal_record_encode(const struct journal_record *record, size_t body_bytes,
                           uint8_t at[RECORD_FRAME_BYTES])
{
    memset(at, 0, RECORD_FRAME_BYTES);
    put_u32(at, (uint32_t)(RECORD_FRAME_BYTES + body_bytes));
    at[4] = (uint8_t)record->type;
    put_u64(at + 8, record->shard);
    put_u64(at + 16, record->a);
    put_u32(at + 24, record->b);
    put_u32(at + 28, record->c);
}

size_t journal_record_covered(enum journal_type type, size_t body_bytes)
{
    if (type == JOURNAL_DATA && body_bytes > BATCH_HEADER_BYTES) {
        body_bytes = BATCH_HEADER_BYTES;
    }
    return RECORD_FRAME_BYTES + body_bytes;
}

enum status journal_record_take(struct bytes *rest, uint32_t file, uint64_t *offset,
                                struct journal_record *out)
{
    if (rest->size < RECORD_FRAME_BYTES) {
        return STATUS_CORRUPT;
    }
    const uint8_t *at = rest->data;
    size_t bytes = get_u32(at);
    size_t padded = block_align(bytes, 8);
    if (bytes < RECORD_FRAME_BYTES || padded > rest->size || at[4] < JOURNAL_DATA ||
        at[4] > JOURNAL_INSTALL) {
        return STATUS_CORRUPT;
    }
    *out = (struct journal_record){
        .type = (enum journal_type)at[4],
        .shard = get_u64(at + 8),
        .a = get_u64(at + 16),
        .b = get_u32(at + 24),
        .c = get_u32(at + 28),
        .body = bytes_of(at + RECORD_FRAME_BYTES, bytes - RECORD_FRAME_BYTES),
        .file = file,
        .offset = *offset + RECORD_FRAME_BYTES,
    };
    rest->data += padded;
    rest->size -= padded;
    *offset += padded;
    return STATUS_OK;
}

bool journal_record_batch_is_good(const struct journal_record *record)
{
    struct batch_header h;
    return batch_decode(record->body, &h) == STATUS_OK && batch_bytes(&h) == record->body.size &&
           h.shard == record->shard;
}

size_t journal_state_size(uint32_t history_count)
{
    return RECORD_FRAME_BYTES + STATE_FIXED_BYTES + (size_t)history_count * STATE_PAIR_BYTES;
}

static void put_point(uint8_t *at, const struct log_point *point)
{
    put_u64(at, point->end);
    put_u32(at + 8, point->epoch);
    put_u32(at + 12, point->crc);
}

static struct log_point get_point(const uint8_t *at)
{
    return (struct log_point){
        .end = get_u64(at), .epoch = get_u32(at + 8), .crc = get_u32(at + 12)};
}

void journal_state_encode(const struct journal_state *state, uint8_t *at)
{
    put_u32(at, state->disk_gen);
    put_u32(at + 4, state->promised);
    put_u32(at + 8, state->uncertain ? 1 : 0);
    put_u32(at + 12, state->history_count);
    put_point(at + 16, &state->last);
    put_u64(at + 32, state->log_start);
    put_u64(at + 40, state->commit_hint);
    put_u64(at + 48, state->uncertain_end);
    put_point(at + 56, &state->synced);
    put_u64(at + 72, state->segment_base);
    put_u64(at + 80, state->segment_bytes);
    put_u64(at + 88, state->last_at);
    put_u64(at + 96, state->seal_end);
    for (uint32_t i = 0; i < state->history_count; i++) {
        uint8_t *pair = at + STATE_FIXED_BYTES + (size_t)i * STATE_PAIR_BYTES;
        put_u32(pair, state->history[i].epoch);
        put_u32(pair + 4, 0);
        put_u64(pair + 8, state->history[i].start);
    }
}

enum status journal_state_decode(struct bytes body, struct epoch_pair *history,
                                 struct journal_state *out)
{
    if (body.size < STATE_FIXED_BYTES) {
        return STATUS_CORRUPT;
    }
    const uint8_t *at = body.data;
    uint32_t count = get_u32(at + 12);
    if (count > JOURNAL_HISTORY_MAX ||
        body.size != STATE_FIXED_BYTES + (size_t)count * STATE_PAIR_BYTES) {
        return STATUS_CORRUPT;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *pair = at + STATE_FIXED_BYTES + (size_t)i * STATE_PAIR_BYTES;
        history[i] = (struct epoch_pair){.epoch = get_u32(pair), .start = get_u64(pair + 8)};
    }
    *out = (struct journal_state){
        .disk_gen = get_u32(at),
        .promised = get_u32(at + 4),
        .uncertain = (get_u32(at + 8) & 1) != 0,
        .history_count = count,
        .history = history,
        .last = get_point(at + 16),
        .log_start = get_u64(at + 32),
        .commit_hint = get_u64(at + 40),
        .uncertain_end = get_u64(at + 48),
        .synced = get_point(at + 56),
        .segment_base = get_u64(at + 72),
        .segment_bytes = get_u64(at + 80),
        .last_at = get_u64(at + 88),
        .seal_end = get_u64(at + 96),
    };
    return STATUS_OK;
}
