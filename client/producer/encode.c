#include "client/producer/encode.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/crc32c.h"

void encoder_release(struct encoder *encoder)
{
    coder_release(&encoder->coder);
    kpl_builder_release(&encoder->kpl);
    batch_builder_release(&encoder->records);
}

void encoded_release(struct encoded *encoded)
{
    buf_release(&encoded->bytes);
    free(encoded->first);
    *encoded = (struct encoded){0};
}

static struct bytes payload_of(const struct batch_builder *builder)
{
    return bytes_of(builder->buf.data + BATCH_HEADER_BYTES, builder->buf.size - BATCH_HEADER_BYTES);
}

/* ---- aggregation ---- */

/* User records that will be one record: from `first` on. */
struct run {
    struct encoder *encoder;
    struct record head; /* the first one */
    uint32_t first;
    struct encoded *out;
};

/* A run of one goes as it is: nothing to gain. Its aggregated record lands where its first user
 * record would; all of a batch are of one shard. */
NODISCARD static enum status end_run(struct run *run)
{
    struct kpl_builder *kpl = &run->encoder->kpl;
    struct record record = run->head;
    enum status status = STATUS_OK;
    if (kpl->count == 0) {
        return STATUS_OK;
    }
    if (kpl->count > 1) {
        if (!record.has_hash_key) {
            status = hash_key_of_partition_key(record.key, &record.hash_key);
            record.has_hash_key = true;
        }
        record.key = bytes_of("a", 1);
        if (status == STATUS_OK) {
            status = kpl_builder_finish(kpl, &record.data);
        }
    }
    if (status == STATUS_OK) {
        status = batch_builder_add(&run->encoder->records, &record);
    }
    if (status == STATUS_OK) {
        run->out->first[run->out->count++] = run->first;
        kpl_builder_reset(kpl);
    }
    return status;
}

/* One that is too large for an aggregated record is a run of its own, as it is. */
NODISCARD static enum status add_alone(struct run *run, const struct record *record, uint32_t index)
{
    enum status status = batch_builder_add(&run->encoder->records, record);
    if (status == STATUS_OK) {
        run->out->first[run->out->count++] = index;
    }
    return status;
}

NODISCARD static enum status add_to_run(struct run *run, const struct record *record,
                                        uint32_t index, size_t max_bytes)
{
    struct kpl_builder *kpl = &run->encoder->kpl;
    enum status status = kpl_builder_add(kpl, record, max_bytes);
    if (status == STATUS_BUSY && kpl->count > 0) {
        status = end_run(run);
        if (status == STATUS_OK) {
            status = kpl_builder_add(kpl, record, max_bytes);
        }
    }
    if (status == STATUS_BUSY) {
        return add_alone(run, record, index);
    }
    if (status == STATUS_OK && kpl->count == 1) {
        run->head = *record;
        run->first = index;
    }
    return status;
}

/* Into encoder->records and out->first. On anything but OK nothing of it is of use. */
NODISCARD static enum status aggregate(struct encoder *encoder, size_t max_bytes,
                                       const struct batch_builder *gathered, struct encoded *out)
{
    struct run run = {.encoder = encoder, .out = out};
    struct bytes rest = payload_of(gathered);
    kpl_builder_reset(&encoder->kpl);
    batch_builder_reset(&encoder->records);
    out->first = malloc(gathered->count * sizeof(*out->first));
    enum status status = out->first != NULL ? STATUS_OK : STATUS_NO_MEMORY;
    for (uint32_t i = 0; status == STATUS_OK && i < gathered->count; i++) {
        struct record record;
        CHECK(record_next(&rest, &record) == STATUS_OK); /* we have built it */
        status = add_to_run(&run, &record, i, max_bytes);
    }
    return status == STATUS_OK ? end_run(&run) : status;
}

/* ---- the whole ---- */

NODISCARD static enum status add_room_for_header(struct buf *bytes)
{
    enum status status = buf_reserve(bytes, BATCH_HEADER_BYTES);
    if (status == STATUS_OK) {
        memset(bytes->data, 0, BATCH_HEADER_BYTES);
        bytes->size = BATCH_HEADER_BYTES;
    }
    return status;
}

/* Into out->bytes. */
NODISCARD static enum status compress(struct encoder *encoder, enum codec codec,
                                      struct bytes payload, struct encoded *out)
{
    enum status status = add_room_for_header(&out->bytes);
    if (status == STATUS_OK) {
        status = codec_compress(&encoder->coder, codec, payload, &out->bytes);
    }
    if (status != STATUS_OK) {
        buf_release(&out->bytes);
        return status;
    }
    out->codec = codec;
    return STATUS_OK;
}

static void forget_aggregation(const struct batch_builder *gathered, struct encoded *out)
{
    free(out->first);
    out->first = NULL;
    out->count = gathered->count;
}

void encode_batch(struct encoder *encoder, const struct encoding *encoding,
                  const struct batch_builder *gathered, struct encoded *out)
{
    const struct batch_builder *from = gathered;
    struct encoded encoded = {0};
    bool aggregated = false;
    if (encoding->aggregate_bytes > 0 && gathered->count > 1) {
        aggregated =
            aggregate(encoder, encoding->aggregate_bytes, gathered, &encoded) == STATUS_OK &&
            encoded.count < gathered->count;
    }
    if (aggregated) {
        from = &encoder->records;
    } else {
        forget_aggregation(gathered, &encoded);
    }
    bool compressed = encoding->codec != CODEC_NONE &&
                      compress(encoder, encoding->codec, payload_of(from), &encoded) == STATUS_OK;
    if (aggregated && !compressed) {
        encoded.bytes = encoder->records.buf; /* with a header's room */
        encoder->records = (struct batch_builder){0};
    }
    if (encoded.bytes.size > 0) {
        encoded.payload_crc = crc32c(0, encoded.bytes.data + BATCH_HEADER_BYTES,
                                     encoded.bytes.size - BATCH_HEADER_BYTES);
    }
    *out = encoded;
}

struct bytes encoded_finish(struct encoded *encoded, struct batch_builder *gathered,
                            uint64_t producer_id, uint16_t producer_epoch, uint32_t producer_seq)
{
    if (encoded->bytes.size == 0) {
        return batch_builder_finish(gathered, producer_id, producer_epoch, producer_seq);
    }
    struct batch_header h = {
        .payload_crc = encoded->payload_crc,
        .payload_bytes = (uint32_t)(encoded->bytes.size - BATCH_HEADER_BYTES),
        .count = encoded->count,
        .codec = (uint8_t)encoded->codec,
        .producer_id = producer_id,
        .producer_epoch = producer_epoch,
        .producer_seq = producer_seq,
    };
    batch_header_encode(&h, encoded->bytes.data);
    return buf_bytes(&encoded->bytes);
}

struct encoded_place encoded_place(const struct encoded *encoded, uint32_t gathered_count,
                                   uint32_t record, uint32_t *wire)
{
    if (encoded->first == NULL) {
        return (struct encoded_place){.index = record};
    }
    while (*wire + 1 < encoded->count && encoded->first[*wire + 1] <= record) {
        (*wire)++;
    }
    uint32_t first = encoded->first[*wire];
    uint32_t end = *wire + 1 < encoded->count ? encoded->first[*wire + 1] : gathered_count;
    return (struct encoded_place){
        .index = *wire, .aggregated = end - first > 1, .sub_sequence = record - first};
}
