/* What is sent of a batch that was gathered: its records as they are, or aggregated, or compressed,
 * or both.
 *
 * A batch is encoded once, when the loop takes it, and its wire form stays the same over all
 * retries. The gathered records are kept beside it: they are what moves to the children of a shard
 * that was split, to be encoded there anew.
 *
 * Pure: no I/O, no clock, no threads. An encoder is of one thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/codec/codec.h"
#include "proto/wire/batch.h"
#include "proto/wire/kpl.h"

enum {
    ENCODE_AGGREGATE_BYTES = 51200, /* as the Kinesis Producer Library */
    ENCODE_AGGREGATE_BYTES_MAX = 1024 * 1024,
};

struct encoding {
    enum codec codec;
    size_t aggregate_bytes; /* of one aggregated record; 0: none is made */
};

/* Kept between batches. Zeroed it is ready. */
struct encoder {
    struct coder coder;
    struct kpl_builder kpl;
    struct batch_builder records;
};
void encoder_release(struct encoder *encoder);

/* The wire form. Zeroed: the gathered records as they are. */
struct encoded {
    struct buf bytes; /* a header's room and the payload; empty: those of the gathered builder */
    uint32_t count;   /* records on the wire */
    uint32_t *first;  /* aggregated: for each of those, its first gathered record; NULL: one each */
    uint32_t payload_crc;
    enum codec codec;
};
void encoded_release(struct encoded *encoded);

/* A batch that would not shrink stays as it is, and so does one that there is no memory for: only
 * its size on the wire depends on this. */
void encode_batch(struct encoder *encoder, const struct encoding *encoding,
                  const struct batch_builder *gathered, struct encoded *out);

/* The batch with its header, as batch_builder_finish(). */
struct bytes encoded_finish(struct encoded *encoded, struct batch_builder *gathered,
                            uint64_t producer_id, uint16_t producer_epoch, uint32_t producer_seq);

/* Where a gathered record is. Ask for 0, 1, 2 ...: *wire begins at 0 and is the caller's to keep.
 */
struct encoded_place {
    uint32_t index;        /* of the record on the wire */
    bool aggregated;       /* it is one of several there ... */
    uint32_t sub_sequence; /* ... this one */
};
struct encoded_place encoded_place(const struct encoded *encoded, uint32_t gathered_count,
                                   uint32_t record, uint32_t *wire);
