/* One shard of a producer: from its batcher through its delivery to the leader. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/producer/producer.h"

void lane_init(struct lane *lane, struct weir_producer *producer, uint32_t shard,
               const struct metadata_shard *row)
{
    *lane = (struct lane){
        .producer = producer, .shard = shard, .range = row->range, .created_s = row->created_s};
    struct batcher_limits limits = {.batch_bytes = producer->options.batch_bytes,
                                    .batch_records = producer->options.batch_records,
                                    .linger_ms = producer->options.linger_ms,
                                    .gather_ms = producer->options.gather_ms};
    batcher_init(&lane->batcher, &limits);
    list_init(&lane->dirty);
    delivery_init(&lane->delivery, producer->options.in_flight,
                  cluster_rng(producer->client->cluster));
}

bool lane_is_quiet(const struct lane *lane)
{
    return delivery_idle(&lane->delivery) && lane->delivery.on_its_way == 0;
}

/* ---- where to ---------------------------------------------------------------------------------
 */

void lane_route(struct lane *lane)
{
    struct cluster *cluster = lane->producer->client->cluster;
    const struct metadata_stream *stream =
        metadata_stream(cluster_metadata(cluster), lane->producer->stream);
    if (stream != NULL && lane->shard < stream->shard_count) {
        const struct metadata_shard *row = &stream->shards[lane->shard];
        if (metadata_shard_is_closed(row)) {
            delivery_seal(&lane->delivery);
        }
        if (row->leader != 0) { /* during an election the last one is as good as any */
            lane->leader = row->leader;
            lane->epoch = row->epoch;
        }
        if (lane->hint != 0 && lane->hint_epoch == row->epoch) {
            lane->leader = lane->hint;
        } else {
            lane->hint = 0;
        }
    }
    struct session *session = cluster_broker(cluster, lane->leader, &lane->serial);
    uint64_t route = session != NULL ? (uint64_t)lane->serial << 32 | lane->epoch : 0;
    delivery_route(&lane->delivery, route);
}

static void take_hint(struct lane *lane, const char *hint)
{
    struct cluster *cluster = lane->producer->client->cluster;
    const struct metadata_stream *stream =
        metadata_stream(cluster_metadata(cluster), lane->producer->stream);
    uint32_t broker = hint != NULL ? cluster_node_id(hint, "broker") : 0;
    if (broker != 0 && stream != NULL && lane->shard < stream->shard_count) {
        lane->hint = broker;
        lane->hint_epoch = stream->shards[lane->shard].epoch;
        lane_route(lane);
    }
}

/* ---- what has become of batches ---------------------------------------------------------------
 */

void batch_done(struct producer_batch *batch, enum status status, const char *text)
{
    batch->status = status;
    batch->text = text;
    list_push(&batch->lane->producer->done, &batch->done);
}

void batch_encode(struct producer_batch *batch)
{
    struct weir_producer *producer = batch->lane->producer;
    encoded_release(&batch->encoded);
    encode_batch(&producer->encoder, &producer->encoding, &batch->gathered.builder,
                 &batch->encoded);
    batch->delivery.count = batch->encoded.count;
}

static void batch_failed(struct producer_batch *batch, enum status status)
{
    struct weir_producer *producer = batch->lane->producer;
    if (producer->gone && status == STATUS_TIMEOUT) {
        batch_done(batch, STATUS_NOT_FOUND, "the stream was deleted");
    } else if (producer->ending && status == STATUS_TIMEOUT) {
        batch_done(batch, STATUS_CANCELLED, "the producer was closed before it could be sent");
    } else if (status == STATUS_TIMEOUT) {
        const char *refusal = batch->lane->refusal;
        (void)snprintf(batch->detail, sizeof(batch->detail),
                       "the delivery timeout passed and the record is not stored: %s",
                       refusal[0] != '\0' ? refusal : "the shard had no leader in that time");
        batch_done(batch, status, batch->detail);
    } else if (status == STATUS_UNCERTAIN) {
        batch_done(batch, status,
                   "the record was sent, but nobody said in time whether it is stored");
    } else {
        batch_done(batch, status, status_text(status));
    }
}

static bool take_reply(struct producer_batch *batch, struct bytes body, uint32_t *out_pace_ms)
{
    Weir__PutReply *reply = weir__put_reply__unpack(NULL, body.size, body.data);
    if (reply == NULL) {
        return false;
    }
    batch->base_offset = reply->base_offset;
    batch->append_ms = reply->append_ms;
    batch->generation = reply->generation;
    batch->duplicate = reply->duplicate;
    *out_pace_ms = reply->pace_ms;
    weir__put_reply__free_unpacked(reply, NULL);
    return true;
}

/* ---- pacing ---- */

/* "wait-20"; 0: no such hint. */
static uint32_t wait_of_hint(const char *hint)
{
    static const char prefix[] = "wait-";
    uint32_t ms = 0;
    if (hint == NULL || strncmp(hint, prefix, sizeof(prefix) - 1) != 0) {
        return 0;
    }
    for (hint += sizeof(prefix) - 1; *hint >= '0' && *hint <= '9' && ms < PACE_MS_MAX; hint++) {
        ms = ms * 10 + (uint32_t)(*hint - '0');
    }
    return ms;
}

/* The shard's leader asks for less. */
static void pace(struct lane *lane, enum status status, uint32_t ms, uint64_t now_ms)
{
    struct weir_producer *producer = lane->producer;
    ms = ms < PACE_MS_MAX ? ms : PACE_MS_MAX;
    bool refused =
        status == STATUS_BUSY || status == STATUS_THROTTLED || status == STATUS_DISK_FULL;
    if (ms == 0 && !refused) {
        return;
    }
    delivery_pace(&lane->delivery, ms > 0 ? now_ms + ms : 0);
    (void)pthread_mutex_lock(&producer->lock);
    producer->stats.throttled++;
    producer->stats.paced_ms += ms;
    (void)pthread_mutex_unlock(&producer->lock);
}

static void note_attempt(struct producer_batch *batch, enum status status, uint64_t now_ms)
{
    uint32_t kept = batch->attempts < WEIR_ATTEMPTS_KEPT ? batch->attempts : WEIR_ATTEMPTS_KEPT;
    if (kept == WEIR_ATTEMPTS_KEPT) {
        kept--;
        memmove(batch->history, batch->history + 1, kept * sizeof(*batch->history));
    }
    uint64_t sent_ms = batch->delivery.sent_ms;
    batch->history[kept] = (struct weir_attempt){.status = public_status(status),
                                                 .broker = batch->lane->leader,
                                                 .duration_ms = (uint32_t)(now_ms - sent_ms),
                                                 .started_ms = sent_ms};
    batch->attempts++;
}

static void put_done(struct session_request *request, const struct session_reply *reply)
{
    struct producer_batch *batch = CONTAINER_OF(request, struct producer_batch, request);
    struct lane *lane = batch->lane;
    struct weir_producer *producer = lane->producer;
    enum status status = reply->status;
    uint64_t now_ms = handle_now_ms();
    uint32_t pace_ms = status == STATUS_OK ? 0 : wait_of_hint(reply->hint);
    if (status == STATUS_OK && !take_reply(batch, reply->body, &pace_ms)) {
        status = STATUS_UNCERTAIN; /* acknowledged in words that we do not understand */
    }
    note_attempt(batch, status, now_ms);
    pace(lane, status, pace_ms, now_ms);
    switch (delivery_reply(&lane->delivery, &batch->delivery, status, now_ms)) {
    case DELIVERY_ACKED:
        lane->refusal[0] = '\0';
        batch_done(batch, STATUS_OK, NULL);
        break;
    case DELIVERY_FAILED:
        (void)snprintf(batch->detail, sizeof(batch->detail), "%.150s", reply->error.text);
        batch_done(batch, batch->delivery.maybe ? STATUS_UNCERTAIN : status, batch->detail);
        break;
    case DELIVERY_KEPT:
        (void)snprintf(lane->refusal, sizeof(lane->refusal), "%.143s", reply->error.text);
        if (status == STATUS_NOT_LEADER) {
            take_hint(lane, reply->hint);
        }
        break;
    }
    lane_pump(lane);
    producer_tell(producer);
}

/* ---- doing it ---------------------------------------------------------------------------------
 */

static void send_batch(struct lane *lane, struct producer_batch *batch)
{
    struct weir_producer *producer = lane->producer;
    Weir__Put put = WEIR__PUT__INIT;
    put.shard = (uint64_t)producer->stream << 32 | lane->shard;
    struct bytes piece = encoded_finish(&batch->encoded, &batch->gathered.builder, producer->id,
                                        batch->delivery.epoch, batch->delivery.sequence);
    struct session_payload payload = {.body = &put.base, .pieces = &piece, .piece_count = 1};
    uint32_t serial = 0;
    struct session *session = cluster_broker(producer->client->cluster, lane->leader, &serial);
    enum status status = STATUS_BUSY;
    if (session != NULL && serial == lane->serial) {
        status = session_call(session, RPC_PUT, payload, ATTEMPT_MS, &batch->request, put_done);
    }
    if (status == STATUS_OK) {
        (void)pthread_mutex_lock(&producer->lock);
        producer->stats.batches_sent++;
        producer->stats.batches_resent += batch->delivery.attempts > 1;
        producer->stats.records_sent += batch->encoded.count;
        producer->stats.bytes_sent += piece.size;
        (void)pthread_mutex_unlock(&producer->lock);
        return;
    }
    note_attempt(batch, status, handle_now_ms());
    if (status == STATUS_UNAVAILABLE || status == STATUS_NO_MEMORY) {
        status = STATUS_BUSY; /* not a byte has left */
    }
    if (delivery_reply(&lane->delivery, &batch->delivery, status, handle_now_ms()) ==
        DELIVERY_FAILED) {
        batch_done(batch, batch->delivery.maybe ? STATUS_UNCERTAIN : status, status_text(status));
    }
}

static void run_effects(struct lane *lane, uint64_t now)
{
    struct delivery_effect effect;
    while (delivery_next(&lane->delivery, now, &effect)) {
        struct producer_batch *batch = CONTAINER_OF(effect.batch, struct producer_batch, delivery);
        switch (effect.type) {
        case DELIVERY_DO_SEND:
            send_batch(lane, batch);
            break;
        case DELIVERY_DO_CANCEL:
            session_cancel(&batch->request);
            break;
        case DELIVERY_DO_FAIL:
            batch_failed(batch, effect.status);
            break;
        }
    }
}

/* Moves what should go from the batcher to the delivery. Returns when the batcher will have more
 * because of time alone. */
static uint64_t take_batches(struct lane *lane, uint64_t now, bool all)
{
    struct weir_producer *producer = lane->producer;
    bool idle = delivery_idle(&lane->delivery);
    bool room = all || idle || delivery_has_room(&lane->delivery);
    uint64_t more_at = UINT64_MAX;
    struct list batches;
    list_init(&batches);
    (void)pthread_mutex_lock(&producer->lock);
    bool flush = all || !list_empty(&producer->flushes);
    struct batcher_batch *taken;
    while ((taken = batcher_take(&lane->batcher, now, idle, room || flush, flush)) != NULL) {
        list_push(&batches, &taken->node);
        idle = false;
    }
    if (room) {
        more_at = batcher_deadline(&lane->batcher, idle);
    }
    (void)pthread_mutex_unlock(&producer->lock);
    while (!list_empty(&batches)) { /* encoded while others put */
        struct batcher_batch *next = CONTAINER_OF(list_pop(&batches), struct batcher_batch, node);
        struct producer_batch *batch = CONTAINER_OF(next, struct producer_batch, gathered);
        batch_encode(batch);
        batch->delivery.deadline_ms = next->first_ms + producer->options.delivery_timeout_ms;
        delivery_add(&lane->delivery, &batch->delivery);
    }
    return more_at;
}

static void on_timer(struct net_timer *timer)
{
    struct lane *lane = CONTAINER_OF(timer, struct lane, timer);
    struct weir_producer *producer = lane->producer;
    lane_pump(lane);
    producer_tell(producer);
}

/* Batches wait and nothing happens: perhaps somebody else leads, and we were not told. Returns when
 * to look again. */
static uint64_t watch_for_stall(struct lane *lane, uint64_t now)
{
    if (list_empty(&lane->delivery.queue)) {
        return UINT64_MAX;
    }
    const struct delivery_batch *head =
        CONTAINER_OF(lane->delivery.queue.next, struct delivery_batch, node);
    uint64_t since = head->state == DELIVERY_ON_ITS_WAY ? head->sent_ms : 0;
    if (now - since >= STALL_MS) {
        cluster_doubt(lane->producer->client->cluster, lane->producer->stream);
        return now + STALL_MS;
    }
    return since + STALL_MS;
}

void lane_pump(struct lane *lane)
{
    uint64_t now = handle_now_ms();
    if (lane->moved) {
        return;
    }
    uint64_t early_at = lane_expire(lane, now);
    /* What a closed shard has not got waits for its children. */
    uint64_t more_at = lane->delivery.sealed ? UINT64_MAX : take_batches(lane, now, false);
    run_effects(lane, now);
    if (delivery_is_over(&lane->delivery) && !lane->producer->ending && !lane->producer->gone) {
        more_at = producer_move(lane, now);
        if (lane->moved) {
            net_timer_stop(lane->producer->client->loop, &lane->timer);
            return;
        }
    }
    uint64_t stall_at = watch_for_stall(lane, now);
    uint64_t next = delivery_deadline(&lane->delivery);
    next = more_at < next ? more_at : next;
    next = stall_at < next ? stall_at : next;
    next = early_at < next ? early_at : next;
    handle_timer(lane->producer->client, &lane->timer, next, on_timer);
}

void lane_soon(struct lane *lane)
{
    if (!lane->moved) {
        lane_route(lane);
        handle_timer(lane->producer->client, &lane->timer, handle_now_ms(), on_timer);
    }
}

void lane_abandon(struct lane *lane)
{
    (void)take_batches(lane, handle_now_ms(), true);
    delivery_abandon(&lane->delivery);
    lane_pump(lane);
}
