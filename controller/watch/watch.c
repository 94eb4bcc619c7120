#include "controller/watch/watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "controller/watch/internal.h"

static uint64_t broker_id(const void *row)
{
    return ((const struct db_broker *)row)->id;
}

static uint64_t stream_id(const void *row)
{
    return ((const struct db_stream *)row)->id;
}

static uint64_t shard_id(const void *row)
{
    return ((const struct db_shard *)row)->id;
}

static uint64_t attributes_id(const void *row)
{
    return ((const struct attributes_row *)row)->stream;
}

static void attributes_free(struct rows *rows, uint64_t first, uint64_t end)
{
    for (size_t i = rows_lower(rows, first); i < rows_lower(rows, end); i++) {
        struct attributes_row *row = rows_at(rows, i);
        weir__stream_attributes__free_unpacked(row->attributes, NULL);
    }
    rows_delete(rows, first, end);
}

/* Takes the attributes of a stream over from the database. */
static enum status attributes_load(struct watch *watch, struct db *db, uint32_t stream)
{
    struct attributes_row row = {.stream = stream, .attributes = db_attributes_get(db, stream)};
    if (row.attributes == NULL) {
        return STATUS_NO_MEMORY;
    }
    while (row.attributes->n_data_keys > 0) {
        Weir__DataKey *key = row.attributes->data_keys[--row.attributes->n_data_keys];
        weir__data_key__free_unpacked(key, NULL);
    }
    attributes_free(&watch->attributes, stream, (uint64_t)stream + 1);
    enum status status = rows_put(&watch->attributes, &row);
    if (status != STATUS_OK) {
        weir__stream_attributes__free_unpacked(row.attributes, NULL);
    }
    return status;
}

static enum status settings_load(struct watch *watch, struct db *db)
{
    Weir__ClusterSettings *settings = db_settings_get(db);
    if (settings == NULL) {
        return STATUS_NO_MEMORY;
    }
    weir__cluster_settings__free_unpacked(watch->settings, NULL);
    watch->settings = settings;
    return STATUS_OK;
}

struct watch *watch_new(void)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    if (watch != NULL) {
        watch->brokers = (struct rows){.size = sizeof(struct db_broker), .id = broker_id};
        watch->streams = (struct rows){.size = sizeof(struct db_stream), .id = stream_id};
        watch->attributes =
            (struct rows){.size = sizeof(struct attributes_row), .id = attributes_id};
        watch->shards = (struct rows){.size = sizeof(struct db_shard), .id = shard_id};
    }
    return watch;
}

void watch_free(struct watch *watch)
{
    if (watch != NULL) {
        attributes_free(&watch->attributes, 0, UINT64_MAX);
        free(watch->attributes.row);
        weir__cluster_settings__free_unpacked(watch->settings, NULL);
        free(watch->brokers.row);
        free(watch->streams.row);
        free(watch->shards.row);
        free(watch->history.change);
        free(watch);
    }
}

void watch_controllers_set(struct watch *watch, const struct watch_controller *controllers,
                           size_t count)
{
    CHECK(count <= WATCH_CONTROLLERS_MAX);
    memcpy(watch->controller, controllers, count * sizeof(*controllers));
    watch->controller_count = count;
}

void watch_active_set(struct watch *watch, uint32_t controller)
{
    watch->active = controller;
}

static void take_meta(struct watch *watch, const struct db *db)
{
    const struct db_meta *meta = db_meta(db);
    watch->version = meta->version;
    watch->has_cluster = meta->has_cluster;
    memcpy(watch->cluster, meta->cluster, CLUSTER_ID_BYTES);
}

struct loading {
    struct watch *watch;
    enum status status;
};

static void load_row(struct loading *loading, struct rows *rows, const void *row)
{
    if (loading->status == STATUS_OK) {
        loading->status = rows_put(rows, row);
    }
}

static void load_broker(const struct db_broker *broker, void *context)
{
    struct loading *loading = context;
    load_row(loading, &loading->watch->brokers, broker);
}

static void load_stream(const struct db_stream *stream, void *context)
{
    struct loading *loading = context;
    load_row(loading, &loading->watch->streams, stream);
}

static void load_shard(const struct db_shard *shard, void *context)
{
    struct loading *loading = context;
    load_row(loading, &loading->watch->shards, shard);
}

enum status watch_load(struct watch *watch, struct db *db)
{
    struct loading loading = {.watch = watch};
    watch->brokers.count = watch->streams.count = watch->shards.count = 0;
    db_broker_each(db, load_broker, &loading);
    db_stream_each(db, load_stream, &loading);
    db_shard_each(db, 0, load_shard, &loading);
    attributes_free(&watch->attributes, 0, UINT64_MAX);
    for (size_t i = 0; i < watch->streams.count && loading.status == STATUS_OK; i++) {
        const struct db_stream *stream = rows_at(&watch->streams, i);
        loading.status = attributes_load(watch, db, stream->id);
    }
    if (loading.status == STATUS_OK) {
        loading.status = settings_load(watch, db);
    }
    take_meta(watch, db);
    history_reset(&watch->history, watch->version);
    return loading.status;
}

/* One row again from the database, and into the history. */
static enum status refresh(struct watch *watch, struct db *db, enum change_kind kind, uint64_t id)
{
    enum status status = STATUS_OK;
    struct db_broker broker;
    struct db_stream stream;
    struct db_shard shard;
    if (kind == CHANGE_BROKER && db_broker_get(db, (uint32_t)id, &broker)) {
        status = rows_put(&watch->brokers, &broker);
    } else if (kind == CHANGE_STREAM && db_stream_get(db, (uint32_t)id, &stream)) {
        status = rows_put(&watch->streams, &stream);
        if (status == STATUS_OK) {
            status = attributes_load(watch, db, stream.id);
        }
    } else if (kind == CHANGE_SHARD && db_shard_get(db, id, &shard)) {
        status = rows_put(&watch->shards, &shard);
    } else if (kind == CHANGE_SETTINGS) {
        status = settings_load(watch, db);
    } else if (kind == CHANGE_DELETED) {
        attributes_free(&watch->attributes, id, id + 1);
        rows_delete(&watch->streams, id, id + 1);
        rows_delete(&watch->shards, db_shard_id((uint32_t)id, 0), db_shard_id((uint32_t)id + 1, 0));
    }
    if (status != STATUS_OK) {
        return status;
    }
    return history_add(&watch->history,
                       (struct change){.version = watch->version, .id = id, .kind = kind});
}

enum status watch_apply(struct watch *watch, struct db *db, const struct db_changes *changes)
{
    take_meta(watch, db);
    uint64_t one = 1;
    const struct db_ids settings = {.id = &one, .count = changes->settings ? 1 : 0};
    const struct db_ids *const ids[CHANGE_KINDS] = {
        [CHANGE_BROKER] = &changes->brokers, [CHANGE_STREAM] = &changes->streams,
        [CHANGE_SHARD] = &changes->shards,   [CHANGE_DELETED] = &changes->deleted_streams,
        [CHANGE_SETTINGS] = &settings,
    };
    for (int kind = 0; kind < CHANGE_KINDS; kind++) {
        for (size_t i = 0; i < ids[kind]->count; i++) {
            enum status status = refresh(watch, db, (enum change_kind)kind, ids[kind]->id[i]);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

uint64_t watch_version(const struct watch *watch)
{
    return watch->version;
}

const struct db_broker *watch_broker(const struct watch *watch, uint32_t id)
{
    return rows_get(&watch->brokers, id);
}

const struct db_stream *watch_stream(const struct watch *watch, uint32_t id)
{
    return rows_get(&watch->streams, id);
}

const struct db_stream *watch_stream_find(const struct watch *watch, const char *name)
{
    for (size_t i = 0; i < watch->streams.count; i++) {
        const struct db_stream *stream = rows_at(&watch->streams, i);
        if (strcmp(stream->name, name) == 0) {
            return stream;
        }
    }
    return NULL;
}

const Weir__StreamAttributes *watch_attributes(const struct watch *watch, uint32_t stream)
{
    const struct attributes_row *row = rows_get(&watch->attributes, stream);
    return row == NULL ? NULL : row->attributes;
}

const Weir__ClusterSettings *watch_settings(const struct watch *watch)
{
    return watch->settings;
}

const struct db_shard *watch_shard(const struct watch *watch, uint64_t id)
{
    return rows_get(&watch->shards, id);
}

const struct db_broker *watch_brokers(const struct watch *watch, size_t *out_count)
{
    *out_count = watch->brokers.count;
    return watch->brokers.row;
}

const struct db_stream *watch_streams(const struct watch *watch, size_t *out_count)
{
    *out_count = watch->streams.count;
    return watch->streams.row;
}

const struct db_shard *watch_shards(const struct watch *watch, size_t *out_count)
{
    *out_count = watch->shards.count;
    return watch->shards.row;
}
