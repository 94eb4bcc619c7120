#include "client/producer/batcher.h"

#include <stdlib.h>

enum { TOKENS_MIN = 8 };

void batcher_batch_init(struct batcher_batch *batch)
{
    *batch = (struct batcher_batch){0};
    list_init(&batch->node);
}

void batcher_batch_release(struct batcher_batch *batch)
{
    batch_builder_release(&batch->builder);
    free(batch->tokens);
    batch->tokens = NULL;
    batch->token_capacity = 0;
}

void batcher_init(struct batcher *batcher, const struct batcher_limits *limits)
{
    *batcher = (struct batcher){.limits = *limits};
    list_init(&batcher->full);
}

NODISCARD static enum status token_room(struct batcher_batch *batch)
{
    if (batch->builder.count < batch->token_capacity) {
        return STATUS_OK;
    }
    uint32_t capacity = batch->token_capacity == 0 ? TOKENS_MIN : batch->token_capacity * 2;
    struct batcher_token *tokens = realloc(batch->tokens, capacity * sizeof(*tokens));
    if (tokens == NULL) {
        return STATUS_NO_MEMORY;
    }
    batch->tokens = tokens;
    batch->token_capacity = capacity;
    return STATUS_OK;
}

enum status batcher_batch_add(struct batcher_batch *batch, const struct record *record,
                              struct batcher_token token)
{
    enum status status = token_room(batch);
    if (status == STATUS_OK) {
        status = batch_builder_add(&batch->builder, record);
    }
    if (status == STATUS_OK) {
        batch->tokens[batch->builder.count - 1] = token;
    }
    return status;
}

void batcher_batch_swap(struct batcher_batch *a, struct batcher_batch *b)
{
    struct batcher_batch was = *a;
    a->builder = b->builder;
    a->tokens = b->tokens;
    a->token_capacity = b->token_capacity;
    b->builder = was.builder;
    b->tokens = was.tokens;
    b->token_capacity = was.token_capacity;
}

static size_t record_bytes(const struct record *record)
{
    size_t hash_key = record->has_hash_key ? HASH_KEY_BYTES : 0;
    return RECORD_HEADER_BYTES + hash_key + record->key.size + record->data.size;
}

static bool is_full(const struct batcher *batcher, const struct batcher_batch *batch)
{
    return batch_builder_size(&batch->builder) >= batcher->limits.batch_bytes ||
           batch->builder.count >= batcher->limits.batch_records;
}

bool batcher_needs_batch(const struct batcher *batcher, const struct record *record,
                         uint64_t now_ms)
{
    const struct batcher_batch *open = batcher->open;
    if (open == NULL || is_full(batcher, open) || now_ms - open->first_ms >= BATCHER_SPAN_MS) {
        return true;
    }
    size_t bytes = batch_builder_size(&open->builder) + record_bytes(record);
    return bytes > (size_t)BATCH_HEADER_BYTES + BATCH_PAYLOAD_MAX;
}

enum status batcher_add(struct batcher *batcher, const struct record *record,
                        struct batcher_token token, uint64_t now_ms, struct batcher_batch *fresh,
                        bool *out_news)
{
    struct batcher_batch *batch = fresh != NULL ? fresh : batcher->open;
    CHECK(batch != NULL);
    enum status status = batcher_batch_add(batch, record, token);
    if (status != STATUS_OK) {
        return status;
    }
    bool news = false;
    if (fresh != NULL) {
        if (batcher->open != NULL) {
            list_push(&batcher->full, &batcher->open->node);
        }
        fresh->first_ms = now_ms;
        batcher->open = fresh;
        news = true;
    }
    *out_news = news || is_full(batcher, batch);
    return STATUS_OK;
}

struct batcher_batch *batcher_take(struct batcher *batcher, uint64_t now_ms, bool idle, bool room,
                                   bool flush)
{
    if (!list_empty(&batcher->full)) {
        return CONTAINER_OF(list_pop(&batcher->full), struct batcher_batch, node);
    }
    struct batcher_batch *open = batcher->open;
    if (open == NULL) {
        return NULL;
    }
    uint32_t patience_ms = idle ? batcher->limits.gather_ms : batcher->limits.linger_ms;
    bool due = flush || now_ms - open->first_ms >= patience_ms;
    if (is_full(batcher, open) || (room && due)) {
        batcher->open = NULL;
        return open;
    }
    return NULL;
}

uint64_t batcher_deadline(const struct batcher *batcher, bool idle)
{
    uint32_t patience_ms = idle ? batcher->limits.gather_ms : batcher->limits.linger_ms;
    return batcher->open == NULL ? UINT64_MAX : batcher->open->first_ms + patience_ms;
}
