#include "proto/wire/batch.h"

#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"

/* Offsets of the fields, as the table in batch.h has them. */
enum {
    AT_MAGIC = 0,
    AT_HEADER_CRC = 4,
    AT_PAYLOAD_CRC = 8,
    AT_PAYLOAD_BYTES = 12,
    AT_SHARD = 16,
    AT_EPOCH = 24,
    AT_COUNT = 28,
    AT_BASE_OFFSET = 32,
    AT_PREV_CRC = 40,
    AT_FLAGS = 44,
    AT_FORMAT = 46,
    AT_CODEC = 47,
    AT_APPEND_MS = 48,
    AT_PRODUCER_ID = 56,
    AT_PRODUCER_SEQ = 64,
    AT_PRODUCER_EPOCH = 68,
    AT_CONTROL_TYPE = 70,
    AT_KEY_ID = 72,
    AT_GENERATION = 76,
    AT_DEDUP_TOKEN = 80,
    AT_KEY_SALT = 96,
    AT_RESERVED = 112,
};

static uint32_t header_crc_of(const uint8_t *at)
{
    return crc32c(0, at + AT_PAYLOAD_CRC, BATCH_HEADER_BYTES - AT_PAYLOAD_CRC);
}

static void read_fields(const uint8_t *at, struct batch_header *h)
{
    h->header_crc = get_u32(at + AT_HEADER_CRC);
    h->payload_crc = get_u32(at + AT_PAYLOAD_CRC);
    h->payload_bytes = get_u32(at + AT_PAYLOAD_BYTES);
    h->shard = get_u64(at + AT_SHARD);
    h->epoch = get_u32(at + AT_EPOCH);
    h->count = get_u32(at + AT_COUNT);
    h->base_offset = get_u64(at + AT_BASE_OFFSET);
    h->prev_crc = get_u32(at + AT_PREV_CRC);
    h->flags = get_u16(at + AT_FLAGS);
    h->codec = at[AT_CODEC];
    h->append_ms = get_u64(at + AT_APPEND_MS);
    h->producer_id = get_u64(at + AT_PRODUCER_ID);
    h->producer_seq = get_u32(at + AT_PRODUCER_SEQ);
    h->producer_epoch = get_u16(at + AT_PRODUCER_EPOCH);
    h->control_type = get_u16(at + AT_CONTROL_TYPE);
    h->key_id = get_u32(at + AT_KEY_ID);
    h->generation = get_u32(at + AT_GENERATION);
    memcpy(h->dedup_token, at + AT_DEDUP_TOKEN, sizeof(h->dedup_token));
    memcpy(h->key_salt, at + AT_KEY_SALT, sizeof(h->key_salt));
}

static bool encryption_is_legal(const struct batch_header *h)
{
    static const uint8_t none[BATCH_SALT_BYTES];
    if ((h->flags & BATCH_ENCRYPTED) != 0) {
        return h->key_id != 0 && (h->flags & BATCH_CONTROL) == 0 &&
               h->payload_bytes > BATCH_SEAL_BYTES;
    }
    return memcmp(h->key_salt, none, sizeof(none)) == 0;
}

/* What a correct CRC cannot promise: a writer of another version, or a hostile one. */
static bool fields_are_legal(const struct batch_header *h)
{
    bool is_control = (h->flags & BATCH_CONTROL) != 0;
    uint32_t payload_max =
        (uint32_t)BATCH_PAYLOAD_MAX + ((h->flags & BATCH_ENCRYPTED) != 0 ? BATCH_SEAL_BYTES : 0);
    if ((h->flags & ~(unsigned)(BATCH_CONTROL | BATCH_ENCRYPTED)) != 0 ||
        h->control_type > BATCH_LINEAGE || is_control != (h->control_type != BATCH_CONTROL_NONE)) {
        return false;
    }
    uint32_t count_max = h->control_type == BATCH_LINEAGE ? BATCH_LINEAGE_OFFSETS
                         : is_control                     ? 1
                                                          : BATCH_RECORDS_MAX;
    if (h->count == 0 || h->count > count_max || h->payload_bytes > payload_max ||
        !encryption_is_legal(h)) {
        return false;
    }
    return h->base_offset <= BATCH_OFFSET_MAX - h->count && h->generation <= BATCH_GENERATION_MAX;
}

enum status batch_header_decode(struct bytes in, struct batch_header *out)
{
    static const uint8_t zero[BATCH_HEADER_BYTES - AT_RESERVED];
    if (in.size < BATCH_HEADER_BYTES) {
        return STATUS_MORE;
    }
    const uint8_t *at = in.data;
    if (get_u32(at + AT_MAGIC) != BATCH_MAGIC || at[AT_FORMAT] != BATCH_FORMAT ||
        get_u32(at + AT_HEADER_CRC) != header_crc_of(at) ||
        memcmp(at + AT_RESERVED, zero, sizeof(zero)) != 0) {
        return STATUS_CORRUPT;
    }
    struct batch_header h;
    read_fields(at, &h);
    if (!fields_are_legal(&h)) {
        return STATUS_CORRUPT;
    }
    *out = h;
    return STATUS_OK;
}

enum status batch_decode(struct bytes in, struct batch_header *out)
{
    struct batch_header h;
    enum status status = batch_header_decode(in, &h);
    if (status != STATUS_OK) {
        return status;
    }
    if (in.size < batch_bytes(&h)) {
        return STATUS_MORE;
    }
    if (crc32c(0, in.data + BATCH_HEADER_BYTES, h.payload_bytes) != h.payload_crc) {
        return STATUS_CORRUPT;
    }
    *out = h;
    return STATUS_OK;
}

void batch_header_encode(struct batch_header *h, uint8_t *at)
{
    put_u32(at + AT_MAGIC, BATCH_MAGIC);
    put_u32(at + AT_PAYLOAD_CRC, h->payload_crc);
    put_u32(at + AT_PAYLOAD_BYTES, h->payload_bytes);
    put_u64(at + AT_SHARD, h->shard);
    put_u32(at + AT_EPOCH, h->epoch);
    put_u32(at + AT_COUNT, h->count);
    put_u64(at + AT_BASE_OFFSET, h->base_offset);
    put_u32(at + AT_PREV_CRC, h->prev_crc);
    put_u16(at + AT_FLAGS, h->flags);
    at[AT_FORMAT] = BATCH_FORMAT;
    at[AT_CODEC] = h->codec;
    put_u64(at + AT_APPEND_MS, h->append_ms);
    put_u64(at + AT_PRODUCER_ID, h->producer_id);
    put_u32(at + AT_PRODUCER_SEQ, h->producer_seq);
    put_u16(at + AT_PRODUCER_EPOCH, h->producer_epoch);
    put_u16(at + AT_CONTROL_TYPE, h->control_type);
    put_u32(at + AT_KEY_ID, h->key_id);
    put_u32(at + AT_GENERATION, h->generation);
    memcpy(at + AT_DEDUP_TOKEN, h->dedup_token, sizeof(h->dedup_token));
    memcpy(at + AT_KEY_SALT, h->key_salt, sizeof(h->key_salt));
    memset(at + AT_RESERVED, 0, BATCH_HEADER_BYTES - AT_RESERVED);
    h->header_crc = header_crc_of(at);
    put_u32(at + AT_HEADER_CRC, h->header_crc);
}

static void fill_slot(struct batch_header *h, const struct batch_slot *slot)
{
    h->shard = slot->shard;
    h->base_offset = slot->base_offset;
    h->append_ms = slot->append_ms;
    h->epoch = slot->epoch;
    h->prev_crc = slot->prev_crc;
    h->generation = slot->generation;
}

void batch_assign(uint8_t *at, const struct batch_slot *slot, struct batch_header *out)
{
    struct batch_header h;
    read_fields(at, &h);
    fill_slot(&h, slot);
    batch_header_encode(&h, at);
    *out = h;
}

void batch_make_epoch_start(const struct epoch_start *start, const struct batch_slot *slot,
                            uint8_t at[BATCH_HEADER_BYTES + EPOCH_START_BYTES],
                            struct batch_header *out)
{
    uint8_t *payload = at + BATCH_HEADER_BYTES;
    put_u32(payload, start->epoch);
    put_u32(payload + 4, start->cfg_ver);
    put_u32(payload + 8, start->broker);
    put_u32(payload + 12, start->disk_gen);
    put_u64(payload + 16, start->boot_id);
    put_u64(payload + 24, start->time_ms);
    memcpy(payload + 32, start->salt, sizeof(start->salt));
    struct batch_header h = {
        .payload_crc = crc32c(0, payload, EPOCH_START_BYTES),
        .payload_bytes = EPOCH_START_BYTES,
        .count = start->lineage ? BATCH_LINEAGE_OFFSETS : 1,
        .flags = BATCH_CONTROL,
        .control_type = start->lineage ? BATCH_LINEAGE : BATCH_EPOCH_START,
    };
    fill_slot(&h, slot);
    batch_header_encode(&h, at);
    *out = h;
}

void batch_make_seal(const struct batch_slot *slot, uint8_t at[BATCH_HEADER_BYTES + SEAL_BYTES],
                     struct batch_header *out)
{
    uint8_t *payload = at + BATCH_HEADER_BYTES;
    put_u64(payload, slot->append_ms);
    struct batch_header h = {
        .payload_crc = crc32c(0, payload, SEAL_BYTES),
        .payload_bytes = SEAL_BYTES,
        .count = 1,
        .flags = BATCH_CONTROL,
        .control_type = BATCH_SEAL,
    };
    fill_slot(&h, slot);
    batch_header_encode(&h, at);
    *out = h;
}

enum status epoch_start_decode(struct bytes payload, struct epoch_start *out)
{
    if (payload.size != EPOCH_START_BYTES) {
        return STATUS_CORRUPT;
    }
    out->epoch = get_u32(payload.data);
    out->cfg_ver = get_u32(payload.data + 4);
    out->broker = get_u32(payload.data + 8);
    out->disk_gen = get_u32(payload.data + 12);
    out->boot_id = get_u64(payload.data + 16);
    out->time_ms = get_u64(payload.data + 24);
    memcpy(out->salt, payload.data + 32, sizeof(out->salt));
    return STATUS_OK;
}
