/* Takes the batches of a read apart. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/reader.h>

#include "base/bytes.h"
#include "base/hash_key.h"
#include "base/status.h"
#include "proto/codec/codec.h"

/* Which shard they must be of, and from where on records are wanted. */
struct decode_source {
    uint64_t shard; /* stream id << 32 | number */
    uint64_t created_s;
    uint64_t offset;
    struct coder *coder;     /* borrowed: opens compressed batches */
    size_t plain_max;        /* bytes of compressed batches once they are open; at least one is */
    bool deaggregate;        /* KPL's aggregated records are taken apart ... */
    struct hash_range range; /* ... and what does not belong into this range is left out */
};

/* A zeroed struct is empty. `records` point into the bytes that were decoded and into `plain`. Both
 * are the receiver's: decoded_release(). */
struct decoded {
    struct weir_read_record *records;
    size_t count, capacity;
    uint8_t *plain; /* what was compressed */
    size_t plain_size;
    bool cut;             /* batches are left over: read again from next_offset */
    uint64_t next_offset; /* behind the last batch; source->offset when there was none */
    bool lost;    /* a forced recovery lost records between source->offset and next_offset */
    bool skipped; /* records between source->offset and the first batch are gone */
};

/* Every batch passes its checksums first; control batches are left out, and records below
 * source->offset.
 *
 * CORRUPT    a batch that is cut, damaged, of another shard, or does not follow the one before
 * UNSUPPORTED  compressed or encrypted in a way that this version does not know (an encrypted batch
 *              is decrypted by the broker that serves it)
 * NO_MEMORY */
NODISCARD enum status decode_batches(struct bytes bytes, const struct decode_source *source,
                                     struct decoded *out);

void decoded_release(struct decoded *decoded);
