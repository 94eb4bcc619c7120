#include "client/reader/decode.h"

#include <stdlib.h>

#include "base/check.h"

#include "proto/wire/batch.h"

/* Checks all batches and counts the records that are wanted. */
NODISCARD static enum status survey(struct bytes bytes, const struct decode_source *source,
                                    struct decoded *out, size_t *out_wanted)
{
    uint64_t next = source->offset;
    size_t wanted = 0;
    bool first = true;
    while (bytes.size > 0) {
        struct batch_header h;
        if (batch_decode(bytes, &h) != STATUS_OK || h.shard != source->shard ||
            (!first && h.base_offset != next)) {
            return STATUS_CORRUPT;
        }
        if (h.codec != 0 || (h.flags & ~(unsigned)BATCH_CONTROL) != 0) {
            return STATUS_UNSUPPORTED;
        }
        if (first) {
            out->skipped = h.base_offset > source->offset;
        }
        first = false;
        if ((h.flags & BATCH_CONTROL) == 0 && batch_end(&h) > source->offset) {
            wanted += h.count; /* a few more when the first begins below */
        }
        next = batch_end(&h);
        bytes = bytes_of(bytes.data + batch_bytes(&h), bytes.size - batch_bytes(&h));
    }
    out->next_offset = next > source->offset ? next : source->offset;
    *out_wanted = wanted;
    return STATUS_OK;
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
        out->records[out->count++] = (struct weir_read_record){
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
    }
    return payload.size == 0 ? STATUS_OK : STATUS_CORRUPT;
}

enum status decode_batches(struct bytes bytes, const struct decode_source *source,
                           struct decoded *out)
{
    struct decoded decoded = {0};
    size_t wanted = 0;
    enum status status = survey(bytes, source, &decoded, &wanted);
    if (status != STATUS_OK) {
        return status;
    }
    decoded.records = wanted > 0 ? calloc(wanted, sizeof(*decoded.records)) : NULL;
    if (wanted > 0 && decoded.records == NULL) {
        return STATUS_NO_MEMORY;
    }
    while (status == STATUS_OK && bytes.size > 0) {
        struct batch_header h;
        status = batch_header_decode(bytes, &h);
        CHECK(status == STATUS_OK); /* survey() has seen it */
        bool visible = (h.flags & BATCH_CONTROL) == 0 && batch_end(&h) > source->offset;
        if (visible) {
            CHECK(decoded.records != NULL); /* and counted its records, at least one */
            struct bytes payload = bytes_of(bytes.data + BATCH_HEADER_BYTES, h.payload_bytes);
            status = take_records(&h, payload, source, &decoded);
        }
        bytes = bytes_of(bytes.data + batch_bytes(&h), bytes.size - batch_bytes(&h));
    }
    if (status != STATUS_OK) {
        free(decoded.records);
        return status;
    }
    *out = decoded;
    return STATUS_OK;
}
