/* Every limit that crosses a folder, with its reason. A queue without a bound is a leak that waits
 * for a slow peer; the answer at a bound is STATUS_BUSY. */
#pragma once

#include <assert.h>

enum {
    /* Identity. */
    CLUSTER_ID_BYTES = 16,
    NODE_NAME_BYTES = 64, /* "controller-1", with its zero */
    ZONE_BYTES = 64,
    STREAM_NAME_MAX = 128, /* as Kinesis */
    HOST_BYTES = 256,

    /* Records and batches. */
    PARTITION_KEY_MAX = 256,             /* characters, as Kinesis; we count bytes / 4 at most */
    PARTITION_KEY_BYTES_MAX = 1024,      /* 256 characters of 4 bytes */
    RECORD_BYTES_MAX = 10 * 1024 * 1024, /* data and key of one record; Kinesis's largest setting */
    BATCH_HEADER_BYTES = 128,
    BATCH_PAYLOAD_MAX = 12 * 1024 * 1024, /* the largest record and its framing fit with room */
    BATCH_RECORDS_MAX = 16384,

    /* Frames. */
    FRAME_HEADER_BYTES = 32,
    FRAME_BODY_MAX = 4 * 1024 * 1024, /* protobuf part; 2,000 shards of metadata are 0.5 MiB */
    FRAME_ATTACHMENT_MAX = 16 * 1024 * 1024, /* one largest batch, or many small ones */
    SESSION_CALLS_MAX = 4096,                /* calls in flight per connection and direction */
    SESSION_QUEUE_MAX = 64 * 1024 * 1024,    /* ciphertext waiting for a slow reader: then BUSY */

    /* Replication. */
    REPLICAS_PER_SHARD = 3,
    SHARDS_PER_STREAM_MAX = 10000,
};

static_assert(BATCH_HEADER_BYTES + BATCH_PAYLOAD_MAX <= FRAME_ATTACHMENT_MAX,
              "a frame must carry the largest batch");
static_assert(RECORD_BYTES_MAX + PARTITION_KEY_BYTES_MAX + 64 <= BATCH_PAYLOAD_MAX,
              "a batch must hold the largest record");
