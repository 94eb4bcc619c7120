#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "broker/replica/core.h"

enum { PENDING_FIRST = 8, PENDING_KEPT = 64 };

enum status durable_reserve(struct replica *r)
{
    struct pending_writes *w = &r->writes;
    if (w->tail < w->capacity) {
        return STATUS_OK;
    }
    if (w->head > w->capacity / 2) {
        memmove(w->pending, w->pending + w->head, (w->tail - w->head) * sizeof(*w->pending));
        w->tail -= w->head;
        w->head = 0;
        return STATUS_OK;
    }
    uint32_t capacity = w->capacity == 0 ? PENDING_FIRST : w->capacity * 2;
    struct pending_write *grown = realloc(w->pending, capacity * sizeof(*grown));
    if (grown == NULL) {
        return STATUS_NO_MEMORY;
    }
    w->pending = grown;
    w->capacity = capacity;
    return STATUS_OK;
}

uint64_t durable_take_seq(struct replica *r)
{
    return r->next_seq++;
}

void durable_write(struct replica *r, uint64_t seq, uint64_t end)
{
    struct pending_writes *w = &r->writes;
    CHECK(w->tail < w->capacity);
    CHECK(end > r->durable_end);
    CHECK(w->head == w->tail || end > w->pending[w->tail - 1].end);
    w->pending[w->tail++] = (struct pending_write){.seq = seq, .end = end};
}

/* What was written above `end` no longer makes anything durable there, whenever it is synced: the
 * truncation follows it in the journal. What it wrote below `end` still counts. */
void durable_truncate(struct replica *r, uint64_t end)
{
    struct pending_writes *w = &r->writes;
    r->durable_end = min_u64(r->durable_end, end);
    while (w->tail > w->head && w->pending[w->tail - 1].end > end) {
        uint64_t below = w->tail - 1 > w->head ? w->pending[w->tail - 2].end : r->durable_end;
        if (below < end) {
            w->pending[w->tail - 1].end = end;
            return;
        }
        w->tail--;
    }
}

/* The log is what INSTALL says, and is durable with it. */
void durable_restart(struct replica *r)
{
    r->writes.head = r->writes.tail = 0;
    r->durable_end = 0;
}

void durable_synced(struct replica *r, uint64_t seq)
{
    struct pending_writes *w = &r->writes;
    r->synced_seq = seq;
    while (w->head < w->tail && w->pending[w->head].seq <= seq) {
        r->durable_end = w->pending[w->head++].end;
    }
    if (w->head == w->tail) {
        w->head = w->tail = 0;
        if (w->capacity > PENDING_KEPT) { /* after a burst; an idle shard keeps little */
            durable_release(r);
        }
    }
}

void durable_release(struct replica *r)
{
    free(r->writes.pending);
    r->writes = (struct pending_writes){0};
}
