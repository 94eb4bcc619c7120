#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

static uint64_t end_of(const struct batch *b)
{
    return b->core.base + b->core.count;
}

uint64_t log_end(const struct log *log)
{
    return log->count == 0 ? 0 : end_of(&log->batch[log->count - 1]);
}

static struct log_point point_of(const struct batch *b)
{
    return (struct log_point){.end = end_of(b), .epoch = b->core.epoch, .crc = b->core.crc};
}

struct log_point log_last(const struct log *log)
{
    return log->count == 0 ? (struct log_point){0} : point_of(&log->batch[log->count - 1]);
}

/* The first batch with base >= `base`. */
static uint32_t lower_bound(const struct log *log, uint64_t base)
{
    uint32_t low = 0, high = log->count;
    if (high > 0 && log->batch[high - 1].core.base < base) {
        return high;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (log->batch[middle].core.base < base) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint32_t log_find_base(const struct log *log, uint64_t base)
{
    uint32_t at = lower_bound(log, base);
    return at < log->count && log->batch[at].core.base == base ? at : log->count;
}

const struct batch *log_batch_ending(const struct log *log, uint64_t end)
{
    uint32_t at = lower_bound(log, end);
    if (at == 0 || end_of(&log->batch[at - 1]) != end) {
        return NULL;
    }
    return &log->batch[at - 1];
}

bool log_point_at(const struct log *log, uint64_t end, struct log_point *out)
{
    if (end == 0) {
        *out = (struct log_point){0};
        return true;
    }
    const struct batch *b = log_batch_ending(log, end);
    if (b == NULL) {
        return false;
    }
    *out = point_of(b);
    return true;
}

bool log_holds(const struct log *log, struct log_point point)
{
    if (point.end == 0) {
        return true;
    }
    const struct batch *b = log_batch_ending(log, point.end);
    return b != NULL && b->core.epoch == point.epoch && b->core.crc == point.crc;
}

void log_push(struct log *log, const struct batch *batch)
{
    log->batch = grow(log->batch, &log->capacity, log->count + 1, sizeof *log->batch);
    log->batch[log->count++] = *batch;
}

void log_overwrite(struct log *log, const struct batch *batch)
{
    uint32_t at = lower_bound(log, batch->core.base);
    if (at == log->count) {
        log_push(log, batch);
        return;
    }
    uint32_t next = lower_bound(log, end_of(batch));
    if (next < log->count && log->batch[next].core.base != end_of(batch)) {
        next = log->count; /* a gap: recovery would stop there */
    }
    log->batch[at] = *batch;
    uint32_t left = log->count - next;
    memmove(&log->batch[at + 1], &log->batch[next], left * sizeof *log->batch);
    log->count = at + 1 + left;
}

void log_truncate(struct log *log, uint64_t end)
{
    while (log->count > 0 && end_of(&log->batch[log->count - 1]) > end) {
        log->count--;
    }
}

void log_copy(struct log *to, const struct log *from)
{
    to->batch = grow(to->batch, &to->capacity, from->count, sizeof *to->batch);
    if (from->count > 0) {
        memcpy(to->batch, from->batch, from->count * sizeof *to->batch);
    }
    to->count = from->count;
}

void log_release(struct log *log)
{
    free(log->batch);
    *log = (struct log){0};
}
