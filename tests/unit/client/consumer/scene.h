/* A worker's core, and a shell that writes down what it was told and answers when the test says so.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/consumer/core.h"

enum { TERM = 10000, NEXT = 3000, LEASES = 8, BATCHES = 64, RECORDS = 16, LOG = 256 };

struct scene {
    struct core core;
    uint64_t now;
    struct core_lease leases[LEASES];
    struct core_batch batches[BATCHES];
    struct weir_read_record records[BATCHES][RECORDS];
    uint32_t batch_count, dropped, freed, closed_readers;
    struct core_effect log[LOG];
    uint32_t count;
    bool stopped;
};

static inline void settle(struct scene *s)
{
    struct core_effect effect;
    while (core_next(&s->core, s->now, &effect)) {
        assert_true(s->count < LOG);
        s->log[s->count++] = effect;
        s->dropped += effect.kind == EFFECT_DROP;
        s->freed += effect.kind == EFFECT_FREE;
        s->closed_readers += effect.kind == EFFECT_CLOSE;
        s->stopped |= effect.kind == EFFECT_STOPPED;
        if (effect.kind == EFFECT_SYNC) {
            core_sync_sent(&s->core, s->now);
        }
    }
}

/* The last effect of this kind since the last forget(); NULL: none. */
static inline const struct core_effect *seen(const struct scene *s, enum core_effect_kind kind)
{
    for (uint32_t i = s->count; i > 0; i--) {
        if (s->log[i - 1].kind == kind) {
            return &s->log[i - 1];
        }
    }
    return NULL;
}

static inline bool ran(const struct scene *s, enum core_job job)
{
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->log[i].kind == EFFECT_RUN && s->log[i].job == job) {
            return true;
        }
    }
    return false;
}

static inline void forget(struct scene *s)
{
    s->count = 0;
}

static inline void synced(struct scene *s)
{
    core_synced(&s->core, s->now, TERM, NEXT);
    settle(s);
}

/* A renewal, now. */
static inline void renew(struct scene *s)
{
    if (!s->core.syncing) {
        s->core.sync_at_ms = s->now;
        settle(s);
    }
    assert_true(s->core.syncing);
    synced(s);
    if (s->core.syncing) {
        synced(s); /* it had more to say */
    }
}

static inline void begin(struct scene *s, bool automatic)
{
    memset(s, 0, sizeof(*s));
    const struct core_options options = {
        .prefetch_bytes = 1024 * 1024, .automatic = automatic, .automatic_ms = 1000};
    core_init(&s->core, &options);
    s->now = 1000;
    settle(s);
    assert_non_null(seen(s, EFFECT_SYNC));
    synced(s);
}

static inline struct core_lease *assign(struct scene *s, uint32_t i, uint64_t counter,
                                        struct mark mark)
{
    struct core_lease *lease = &s->leases[i];
    if (!s->core.syncing) {
        s->core.sync_at_ms = s->now;
        settle(s);
    }
    assert_true(core_assigned(&s->core, lease, 100 + i, counter, mark, s->now));
    renew(s);
    return lease;
}

/* Brings `count` records from `offset` on, each of `bytes`. */
static inline void bring(struct scene *s, struct core_lease *lease, uint64_t offset, uint32_t count,
                         uint64_t bytes)
{
    assert_int_equal(lease->reader, READER_FETCHING);
    uint32_t b = s->batch_count++;
    for (uint32_t i = 0; i < count; i++) {
        s->records[b][i].position.offset = offset + i;
    }
    s->batches[b] =
        (struct core_batch){.count = count, .bytes = bytes * count, .records = s->records[b]};
    core_fetched(&s->core, lease, &s->batches[b], offset + count);
    settle(s);
}

static inline void done(struct scene *s, struct core_lease *lease, bool good)
{
    core_processed(&s->core, lease, good, s->now);
    settle(s);
}

/* Opened at `offset`, and told so. */
static inline struct core_lease *running(struct scene *s, uint32_t i, uint64_t counter,
                                         uint64_t offset)
{
    struct core_lease *lease = assign(s, i, counter, mark_at(offset, 0));
    assert_int_equal(lease->reader, READER_OPENING);
    core_opened(&s->core, lease, offset, s->now);
    settle(s);
    assert_int_equal(lease->job, JOB_INITIALISED);
    done(s, lease, true);
    forget(s);
    return lease;
}

static inline void stored(struct scene *s, struct core_lease *lease)
{
    assert_true(lease->sending);
    core_checkpointed(&s->core, lease, STATUS_OK, s->now);
    settle(s);
}
