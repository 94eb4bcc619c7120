#include "client/cluster/metadata.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS_EVER_MAX = 64 * SHARDS_PER_STREAM_MAX /* splits and merges make more */ };

static void stream_release(struct metadata_stream *stream)
{
    free(stream->shards);
    stream->shards = NULL;
}

void metadata_release(struct metadata *metadata)
{
    for (size_t i = 0; i < metadata->stream_count; i++) {
        stream_release(&metadata->streams[i]);
    }
    free(metadata->streams);
    free(metadata->brokers);
    free(metadata->controllers);
    *metadata = (struct metadata){0};
}

/* ---- sorted rows: each begins with its uint32_t id --------------------------------------------
 */

/* Index of the first row whose id is not below `id`. */
static size_t row_find(const void *rows, size_t count, size_t size, uint32_t id)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        uint32_t at;
        memcpy(&at, (const char *)rows + middle * size, sizeof(at));
        if (at < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool row_is(const void *rows, size_t count, size_t size, size_t index, uint32_t id)
{
    uint32_t at = 0;
    if (index < count) {
        memcpy(&at, (const char *)rows + index * size, sizeof(at));
    }
    return index < count && at == id;
}

/* The row of `id`, made (zeroed but for the id) when there is none. NULL: out of memory. */
static void *row_make(void **rows, size_t *count, size_t size, uint32_t id)
{
    size_t index = row_find(*rows, *count, size, id);
    if (!row_is(*rows, *count, size, index, id)) {
        char *grown = realloc(*rows, (*count + 1) * size);
        if (grown == NULL) {
            return NULL;
        }
        *rows = grown;
        memmove(grown + (index + 1) * size, grown + index * size, (*count - index) * size);
        memset(grown + index * size, 0, size);
        memcpy(grown + index * size, &id, sizeof(id));
        (*count)++;
    }
    return (char *)*rows + index * size;
}

static const void *row_get(const void *rows, size_t count, size_t size, uint32_t id)
{
    size_t index = row_find(rows, count, size, id);
    return row_is(rows, count, size, index, id) ? (const char *)rows + index * size : NULL;
}

const struct metadata_broker *metadata_broker(const struct metadata *metadata, uint32_t id)
{
    return row_get(metadata->brokers, metadata->broker_count, sizeof(*metadata->brokers), id);
}

const struct metadata_controller *metadata_controller(const struct metadata *metadata, uint32_t id)
{
    return row_get(metadata->controllers, metadata->controller_count,
                   sizeof(*metadata->controllers), id);
}

const struct metadata_stream *metadata_stream(const struct metadata *metadata, uint32_t id)
{
    return row_get(metadata->streams, metadata->stream_count, sizeof(*metadata->streams), id);
}

const struct metadata_stream *metadata_stream_by_name(const struct metadata *metadata,
                                                      const char *name)
{
    for (size_t i = metadata->stream_count; i-- > 0;) { /* the newest of a name that is reused */
        if (strcmp(metadata->streams[i].name, name) == 0) {
            return &metadata->streams[i];
        }
    }
    return NULL;
}

const struct metadata_stream *metadata_stream_alive(const struct metadata *metadata, uint32_t id)
{
    const struct metadata_stream *stream = metadata_stream(metadata, id);
    return stream != NULL && stream->state != WEIR__STREAM_STATE__STREAM_DELETING ? stream : NULL;
}

/* ---- taking rows ------------------------------------------------------------------------------
 */

/* False: it does not fit, and no controller would have sent it. */
static bool take_text(const char *text, char *out, size_t size)
{
    size_t length = strlen(text);
    if (length >= size) {
        return false;
    }
    memcpy(out, text, length + 1);
    return true;
}

static bool take_address(const Weir__Address *address, char host[HOST_BYTES], uint16_t *port)
{
    if (address == NULL) {
        host[0] = '\0';
        *port = 0;
        return true;
    }
    *port = (uint16_t)address->port;
    return address->port <= UINT16_MAX && take_text(address->host, host, HOST_BYTES);
}

NODISCARD static enum status take_broker(struct metadata *metadata, const Weir__BrokerInfo *info)
{
    void *rows = metadata->brokers;
    struct metadata_broker *row = row_make(&rows, &metadata->broker_count, sizeof(*row), info->id);
    if (row == NULL) {
        return STATUS_NO_MEMORY;
    }
    metadata->brokers = rows;
    row->disk_gen = info->disk_gen;
    row->alive = info->alive;
    row->boot = info->boot;
    bool fits = info->id != 0 && take_text(info->name, row->name, sizeof(row->name)) &&
                take_text(info->zone, row->zone, sizeof(row->zone)) &&
                take_address(info->address, row->host, &row->port);
    return fits ? STATUS_OK : STATUS_CORRUPT;
}

NODISCARD static enum status take_controller(struct metadata *metadata,
                                             const Weir__ControllerInfo *info)
{
    void *rows = metadata->controllers;
    struct metadata_controller *row =
        row_make(&rows, &metadata->controller_count, sizeof(*row), info->id);
    if (row == NULL) {
        return STATUS_NO_MEMORY;
    }
    metadata->controllers = rows;
    bool fits = info->id != 0 && take_text(info->name, row->name, sizeof(row->name)) &&
                take_address(info->address, row->host, &row->port);
    return fits ? STATUS_OK : STATUS_CORRUPT;
}

NODISCARD static enum status take_stream(struct metadata *metadata, const Weir__StreamInfo *info)
{
    void *rows = metadata->streams;
    struct metadata_stream *row = row_make(&rows, &metadata->stream_count, sizeof(*row), info->id);
    if (row == NULL) {
        return STATUS_NO_MEMORY;
    }
    metadata->streams = rows;
    row->state = (uint32_t)info->state;
    row->created_ms = info->created_ms;
    row->retention_hours = info->retention_hours;
    if (info->id == 0 || info->shard_count > SHARDS_EVER_MAX ||
        info->shard_count < row->shard_count ||
        !take_text(info->name, row->name, sizeof(row->name))) {
        return STATUS_CORRUPT;
    }
    if (info->shard_count > row->shard_count) {
        struct metadata_shard *shards =
            realloc(row->shards, info->shard_count * sizeof(*row->shards));
        if (shards == NULL) {
            return STATUS_NO_MEMORY;
        }
        memset(shards + row->shard_count, 0,
               (info->shard_count - row->shard_count) * sizeof(*shards));
        row->shards = shards;
        row->shard_count = info->shard_count;
    }
    return STATUS_OK;
}

static bool take_config(const Weir__ReplicaConfig *config, struct metadata_shard *row)
{
    for (size_t i = 0; config != NULL && i < config->n_voters; i++) {
        const Weir__ReplicaId *id = config->voters[i];
        bool there = false;
        for (uint32_t j = 0; j < row->voter_count; j++) {
            there |= row->voters[j].broker == id->broker && row->voters[j].disk_gen == id->disk_gen;
        }
        if (!there && row->voter_count == METADATA_VOTERS_MAX) {
            return false;
        }
        if (!there) {
            row->voters[row->voter_count++] =
                (struct metadata_voter){.broker = id->broker, .disk_gen = id->disk_gen};
        }
    }
    return true;
}

static void take_leadership(const Weir__ShardInfo *info, struct metadata_shard *row)
{
    row->phase = (uint32_t)info->phase;
    row->epoch = info->epoch;
    row->leader = info->leader != NULL ? info->leader->broker : 0;
}

static struct metadata_shard *shard_row(struct metadata *metadata, const Weir__ShardInfo *info)
{
    size_t at = row_find(metadata->streams, metadata->stream_count, sizeof(*metadata->streams),
                         info->stream);
    if (!row_is(metadata->streams, metadata->stream_count, sizeof(*metadata->streams), at,
                info->stream)) {
        return NULL;
    }
    struct metadata_stream *stream = &metadata->streams[at];
    return info->number < stream->shard_count ? &stream->shards[info->number] : NULL;
}

NODISCARD static enum status take_shard(struct metadata *metadata, const Weir__ShardInfo *info)
{
    struct metadata_shard *row = shard_row(metadata, info);
    if (row == NULL || info->hash_first.len != HASH_KEY_BYTES ||
        info->hash_last.len != HASH_KEY_BYTES) {
        return STATUS_CORRUPT;
    }
    *row = (struct metadata_shard){
        .known = true,
        .range = {.first = hash_key_from_bytes(info->hash_first.data),
                  .last = hash_key_from_bytes(info->hash_last.data)},
        .created_s = info->created_s,
        .generation = info->generation,
        .waiting = info->waiting,
        .sealing = info->sealing,
        .final_offset = info->final_offset,
        .closed_ms = info->closed_ms,
    };
    for (size_t i = 0; i < info->n_parents && i < METADATA_PARENTS_MAX; i++) {
        row->parents[row->parent_count++] = info->parents[i];
    }
    take_leadership(info, row);
    bool fits = hash_key_compare(row->range.first, row->range.last) <= 0 &&
                take_config(info->config, row) && take_config(info->prev_config, row);
    return fits ? STATUS_OK : STATUS_CORRUPT;
}

static void drop_stream(struct metadata *metadata, uint32_t id)
{
    size_t at = row_find(metadata->streams, metadata->stream_count, sizeof(*metadata->streams), id);
    if (row_is(metadata->streams, metadata->stream_count, sizeof(*metadata->streams), at, id)) {
        stream_release(&metadata->streams[at]);
        metadata->stream_count--;
        memmove(metadata->streams + at, metadata->streams + at + 1,
                (metadata->stream_count - at) * sizeof(*metadata->streams));
    }
}

NODISCARD static enum status take_rows(struct metadata *metadata,
                                       const Weir__MetadataUpdate *update)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < update->n_brokers; i++) {
        status = take_broker(metadata, update->brokers[i]);
    }
    for (size_t i = 0; status == STATUS_OK && i < update->n_controllers; i++) {
        status = take_controller(metadata, update->controllers[i]);
    }
    for (size_t i = 0; i < update->n_deleted_streams; i++) {
        drop_stream(metadata, update->deleted_streams[i]);
    }
    for (size_t i = 0; status == STATUS_OK && i < update->n_streams; i++) {
        status = take_stream(metadata, update->streams[i]);
    }
    for (size_t i = 0; status == STATUS_OK && i < update->n_shards; i++) {
        status = take_shard(metadata, update->shards[i]);
    }
    return status;
}

enum status metadata_apply(struct metadata *metadata, const Weir__MetadataUpdate *update)
{
    if (!update->full && (!metadata->known || update->from_version != metadata->version)) {
        return STATUS_STALE;
    }
    if (update->full && update->cluster.len != CLUSTER_ID_BYTES) {
        return STATUS_CORRUPT;
    }
    if (update->full) {
        metadata_release(metadata);
        memcpy(metadata->cluster, update->cluster.data, CLUSTER_ID_BYTES);
    }
    metadata->known = false; /* while it is half done, and after a failure */
    enum status status = take_rows(metadata, update);
    if (status != STATUS_OK) {
        return status;
    }
    metadata->known = true;
    metadata->version = update->version;
    metadata->active_controller = update->active_controller;
    return STATUS_OK;
}

bool metadata_apply_leaders(struct metadata *metadata, const Weir__MetadataUpdate *update)
{
    if (!metadata->known || update->version <= metadata->version) {
        return false;
    }
    bool changed = false;
    for (size_t i = 0; i < update->n_shards; i++) {
        struct metadata_shard *row = shard_row(metadata, update->shards[i]);
        if (row != NULL && row->known && update->shards[i]->epoch >= row->epoch) {
            struct metadata_shard before = *row;
            take_leadership(update->shards[i], row);
            bool ends = row->phase == WEIR__SHARD_PHASE__SHARD_SEALED ||
                        row->phase == WEIR__SHARD_PHASE__SHARD_DELETED;
            row->phase = ends ? before.phase : row->phase; /* ends come with all their children */
            changed |= before.epoch != row->epoch || before.leader != row->leader;
        }
    }
    return changed;
}

bool metadata_shard_is_open(const struct metadata_shard *shard)
{
    return shard->known && !shard->waiting && shard->phase != WEIR__SHARD_PHASE__SHARD_SEALED &&
           shard->phase != WEIR__SHARD_PHASE__SHARD_DELETED;
}

bool metadata_shard_is_closed(const struct metadata_shard *shard)
{
    return shard->known && shard->phase == WEIR__SHARD_PHASE__SHARD_SEALED;
}

bool metadata_is_parent(const struct metadata_shard *child, uint32_t parent)
{
    for (uint32_t i = 0; i < child->parent_count; i++) {
        if (child->parents[i] == parent) {
            return true;
        }
    }
    return false;
}

bool metadata_child_of(const struct metadata_stream *stream, uint32_t parent, struct hash_key key,
                       uint32_t *out_child)
{
    for (uint32_t i = parent + 1; i < stream->shard_count; i++) { /* children come later */
        const struct metadata_shard *row = &stream->shards[i];
        if (row->known && !row->waiting && metadata_is_parent(row, parent) &&
            hash_range_has(row->range, key)) {
            *out_child = i;
            return true;
        }
    }
    return false;
}

bool metadata_stream_is_whole(const struct metadata_stream *stream)
{
    /* Open shards are few and in order of their ranges until streams are split; any order is right.
     */
    struct hash_key next = {0, 0};
    uint32_t found = 0;
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        if (!stream->shards[i].known) {
            return false;
        }
    }
    for (bool more = true; more;) {
        more = false;
        for (uint32_t i = 0; i < stream->shard_count; i++) {
            const struct metadata_shard *shard = &stream->shards[i];
            if (!metadata_shard_is_open(shard) || hash_key_compare(shard->range.first, next) != 0) {
                continue;
            }
            found++;
            if (shard->range.last.high == UINT64_MAX && shard->range.last.low == UINT64_MAX) {
                return found > 0;
            }
            next = shard->range.last;
            next.low++;
            next.high += next.low == 0;
            more = true;
        }
    }
    return false;
}
