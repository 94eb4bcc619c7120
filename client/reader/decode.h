/* Takes the batches of a read apart. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/reader.h>

#include "base/bytes.h"
#include "base/status.h"

/* Which shard they must be of, and from where on records are wanted. */
struct decode_source {
    uint64_t shard; /* stream id << 32 | number */
    uint64_t created_s;
    uint64_t offset;
};

/* A zeroed struct is empty. `records` point into the bytes that were decoded. */
struct decoded {
    struct weir_read_record *records; /* malloc'ed; the receiver frees it */
    size_t count;
    uint64_t next_offset; /* behind the last batch; source->offset when there was none */
    bool skipped;         /* records between source->offset and the first batch are gone */
};

/* Every batch passes its checksums first; control batches are left out, and records below
 * source->offset.
 *
 * CORRUPT    a batch that is cut, damaged, of another shard, or does not follow the one before
 * UNSUPPORTED  compressed or encrypted in a way that this version does not know
 * NO_MEMORY */
NODISCARD enum status decode_batches(struct bytes bytes, const struct decode_source *source,
                                     struct decoded *out);
