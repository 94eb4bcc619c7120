/* Batches that this broker has sent to their shard's leader for a client, and that come back to it
 * because it follows that shard: the leader then sends their headers alone, and the payloads are
 * taken from here (docs/replication.md 2.6). Each is known by its token, and believed by its
 * checksum, which is computed over the bytes here again.
 *
 * A help only: what is not here any more is sent whole. Bounded: the oldest go. Pure; one thread,
 * of the shards. */
#pragma once

#include "base/list.h"
#include "proto/wire/batch.h"

enum {
    KEPT_BYTES_MAX = 32 * 1024 * 1024,
    KEPT_BATCHES_MAX = 256,
    KEPT_PAYLOAD_MIN = 16 * 1024, /* below, a frame of its own costs more than the bytes */
};

struct kept {
    struct list batches; /* oldest first */
    uint32_t count;
    size_t bytes;
};

/* Counts its holders: the table, and whoever has it from kept_add(). */
struct kept_batch {
    struct list node; /* in the table, or nowhere */
    struct buf buf;   /* header and payload */
    uint32_t holders;
    struct kept *kept; /* NULL: not in the table any more */
};

void kept_init(struct kept *kept);
/* What others hold stays. */
void kept_release(struct kept *kept);

/* Takes the memory of a whole batch with a token; the caller holds the result too, until
 * kept_let_go(). NULL, and *batch is as before: no memory, or it is not worth it. */
struct kept_batch *kept_add(struct kept *kept, struct buf *batch);
void kept_let_go(struct kept_batch *batch);
/* It will not come back: the table lets it go, too. */
void kept_forget(struct kept_batch *batch);

/* The batch with that header, but for what its leader filled in; NULL: it is not here. */
struct kept_batch *kept_find(const struct kept *kept, const struct batch_header *h);
