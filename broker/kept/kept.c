#include "broker/kept/kept.h"

#include <stdlib.h>
#include <string.h>

void kept_init(struct kept *kept)
{
    *kept = (struct kept){0};
    list_init(&kept->batches);
}

void kept_let_go(struct kept_batch *batch)
{
    if (batch != NULL && --batch->holders == 0) {
        buf_release(&batch->buf);
        free(batch);
    }
}

void kept_forget(struct kept_batch *batch)
{
    struct kept *kept = batch->kept;
    if (kept != NULL) {
        kept->count--;
        kept->bytes -= batch->buf.size;
        list_remove(&batch->node);
        batch->kept = NULL;
        kept_let_go(batch);
    }
}

static struct kept_batch *oldest(const struct kept *kept)
{
    return CONTAINER_OF(kept->batches.next, struct kept_batch, node);
}

void kept_release(struct kept *kept)
{
    while (kept->count > 0) {
        kept_forget(oldest(kept));
    }
}

struct kept_batch *kept_add(struct kept *kept, struct buf *batch)
{
    if (batch->size < BATCH_HEADER_BYTES + (size_t)KEPT_PAYLOAD_MIN ||
        batch->size > KEPT_BYTES_MAX) {
        return NULL;
    }
    struct kept_batch *b = calloc(1, sizeof(*b));
    if (b == NULL) {
        return NULL;
    }
    while (kept->count == KEPT_BATCHES_MAX || kept->bytes + batch->size > KEPT_BYTES_MAX) {
        kept_forget(oldest(kept));
    }
    *b = (struct kept_batch){.buf = *batch, .holders = 2, .kept = kept};
    *batch = (struct buf){0};
    list_init(&b->node);
    list_push(&kept->batches, &b->node);
    kept->count++;
    kept->bytes += b->buf.size;
    return b;
}

struct kept_batch *kept_find(const struct kept *kept, const struct batch_header *h)
{
    LIST_FOR_EACH (node, &kept->batches) {
        struct kept_batch *b = CONTAINER_OF(node, struct kept_batch, node);
        struct batch_header own;
        if (b->buf.size == batch_bytes(h) &&
            batch_header_decode(buf_bytes(&b->buf), &own) == STATUS_OK &&
            memcmp(own.dedup_token, h->dedup_token, sizeof(own.dedup_token)) == 0 &&
            own.payload_crc == h->payload_crc) {
            return b;
        }
    }
    return NULL;
}
