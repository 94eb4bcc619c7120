#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "controller/watch/internal.h"

static struct change *change_at(const struct history *history, size_t index)
{
    return &history->change[(history->first + index) % history->capacity];
}

/* Makes room by forgetting the oldest version, whole: half of one would be a lie. */
static void forget_oldest(struct history *history)
{
    uint64_t version = change_at(history, 0)->version;
    while (history->count > 0 && change_at(history, 0)->version == version) {
        history->first = (history->first + 1) % history->capacity;
        history->count--;
    }
    history->floor = version;
}

static enum status grow(struct history *history)
{
    size_t capacity = history->capacity == 0 ? 1024 : 2 * history->capacity;
    struct change *grown = malloc(capacity * sizeof(*grown));
    if (grown == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; i < history->count; i++) {
        grown[i] = *change_at(history, i);
    }
    free(history->change);
    history->change = grown;
    history->capacity = capacity;
    history->first = 0;
    return STATUS_OK;
}

enum status history_add(struct history *history, struct change change)
{
    if (change.version <= history->floor) {
        return STATUS_OK; /* its version has been forgotten while it was being added */
    }
    if (history->count == history->capacity && history->capacity < WATCH_HISTORY_MAX) {
        enum status status = grow(history);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (history->count == history->capacity) {
        forget_oldest(history);
        if (change.version <= history->floor) {
            return STATUS_OK;
        }
    }
    history->count++;
    *change_at(history, history->count - 1) = change;
    return STATUS_OK;
}

void history_reset(struct history *history, uint64_t version)
{
    history->first = history->count = 0;
    history->floor = version;
}

static int compare_ids(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

enum status history_ids(const struct history *history, uint64_t from, enum change_kind kind,
                        uint64_t **out_ids, size_t *out_count)
{
    CHECK(from >= history->floor);
    size_t begin = history->count;
    while (begin > 0 && change_at(history, begin - 1)->version > from) {
        begin--;
    }
    uint64_t *ids = calloc(history->count - begin + 1, sizeof(*ids));
    if (ids == NULL) {
        return STATUS_NO_MEMORY;
    }
    size_t count = 0;
    for (size_t i = begin; i < history->count; i++) {
        const struct change *change = change_at(history, i);
        if (change->kind == kind) {
            ids[count++] = change->id;
        }
    }
    qsort(ids, count, sizeof(*ids), compare_ids);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || ids[kept - 1] != ids[i]) {
            ids[kept++] = ids[i];
        }
    }
    *out_ids = ids;
    *out_count = kept;
    return STATUS_OK;
}
