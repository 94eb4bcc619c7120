/* What a shard remembers of its idempotent producers (docs/replication.md 2.11): for each producer
 * id its epoch and its newest batches, so that a retry is answered with the original's offset and
 * never stored twice.
 *
 * The table is a pure function of the log: every replica adds every batch it stores, in order, and
 * takes back what is truncated. So it is right on whichever replica leads next. Two windows make
 * the roll-back exact: a leader takes at most PRODUCER_UNCOMMITTED_MAX uncommitted batches of one
 * producer, and the table remembers that many more; what can still be truncated has therefore
 * never pushed out the batch that is the newest afterwards.
 *
 * Pure: no I/O, no clock. One home thread. */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "proto/wire/batch.h"

enum {
    PRODUCER_UNCOMMITTED_MAX = 64, /* of one producer in one shard; the next one gets BUSY */
    PRODUCER_BATCHES = 128,        /* remembered of one producer: twice the above */
    PRODUCERS_MAX = 10000,         /* of one shard; the one silent for longest goes first */
};
/* Of log time: a producer whose newest batch is older than this, compared with the newest batch of
 * the shard, is forgotten. */
static const uint64_t PRODUCER_EXPIRY_MS = UINT64_C(24) * 3600 * 1000;

struct producer_table;

/* NULL when out of memory. An empty table holds no memory but its own few words. */
struct producer_table *producer_table_new(void);
void producer_table_free(struct producer_table *table);

/* Whether a batch may be appended now. Batches without a producer id may, unless their token says
 * that they are retries (broker/shard/token_table.h).
 *
 * OK                it is new and in order
 * EXISTS            it is in the log: *out_original is the offset of its first record
 * OUT_OF_ORDER      a sequence number was skipped, or it overlaps what is stored
 * PRODUCER_FENCED   a newer epoch of this producer has written
 * UNKNOWN_PRODUCER  we remember nothing of it, and it does not begin at sequence 0
 * BUSY              PRODUCER_UNCOMMITTED_MAX of its batches lie at or above `commit` */
NODISCARD enum status producer_table_check(const struct producer_table *table,
                                           const struct batch_header *h, uint64_t commit,
                                           uint64_t *out_original);

/* When the original of a batch that producer_table_check() said EXISTS of was appended: part of the
 * sequence numbers that its records have. */
uint64_t producer_table_original_ms(const struct producer_table *table,
                                    const struct batch_header *h);

/* The batch is in the log now (base_offset and append_ms assigned). Never fails for a batch without
 * a producer id and a token. NO_MEMORY: the table is as before. */
NODISCARD enum status producer_table_add(struct producer_table *table,
                                         const struct batch_header *h);

/* The log ends at `end` now: batches above are taken back. */
void producer_table_truncate(struct producer_table *table, uint64_t end);

uint32_t producer_table_count(const struct producer_table *table);

/* The table as bytes, without the batches that end above `end` (UINT64_MAX: all of it), appended to
 * *out. With the batches above `end` added in order, it is the same table again. */
NODISCARD enum status producer_table_encode(const struct producer_table *table, uint64_t end,
                                            struct buf *out);

/* Replaces what is there. CORRUPT: not such bytes; the table is empty then. */
NODISCARD enum status producer_table_decode(struct producer_table *table, struct bytes in);
