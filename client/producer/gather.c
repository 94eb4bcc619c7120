/* From a put to a batch. */
#include <stdlib.h>
#include <string.h>

#include "client/producer/producer.h"

struct producer_batch *producer_batch_new(struct lane *lane)
{
    struct producer_batch *batch = calloc(1, sizeof(*batch));
    if (batch != NULL) {
        batcher_batch_init(&batch->gathered);
        batch->lane = lane;
        batch->early_ms = UINT64_MAX;
        list_init(&batch->outstanding);
        list_init(&batch->done);
    }
    return batch;
}

void producer_batch_free(struct producer_batch *batch)
{
    encoded_release(&batch->encoded);
    batcher_batch_release(&batch->gathered);
    free(batch);
}

uint64_t producer_until(const struct batcher_token *token)
{
    uint64_t now_us = handle_now_us();
    uint64_t age_ms = (put_clock(now_us) - token->put_at) / 10;
    uint64_t left_ms = age_ms < token->timeout_ms ? token->timeout_ms - age_ms : 0;
    return now_us / 1000 + left_ms;
}

uint64_t producer_cost(const struct record *record)
{
    return record->key.size + record->data.size + RECORD_HEADER_BYTES +
           sizeof(struct batcher_token);
}

enum status producer_gather(struct lane *lane, const struct record *record,
                            struct batcher_token token, uint64_t now, struct producer_batch *before,
                            bool *out_news)
{
    struct weir_producer *producer = lane->producer;
    struct producer_batch *fresh = NULL;
    if (batcher_needs_batch(&lane->batcher, record, now)) {
        fresh = producer_batch_new(lane);
        if (fresh == NULL) {
            return STATUS_NO_MEMORY;
        }
    }
    enum status status = batcher_add(&lane->batcher, record, token, now,
                                     fresh != NULL ? &fresh->gathered : NULL, out_news);
    if (status != STATUS_OK) {
        if (fresh != NULL) {
            producer_batch_free(fresh);
        }
        return status;
    }
    if (fresh != NULL && before != NULL) {
        fresh->number = before->number; /* a flush that waits for that one waits for this */
        list_push(&before->outstanding, &fresh->outstanding);
        memcpy(fresh->history, before->history, sizeof(fresh->history));
        fresh->attempts = before->attempts;
    } else if (fresh != NULL) {
        fresh->number = ++producer->next_number;
        list_push(&producer->outstanding, &fresh->outstanding);
    }
    /* The record is in the open batch now, which is `fresh` if there was need for one. */
    struct producer_batch *batch =
        CONTAINER_OF(lane->batcher.open, struct producer_batch, gathered);
    batch->bytes += producer_cost(record);
    uint64_t until_ms = token.timeout_ms == 0 ? UINT64_MAX : producer_until(&token);
    batch->early_ms = until_ms < batch->early_ms ? until_ms : batch->early_ms;
    return STATUS_OK;
}
