#include "broker/route/route.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

struct route {
    uint8_t cluster[CLUSTER_ID_BYTES];
    uint64_t version;
    bool partial;                 /* the rest of an image is still to come */
    struct route_broker *brokers; /* rising ids */
    uint32_t broker_count;
    struct route_stream *streams; /* rising ids */
    uint32_t stream_count;
    Weir__ClusterSettings *settings; /* NULL: not told yet */
};

static const Weir__StreamAttributes no_attributes = WEIR__STREAM_ATTRIBUTES__INIT;
static const Weir__ClusterSettings no_settings = WEIR__CLUSTER_SETTINGS__INIT;

struct route *route_new(const uint8_t cluster[CLUSTER_ID_BYTES])
{
    struct route *route = calloc(1, sizeof(*route));
    if (route != NULL) {
        memcpy(route->cluster, cluster, CLUSTER_ID_BYTES);
    }
    return route;
}

static void release_stream(struct route_stream *s)
{
    free(s->shards);
    if (s->attributes != &no_attributes) {
        Weir__StreamAttributes *own = (Weir__StreamAttributes *)(uintptr_t)s->attributes;
        weir__stream_attributes__free_unpacked(own, NULL);
    }
}

static void clear(struct route *route)
{
    for (uint32_t i = 0; i < route->stream_count; i++) {
        release_stream(&route->streams[i]);
    }
    free(route->streams);
    free(route->brokers);
    route->streams = NULL;
    route->brokers = NULL;
    route->stream_count = route->broker_count = 0;
    route->version = 0;
}

void route_free(struct route *route)
{
    if (route != NULL) {
        clear(route);
        if (route->settings != NULL) {
            weir__cluster_settings__free_unpacked(route->settings, NULL);
        }
        free(route);
    }
}

uint64_t route_version(const struct route *route)
{
    return route->partial ? 0 : route->version;
}

/* ---- rows, by binary search over rising ids ---- */

/* Where `id` is, or where it would be put. */
static uint32_t lower_bound(const void *rows, uint32_t count, size_t row_bytes, uint32_t id)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint32_t at;
        memcpy(&at, (const char *)rows + middle * row_bytes, sizeof(at)); /* id comes first */
        if (at < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
static_assert(offsetof(struct route_broker, id) == 0, "lower_bound() reads the id there");
static_assert(offsetof(struct route_stream, id) == 0, "lower_bound() reads the id there");

const struct route_broker *route_broker(const struct route *route, uint32_t id)
{
    uint32_t i = lower_bound(route->brokers, route->broker_count, sizeof(*route->brokers), id);
    return i < route->broker_count && route->brokers[i].id == id ? &route->brokers[i] : NULL;
}

static struct route_stream *find_stream(const struct route *route, uint32_t id)
{
    uint32_t i = lower_bound(route->streams, route->stream_count, sizeof(*route->streams), id);
    return i < route->stream_count && route->streams[i].id == id ? &route->streams[i] : NULL;
}

const struct route_stream *route_stream(const struct route *route, uint32_t id)
{
    return find_stream(route, id);
}

const struct route_stream *route_stream_by_name(const struct route *route, const char *name)
{
    for (uint32_t i = 0; i < route->stream_count; i++) {
        if (strcmp(route->streams[i].name, name) == 0) {
            return &route->streams[i];
        }
    }
    return NULL;
}

const struct route_shard *route_shard(const struct route *route, uint64_t shard)
{
    const struct route_stream *stream = find_stream(route, (uint32_t)(shard >> 32));
    uint32_t number = (uint32_t)shard;
    if (stream == NULL || number >= stream->shard_count || stream->shards[number].shard != shard) {
        return NULL;
    }
    return &stream->shards[number];
}

const struct route_shard *route_find(const struct route_stream *stream, struct hash_key key)
{
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        const struct route_shard *s = &stream->shards[i];
        if (s->shard != 0 && s->open && hash_range_has(s->range, key)) {
            return s;
        }
    }
    return NULL;
}

static bool has_parent(const struct route_shard *s, uint32_t parent)
{
    for (uint32_t i = 0; i < s->parent_count; i++) {
        if (s->parents[i] == parent) {
            return true;
        }
    }
    return false;
}

const struct route_shard *route_next_child(const struct route_stream *stream, uint32_t parent,
                                           const struct route_shard *previous)
{
    /* A child has a higher number than its parents. */
    uint32_t i = previous == NULL ? parent + 1 : (uint32_t)previous->shard + 1;
    for (; i < stream->shard_count; i++) {
        const struct route_shard *s = &stream->shards[i];
        if (s->shard != 0 && !s->waiting && s->phase != WEIR__SHARD_PHASE__SHARD_DELETED &&
            has_parent(s, parent)) {
            return s;
        }
    }
    return NULL;
}

const char *route_leader_name(const struct route *route, uint64_t shard)
{
    const struct route_shard *s = route_shard(route, shard);
    const struct route_broker *b = s == NULL ? NULL : route_broker(route, s->leader_broker);
    return b == NULL ? "" : b->name;
}

const Weir__ClusterSettings *route_settings(const struct route *route)
{
    return route->settings == NULL ? &no_settings : route->settings;
}

uint32_t route_stream_count(const struct route *route)
{
    return route->stream_count;
}

const struct route_stream *route_stream_at(const struct route *route, uint32_t index)
{
    CHECK(index < route->stream_count);
    return &route->streams[index];
}

uint32_t route_broker_count(const struct route *route)
{
    return route->broker_count;
}

const struct route_broker *route_broker_at(const struct route *route, uint32_t index)
{
    CHECK(index < route->broker_count);
    return &route->brokers[index];
}

/* ---- taking updates ---- */

NODISCARD static bool copy_text(char *to, size_t size, const char *from)
{
    size_t length = from == NULL ? 0 : strlen(from);
    if (length >= size) {
        return false;
    }
    if (length > 0) {
        memcpy(to, from, length);
    }
    to[length] = '\0';
    return true;
}

NODISCARD static enum status take_broker(struct route *route, const Weir__BrokerInfo *info,
                                         struct error *error)
{
    struct route_broker row = {
        .id = info->id, .boot = info->boot, .disk_gen = info->disk_gen, .alive = info->alive};
    const Weir__Address *address = info->address;
    if (info->id == 0 || !copy_text(row.name, sizeof(row.name), info->name) ||
        !copy_text(row.zone, sizeof(row.zone), info->zone) ||
        (address != NULL &&
         (address->port > UINT16_MAX || !copy_text(row.host, sizeof(row.host), address->host)))) {
        return error_set(error, STATUS_INVALID, "metadata: the row of broker %u is not well formed",
                         info->id);
    }
    row.port = address == NULL ? 0 : (uint16_t)address->port;
    uint32_t i = lower_bound(route->brokers, route->broker_count, sizeof(row), row.id);
    if (i == route->broker_count || route->brokers[i].id != row.id) {
        struct route_broker *rows =
            realloc(route->brokers, (route->broker_count + 1) * sizeof(*rows));
        if (rows == NULL) {
            return error_set(error, STATUS_NO_MEMORY, "metadata: out of memory");
        }
        memmove(rows + i + 1, rows + i, (route->broker_count - i) * sizeof(*rows));
        route->brokers = rows;
        route->broker_count++;
    }
    route->brokers[i] = row;
    return STATUS_OK;
}

NODISCARD static enum status stream_rows(struct route_stream *s, uint32_t shard_count)
{
    if (shard_count <= s->shard_count) {
        return STATUS_OK;
    }
    struct route_shard *rows = realloc(s->shards, shard_count * sizeof(*rows));
    if (rows == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(rows + s->shard_count, 0, (shard_count - s->shard_count) * sizeof(*rows));
    s->shards = rows;
    s->shard_count = shard_count;
    return STATUS_OK;
}

/* A copy of the message, of the same type; NULL when out of memory. */
static ProtobufCMessage *copy_message(const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(size + 1);
    if (bytes == NULL) {
        return NULL;
    }
    (void)protobuf_c_message_pack(message, bytes);
    ProtobufCMessage *copy = protobuf_c_message_unpack(message->descriptor, NULL, size, bytes);
    free(bytes);
    return copy;
}

NODISCARD static enum status take_attributes(struct route_stream *s,
                                             const Weir__StreamAttributes *attributes)
{
    Weir__StreamAttributes *copy = NULL;
    if (attributes != NULL) {
        copy = (Weir__StreamAttributes *)copy_message(&attributes->base);
        if (copy == NULL) {
            return STATUS_NO_MEMORY;
        }
    }
    if (s->attributes != &no_attributes) {
        Weir__StreamAttributes *own = (Weir__StreamAttributes *)(uintptr_t)s->attributes;
        weir__stream_attributes__free_unpacked(own, NULL);
    }
    s->attributes = copy == NULL ? &no_attributes : copy;
    return STATUS_OK;
}

NODISCARD static enum status take_settings(struct route *route,
                                           const Weir__ClusterSettings *settings)
{
    if (settings == NULL) {
        return STATUS_OK;
    }
    Weir__ClusterSettings *copy = (Weir__ClusterSettings *)copy_message(&settings->base);
    if (copy == NULL) {
        return STATUS_NO_MEMORY;
    }
    if (route->settings != NULL) {
        weir__cluster_settings__free_unpacked(route->settings, NULL);
    }
    route->settings = copy;
    return STATUS_OK;
}

NODISCARD static enum status take_stream(struct route *route, const Weir__StreamInfo *info,
                                         struct error *error)
{
    char name[STREAM_NAME_MAX + 1];
    /* Shards ever made: splits and merges go beyond what exists at one time. */
    if (info->id == 0 || info->shard_count > 64 * SHARDS_PER_STREAM_MAX ||
        !copy_text(name, sizeof(name), info->name)) {
        return error_set(error, STATUS_INVALID, "metadata: the row of stream %u is not well formed",
                         info->id);
    }
    uint32_t i =
        lower_bound(route->streams, route->stream_count, sizeof(*route->streams), info->id);
    CHECK(i == route->stream_count || route->streams != NULL);
    if (i == route->stream_count || route->streams[i].id != info->id) {
        struct route_stream *rows =
            realloc(route->streams, (route->stream_count + 1) * sizeof(*rows));
        if (rows == NULL) {
            return error_set(error, STATUS_NO_MEMORY, "metadata: out of memory");
        }
        memmove(rows + i + 1, rows + i, (route->stream_count - i) * sizeof(*rows));
        rows[i] = (struct route_stream){.id = info->id, .attributes = &no_attributes};
        route->streams = rows;
        route->stream_count++;
    }
    struct route_stream *s = &route->streams[i];
    memcpy(s->name, name, sizeof(name));
    s->state = info->state;
    s->retention_hours = info->retention_hours;
    s->created_ms = info->created_ms;
    if (take_attributes(s, info->attributes) != STATUS_OK ||
        stream_rows(s, info->shard_count) != STATUS_OK) {
        return error_set(error, STATUS_NO_MEMORY, "metadata: out of memory");
    }
    return STATUS_OK;
}

NODISCARD static enum status take_shard(struct route *route, const Weir__ShardInfo *info,
                                        struct error *error)
{
    struct route_stream *s = find_stream(route, info->stream);
    if (s == NULL || info->number >= s->shard_count || info->hash_first.len != HASH_KEY_BYTES ||
        info->hash_last.len != HASH_KEY_BYTES) {
        return error_set(error, STATUS_INVALID,
                         "metadata: the row of shard %u of stream %u is not well formed",
                         info->number, info->stream);
    }
    struct route_shard row = {
        .shard = (uint64_t)info->stream << 32 | info->number,
        .range = {.first = hash_key_from_bytes(info->hash_first.data),
                  .last = hash_key_from_bytes(info->hash_last.data)},
        .created_s = info->created_s,
        .phase = info->phase,
        .epoch = info->epoch,
        .leader_broker = info->leader == NULL ? 0 : info->leader->broker,
        .generation = info->generation,
        .waiting = info->waiting,
        .open = !info->waiting && info->phase != WEIR__SHARD_PHASE__SHARD_SEALED &&
                info->phase != WEIR__SHARD_PHASE__SHARD_DELETED,
        .final_offset = info->final_offset,
        .closed_ms = info->closed_ms,
    };
    for (size_t i = 0; i < info->n_parents && i < ROUTE_PARENTS_MAX; i++) {
        row.parents[row.parent_count++] = info->parents[i];
    }
    for (size_t i = 0; info->config != NULL && i < info->config->n_voters; i++) {
        if (row.replica_count < REPLICAS_PER_SHARD) {
            row.replica_brokers[row.replica_count++] = info->config->voters[i]->broker;
        }
    }
    s->shards[info->number] = row;
    return STATUS_OK;
}

static void drop_stream(struct route *route, uint32_t id)
{
    struct route_stream *s = find_stream(route, id);
    if (s == NULL) {
        return;
    }
    release_stream(s);
    uint32_t i = (uint32_t)(s - route->streams);
    memmove(s, s + 1, (route->stream_count - i - 1) * sizeof(*s));
    route->stream_count--;
}

NODISCARD static enum status take_rows(struct route *route, const Weir__MetadataUpdate *update,
                                       struct error *error)
{
    enum status status = take_settings(route, update->settings);
    if (status != STATUS_OK) {
        return error_set(error, status, "metadata: out of memory");
    }
    for (size_t i = 0; i < update->n_brokers && status == STATUS_OK; i++) {
        status = take_broker(route, update->brokers[i], error);
    }
    for (size_t i = 0; i < update->n_streams && status == STATUS_OK; i++) {
        status = take_stream(route, update->streams[i], error);
    }
    for (size_t i = 0; i < update->n_shards && status == STATUS_OK; i++) {
        status = take_shard(route, update->shards[i], error);
    }
    for (size_t i = 0; i < update->n_deleted_streams && status == STATUS_OK; i++) {
        drop_stream(route, update->deleted_streams[i]);
    }
    return status;
}

enum status route_apply(struct route *route, const Weir__MetadataUpdate *update,
                        struct error *error)
{
    if (update->cluster.len != 0 &&
        (update->cluster.len != CLUSTER_ID_BYTES ||
         memcmp(update->cluster.data, route->cluster, CLUSTER_ID_BYTES) != 0)) {
        return error_set(error, STATUS_WRONG_CLUSTER, "metadata of another cluster");
    }
    if (update->full) {
        clear(route);
    } else if (route->version == 0 || update->from_version != route->version) {
        return error_set(
            error, STATUS_STALE, "metadata changes from version %llu do not follow version %llu",
            (unsigned long long)update->from_version, (unsigned long long)route->version);
    }
    enum status status = take_rows(route, update, error);
    route->version = status == STATUS_OK ? update->version : 0;
    route->partial = update->partial;
    return status;
}
