/* What goes to the controllers and comes back: LEASE_SYNC and LEASE_CHECKPOINT. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/consumer/consumer.h"

static struct mark mark_of(const Weir__LeasePosition *position)
{
    if (position == NULL) {
        return (struct mark){.kind = MARK_OLDEST};
    }
    switch ((unsigned)position->type) {
    case WEIR__LEASE_POSITION_TYPE__LEASE_LATEST:
        return (struct mark){.kind = MARK_NEWEST};
    case WEIR__LEASE_POSITION_TYPE__LEASE_AT_TIMESTAMP:
        return (struct mark){.kind = MARK_TIME, .time_ms = position->timestamp_ms};
    case WEIR__LEASE_POSITION_TYPE__LEASE_AT_OFFSET:
        return mark_at(position->offset, position->sub_sequence);
    case WEIR__LEASE_POSITION_TYPE__LEASE_SHARD_END:
        return (struct mark){.kind = MARK_END};
    default:
        return (struct mark){.kind = MARK_OLDEST};
    }
}

static void position_of(struct mark mark, Weir__LeasePosition *out)
{
    weir__lease_position__init(out);
    out->type = mark.kind == MARK_END ? WEIR__LEASE_POSITION_TYPE__LEASE_SHARD_END
                                      : WEIR__LEASE_POSITION_TYPE__LEASE_AT_OFFSET;
    out->offset = mark.offset;
    out->sub_sequence = mark.sub;
}

enum status consumer_sync_init(struct weir_consumer *consumer)
{
    size_t streams = consumer->stream_count;
    consumer->sync_streams = calloc(streams, sizeof(*consumer->sync_streams));
    consumer->sync_stream_list = calloc(streams, sizeof(*consumer->sync_stream_list));
    consumer->items = calloc(CHECKPOINT_ITEMS_MAX, sizeof(*consumer->items));
    consumer->item_list = calloc(CHECKPOINT_ITEMS_MAX, sizeof(*consumer->item_list));
    consumer->positions = calloc(CHECKPOINT_ITEMS_MAX, sizeof(*consumer->positions));
    consumer->item_leases = calloc(CHECKPOINT_ITEMS_MAX, sizeof(*consumer->item_leases));
    if (consumer->sync_streams == NULL || consumer->sync_stream_list == NULL ||
        consumer->items == NULL || consumer->item_list == NULL || consumer->positions == NULL ||
        consumer->item_leases == NULL) {
        return STATUS_NO_MEMORY;
    }
    static const Weir__LeasePositionType types[] = {
        [WEIR_TRIM_HORIZON] = WEIR__LEASE_POSITION_TYPE__LEASE_TRIM_HORIZON,
        [WEIR_LATEST] = WEIR__LEASE_POSITION_TYPE__LEASE_LATEST,
        [WEIR_AT_TIMESTAMP] = WEIR__LEASE_POSITION_TYPE__LEASE_AT_TIMESTAMP,
    };
    weir__lease_position__init(&consumer->initial);
    consumer->initial.type = types[consumer->from];
    consumer->initial.timestamp_ms =
        consumer->from == WEIR_AT_TIMESTAMP ? consumer->timestamp_ms : 0;
    for (size_t i = 0; i < streams; i++) {
        weir__lease_stream__init(&consumer->sync_streams[i]);
        consumer->sync_streams[i].name = consumer->streams[i];
        consumer->sync_streams[i].initial = &consumer->initial;
        consumer->sync_stream_list[i] = &consumer->sync_streams[i];
    }
    return STATUS_OK;
}

void consumer_sync_release(struct weir_consumer *consumer)
{
    free(consumer->lists);
    free(consumer->sync_streams);
    free(consumer->sync_stream_list);
    free(consumer->items);
    free(consumer->item_list);
    free(consumer->positions);
    free(consumer->item_leases);
}

/* ---- LEASE_SYNC -------------------------------------------------------------------------------
 */

/* Where the core can keep it: it is told when the worker ends. */
static const char *keep_text(struct weir_consumer *consumer, const char *text)
{
    (void)snprintf(consumer->failed_text, sizeof(consumer->failed_text), "%s", text);
    return consumer->failed_text;
}

static void take_assigned(struct weir_consumer *consumer, const Weir__LeaseAssigned *row,
                          uint64_t now)
{
    struct weir_lease *lease = lease_new(consumer, row->stream, row->shard);
    if (lease == NULL) {
        return; /* it is said again */
    }
    if (!core_assigned(&consumer->core, &lease->core, row->shard, row->counter,
                       mark_of(row->checkpoint), now)) {
        free(lease);
        return;
    }
    if (row->pending != NULL) {
        core_assigned_pending(&lease->core, mark_of(row->pending));
    }
    (void)pthread_mutex_lock(&consumer->lock);
    consumer->counters.leases++;
    (void)pthread_mutex_unlock(&consumer->lock);
}

static void take_reply(struct weir_consumer *consumer, const Weir__LeaseSyncReply *reply)
{
    uint64_t now = handle_now_ms();
    for (size_t i = 0; i < reply->n_lost; i++) {
        core_lost(&consumer->core, reply->lost[i]);
    }
    for (size_t i = 0; i < reply->n_assigned; i++) {
        take_assigned(consumer, reply->assigned[i], now);
    }
    for (size_t i = 0; i < reply->n_hand_over; i++) {
        core_hand_over(&consumer->core, reply->hand_over[i]->counter, now);
    }
    if (reply->n_missing > 0) {
        char text[WEIR_ERROR_TEXT_BYTES];
        (void)snprintf(text, sizeof(text), "there is no stream '%s' any more", reply->missing[0]);
        consumer_trouble(consumer, NULL, STATUS_NOT_FOUND, text);
    } else {
        consumer->sync_trouble = (struct weir_error){.status = WEIR_OK};
    }
    uint64_t next_ms = reply->next_sync_ms > 0 ? reply->next_sync_ms : 1;
    core_synced(&consumer->core, now, reply->term_ms, next_ms);
}

static void on_sync(struct cluster_call *call, const struct cluster_reply *reply)
{
    struct weir_consumer *consumer = CONTAINER_OF(call, struct weir_consumer, sync);
    Weir__LeaseSyncReply *answer = NULL;
    enum status status = reply->status;
    if (status == STATUS_OK) {
        answer = weir__lease_sync_reply__unpack(NULL, reply->body.size, reply->body.data);
        status = answer == NULL ? STATUS_CORRUPT : STATUS_OK;
    }
    if (answer != NULL) {
        take_reply(consumer, answer);
        weir__lease_sync_reply__free_unpacked(answer, NULL);
    } else {
        const char *text =
            status == STATUS_CORRUPT ? "the controllers' answer is malformed" : reply->text;
        core_sync_failed(&consumer->core, handle_now_ms(), status, keep_text(consumer, text));
        if (consumer->core.failed == STATUS_OK) { /* else it ends, and says so */
            consumer_trouble(consumer, NULL, status, text);
        }
    }
    consumer_pump(consumer);
}

/* The lists of what is held and released. */
NODISCARD static enum status fill_lists(struct weir_consumer *consumer)
{
    Weir__LeaseSync *body = &consumer->sync_body;
    size_t count = consumer->core.lease_count;
    uint64_t *lists = realloc(consumer->lists, (4 * count + 1) * sizeof(*lists));
    if (lists == NULL) {
        return STATUS_NO_MEMORY;
    }
    consumer->lists = lists;
    body->shards = lists;
    body->counters = lists + count;
    body->bytes_per_s = lists + 2 * count;
    body->released = lists + 3 * count;
    LIST_FOR_EACH (node, &consumer->core.leases) {
        const struct core_lease *lease = CONTAINER_OF(node, struct core_lease, node);
        if (core_holds(lease)) {
            body->shards[body->n_shards++] = lease->shard;
            body->counters[body->n_counters++] = lease->counter;
            body->bytes_per_s[body->n_bytes_per_s++] = (uint64_t)lease->bytes_per_s;
        } else if (lease->phase == CORE_RELEASED) {
            body->released[body->n_released++] = lease->counter;
        }
    }
    return STATUS_OK;
}

void consumer_sync(struct weir_consumer *consumer)
{
    Weir__LeaseSync *body = &consumer->sync_body;
    weir__lease_sync__init(body);
    body->application = consumer->application;
    body->worker = consumer->worker;
    body->incarnation.data = consumer->incarnation;
    body->incarnation.len = sizeof(consumer->incarnation);
    body->join = !consumer->core.joined;
    body->streams = consumer->sync_stream_list;
    body->n_streams = consumer->stream_count;
    body->draining = consumer->core.stopping;
    body->leaving = consumer->core.leaving;
    uint64_t now = handle_now_ms();
    enum status status = fill_lists(consumer);
    core_sync_sent(&consumer->core, now);
    if (status == STATUS_OK) {
        status = cluster_call(consumer->client->cluster, &consumer->sync, RPC_LEASE_SYNC,
                              &body->base, false, SYNC_TIMEOUT_MS, on_sync);
    }
    if (status != STATUS_OK) {
        core_sync_failed(&consumer->core, now, status, status_text(status));
    }
}

/* ---- LEASE_CHECKPOINT -------------------------------------------------------------------------
 */

static void count_checkpoint(struct weir_consumer *consumer, enum status status)
{
    (void)pthread_mutex_lock(&consumer->lock);
    consumer->counters.checkpoints += status == STATUS_OK;
    consumer->counters.checkpoints_failed += status != STATUS_OK;
    (void)pthread_mutex_unlock(&consumer->lock);
}

static void answer_items(struct weir_consumer *consumer, enum status status,
                         const Weir__LeaseCheckpointReply *reply)
{
    uint64_t now = handle_now_ms();
    size_t count = consumer->checkpoint_body.n_items;
    consumer->checkpoint_busy = false;
    for (size_t i = 0; i < count; i++) {
        enum status result = status;
        if (reply != NULL) {
            result = i < reply->n_results ? (enum status)reply->results[i] : STATUS_CORRUPT;
        }
        count_checkpoint(consumer, result);
        core_checkpointed(&consumer->core, &consumer->item_leases[i]->core, result, now);
    }
}

static void on_checkpointed(struct cluster_call *call, const struct cluster_reply *reply)
{
    struct weir_consumer *consumer = CONTAINER_OF(call, struct weir_consumer, checkpointing);
    Weir__LeaseCheckpointReply *answer = NULL;
    enum status status = reply->status;
    if (status == STATUS_OK) {
        answer = weir__lease_checkpoint_reply__unpack(NULL, reply->body.size, reply->body.data);
        status = answer == NULL ? STATUS_CORRUPT : STATUS_OK;
    }
    answer_items(consumer, status, answer);
    weir__lease_checkpoint_reply__free_unpacked(answer, NULL);
    consumer_pump(consumer);
}

/* While one call is under way the others gather: one command of the controllers for many shards. */
void consumer_checkpoint(struct weir_consumer *consumer)
{
    if (consumer->checkpoint_busy || list_empty(&consumer->checkpoints)) {
        return;
    }
    Weir__LeaseCheckpoint *body = &consumer->checkpoint_body;
    weir__lease_checkpoint__init(body);
    body->application = consumer->application;
    body->worker = consumer->worker;
    body->incarnation.data = consumer->incarnation;
    body->incarnation.len = sizeof(consumer->incarnation);
    body->items = consumer->item_list;
    while (body->n_items < CHECKPOINT_ITEMS_MAX && !list_empty(&consumer->checkpoints)) {
        struct weir_lease *lease =
            CONTAINER_OF(list_pop(&consumer->checkpoints), struct weir_lease, checkpoint);
        size_t i = body->n_items++;
        Weir__LeaseCheckpointItem *item = &consumer->items[i];
        weir__lease_checkpoint_item__init(item);
        item->shard = lease->core.shard;
        item->counter = lease->core.counter;
        position_of(lease->core.sent, &consumer->positions[i]);
        if (lease->core.sending_prepare) {
            item->pending = &consumer->positions[i];
        } else {
            item->checkpoint = &consumer->positions[i];
        }
        consumer->item_list[i] = item;
        consumer->item_leases[i] = lease;
    }
    consumer->checkpoint_busy = true;
    enum status status =
        cluster_call(consumer->client->cluster, &consumer->checkpointing, RPC_LEASE_CHECKPOINT,
                     &body->base, true, CHECKPOINT_TIMEOUT_MS, on_checkpointed);
    if (status != STATUS_OK) {
        answer_items(consumer, status, NULL);
        consumer_pump(consumer);
    }
}
