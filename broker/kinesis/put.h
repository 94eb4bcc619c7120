/* The pure part of PutRecords: which record goes to which shard, and what became of each. Private.
 */
#pragma once

#include "broker/route/route.h"
#include "proto/wire/batch.h"

enum put_state {
    PUT_WAITING, /* for a shard that takes it */
    PUT_ROUTED,
    PUT_SENT,
    PUT_DONE,
    PUT_THROTTLED,
    PUT_FAILED,
};

struct put_entry {
    struct record record; /* borrowed from the request */
    struct hash_key hash;
    enum put_state state;
    uint64_t shard, created_s;
    uint32_t asked;     /* closed shards below this number have been looked at */
    bool was_closed;    /* `shard` is such a one */
    enum status status; /* PUT_FAILED */
    uint64_t offset, append_ms;
    uint32_t generation;
};

/* Gives each that waits the open shard of its hash key, where there is one. A retry may be in a
 * shard that has been closed meanwhile: those closed at or after `closed_ms` are asked first, in
 * the order of their numbers (docs/replication.md 2.12); UINT64_MAX: none. */
void put_entries_route(struct put_entry *entries, uint32_t count, const struct route_stream *stream,
                       uint64_t closed_ms);

/* A batch of all that are routed to the shard, in their order; they become PUT_SENT. Errors as
 * batch_builder_add(). */
NODISCARD enum status put_entries_batch(struct put_entry *entries, uint32_t count, uint64_t shard,
                                        struct batch_builder *batch);

struct put_outcome {
    enum status status;
    uint64_t base_offset, append_ms;
    uint32_t generation;
    struct bytes refused; /* a bit for each record of the batch */
};
/* What became of those sent to the shard: SEALED makes them wait again. */
void put_entries_settle(struct put_entry *entries, uint32_t count, uint64_t shard,
                        const struct put_outcome *outcome);
