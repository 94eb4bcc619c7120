/* The metadata image in memory, and what changed in it lately: what brokers and clients are told.
 *
 * The rows are those of the database after the last applied entry, so that every controller can
 * serve them, and so that nothing on a hot path asks SQLite. A watcher that has version v gets the
 * rows that changed since; when that is too long ago, or unknown, it gets all of them.
 *
 * Thread: one home thread. No I/O but reading the database that is handed in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "controller/db/db.h"
#include "proto/schema/metadata.pb-c.h"

enum {
    WATCH_HISTORY_MAX = 256 * 1024, /* changed rows remembered: 6 MiB */
    WATCH_CONTROLLERS_MAX = 9,
    WATCH_PART_ROWS = 8000, /* shards in one frame: below FRAME_BODY_MAX with long host names */
    WATCH_PART_BYTES = 2 * 1024 * 1024, /* of streams in one frame */
};

struct watch;

/* Empty, version 0. NULL when out of memory. */
struct watch *watch_new(void);
void watch_free(struct watch *watch);

struct watch_controller {
    uint32_t id;
    char name[NODE_NAME_BYTES];
    char host[HOST_BYTES];
    uint16_t port;
};
/* The controllers' addresses, from the configuration. At most WATCH_CONTROLLERS_MAX. */
void watch_controllers_set(struct watch *watch, const struct watch_controller *controllers,
                           size_t count);
void watch_active_set(struct watch *watch, uint32_t controller);

/* Reads everything again: after opening, and after a restore. What changed before is forgotten.
 * NO_MEMORY: the image is unusable. */
NODISCARD enum status watch_load(struct watch *watch, struct db *db);

/* Takes over what an entry changed; `changes` are db_changes(), which the caller then clears.
 * NO_MEMORY: the image is unusable, the process must end. */
NODISCARD enum status watch_apply(struct watch *watch, struct db *db,
                                  const struct db_changes *changes);

uint64_t watch_version(const struct watch *watch);

/* ---- rows: borrowed until the image changes
 * -------------------------------------------------------- */

const struct db_broker *watch_broker(const struct watch *watch, uint32_t id);
const struct db_stream *watch_stream(const struct watch *watch, uint32_t id);
const struct db_stream *watch_stream_find(const struct watch *watch, const char *name);
/* Never NULL for a stream that is there. */
const Weir__StreamAttributes *watch_attributes(const struct watch *watch, uint32_t stream);
const Weir__ClusterSettings *watch_settings(const struct watch *watch); /* NULL: not loaded yet */
const struct db_shard *watch_shard(const struct watch *watch, uint64_t id);
/* All of a kind, ascending by id. */
const struct db_broker *watch_brokers(const struct watch *watch, size_t *out_count);
const struct db_stream *watch_streams(const struct watch *watch, size_t *out_count);
const struct db_shard *watch_shards(const struct watch *watch, size_t *out_count);

/* ---- updates
 * --------------------------------------------------------------------------------------- */

struct watch_request {
    uint64_t from_version; /* 0: an image */
    const char *stream;    /* only this stream's rows (and all brokers); NULL: everything */
    uint64_t time_ms;
};

/* Calls `emit` with the update, or with each of its parts (partial is set in all but the last); its
 * first error ends it and is returned. The messages are valid for the call only.
 *
 * NOT_FOUND  the stream that was asked for does not exist
 * NO_MEMORY */
NODISCARD enum status watch_emit(const struct watch *watch, const struct watch_request *request,
                                 enum status (*emit)(void *context,
                                                     const Weir__MetadataUpdate *update),
                                 void *context);
