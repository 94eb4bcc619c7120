/* Private to controller/command: splits, merges and other numbers of shards. */
#pragma once

#include "controller/command/internal.h"
#include "controller/reshard/reshard.h"

enum { RESHARD_SHARDS_EVER_MAX = 64 * SHARDS_PER_STREAM_MAX }; /* of a stream, in its whole life */

/* The open shards of a stream: those that take records. A zeroed struct is empty. */
struct open_shards {
    struct reshard_shard *shard;
    size_t count, capacity;
    bool failed; /* out of memory */
};
void open_shards_load(struct db *db, uint32_t stream, struct open_shards *open);
void open_shards_release(struct open_shards *open);

/* Makes the step's children: placed, in election, waiting for their parents. The stream's row gets
 * its new number of shards and is put. False: out of memory, which is the result then. */
NODISCARD bool reshard_begin_step(struct db *db, struct db_stream *stream,
                                  const struct reshard_step *step, struct db_result *result);
