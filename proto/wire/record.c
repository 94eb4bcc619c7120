/* The records inside a data batch: taking them apart, and collecting them. */
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "proto/wire/batch.h"

enum { RECORD_HAS_HASH_KEY = 1 };

enum status record_next(struct bytes *payload, struct record *out)
{
    struct reader reader = reader_of(*payload);
    uint32_t data_bytes = reader_u32(&reader);
    uint16_t key_bytes = reader_u16(&reader);
    uint8_t flags = reader_u8(&reader);
    uint8_t reserved = reader_u8(&reader);
    bool has_hash_key = (flags & RECORD_HAS_HASH_KEY) != 0;
    struct bytes hash_key = reader_take(&reader, has_hash_key ? HASH_KEY_BYTES : 0);
    struct bytes key = reader_take(&reader, key_bytes);
    struct bytes data = reader_take(&reader, data_bytes);
    if (reader.failed || (flags & ~(unsigned)RECORD_HAS_HASH_KEY) != 0 || reserved != 0 ||
        key_bytes == 0 || key_bytes > PARTITION_KEY_BYTES_MAX ||
        data_bytes > RECORD_BYTES_MAX - (uint32_t)key_bytes) {
        return STATUS_CORRUPT;
    }
    *out = (struct record){.key = key, .data = data, .has_hash_key = has_hash_key};
    if (has_hash_key) {
        out->hash_key = hash_key_from_bytes(hash_key.data);
    }
    *payload = reader.rest;
    return STATUS_OK;
}

enum status batch_check_records(const struct batch_header *h, struct bytes payload,
                                struct error *error)
{
    if (h->flags != 0 || h->key_id != 0) {
        return error_set(error, STATUS_INVALID,
                         "a producer's batch may be neither a control batch nor encrypted");
    }
    struct bytes rest = payload;
    for (uint32_t i = 0; i < h->count; i++) {
        struct record record;
        if (record_next(&rest, &record) != STATUS_OK) {
            return error_set(error, STATUS_INVALID,
                             "record %u of %u in the batch is malformed or oversize", i + 1,
                             h->count);
        }
    }
    if (rest.size != 0) {
        return error_set(error, STATUS_INVALID,
                         "%zu bytes follow the last of the batch's %u records", rest.size,
                         h->count);
    }
    return STATUS_OK;
}

enum status batch_builder_reserve(struct batch_builder *b, size_t bytes)
{
    size_t most = (size_t)BATCH_HEADER_BYTES + BATCH_PAYLOAD_MAX;
    size_t wanted = (b->count == 0 ? (size_t)BATCH_HEADER_BYTES : 0) + bytes;
    return buf_reserve(&b->buf, wanted < most ? wanted : most);
}

enum status batch_builder_add(struct batch_builder *b, const struct record *record)
{
    if (record->key.size == 0) {
        return STATUS_INVALID;
    }
    if (record->key.size > PARTITION_KEY_BYTES_MAX ||
        record->data.size > RECORD_BYTES_MAX - record->key.size) {
        return STATUS_TOO_LARGE;
    }
    size_t header = b->count == 0 ? BATCH_HEADER_BYTES : 0;
    size_t bytes = batch_record_bytes(record);
    if (b->count == BATCH_RECORDS_MAX ||
        batch_builder_size(b) + bytes > (size_t)BATCH_HEADER_BYTES + BATCH_PAYLOAD_MAX) {
        return STATUS_BUSY;
    }
    enum status status = buf_reserve(&b->buf, header + bytes);
    if (status != STATUS_OK) {
        return status;
    }
    uint8_t *at = b->buf.data + b->buf.size + header;
    put_u32(at, (uint32_t)record->data.size);
    put_u16(at + 4, (uint16_t)record->key.size);
    at[6] = record->has_hash_key ? RECORD_HAS_HASH_KEY : 0;
    at[7] = 0;
    at += RECORD_HEADER_BYTES;
    if (record->has_hash_key) {
        hash_key_to_bytes(record->hash_key, at);
        at += HASH_KEY_BYTES;
    }
    memcpy(at, record->key.data, record->key.size);
    if (record->data.size > 0) {
        memcpy(at + record->key.size, record->data.data, record->data.size);
    }
    b->buf.size += header + bytes;
    b->count++;
    return STATUS_OK;
}

size_t batch_builder_size(const struct batch_builder *b)
{
    return b->count == 0 ? BATCH_HEADER_BYTES : b->buf.size;
}

struct bytes batch_builder_finish(struct batch_builder *b, uint64_t producer_id,
                                  uint16_t producer_epoch, uint32_t producer_seq)
{
    CHECK(b->count > 0);
    size_t payload_bytes = b->buf.size - BATCH_HEADER_BYTES;
    struct batch_header h = {
        .payload_crc = crc32c(0, b->buf.data + BATCH_HEADER_BYTES, payload_bytes),
        .payload_bytes = (uint32_t)payload_bytes,
        .count = b->count,
        .producer_id = producer_id,
        .producer_epoch = producer_epoch,
        .producer_seq = producer_seq,
    };
    batch_header_encode(&h, b->buf.data);
    return buf_bytes(&b->buf);
}

void batch_builder_reset(struct batch_builder *b)
{
    b->buf.size = 0;
    b->count = 0;
}

void batch_builder_release(struct batch_builder *b)
{
    buf_release(&b->buf);
    b->count = 0;
}
