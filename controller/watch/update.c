/* Rows as messages. protobuf-c wants arrays of pointers to messages; a part owns one array of each
 * kind, and everything its messages point to. Strings are borrowed from the image. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "controller/moves/move.h"
#include "controller/watch/internal.h"

/* Which rows an update has: all, or those of the ids; or one stream's. */
struct selection {
    uint64_t *broker, *stream, *shard, *deleted;
    size_t broker_count, stream_count, shard_count, deleted_count;
    bool settings;
};

static void selection_release(struct selection *selection)
{
    free(selection->broker);
    free(selection->stream);
    free(selection->shard);
    free(selection->deleted);
}

static enum status select_range(const struct rows *rows, uint64_t first, uint64_t end,
                                uint64_t **out_ids, size_t *out_count)
{
    size_t from = rows_lower(rows, first), to = rows_lower(rows, end);
    uint64_t *ids = calloc(to - from + 1, sizeof(*ids));
    if (ids == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (size_t i = from; i < to; i++) {
        ids[i - from] = rows->id(rows_at(rows, i));
    }
    *out_ids = ids;
    *out_count = to - from;
    return STATUS_OK;
}

static enum status select_image(const struct watch *watch, const char *name, struct selection *out)
{
    uint64_t first = 0, end = (uint64_t)UINT32_MAX;
    out->settings = true;
    if (name != NULL) {
        const struct db_stream *stream = watch_stream_find(watch, name);
        if (stream == NULL) {
            return STATUS_NOT_FOUND;
        }
        first = stream->id;
        end = first + 1;
    }
    enum status status =
        select_range(&watch->brokers, 0, UINT64_MAX, &out->broker, &out->broker_count);
    if (status == STATUS_OK) {
        status = select_range(&watch->streams, first, end, &out->stream, &out->stream_count);
    }
    if (status == STATUS_OK) {
        status =
            select_range(&watch->shards, first << 32, end << 32, &out->shard, &out->shard_count);
    }
    return status;
}

/* Ids of rows that are gone again stay out: their stream is among the deleted. */
static void keep_existing(const struct rows *rows, uint64_t *ids, size_t *count)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (rows_get(rows, ids[i]) != NULL) {
            ids[kept++] = ids[i];
        }
    }
    *count = kept;
}

static enum status select_changes(const struct watch *watch, uint64_t from, struct selection *out)
{
    const struct history *history = &watch->history;
    enum status status =
        history_ids(history, from, CHANGE_BROKER, &out->broker, &out->broker_count);
    if (status == STATUS_OK) {
        status = history_ids(history, from, CHANGE_STREAM, &out->stream, &out->stream_count);
    }
    if (status == STATUS_OK) {
        status = history_ids(history, from, CHANGE_SHARD, &out->shard, &out->shard_count);
    }
    if (status == STATUS_OK) {
        status = history_ids(history, from, CHANGE_DELETED, &out->deleted, &out->deleted_count);
    }
    uint64_t *settings = NULL;
    size_t settings_count = 0;
    if (status == STATUS_OK) {
        status = history_ids(history, from, CHANGE_SETTINGS, &settings, &settings_count);
        free(settings);
        out->settings = settings_count > 0;
    }
    if (status == STATUS_OK) {
        keep_existing(&watch->brokers, out->broker, &out->broker_count);
        keep_existing(&watch->streams, out->stream, &out->stream_count);
        keep_existing(&watch->shards, out->shard, &out->shard_count);
    }
    return status;
}

/* ---- messages
 * -------------------------------------------------------------------------------------- */

/* A shard's message and all that it points to. */
struct shard_message {
    Weir__ShardInfo info;
    Weir__ReplicaId leader;
    Weir__ReplicaConfig config[2];
    Weir__ReplicaId voter[2][DB_VOTERS_MAX];
    Weir__ReplicaId *voters[2][DB_VOTERS_MAX];
    uint8_t first[HASH_KEY_BYTES], last[HASH_KEY_BYTES];
    uint32_t parents[DB_PARENTS_MAX];
    Weir__ReplicaId learner, *learners;
};

struct broker_message {
    Weir__BrokerInfo info;
    Weir__Address address;
    char name[NODE_NAME_BYTES], zone[ZONE_BYTES], host[HOST_BYTES], mode[16];
};

struct stream_message {
    Weir__StreamInfo info;
    char name[STREAM_NAME_MAX + 1];
    Weir__StreamAttributes attributes; /* its lists and texts are the image's */
};

static Weir__ReplicaConfig *fill_config(struct shard_message *message, int which,
                                        const struct db_config *config)
{
    if (config->voter_count == 0) {
        return NULL;
    }
    Weir__ReplicaConfig *out = &message->config[which];
    weir__replica_config__init(out);
    out->version = config->version;
    out->n_voters = config->voter_count;
    out->voters = message->voters[which];
    for (uint32_t v = 0; v < config->voter_count; v++) {
        Weir__ReplicaId *voter = &message->voter[which][v];
        weir__replica_id__init(voter);
        voter->broker = config->voter[v].broker;
        voter->disk_gen = config->voter[v].disk_gen;
        message->voters[which][v] = voter;
    }
    return out;
}

/* To those who watch a closed shard is in the phase SEALED, whoever leads it. */
static void fill_lineage(struct shard_message *message, const struct db_lineage *lineage)
{
    Weir__ShardInfo *info = &message->info;
    bool closed = lineage->state == DB_SHARD_CLOSED;
    info->waiting = lineage->state == DB_SHARD_WAITING;
    info->sealing = lineage->state == DB_SHARD_SEALING;
    info->final_offset = closed ? lineage->final_offset : 0;
    info->closed_ms = closed ? lineage->closed_ms : 0;
    if (closed && info->phase != WEIR__SHARD_PHASE__SHARD_DELETED) {
        info->phase = WEIR__SHARD_PHASE__SHARD_SEALED;
    }
    for (uint32_t p = 0; p < lineage->parent_count; p++) {
        message->parents[p] = lineage->parent[p];
    }
    info->parents = message->parents;
    info->n_parents = lineage->parent_count;
}

static void fill_shard(struct shard_message *message, const struct db_shard *shard)
{
    Weir__ShardInfo *info = &message->info;
    weir__shard_info__init(info);
    hash_key_to_bytes(shard->range.first, message->first);
    hash_key_to_bytes(shard->range.last, message->last);
    info->stream = (uint32_t)(shard->id >> 32);
    info->number = (uint32_t)shard->id;
    info->hash_first = (ProtobufCBinaryData){.data = message->first, .len = HASH_KEY_BYTES};
    info->hash_last = (ProtobufCBinaryData){.data = message->last, .len = HASH_KEY_BYTES};
    info->created_s = shard->created_s;
    info->phase = (Weir__ShardPhase)shard->phase;
    fill_lineage(message, &shard->lineage);
    info->epoch = shard->epoch;
    if (shard->leader.broker != 0) {
        weir__replica_id__init(&message->leader);
        message->leader.broker = shard->leader.broker;
        message->leader.disk_gen = shard->leader.disk_gen;
        info->leader = &message->leader;
    }
    info->leader_boot = shard->leader_boot;
    info->config = fill_config(message, 0, &shard->cfg);
    info->prev_config = fill_config(message, 1, &shard->prev_cfg);
    info->generation = shard->generation;
    if (shard->move.state == MOVE_COPYING) {
        weir__replica_id__init(&message->learner);
        message->learner.broker = shard->move.to.broker;
        message->learner.disk_gen = shard->move.to.disk_gen;
        message->learners = &message->learner;
        info->learners = &message->learners;
        info->n_learners = 1;
    }
}

static void fill_stream(const struct watch *watch, struct stream_message *message,
                        const struct db_stream *stream)
{
    Weir__StreamInfo *info = &message->info;
    weir__stream_info__init(info);
    memcpy(message->name, stream->name, sizeof(message->name));
    info->id = stream->id;
    info->name = message->name;
    info->state = (Weir__StreamState)stream->state;
    info->created_ms = stream->created_ms;
    info->retention_hours = stream->retention_hours;
    info->shard_count = stream->shard_count;
    const Weir__StreamAttributes *attributes = watch_attributes(watch, stream->id);
    if (attributes != NULL) {
        message->attributes = *attributes;
        info->attributes = &message->attributes;
    }
}

static void fill_broker(struct broker_message *message, const struct db_broker *broker)
{
    Weir__BrokerInfo *info = &message->info;
    weir__broker_info__init(info);
    weir__address__init(&message->address);
    (void)snprintf(message->name, sizeof(message->name), "broker-%u", broker->id);
    memcpy(message->zone, broker->zone, sizeof(message->zone));
    memcpy(message->host, broker->host, sizeof(message->host));
    message->address.host = message->host;
    message->address.port = broker->port;
    info->id = broker->id;
    info->name = message->name;
    info->zone = message->zone;
    info->address = &message->address;
    info->boot = broker->boot;
    info->disk_gen = broker->disk_gen;
    info->alive = broker->alive;
    (void)snprintf(message->mode, sizeof(message->mode), "%s", db_broker_mode_name(broker->mode));
    info->mode = message->mode;
}

/* ---- parts
 * ----------------------------------------------------------------------------------------- */

struct part {
    Weir__MetadataUpdate update;
    struct shard_message *shard;
    struct stream_message *stream;
    size_t stream_bytes; /* packed */
    struct broker_message *broker;
    uint32_t *deleted;
    Weir__ShardInfo **shards;
    Weir__StreamInfo **streams;
    Weir__BrokerInfo **brokers;
    uint8_t cluster[CLUSTER_ID_BYTES];
    struct watch_controller controller[WATCH_CONTROLLERS_MAX];
    Weir__ControllerInfo controller_info[WATCH_CONTROLLERS_MAX];
    Weir__Address controller_address[WATCH_CONTROLLERS_MAX];
    Weir__ControllerInfo *controllers[WATCH_CONTROLLERS_MAX];
};

static void part_release(struct part *part)
{
    free(part->shard);
    free(part->stream);
    free(part->broker);
    free(part->deleted);
    free(part->shards);
    free(part->streams);
    free(part->brokers);
}

static void fill_head(const struct watch *watch, struct part *part)
{
    Weir__MetadataUpdate *update = &part->update;
    memcpy(part->cluster, watch->cluster, CLUSTER_ID_BYTES);
    update->cluster = (ProtobufCBinaryData){.data = part->cluster,
                                            .len = watch->has_cluster ? CLUSTER_ID_BYTES : 0};
    update->version = watch->version;
    update->active_controller = watch->active;
}

static void fill_controllers(const struct watch *watch, struct part *part)
{
    memcpy(part->controller, watch->controller, sizeof(part->controller));
    for (size_t i = 0; i < watch->controller_count; i++) {
        Weir__ControllerInfo *info = &part->controller_info[i];
        weir__controller_info__init(info);
        weir__address__init(&part->controller_address[i]);
        part->controller_address[i].host = part->controller[i].host;
        part->controller_address[i].port = part->controller[i].port;
        info->id = part->controller[i].id;
        info->name = part->controller[i].name;
        info->address = &part->controller_address[i];
        part->controllers[i] = info;
    }
    part->update.controllers = part->controllers;
    part->update.n_controllers = watch->controller_count;
}

/* What is few: it goes into the first part. */
static enum status fill_few(const struct watch *watch, const struct selection *selection,
                            struct part *part)
{
    part->broker = calloc(selection->broker_count + 1, sizeof(*part->broker));
    part->brokers = calloc(selection->broker_count + 1, sizeof(*part->brokers));
    part->deleted = calloc(selection->deleted_count + 1, sizeof(*part->deleted));
    if (part->broker == NULL || part->brokers == NULL || part->deleted == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; i < selection->broker_count; i++) {
        fill_broker(&part->broker[i], rows_get(&watch->brokers, selection->broker[i]));
        part->brokers[i] = &part->broker[i].info;
    }
    for (size_t i = 0; i < selection->deleted_count; i++) {
        part->deleted[i] = (uint32_t)selection->deleted[i];
    }
    part->update.brokers = part->brokers;
    part->update.n_brokers = selection->broker_count;
    part->update.deleted_streams = part->deleted;
    part->update.n_deleted_streams = selection->deleted_count;
    part->update.settings = selection->settings ? watch->settings : NULL;
    return STATUS_OK;
}

/* Streams from `first` on, up to WATCH_PART_BYTES and at least one. */
static enum status fill_streams(const struct watch *watch, const struct selection *selection,
                                size_t first, struct part *part)
{
    size_t left = selection->stream_count - first, count = 0;
    part->stream = calloc(left + 1, sizeof(*part->stream));
    part->streams = calloc(left + 1, sizeof(*part->streams));
    if (part->stream == NULL || part->streams == NULL) {
        return STATUS_NO_MEMORY;
    }
    while (count < left && part->stream_bytes < WATCH_PART_BYTES) {
        struct stream_message *message = &part->stream[count];
        fill_stream(watch, message, rows_get(&watch->streams, selection->stream[first + count]));
        part->stream_bytes += weir__stream_info__get_packed_size(&message->info);
        part->streams[count++] = &message->info;
    }
    part->update.streams = part->streams;
    part->update.n_streams = count;
    return STATUS_OK;
}

static enum status fill_shards(const struct watch *watch, const struct selection *selection,
                               size_t first, size_t count, struct part *part)
{
    part->shard = calloc(count + 1, sizeof(*part->shard));
    part->shards = calloc(count + 1, sizeof(*part->shards));
    if (part->shard == NULL || part->shards == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        fill_shard(&part->shard[i], rows_get(&watch->shards, selection->shard[first + i]));
        part->shards[i] = &part->shard[i].info;
    }
    part->update.shards = part->shards;
    part->update.n_shards = count;
    return STATUS_OK;
}

enum status watch_emit(const struct watch *watch, const struct watch_request *request,
                       enum status (*emit)(void *context, const Weir__MetadataUpdate *update),
                       void *context)
{
    uint64_t from = request->from_version;
    bool full = request->stream != NULL || from == 0 || from > watch->version ||
                from < watch->history.floor;
    AUTO(selection_release) struct selection selection = {0};
    enum status status = full ? select_image(watch, request->stream, &selection)
                              : select_changes(watch, from, &selection);
    size_t first = 0, first_stream = 0;
    bool begun = false, partial = false;
    do {
        AUTO(part_release) struct part part = {0};
        weir__metadata_update__init(&part.update);
        fill_head(watch, &part);
        part.update.time_ms = request->time_ms;
        part.update.full = full && !begun;
        part.update.from_version = part.update.full ? 0 : begun ? watch->version : from;
        if (status == STATUS_OK && !begun) {
            fill_controllers(watch, &part);
            status = fill_few(watch, &selection, &part);
        }
        if (status == STATUS_OK) {
            status = fill_streams(watch, &selection, first_stream, &part);
        }
        /* A shard comes after its stream; and both together must fit. */
        first_stream += part.update.n_streams;
        size_t count = first_stream < selection.stream_count ? 0 : selection.shard_count - first;
        size_t most = part.stream_bytes > WATCH_PART_BYTES / 32 ? 0 : WATCH_PART_ROWS;
        count = count > most ? most : count;
        if (status == STATUS_OK) {
            status = fill_shards(watch, &selection, first, count, &part);
        }
        first += count;
        partial = first < selection.shard_count || first_stream < selection.stream_count;
        part.update.partial = partial;
        if (status == STATUS_OK) {
            status = emit(context, &part.update);
        }
        begun = true;
    } while (status == STATUS_OK && partial);
    return status;
}
