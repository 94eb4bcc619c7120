#include "client/producer/producer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- telling ----------------------------------------------------------------------------------
 */

static void tell_records(struct producer_batch *batch)
{
    uint32_t kept = batch->attempts < WEIR_ATTEMPTS_KEPT ? batch->attempts : WEIR_ATTEMPTS_KEPT;
    struct weir_ack ack = {.status = public_status(batch->status),
                           .text = batch->text,
                           .position = {.shard = batch->lane->shard},
                           .duplicate = batch->duplicate,
                           .attempts = batch->attempts,
                           .attempts_kept = kept,
                           .history = batch->history};
    if (batch->status == STATUS_OK) {
        ack.position = (struct weir_position){.shard_created_s = batch->lane->created_s,
                                              .shard = batch->lane->shard,
                                              .generation = batch->generation,
                                              .offset = batch->base_offset,
                                              .arrival_ms = batch->append_ms};
    }
    uint32_t count = batch->gathered.builder.count, wire = 0;
    for (uint32_t i = batch->moved; i < count; i++) {
        const struct batcher_token *token = &batch->gathered.tokens[i];
        weir_ack_fn *acked = (weir_ack_fn *)token->acked;
        if (batch->status == STATUS_OK) {
            struct encoded_place place = encoded_place(&batch->encoded, count, i, &wire);
            ack.position.offset = batch->base_offset + place.index;
            ack.aggregated = place.aggregated;
            ack.sub_sequence = place.sub_sequence;
        }
        if (acked != NULL) {
            acked(&ack, token->context);
        }
    }
}

/* Under the lock. */
static void count_latencies(struct weir_producer *producer, const struct producer_batch *batch)
{
    uint32_t now = put_clock(handle_now_us());
    for (uint32_t i = 0; i < batch->gathered.builder.count; i++) {
        producer->stats.latency[latency_bucket(now - batch->gathered.tokens[i].put_at)]++;
    }
}

/* Under the lock. */
static void settle_account(struct weir_producer *producer, struct producer_batch *batch)
{
    uint32_t count = batch->gathered.builder.count - batch->moved;
    producer->stats.records_pending -= count;
    producer->stats.bytes_pending -= batch->bytes;
    if (batch->status == STATUS_OK) {
        producer->stats.records_acked += count;
        producer->stats.duplicates += batch->duplicate ? count : 0;
        count_latencies(producer, batch);
    } else {
        producer->stats.records_failed += count;
    }
    list_remove(&batch->outstanding);
    if (producer->blocked > 0) {
        (void)pthread_cond_broadcast(&producer->room);
    }
}

/* The oldest flush, if it is over. */
static struct flush *take_flush(struct weir_producer *producer)
{
    struct flush *flush = NULL;
    (void)pthread_mutex_lock(&producer->lock);
    if (!list_empty(&producer->flushes)) {
        struct flush *oldest = CONTAINER_OF(producer->flushes.next, struct flush, node);
        bool over =
            list_empty(&producer->outstanding) ||
            CONTAINER_OF(producer->outstanding.next, struct producer_batch, outstanding)->number >
                oldest->number;
        if (over) {
            list_remove(&oldest->node);
            flush = oldest;
        }
    }
    (void)pthread_mutex_unlock(&producer->lock);
    return flush;
}

void producer_free(struct weir_producer *producer)
{
    for (uint32_t i = 0; i < producer->lane_count; i++) {
        net_timer_stop(producer->client->loop, &producer->lanes[i]->timer);
        free(producer->lanes[i]);
    }
    cluster_unwatch(&producer->watcher);
    (void)pthread_cond_destroy(&producer->room);
    (void)pthread_mutex_destroy(&producer->lock);
    encoder_release(&producer->encoder);
    free(producer->lanes);
    free(producer->routes);
    free(producer);
}

static bool is_over(struct weir_producer *producer)
{
    if (!producer->ending) {
        return false;
    }
    for (uint32_t i = 0; i < producer->lane_count; i++) {
        if (!lane_is_quiet(producer->lanes[i])) {
            return false;
        }
    }
    (void)pthread_mutex_lock(&producer->lock);
    bool over = list_empty(&producer->outstanding) && !producer->wake_sent;
    (void)pthread_mutex_unlock(&producer->lock);
    return over;
}

void producer_tell(struct weir_producer *producer)
{
    if (producer->telling) {
        return; /* the one below us goes on */
    }
    producer->telling = true;
    while (!list_empty(&producer->done)) {
        struct producer_batch *batch =
            CONTAINER_OF(list_pop(&producer->done), struct producer_batch, done);
        tell_records(batch);
        (void)pthread_mutex_lock(&producer->lock);
        settle_account(producer, batch);
        (void)pthread_mutex_unlock(&producer->lock);
        producer_batch_free(batch);
    }
    struct flush *flush;
    while ((flush = take_flush(producer)) != NULL) {
        flush->done(&(struct weir_error){.status = WEIR_OK}, flush->context);
        free(flush);
    }
    producer->telling = false;
    if (is_over(producer)) {
        struct waiter *closer = producer->closer;
        producer_free(producer);
        if (closer != NULL) {
            waiter_wake(closer, NULL, NULL);
        }
    }
}

/* ---- the loop looks ---------------------------------------------------------------------------
 */

void producer_on_wake(struct net_mail *mail)
{
    struct weir_producer *producer = CONTAINER_OF(mail, struct weir_producer, wake);
    struct list dirty;
    (void)pthread_mutex_lock(&producer->lock);
    producer->wake_sent = false;
    bool drop = producer->drop_wanted;
    producer->drop_wanted = false;
    list_move(&dirty, &producer->dirty);
    (void)pthread_mutex_unlock(&producer->lock);
    if (drop) {
        producer_make_room(producer);
    }
    for (;;) {
        struct lane *lane = NULL;
        (void)pthread_mutex_lock(&producer->lock); /* a put may mark a lane that is on our list */
        if (!list_empty(&dirty)) {
            lane = CONTAINER_OF(list_pop(&dirty), struct lane, dirty);
        }
        (void)pthread_mutex_unlock(&producer->lock);
        if (lane == NULL) {
            break;
        }
        lane_pump(lane);
    }
    producer_tell(producer);
}

void producer_abandon(struct weir_producer *producer)
{
    for (uint32_t i = 0; i < producer->lane_count; i++) {
        lane_abandon(producer->lanes[i]);
    }
}

void producer_on_change(struct cluster_watcher *watcher)
{
    struct weir_producer *producer = CONTAINER_OF(watcher, struct weir_producer, watcher);
    const struct metadata *metadata = cluster_metadata(producer->client->cluster);
    bool deleted = metadata->known && metadata_stream_alive(metadata, producer->stream) == NULL;
    if (deleted && !producer->gone) {
        (void)pthread_mutex_lock(&producer->lock);
        producer->gone = true;
        (void)pthread_cond_broadcast(&producer->room);
        (void)pthread_mutex_unlock(&producer->lock);
        producer_abandon(producer);
    } else if (!producer->gone && !producer->ending) {
        for (uint32_t i = 0; i < producer->lane_count; i++) {
            lane_route(producer->lanes[i]);
            lane_pump(producer->lanes[i]);
        }
    }
    producer_tell(producer);
}

/* ---- puts: any thread -------------------------------------------------------------------------
 */

/* Under the lock: splits and merges change the routes. */
static struct lane *lane_of(const struct weir_producer *producer, struct hash_key key)
{
    uint32_t low = 0;
    uint32_t high = producer->route_count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (hash_key_compare(producer->routes[middle].range.last, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return producer->routes[low].lane;
}

NODISCARD static enum status make_record(const struct weir_record *record, struct record *out,
                                         struct hash_key *out_hash)
{
    struct record made = {.key = bytes_of(record->key, record->key_size),
                          .data = bytes_of(record->data, record->data_size)};
    if (record->key_size == 0) {
        return STATUS_INVALID;
    }
    if (record->key_size > PARTITION_KEY_BYTES_MAX ||
        record->data_size > RECORD_BYTES_MAX - record->key_size) {
        return STATUS_TOO_LARGE;
    }
    enum status status;
    if (record->explicit_hash_key != NULL) {
        made.has_hash_key = true;
        status = hash_key_from_decimal(record->explicit_hash_key, &made.hash_key);
        *out_hash = made.hash_key;
    } else {
        status = hash_key_of_partition_key(made.key, out_hash);
    }
    if (status == STATUS_OK) {
        *out = made;
    }
    return status;
}

/* Under the lock: whether `bytes` more fit a buffer of `parts` eighths of its size. */
static bool has_room(const struct weir_producer *producer, uint64_t bytes, uint32_t parts)
{
    const struct weir_producer_stats *stats = &producer->stats;
    return stats->records_pending == 0 ||
           (stats->bytes_pending + bytes <= producer->options.buffer_bytes / 8 * parts &&
            stats->records_pending < (uint64_t)producer->options.buffer_records * parts / 8);
}

/* Under the lock. */
static void wake_loop(struct weir_producer *producer)
{
    if (!producer->wake_sent) {
        producer->wake_sent = true;
        net_mailbox_send(producer->client->mailbox, &producer->wake);
    }
}

/* Under the lock. Waits for room where that is allowed. */
NODISCARD static enum status wait_for_room(struct weir_producer *producer, uint64_t bytes)
{
    enum weir_when_full when_full = producer->options.when_full;
    for (;;) {
        if (producer->closing) {
            return STATUS_CLOSING;
        }
        if (producer->gone) {
            return STATUS_NOT_FOUND;
        }
        if (has_room(producer, bytes, 8)) {
            return STATUS_OK;
        }
        if (when_full == WEIR_WHEN_FULL_DROP_OLDEST) {
            producer->drop_wanted = true;
            wake_loop(producer);
            if (has_room(producer, bytes, 10)) {
                return STATUS_OK;
            }
        }
        if (when_full == WEIR_WHEN_FULL_FAIL || !producer->client->own_thread ||
            handle_is_own_thread(producer->client)) {
            return STATUS_BUSY;
        }
        producer->blocked++;
        (void)pthread_cond_wait(&producer->room, &producer->lock);
        producer->blocked--;
    }
}

/* Under the lock. */
NODISCARD static enum status add(struct weir_producer *producer, struct lane *lane,
                                 const struct record *record, struct batcher_token token,
                                 bool *out_news)
{
    uint64_t now_us = handle_now_us();
    token.put_at = put_clock(now_us);
    producer->has_timeouts |= token.timeout_ms != 0;
    enum status status = producer_gather(lane, record, token, now_us / 1000, NULL, out_news);
    if (status == STATUS_OK) {
        producer->stats.records_pending++;
        producer->stats.records_put++;
        producer->stats.bytes_pending += producer_cost(record);
        producer->stats.bytes_put += record->data.size;
    }
    return status;
}

enum weir_status weir_put(struct weir_producer *producer, const struct weir_record *given,
                          weir_ack_fn *acked)
{
    struct record record;
    struct hash_key hash;
    enum status status = make_record(given, &record, &hash);
    if (status != STATUS_OK) {
        return public_status(status);
    }
    struct batcher_token token = {.acked = (void (*)(void))acked, .context = given->context};
    if (given->timeout_ms < producer->options.delivery_timeout_ms) {
        token.timeout_ms = given->timeout_ms;
    }
    (void)pthread_mutex_lock(&producer->lock);
    status = wait_for_room(producer, producer_cost(&record));
    if (status == STATUS_OK) {
        struct lane *lane = lane_of(producer, hash);
        bool news = false;
        status = add(producer, lane, &record, token, &news);
        if (status == STATUS_OK && news && list_empty(&lane->dirty)) {
            list_push(&producer->dirty, &lane->dirty);
            wake_loop(producer); /* under the lock: a close must not come between */
        }
    }
    (void)pthread_mutex_unlock(&producer->lock);
    return public_status(status);
}

enum weir_status weir_put_many(struct weir_producer *producer, const struct weir_record *records,
                               size_t count, weir_ack_fn *acked, size_t *out_taken)
{
    enum weir_status status = WEIR_OK;
    size_t taken = 0;
    while (taken < count && status == WEIR_OK) {
        status = weir_put(producer, &records[taken], acked);
        taken += status == WEIR_OK;
    }
    *out_taken = taken;
    return status;
}

struct put_waiter {
    struct waiter waiter;
    struct weir_position position;
};

static void put_wait_acked(const struct weir_ack *ack, void *context)
{
    struct put_waiter *put = context;
    struct weir_error error = {.status = ack->status};
    put->position = ack->position;
    (void)snprintf(error.text, sizeof(error.text), "%s", ack->text != NULL ? ack->text : "");
    waiter_wake(&put->waiter, NULL, &error);
}

enum weir_status weir_put_wait(struct weir_producer *producer, const struct weir_record *record,
                               struct weir_position *out, struct weir_error *error)
{
    enum weir_status status = handle_check_blocking(producer->client, error);
    if (status != WEIR_OK) {
        return status;
    }
    struct put_waiter put;
    struct weir_record waited = *record;
    waiter_init(&put.waiter);
    waited.context = &put;
    status = weir_put(producer, &waited, put_wait_acked);
    if (status != WEIR_OK) {
        struct weir_error refused = {.status = status};
        (void)snprintf(refused.text, sizeof(refused.text), "%s", weir_status_text(status));
        waiter_wake(&put.waiter, NULL, &refused);
    }
    status = waiter_wait(&put.waiter, NULL, error);
    if (status == WEIR_OK && out != NULL) {
        *out = put.position;
    }
    return status;
}

/* ---- flush --------------------------------------------------------------------------
 */

static void on_flush(struct net_mail *mail)
{
    struct flush *flush = CONTAINER_OF(mail, struct flush, mail);
    struct weir_producer *producer = flush->producer;
    (void)pthread_mutex_lock(&producer->lock);
    flush->number = producer->next_number;
    list_push(&producer->flushes, &flush->node);
    (void)pthread_mutex_unlock(&producer->lock);
    for (uint32_t i = 0; i < producer->lane_count; i++) {
        lane_pump(producer->lanes[i]);
    }
    producer_tell(producer);
}

enum weir_status weir_producer_flush_async(struct weir_producer *producer, weir_done_fn *done,
                                           void *context)
{
    struct flush *flush = calloc(1, sizeof(*flush));
    if (flush == NULL) {
        return WEIR_NO_MEMORY;
    }
    *flush = (struct flush){
        .mail = {.run = on_flush}, .producer = producer, .done = done, .context = context};
    net_mailbox_send(producer->client->mailbox, &flush->mail);
    return WEIR_OK;
}

enum weir_status weir_producer_flush(struct weir_producer *producer, struct weir_error *error)
{
    enum weir_status status = handle_check_blocking(producer->client, error);
    if (status != WEIR_OK) {
        return status;
    }
    struct waiter waiter;
    waiter_init(&waiter);
    status = weir_producer_flush_async(producer, waiter_done, &waiter);
    if (status != WEIR_OK) {
        waiter_wake(&waiter, NULL, &(struct weir_error){.status = status, .text = "out of memory"});
    }
    return waiter_wait(&waiter, NULL, error);
}
