/* What a shard takes and gives in a second, by token buckets: bytes and records written, bytes read
 * and calls that read. A bucket holds a second's worth. Private, pure.
 *
 * One record or reply larger than its bucket passes when the bucket is full and leaves a debt, so
 * that the rate holds over time: 10 MiB read at 2 MiB/s block the shard for the 5 s that follow. */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "broker/api/api.h"

struct limits;

/* NULL when out of memory. Every call below is told the rates of the shard's stream; when they
 * change, so do the buckets. */
struct limits *limits_new(void);
void limits_free(struct limits *limits); /* NULL is fine */

struct limits_cost {
    uint64_t bytes, records;
};

enum { LIMITS_RECORDS_MAX = 512 /* records of a limited batch */ };

/* Judges each record of a checked payload alone, in order: sets the bits of those over a limit in
 * `refused` (zeroed, LIMITS_RECORDS_MAX bits) and returns how many they are. Nothing is spent yet.
 */
uint32_t limits_judge(struct limits *limits, const struct api_limits *rates, uint64_t shard,
                      uint64_t now_ms, struct bytes payload, uint8_t *refused,
                      struct limits_cost *out_cost);
void limits_spend(struct limits *limits, const struct api_limits *rates, uint64_t shard,
                  uint64_t now_ms, const struct limits_cost *cost);

/* False: over a limit. Counts the call unless it continues one. */
bool limits_may_read(struct limits *limits, const struct api_limits *rates, uint64_t shard,
                     uint64_t now_ms, bool is_new_call);
void limits_spend_read(struct limits *limits, const struct api_limits *rates, uint64_t shard,
                       uint64_t now_ms, uint64_t bytes);
/* One GetShardIterator. */
bool limits_may_iterate(struct limits *limits, const struct api_limits *rates, uint64_t shard,
                        uint64_t now_ms);
