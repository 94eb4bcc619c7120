/* Records that are given up before they were ever sent: their own time is over, or newer ones need
 * their room. */
#include <stdlib.h>

#include "client/producer/producer.h"

enum { RETRY_MS = 20 };

static struct producer_batch *of_delivery(struct delivery_batch *batch)
{
    return CONTAINER_OF(batch, struct producer_batch, delivery);
}

static struct producer_batch *of_node(struct list *node)
{
    return CONTAINER_OF(CONTAINER_OF(node, struct batcher_batch, node), struct producer_batch,
                        gathered);
}

/* ---- no room ---- */

/* Under the lock. The oldest batch of the lane that was never sent; NULL: none. */
static struct producer_batch *oldest_of(struct lane *lane)
{
    struct delivery_batch *unsent = delivery_unsent(&lane->delivery, NULL);
    if (unsent != NULL) {
        return of_delivery(unsent);
    }
    struct batcher *batcher = &lane->batcher;
    if (!list_empty(&batcher->full)) {
        return of_node(batcher->full.next);
    }
    return batcher->open == NULL ? NULL
                                 : CONTAINER_OF(batcher->open, struct producer_batch, gathered);
}

/* Under the lock: off whatever list it is on. */
static void take_out(struct producer_batch *batch)
{
    struct lane *lane = batch->lane;
    if (lane->batcher.open == &batch->gathered) {
        lane->batcher.open = NULL;
    } else if (!list_empty(&batch->gathered.node)) {
        list_remove(&batch->gathered.node);
    } else {
        delivery_drop(&lane->delivery, &batch->delivery);
    }
}

void producer_make_room(struct weir_producer *producer)
{
    (void)pthread_mutex_lock(&producer->lock);
    uint64_t bytes = producer->stats.bytes_pending, records = producer->stats.records_pending;
    while (bytes > producer->options.buffer_bytes || records >= producer->options.buffer_records) {
        struct producer_batch *oldest = NULL;
        for (uint32_t i = 0; i < producer->lane_count; i++) {
            struct lane *lane = producer->lanes[i];
            struct producer_batch *batch = lane->moved ? NULL : oldest_of(lane);
            if (batch != NULL && (oldest == NULL || batch->number < oldest->number)) {
                oldest = batch;
            }
        }
        if (oldest == NULL) {
            break; /* all was sent: its outcome makes room */
        }
        uint32_t count = oldest->gathered.builder.count - oldest->moved;
        bytes -= oldest->bytes;
        records -= count;
        producer->stats.records_dropped += count;
        take_out(oldest);
        batch_done(oldest, STATUS_CANCELLED, "dropped, because newer records needed its room");
    }
    (void)pthread_mutex_unlock(&producer->lock);
}

/* ---- no time ---- */

static bool is_late(const struct batcher_token *token, uint32_t now)
{
    return token->timeout_ms != 0 && (now - token->put_at) / 10 >= token->timeout_ms;
}

/* Under the lock. Moves the batch's late records to `late` and the others to `kept`. */
NODISCARD static enum status sort_out(const struct producer_batch *batch,
                                      struct producer_batch *kept, struct producer_batch *late)
{
    uint32_t now = put_clock(handle_now_us());
    const struct batch_builder *builder = &batch->gathered.builder;
    struct bytes rest =
        bytes_of(builder->buf.data + BATCH_HEADER_BYTES, builder->buf.size - BATCH_HEADER_BYTES);
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && i < builder->count; i++) {
        const struct batcher_token *token = &batch->gathered.tokens[i];
        struct producer_batch *to = is_late(token, now) ? late : kept;
        struct record record;
        CHECK(record_next(&rest, &record) == STATUS_OK); /* we have built it */
        status = batcher_batch_add(&to->gathered, &record, *token);
        to->bytes += producer_cost(&record);
        if (to == kept && token->timeout_ms != 0) {
            uint64_t until_ms = producer_until(token);
            kept->early_ms = until_ms < kept->early_ms ? until_ms : kept->early_ms;
        }
    }
    return status;
}

static void become(struct producer_batch *batch, struct producer_batch *kept)
{
    batcher_batch_swap(&batch->gathered, &kept->gathered);
    batch->bytes = kept->bytes;
    batch->early_ms = kept->early_ms;
}

/* Under the lock. NO_MEMORY: nothing changed. */
NODISCARD static enum status expire_batch(struct producer_batch *batch)
{
    static const char text[] = "the record's time passed before it could be sent";
    struct producer_batch *late = producer_batch_new(batch->lane);
    struct producer_batch *kept = producer_batch_new(batch->lane);
    enum status status = late == NULL || kept == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    if (status == STATUS_OK) {
        status = sort_out(batch, kept, late);
    }
    if (status == STATUS_OK && kept->gathered.builder.count == 0) {
        take_out(batch);
        batch_done(batch, STATUS_TIMEOUT, text);
    } else if (status == STATUS_OK) {
        become(batch, kept);
        if (late->gathered.builder.count > 0) {
            late->number = batch->number;
            list_push(&batch->outstanding, &late->outstanding);
            batch_done(late, STATUS_TIMEOUT, text);
            late = NULL;
        }
        if (batch->encoded.count > 0) {
            batch_encode(batch);
        }
    }
    if (late != NULL) {
        producer_batch_free(late);
    }
    if (kept != NULL) {
        producer_batch_free(kept);
    }
    return status;
}

/* Under the lock. Looks at one batch; NULL is fine. Returns when to look again. */
static uint64_t look(struct producer_batch *batch, uint64_t now_ms)
{
    if (batch == NULL || batch->moved > 0) {
        return UINT64_MAX;
    }
    if (batch->early_ms > now_ms) {
        return batch->early_ms;
    }
    uint64_t later_ms = UINT64_MAX;
    if (expire_batch(batch) != STATUS_OK) {
        later_ms = now_ms + RETRY_MS;
    }
    return later_ms;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t lane_expire(struct lane *lane, uint64_t now_ms)
{
    struct weir_producer *producer = lane->producer;
    uint64_t next_ms = UINT64_MAX;
    (void)pthread_mutex_lock(&producer->lock);
    if (producer->has_timeouts && !lane->moved) {
        struct delivery_batch *unsent = delivery_unsent(&lane->delivery, NULL);
        while (unsent != NULL) {
            struct delivery_batch *behind = delivery_unsent(&lane->delivery, unsent);
            next_ms = earlier(next_ms, look(of_delivery(unsent), now_ms));
            unsent = behind;
        }
        LIST_FOR_EACH_SAFE (node, &lane->batcher.full) {
            next_ms = earlier(next_ms, look(of_node(node), now_ms));
        }
        struct batcher_batch *open = lane->batcher.open;
        if (open != NULL) {
            next_ms =
                earlier(next_ms, look(CONTAINER_OF(open, struct producer_batch, gathered), now_ms));
        }
    }
    (void)pthread_mutex_unlock(&producer->lock);
    return next_ms;
}
