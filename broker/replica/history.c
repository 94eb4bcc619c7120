#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "broker/replica/core.h"

enum { HISTORY_FIRST = 4 };

enum status history_reserve(struct epoch_history *h, uint32_t more)
{
    if (more <= h->capacity - h->count) {
        return STATUS_OK;
    }
    if (more > UINT32_MAX / 4 - h->count) {
        return STATUS_NO_MEMORY;
    }
    uint32_t capacity = h->capacity == 0 ? HISTORY_FIRST : h->capacity;
    while (capacity - h->count < more) {
        capacity *= 2;
    }
    struct epoch_pair *grown = realloc(h->pair, capacity * sizeof(*grown));
    if (grown == NULL) {
        return STATUS_NO_MEMORY;
    }
    h->pair = grown;
    h->capacity = capacity;
    return STATUS_OK;
}

void history_add(struct epoch_history *h, uint32_t epoch, uint64_t start)
{
    if (h->count > 0) {
        const struct epoch_pair *newest = &h->pair[h->count - 1];
        CHECK(epoch >= newest->epoch); /* I5 */
        if (epoch == newest->epoch) {
            return;
        }
        CHECK(start > newest->start);
    }
    CHECK(h->count < h->capacity);
    h->pair[h->count++] = (struct epoch_pair){.epoch = epoch, .start = start};
}

void history_cut(struct epoch_history *h, uint64_t end)
{
    while (h->count > 0 && h->pair[h->count - 1].start >= end) {
        h->count--;
    }
}

/* The pair of the batch just below `log_start` stays: an append may have to name it. */
void history_trim(struct epoch_history *h, uint64_t log_start)
{
    uint32_t gone = 0;
    while (gone + 1 < h->count && h->pair[gone + 1].start < log_start) {
        gone++;
    }
    if (gone > 0) {
        h->count -= gone;
        memmove(h->pair, h->pair + gone, h->count * sizeof(*h->pair));
    }
}

uint32_t history_epoch_below(const struct epoch_history *h, uint64_t end)
{
    for (uint32_t i = h->count; i > 0; i--) {
        if (h->pair[i - 1].start < end) {
            return h->pair[i - 1].epoch;
        }
    }
    return 0;
}

/* Where that epoch really began is trimmed; nobody asks for less than the log's start. */
void history_restart(struct epoch_history *h, uint32_t epoch, uint64_t end)
{
    h->count = 0;
    history_add(h, epoch, end - 1);
}

void history_release(struct epoch_history *h)
{
    free(h->pair);
    *h = (struct epoch_history){0};
}
