#include "client/reader/decode.h"

#include <stdlib.h>

#include "base/check.h"

#include "proto/wire/batch.h"
#include "proto/wire/kpl.h"

void decoded_release(struct decoded *decoded)
{
    free(decoded->records);
    free(decoded->plain);
    *decoded = (struct decoded){0};
}

static bool is_wanted(const struct batch_header *h, const struct decode_source *source)
{
    return (h->flags & BATCH_CONTROL) == 0 && batch_end(h) > source->offset;
}

/* What all batches will take. *bytes is cut behind the last one that may come. */
struct survey {
    size_t records, plain;
};

NODISCARD static enum status check_batch(const struct batch_header *h, struct bytes payload,
                                         const struct decode_source *source)
{
    if (h->shard != source->shard) {
        return STATUS_CORRUPT;
    }
    if ((h->flags & ~(unsigned)BATCH_CONTROL) != 0) {
        return STATUS_UNSUPPORTED;
    }
    if (h->codec != CODEC_NONE && h->codec != CODEC_ZSTD && h->codec != CODEC_LZ4) {
        return STATUS_UNSUPPORTED;
    }
    return codec_plain_bytes(h, payload) > 0 ? STATUS_OK : STATUS_CORRUPT;
}

/* Checks all batches and counts the records that are wanted. */
NODISCARD static enum status look_over(struct bytes *bytes, const struct decode_source *source,
                                       struct decoded *out, struct survey *out_survey)
{
    struct survey survey = {0};
    struct bytes rest = *bytes;
    uint64_t next = source->offset;
    bool first = true;
    while (rest.size > 0) {
        struct batch_header h;
        if (batch_decode(rest, &h) != STATUS_OK || (!first && h.base_offset != next)) {
            return STATUS_CORRUPT;
        }
        struct bytes payload = bytes_of(rest.data + BATCH_HEADER_BYTES, h.payload_bytes);
        enum status status = check_batch(&h, payload, source);
        if (status != STATUS_OK) {
            return status;
        }
        if (is_wanted(&h, source)) {
            size_t plain = h.codec == CODEC_NONE ? 0 : codec_plain_bytes(&h, payload);
            if (survey.plain > 0 && survey.plain + plain > source->plain_max) {
                out->cut = true;
                break;
            }
            survey.plain += plain;
            survey.records += h.count; /* a few more when the first begins below */
        }
        if (first) {
            out->skipped = h.base_offset > source->offset;
        }
        out->lost = out->lost || h.control_type == BATCH_LINEAGE;
        first = false;
        next = batch_end(&h);
        rest = bytes_of(rest.data + batch_bytes(&h), rest.size - batch_bytes(&h));
    }
    *bytes = bytes_of(bytes->data, bytes->size - rest.size);
    out->next_offset = next > source->offset ? next : source->offset;
    *out_survey = survey;
    return STATUS_OK;
}

/* Room for one more row. */
NODISCARD static enum status grow(struct decoded *out)
{
    if (out->count < out->capacity) {
        return STATUS_OK;
    }
    size_t capacity = out->capacity < 64 ? 64 : out->capacity * 2;
    struct weir_read_record *records = realloc(out->records, capacity * sizeof(*records));
    if (records == NULL) {
        return STATUS_NO_MEMORY;
    }
    out->records = records;
    out->capacity = capacity;
    return STATUS_OK;
}

/* The user records of an aggregated one. INVALID: it is a plain one. */
NODISCARD static enum status take_apart(const struct weir_read_record *whole,
                                        const struct decode_source *source, struct decoded *out)
{
    struct kpl_view view;
    enum status status = kpl_open(bytes_of(whole->data, whole->data_size), &view);
    if (status != STATUS_OK) {
        return status;
    }
    struct kpl_record user;
    while (status == STATUS_OK && kpl_next(&view, &user)) {
        if (!kpl_in_range(&user, source->range)) {
            continue;
        }
        status = grow(out);
        if (status == STATUS_OK) {
            struct weir_read_record *row = &out->records[out->count++];
            *row = *whole;
            row->key = user.key.data;
            row->key_size = user.key.size;
            row->data = user.data.data;
            row->data_size = user.data.size;
            row->aggregated = true;
            row->sub_sequence = user.sub_sequence;
        }
    }
    kpl_release(&view);
    return status;
}

NODISCARD static enum status take_record(const struct weir_read_record *row,
                                         const struct decode_source *source, struct decoded *out)
{
    if (source->deaggregate) {
        enum status status = take_apart(row, source, out);
        if (status != STATUS_INVALID) {
            return status;
        }
    }
    enum status status = grow(out);
    if (status == STATUS_OK) {
        out->records[out->count++] = *row;
    }
    return status;
}

NODISCARD static enum status take_records(const struct batch_header *h, struct bytes payload,
                                          const struct decode_source *source, struct decoded *out)
{
    for (uint32_t i = 0; i < h->count; i++) {
        struct record record;
        if (record_next(&payload, &record) != STATUS_OK) {
            return STATUS_CORRUPT;
        }
        uint64_t offset = h->base_offset + i;
        if (offset < source->offset) {
            continue;
        }
        const struct weir_read_record row = {
            .key = record.key.data,
            .key_size = record.key.size,
            .data = record.data.data,
            .data_size = record.data.size,
            .position = {.shard_created_s = source->created_s,
                         .shard = (uint32_t)source->shard,
                         .generation = h->generation,
                         .offset = offset,
                         .arrival_ms = h->append_ms},
        };
        enum status status = take_record(&row, source, out);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return payload.size == 0 ? STATUS_OK : STATUS_CORRUPT;
}

/* The payload's records: where they are, or decompressed into out->plain, which has room. */
NODISCARD static enum status open_payload(const struct batch_header *h, struct bytes payload,
                                          const struct decode_source *source, struct decoded *out,
                                          struct bytes *out_records)
{
    struct bytes records;
    enum status status = codec_open(source->coder, h, payload, &records);
    if (status == STATUS_OK && h->codec != CODEC_NONE) {
        CHECK(out->plain != NULL);
        uint8_t *at = out->plain + out->plain_size;
        memcpy(at, records.data, records.size);
        out->plain_size += records.size;
        records = bytes_of(at, records.size);
    }
    if (status == STATUS_OK) {
        *out_records = records;
    }
    return status;
}

enum status decode_batches(struct bytes bytes, const struct decode_source *source,
                           struct decoded *out)
{
    struct decoded decoded = {0};
    struct survey survey;
    enum status status = look_over(&bytes, source, &decoded, &survey);
    if (status != STATUS_OK) {
        return status;
    }
    decoded.records = survey.records > 0 ? calloc(survey.records, sizeof(*decoded.records)) : NULL;
    decoded.capacity = survey.records;
    decoded.plain = survey.plain > 0 ? malloc(survey.plain) : NULL;
    if ((survey.records > 0 && decoded.records == NULL) ||
        (survey.plain > 0 && decoded.plain == NULL)) {
        status = STATUS_NO_MEMORY;
    }
    while (status == STATUS_OK && bytes.size > 0) {
        struct batch_header h;
        status = batch_header_decode(bytes, &h);
        CHECK(status == STATUS_OK); /* look_over() has seen it */
        struct bytes payload = bytes_of(bytes.data + BATCH_HEADER_BYTES, h.payload_bytes);
        if (is_wanted(&h, source)) {
            status = open_payload(&h, payload, source, &decoded, &payload);
            if (status == STATUS_OK) {
                status = take_records(&h, payload, source, &decoded);
            }
        }
        bytes = bytes_of(bytes.data + batch_bytes(&h), bytes.size - batch_bytes(&h));
    }
    if (status != STATUS_OK) {
        decoded_release(&decoded);
        return status;
    }
    *out = decoded;
    return STATUS_OK;
}
