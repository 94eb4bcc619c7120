/* Which shards lie on this disk, or in its quarantine, that the metadata do not list although they
 * know the stream: of each stream the greatest number. Told to the active controller, which gives
 * those numbers out to nobody (after the restore of a backup it knows less than its brokers).
 *
 * One home thread. A zeroed struct is empty. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/net/net.h"

struct server;

enum { HELD_EVERY_MS = 5000, HELD_IN_MESSAGE = 2000 };

struct held_stream {
    uint32_t stream, number;
};

struct held_list { /* ascending by stream */
    struct held_stream *streams;
    size_t count, capacity;
    bool failed; /* out of memory: it is not all of them */
};

struct held {
    struct held_list disk, quarantine;
    struct held_list telling; /* both, while they are told in parts */
    size_t told;              /* of these */
    bool quarantine_known;    /* it has been looked at since we started */
    bool asked;               /* a part is not answered yet */
    uint64_t version;         /* of the metadata that `telling` was compared with */
    uint64_t sent_ms;
    struct session_request request;
};

void held_note(struct held_list *list, uint64_t shard);
void held_clear(struct held_list *list);
void held_release(struct held *held);

/* Whether the row means that somebody should have the shard. A row of a shard that is gone and has
 * no replicas only keeps its number from being used again. */
bool held_is_listed(const struct server *server, uint64_t shard);

/* Tells both lists, every HELD_EVERY_MS a part; after both have been made with the present
 * metadata. A controller that is too old to know of it says so, and no more comes of it. */
void held_tell(struct server *server, uint64_t now_ms);
