/* A shard was split or merged: its records that it does not have go to its children, in their order
 * for each key, before any newer record does. */
#include <stdlib.h>

#include "client/producer/producer.h"

enum {
    MOVE_RETRY_MS = 20,
    MOVE_AT_ONCE = 4096, /* records; then what was moved is sent, and putting threads have a turn */
};

struct lane *producer_lane_add(struct weir_producer *producer, uint32_t shard,
                               const struct metadata_shard *row)
{
    struct lane **grown =
        realloc(producer->lanes, (producer->lane_count + (size_t)1) * sizeof(*grown));
    if (grown == NULL) {
        return NULL;
    }
    producer->lanes = grown;
    struct lane *lane = malloc(sizeof(*lane));
    if (lane == NULL) {
        return NULL;
    }
    lane_init(lane, producer, shard, row);
    producer->lanes[producer->lane_count++] = lane;
    return lane;
}

static struct lane *find_lane(const struct weir_producer *producer, uint32_t shard)
{
    for (uint32_t i = producer->lane_count; i > 0; i--) { /* the newest are asked for most */
        if (producer->lanes[i - 1]->shard == shard) {
            return producer->lanes[i - 1];
        }
    }
    return NULL;
}

static const struct metadata_stream *stream_of(const struct weir_producer *producer)
{
    return metadata_stream(cluster_metadata(producer->client->cluster), producer->stream);
}

/* The lane of the descendant of a closed shard that takes the key: the first one that is open, or
 * whose lane still has records. NOT_FOUND: it is not known yet. NO_MEMORY. */
NODISCARD static enum status heir(struct lane *lane, struct hash_key key, struct lane **out)
{
    struct weir_producer *producer = lane->producer;
    const struct metadata_stream *stream = stream_of(producer);
    uint32_t shard = lane->shard, child;
    while (stream != NULL && metadata_child_of(stream, shard, key, &child)) {
        const struct metadata_shard *row = &stream->shards[child];
        struct lane *found = find_lane(producer, child);
        if (found != NULL && !found->moved) {
            *out = found;
            return STATUS_OK;
        }
        if (found == NULL && metadata_shard_is_open(row)) {
            *out = producer_lane_add(producer, child, row);
            return *out != NULL ? STATUS_OK : STATUS_NO_MEMORY;
        }
        shard = child; /* closed before we have put anything there */
    }
    return STATUS_NOT_FOUND;
}

/* The heirs of [first, last]: appended to `routes` when it is not NULL. */
NODISCARD static enum status heirs(struct lane *lane, struct hash_range range,
                                   struct lane_route **routes, uint32_t *count)
{
    struct hash_key at = range.first;
    for (;;) {
        struct lane *found = NULL;
        enum status status = heir(lane, at, &found);
        if (status != STATUS_OK) {
            return status;
        }
        struct hash_key last = found->range.last;
        bool ends = hash_key_compare(last, range.last) >= 0;
        if (routes != NULL) {
            struct lane_route *grown = realloc(*routes, (*count + (size_t)1) * sizeof(*grown));
            if (grown == NULL) {
                return STATUS_NO_MEMORY;
            }
            *routes = grown;
            grown[(*count)++] = (struct lane_route){
                .range = {.first = at, .last = ends ? range.last : last},
                  .lane = found
            };
        }
        if (ends) {
            return STATUS_OK;
        }
        at = last;
        at.low++;
        at.high += at.low == 0;
    }
}

/* Under the lock. */
NODISCARD static enum status move_record(struct lane *lane, struct producer_batch *batch,
                                         const struct record *record)
{
    struct hash_key key = record->hash_key;
    enum status status =
        record->has_hash_key ? STATUS_OK : hash_key_of_partition_key(record->key, &key);
    struct lane *to = NULL;
    if (status == STATUS_OK) {
        status = heir(lane, key, &to);
    }
    bool news;
    if (status == STATUS_OK) {
        status = producer_gather(to, record, batch->gathered.tokens[batch->moved],
                                 batch->gathered.first_ms, batch, &news);
    }
    return status;
}

/* Under the lock. All records of a batch, from where it was left; then the batch goes. */
NODISCARD static enum status move_batch(struct lane *lane, struct producer_batch *batch,
                                        uint32_t *left)
{
    const struct batch_builder *builder = &batch->gathered.builder;
    size_t skip = BATCH_HEADER_BYTES + batch->moved_bytes;
    struct bytes payload = bytes_of(builder->buf.data + skip, builder->buf.size - skip);
    while (batch->moved < builder->count) {
        if (*left == 0) {
            return STATUS_MORE;
        }
        (*left)--;
        struct record record;
        size_t before = payload.size;
        CHECK(record_next(&payload, &record) == STATUS_OK); /* we have built it */
        enum status status = move_record(lane, batch, &record);
        if (status != STATUS_OK) {
            return status;
        }
        batch->moved++;
        lane->producer->stats.moved++;
        batch->bytes -= producer_cost(&record);
        batch->moved_bytes += before - payload.size;
    }
    list_remove(&batch->outstanding);
    producer_batch_free(batch);
    return STATUS_OK;
}

/* Under the lock: what was sent in vain, then what was never sent, oldest first. */
NODISCARD static enum status move_records(struct lane *lane)
{
    enum status status = STATUS_OK;
    uint32_t left = MOVE_AT_ONCE;
    struct delivery_batch *refused;
    while (status == STATUS_OK && (refused = delivery_take(&lane->delivery)) != NULL) {
        status = move_batch(lane, CONTAINER_OF(refused, struct producer_batch, delivery), &left);
        if (status != STATUS_OK) {
            list_push(lane->delivery.queue.next, &refused->node); /* where it was */
        }
    }
    while (status == STATUS_OK && !list_empty(&lane->batcher.full)) {
        struct list *node = lane->batcher.full.next;
        struct list *next = node->next;
        list_remove(node);
        status = move_batch(lane,
                            CONTAINER_OF(CONTAINER_OF(node, struct batcher_batch, node),
                                         struct producer_batch, gathered),
                            &left);
        if (status != STATUS_OK) {
            list_push(next, node);
        }
    }
    if (status == STATUS_OK && lane->batcher.open != NULL) {
        struct producer_batch *open =
            CONTAINER_OF(lane->batcher.open, struct producer_batch, gathered);
        status = move_batch(lane, open, &left);
        lane->batcher.open = status == STATUS_OK ? NULL : lane->batcher.open;
    }
    return status;
}

/* Under the lock: the lane's keys go to its heirs from now on. */
NODISCARD static enum status move_routes(struct lane *lane)
{
    struct weir_producer *producer = lane->producer;
    struct lane_route *routes = NULL;
    uint32_t count = 0;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && i < producer->route_count; i++) {
        const struct lane_route *route = &producer->routes[i];
        if (route->lane == lane) {
            status = heirs(lane, route->range, &routes, &count);
            continue;
        }
        struct lane_route *grown = realloc(routes, (count + (size_t)1) * sizeof(*grown));
        status = grown != NULL ? STATUS_OK : STATUS_NO_MEMORY;
        if (grown != NULL) {
            routes = grown;
            routes[count++] = *route;
        }
    }
    if (status != STATUS_OK) {
        free(routes);
        return status;
    }
    free(producer->routes);
    producer->routes = routes;
    producer->route_count = count;
    list_remove(&lane->dirty);
    lane->moved = true;
    return STATUS_OK;
}

uint64_t producer_move(struct lane *lane, uint64_t now_ms)
{
    struct weir_producer *producer = lane->producer;
    const struct metadata_stream *stream = stream_of(producer);
    if (stream == NULL || lane->shard >= stream->shard_count ||
        !metadata_shard_is_closed(&stream->shards[lane->shard])) {
        return UINT64_MAX; /* the metadata will say so soon */
    }
    (void)pthread_mutex_lock(&producer->lock);
    enum status status = heirs(lane, lane->range, NULL, NULL);
    if (status == STATUS_OK) {
        status = move_records(lane);
    }
    if (status == STATUS_OK) {
        status = move_routes(lane);
    }
    (void)pthread_mutex_unlock(&producer->lock);
    if (status == STATUS_OK || status == STATUS_MORE) {
        for (uint32_t i = 0; i < producer->lane_count; i++) {
            lane_soon(producer->lanes[i]); /* this one too, when there is more */
        }
        return now_ms;
    }
    return status == STATUS_NOT_FOUND ? UINT64_MAX : now_ms + MOVE_RETRY_MS;
}
