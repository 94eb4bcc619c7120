/* From batches to the records of an answer. */
#include "broker/kinesis/internal.h"

static void add_record(struct records *records, const struct batch_header *h,
                       const struct record *record)
{
    struct arena *arena = records->arena;
    const struct seqnum seqnum = {.created_s = records->created_s,
                                  .shard_number = (uint32_t)records->shard,
                                  .generation = h->generation,
                                  .offset = records->offset,
                                  .record_s = h->append_ms / 1000};
    char sequence[SEQNUM_DECIMAL_BYTES];
    seqnum_to_decimal(&seqnum, sequence);
    struct value *v = value_add_struct(arena, records->list, NULL);
    value_add_text(arena, v, "SequenceNumber", sequence);
    value_add_time(arena, v, "ApproximateArrivalTimestamp", (int64_t)h->append_ms);
    value_add_blob(arena, v, "Data", arena_copy(arena, record->data));
    value_add_bytes(arena, v, "PartitionKey", arena_copy(arena, record->key));
    if (h->key_id != 0) {
        value_add_text(arena, v, "EncryptionType", "KMS");
    }
}

/* One batch, from records->offset on. */
NODISCARD static enum status take_batch(struct records *records, const struct batch_header *h,
                                        struct bytes payload)
{
    if ((h->flags & BATCH_CONTROL) != 0 || h->append_ms < records->oldest_ms) {
        records->offset = batch_end(h);
        return STATUS_OK;
    }
    struct bytes rest;
    enum status status = codec_open(records->coder, h, payload, &rest);
    if (status != STATUS_OK) {
        return status;
    }
    for (uint64_t at = h->base_offset; rest.size > 0; at++) {
        struct record record;
        status = record_next(&rest, &record);
        if (status != STATUS_OK) {
            return status;
        }
        if (at < records->offset) {
            continue;
        }
        size_t size = record.data.size + record.key.size;
        if (records->count >= records->count_max ||
            (records->count > 0 && records->bytes + size > records->bytes_max)) {
            records->full = true;
            return STATUS_OK;
        }
        add_record(records, h, &record);
        records->offset = at + 1;
        records->count++;
        records->bytes += size;
        records->last_ms = h->append_ms;
    }
    return STATUS_OK;
}

enum status records_take(struct records *records, const struct bytes *pieces, uint32_t piece_count,
                         uint64_t *out_last_ms)
{
    uint64_t last_ms = 0;
    for (uint32_t i = 0; i < piece_count; i++) {
        struct bytes data = pieces[i];
        while (data.size > 0) {
            struct batch_header h;
            enum status status = batch_decode(data, &h);
            if (status != STATUS_OK) {
                return STATUS_CORRUPT;
            }
            last_ms = h.append_ms;
            size_t size = batch_bytes(&h);
            if (!records->full && batch_end(&h) > records->offset) {
                status = take_batch(records, &h,
                                    bytes_of(data.data + BATCH_HEADER_BYTES, h.payload_bytes));
                if (status != STATUS_OK) {
                    return status;
                }
            }
            data = bytes_of(data.data + size, data.size - size);
        }
    }
    *out_last_ms = last_ms;
    return records->arena->failed ? STATUS_NO_MEMORY : STATUS_OK;
}
