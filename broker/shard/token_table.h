/* Which batches of clients without a producer id the log has, by the token in their headers: so
 * that a retry is answered with the original's offset (docs/replication.md 2.11). Part of the
 * producer table, with its life: filled by every replica from the log, taken back when that is
 * truncated.
 *
 * Remembers TOKEN_EXPIRY_MS of the log's own time, and TOKENS_MAX batches at most. Pure. */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "proto/wire/batch.h"

enum { TOKENS_MAX = 65536, TOKEN_EXPIRY_MS = 10 * 60 * 1000 };

struct token_entry {
    uint8_t token[16];
    uint64_t base, append_ms;
    uint32_t count;
};

/* A zeroed struct is an empty table. */
struct token_table {
    struct token_entry *ring; /* in the order of the log */
    uint32_t capacity;        /* a power of two, or 0 */
    uint32_t first, count;
    uint32_t *slots; /* by token: index into the ring plus one; open addressing */
    uint32_t slot_count;
};

/* Whether the batch is known by a token at all: it has one, and no producer id. */
bool token_is_set(const struct batch_header *h);

/* The original of such a batch; NULL: it is not in the log, or with another number of records. */
const struct token_entry *token_table_find(const struct token_table *table,
                                           const struct batch_header *h);

/* The batch is in the log now. NO_MEMORY: the table is as before. */
NODISCARD enum status token_table_add(struct token_table *table, const struct batch_header *h);

/* The log ends at `end` now. */
void token_table_truncate(struct token_table *table, uint64_t end);
void token_table_clear(struct token_table *table);

/* Those that end at or below `end`, appended to *out. NO_MEMORY: *out is as before. */
NODISCARD enum status token_table_encode(const struct token_table *table, uint64_t end,
                                         struct buf *out);
/* Into an empty table. CORRUPT, NO_MEMORY: it may have some of them. */
NODISCARD enum status token_table_decode(struct token_table *table, struct reader *reader);
