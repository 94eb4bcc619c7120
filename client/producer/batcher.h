/* Gathers records of one shard into batches, and says when the one that is being filled should go.
 *
 * While nothing is on its way a record goes at once (unless `gather_ms` says to wait). While
 * earlier batches are, records gather until there is a batch's worth of bytes, or until the first
 * of them has waited `linger_ms`: so batches are small when it is quiet, large when it is not, and
 * nobody has to tune them.
 *
 * Pure: no I/O, no clock, no threads. The owner allocates the batches (batcher_batch is embedded in
 * what it keeps of each) and guards the batcher with its lock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/status.h"
#include "proto/wire/batch.h"

enum {
    /* A batch fails as a whole when its first record's time is over, so it must not gather for long
     * while its shard has no leader. */
    BATCHER_SPAN_MS = 1000,
};

struct batcher_limits {
    size_t batch_bytes;     /* a batch with as much is full */
    uint32_t batch_records; /* or with as many, 1 to BATCH_RECORDS_MAX */
    uint32_t linger_ms;     /* at least gather_ms */
    uint32_t gather_ms;     /* while nothing is on its way */
};

/* Whom to tell about a record. */
struct batcher_token {
    void (*acked)(void); /* opaque here: the owner's callback, cast back before it is called */
    void *context;
    uint32_t put_at;     /* tenths of milliseconds on the owner's clock, modulo 2^32 */
    uint32_t timeout_ms; /* unsent so long after put_at it is given up; 0: never */
};

struct batcher_batch {
    struct list node; /* on the batcher's list of full ones */
    struct batch_builder builder;
    struct batcher_token *tokens; /* one for each record of the builder */
    uint32_t token_capacity;
    uint64_t first_ms; /* when its first record came */
};

void batcher_batch_init(struct batcher_batch *batch);
void batcher_batch_release(struct batcher_batch *batch);

/* Appends to a batch that is on no batcher. As batch_builder_add(). */
NODISCARD enum status batcher_batch_add(struct batcher_batch *batch, const struct record *record,
                                        struct batcher_token token);
/* Exchanges what two batches hold; both stay on the lists that they are on. */
void batcher_batch_swap(struct batcher_batch *a, struct batcher_batch *b);

struct batcher {
    struct batcher_limits limits;
    struct batcher_batch *open; /* being filled; NULL or with at least one record */
    struct list full;           /* in order */
};

void batcher_init(struct batcher *batcher, const struct batcher_limits *limits);

/* Whether `record` needs a new batch: there is no open one, or it is full or too old. */
bool batcher_needs_batch(const struct batcher *batcher, const struct record *record,
                         uint64_t now_ms);

/* Copies the record into the open batch or, when `fresh` is not NULL, into that one, which then
 * becomes the open one. `fresh` must be given exactly when batcher_needs_batch() says so. Returns
 * what the builder said (INVALID, TOO_LARGE, NO_MEMORY): then nothing has changed and `fresh` is
 * still the caller's. *out_news: the owner of the other end should look, because a batch became
 * full or the first record of one came. */
NODISCARD enum status batcher_add(struct batcher *batcher, const struct record *record,
                                  struct batcher_token token, uint64_t now_ms,
                                  struct batcher_batch *fresh, bool *out_news);

/* The next batch that should go, which is the caller's then; NULL when none should. `idle`: nothing
 * of this shard is on its way. `room`: the open batch may go, not only full ones. `flush`: do not
 * wait for more. */
struct batcher_batch *batcher_take(struct batcher *batcher, uint64_t now_ms, bool idle, bool room,
                                   bool flush);

/* When batcher_take() with this `idle` and `room` would answer differently because time has passed;
 * UINT64_MAX: never. */
uint64_t batcher_deadline(const struct batcher *batcher, bool idle);
