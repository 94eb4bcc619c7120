#include "client/consumer/core_internal.h"

#include <string.h>

static int mark_rank(struct mark mark)
{
    return mark.kind < MARK_AT ? 0 : mark.kind == MARK_AT ? 1 : 2;
}

int mark_compare(struct mark a, struct mark b)
{
    if (mark_rank(a) != mark_rank(b)) {
        return mark_rank(a) < mark_rank(b) ? -1 : 1;
    }
    if (a.kind != MARK_AT) {
        return 0;
    }
    if (a.offset != b.offset) {
        return a.offset < b.offset ? -1 : 1;
    }
    return a.sub == b.sub ? 0 : a.sub < b.sub ? -1 : 1;
}

uint64_t core_backoff(uint32_t failures, uint64_t most)
{
    uint64_t ms = (uint64_t)RETRY_MIN_MS << (failures < 10 ? failures : 10);
    return ms < most ? ms : most;
}

void core_init(struct core *core, const struct core_options *options)
{
    *core = (struct core){.options = *options};
    list_init(&core->leases);
    list_init(&core->dirty);
}

void core_touch(struct core *core, struct core_lease *lease)
{
    if (list_empty(&lease->dirty)) {
        list_push(&core->dirty, &lease->dirty);
    }
}

uint32_t core_read_bytes(const struct core *core)
{
    uint64_t readers = core->lease_count > 0 ? core->lease_count : 1;
    uint64_t bytes = core->options.prefetch_bytes / readers / 4;
    if (bytes > CORE_READ_BYTES_MAX) {
        bytes = CORE_READ_BYTES_MAX;
    }
    return bytes < CORE_READ_BYTES_MIN ? CORE_READ_BYTES_MIN : (uint32_t)bytes;
}

/* Whether one more read of this shard fits: what waits, what the reader has ahead, and that. A
 * shard with nothing may always read: others that stand still must not starve it. */
static bool has_room(const struct core *core, const struct core_lease *lease)
{
    uint64_t share = core->options.prefetch_bytes / (core->lease_count > 0 ? core->lease_count : 1);
    return list_empty(&lease->batches) ||
           lease->queued_bytes + 2 * (uint64_t)core_read_bytes(core) <= share;
}

static void drop_batches(struct core_lease *lease)
{
    while (!list_empty(&lease->batches)) {
        list_push(&lease->dropped, list_pop(&lease->batches));
    }
    lease->queued_bytes = 0;
    lease->queued_records = 0;
}

void core_lose(struct core *core, struct core_lease *lease)
{
    if (lease->phase == CORE_FINISHED || lease->phase == CORE_LOST) {
        return;
    }
    lease->phase = CORE_LOST;
    lease->wanted = lease->stored;
    lease->to_prepare = false;
    core_answer(lease, mark_top(), STATUS_FENCED, "the lease of the shard is lost");
    core_touch(core, lease);
}

void core_drain(struct core *core, struct core_lease *lease, uint64_t now)
{
    if (lease->phase == CORE_RUNNING) {
        lease->phase = CORE_DRAINING;
        lease->due_ms = now;
        core_touch(core, lease);
    }
}

/* ---- callbacks --------------------------------------------------------------------------------
 */

static enum core_job running_job(const struct core_lease *lease)
{
    if (lease->stored.kind < MARK_AT && lease->stored.kind != MARK_OLDEST) {
        return JOB_NONE; /* where it begins is checkpointed first */
    }
    if (lease->restart || lease->told_end) {
        return JOB_NONE;
    }
    if (!lease->begun) {
        return lease->reader >= READER_OPEN ? JOB_INITIALISED : JOB_NONE;
    }
    if (!list_empty(&lease->batches)) {
        return JOB_RECORDS;
    }
    return lease->over ? JOB_ENDED : JOB_NONE;
}

static enum core_job choose_job(const struct core *core, const struct core_lease *lease,
                                uint64_t now)
{
    if (lease->phase == CORE_RUNNING) {
        return now < core->sure_until_ms ? running_job(lease) : JOB_NONE;
    }
    if (!lease->owed || lease->closed) {
        return JOB_NONE;
    }
    if (lease->phase == CORE_DRAINING) {
        return lease->told_last ? JOB_NONE : JOB_SHUTDOWN;
    }
    if (lease->phase == CORE_LOST && !lease->told_last) {
        return JOB_LOST;
    }
    return JOB_CLOSED;
}

static void hand_over_records(const struct core *core, struct core_lease *lease,
                              struct core_effect *out)
{
    struct core_batch *batch = CONTAINER_OF(lease->batches.next, struct core_batch, node);
    uint32_t left = batch->count - batch->taken;
    uint32_t most = core->options.records_max;
    out->batch = batch;
    out->first = batch->taken;
    out->count = most != 0 && most < left ? most : left;
    batch->taken += out->count;
    lease->queued_records -= out->count;
    const struct weir_read_record *last = &batch->records[batch->taken - 1];
    bool cut = batch->taken < batch->count && last[1].position.offset == last->position.offset;
    lease->delivered = cut ? mark_at(last->position.offset, last->sub_sequence + 1)
                           : mark_at(last->position.offset + 1, 0);
}

static void run(const struct core *core, struct core_lease *lease, enum core_job job,
                struct core_effect *out)
{
    out->kind = EFFECT_RUN;
    out->job = lease->job = job;
    if (job == JOB_INITIALISED) {
        lease->begun = lease->owed = true;
    } else if (job == JOB_RECORDS) {
        hand_over_records(core, lease, out);
    } else if (job == JOB_ENDED) {
        lease->told_end = true;
    } else if (job == JOB_SHUTDOWN || job == JOB_LOST) {
        lease->told_last = true;
        out->hand_over = !core->stopping;
    } else {
        lease->closed = true;
    }
}

static void restart_later(struct core_lease *lease, uint64_t now)
{
    lease->restart = true;
    lease->due_ms = now;
    lease->opened_due_ms = now + core_backoff(lease->failures++, RETRY_MAX_MS);
}

static void measure(struct core_lease *lease, uint64_t now)
{
    uint64_t span = now - lease->rate_ms;
    if (span >= RATE_MS) {
        double rate = (double)(lease->bytes_processed - lease->rate_bytes) * 1000.0 / (double)span;
        lease->bytes_per_s = lease->bytes_per_s * 0.7 + rate * 0.3;
        lease->rate_ms = now;
        lease->rate_bytes = lease->bytes_processed;
    }
}

static void records_processed(struct core *core, struct core_lease *lease, bool good, uint64_t now)
{
    if (!list_empty(&lease->batches)) { /* else it was dropped meanwhile */
        struct core_batch *batch = CONTAINER_OF(lease->batches.next, struct core_batch, node);
        if (batch->taken == batch->count) {
            list_remove(&batch->node);
            list_push(&lease->dropped, &batch->node);
            lease->queued_bytes -= batch->bytes;
            lease->bytes_processed += batch->bytes;
        }
    }
    measure(lease, now);
    if (good) {
        lease->failures = 0;
    }
    if (good && core->options.automatic && lease->phase <= CORE_DRAINING) {
        uint64_t due = lease->checkpointed_ms + core->options.automatic_ms;
        core_want(lease, lease->delivered, lease->phase == CORE_DRAINING || due < now ? now : due);
    }
}

void core_processed(struct core *core, struct core_lease *lease, bool good, uint64_t now)
{
    enum core_job job = lease->job;
    CHECK(job != JOB_NONE);
    lease->job = JOB_NONE;
    core_touch(core, lease);
    if (job == JOB_RECORDS) {
        records_processed(core, lease, good, now);
    }
    if (job == JOB_ENDED && good) {
        lease->delivered = mark_end();
        if (core->options.automatic && lease->phase <= CORE_DRAINING) {
            core_want(lease, mark_end(), now);
        }
    }
    if (!good && lease->phase == CORE_RUNNING && job <= JOB_ENDED) {
        restart_later(lease, now);
    }
}

/* ---- effects ----------------------------------------------------------------------------------
 */

/* Nothing of the old run is left: what was read is dropped, the reader closed, no checkpoint
 * wanted.
 */
static void begin_again(struct core_lease *lease)
{
    lease->restart = false;
    lease->over = lease->told_end = lease->begun = lease->prepared = false;
    lease->start = lease->from = lease->delivered = lease->wanted = lease->stored;
    core_answer(lease, mark_top(), STATUS_CANCELLED,
                "the shard begins again at its checkpoint, after a failure");
}

static bool reader_effect(const struct core *core, struct core_lease *lease, uint64_t now,
                          struct core_effect *out)
{
    bool wanted = lease->phase == CORE_RUNNING && !lease->restart && !lease->over && !lease->reopen;
    if (lease->reopen && lease->reader == READER_NONE) {
        lease->reopen = false;
        wanted = lease->phase == CORE_RUNNING && !lease->restart && !lease->over;
    }
    if (!wanted && (lease->reader == READER_OPEN || lease->reader == READER_FETCHING)) {
        lease->reader = lease->reader == READER_FETCHING ? READER_CLOSING : READER_NONE;
        out->kind = EFFECT_CLOSE;
        return true;
    }
    if (wanted && lease->reader == READER_NONE && now >= lease->opened_due_ms) {
        lease->reader = READER_OPENING;
        out->kind = EFFECT_OPEN;
        return true;
    }
    if (wanted && lease->reader == READER_OPEN && has_room(core, lease)) {
        lease->reader = READER_FETCHING;
        out->kind = EFFECT_FETCH;
        return true;
    }
    return false;
}

static bool is_idle(const struct core_lease *lease)
{
    return lease->job == JOB_NONE && !lease->sending && !lease->to_prepare &&
           lease->reader == READER_NONE && list_empty(&lease->dropped) &&
           list_empty(&lease->answered);
}

/* What is handed over has been told so, and what it wanted to checkpoint is: the controllers may
 * have it. */
static void release_if_drained(struct core *core, struct core_lease *lease)
{
    if (lease->phase == CORE_DRAINING && is_idle(lease) && (!lease->owed || lease->told_last) &&
        mark_compare(lease->wanted, lease->stored) <= 0) {
        lease->phase = CORE_RELEASED;
        core_answer(lease, mark_top(), STATUS_FENCED, "the lease of the shard was given up");
        core->sync_again = true;
    }
}

static bool is_over(const struct core *core, const struct core_lease *lease)
{
    bool known = lease->phase == CORE_LOST || lease->phase == CORE_FINISHED ||
                 (lease->phase == CORE_RELEASED && lease->named && !core->syncing);
    return known && is_idle(lease) && (!lease->owed || lease->closed);
}

/* What does not fit the phase any more. */
static void put_in_order(struct core *core, struct core_lease *lease)
{
    bool running = lease->phase == CORE_RUNNING;
    if ((!running || lease->restart) && lease->job != JOB_RECORDS) {
        drop_batches(lease);
    }
    if (running && lease->restart && lease->job == JOB_NONE && !lease->sending &&
        !lease->to_prepare && lease->reader == READER_NONE &&
        mark_compare(lease->wanted, lease->stored) <= 0) {
        begin_again(lease);
    }
    release_if_drained(core, lease);
}

static bool lease_next(struct core *core, struct core_lease *lease, uint64_t now,
                       struct core_effect *out)
{
    *out = (struct core_effect){.lease = lease};
    put_in_order(core, lease);
    if (!list_empty(&lease->answered)) {
        out->kind = EFFECT_ANSWER;
        out->request = CONTAINER_OF(list_pop(&lease->answered), struct core_request, node);
        return true;
    }
    if (!list_empty(&lease->dropped)) {
        out->kind = EFFECT_DROP;
        out->batch = CONTAINER_OF(list_pop(&lease->dropped), struct core_batch, node);
        return true;
    }
    if (lease->job == JOB_NONE) {
        enum core_job job = choose_job(core, lease, now);
        if (job != JOB_NONE) {
            run(core, lease, job, out);
            return true;
        }
    }
    if (core_next_checkpoint(lease, now)) {
        out->kind = EFFECT_CHECKPOINT;
        return true;
    }
    if (reader_effect(core, lease, now, out)) {
        return true;
    }
    if (is_over(core, lease)) {
        list_remove(&lease->node);
        core->lease_count--;
        core->sync_again = true; /* its next tenure may have been refused */
        out->kind = EFFECT_FREE;
        return true;
    }
    return false;
}

static bool sync_is_due(const struct core *core, uint64_t now)
{
    if (core->syncing || core->left || core->failed != STATUS_OK) {
        return false;
    }
    return now >= core->sync_at_ms || (core->sync_again && core->sync_failures == 0);
}

/* Everything is handed over, or its time is up: only the word of it is missing. */
static bool may_leave(const struct core *core, uint64_t now)
{
    if (now >= core->stop_by_ms) {
        return true;
    }
    LIST_FOR_EACH (node, &core->leases) {
        const struct core_lease *lease = CONTAINER_OF(node, struct core_lease, node);
        if (lease->phase != CORE_RELEASED || (lease->owed && !lease->closed) ||
            lease->job != JOB_NONE) {
            return false;
        }
    }
    return true;
}

bool core_next(struct core *core, uint64_t now, struct core_effect *out)
{
    while (!list_empty(&core->dirty)) {
        struct core_lease *lease = CONTAINER_OF(core->dirty.next, struct core_lease, dirty);
        if (lease_next(core, lease, now, out)) {
            if (out->kind == EFFECT_FREE) {
                list_remove(&lease->dirty);
            }
            return true;
        }
        if (!list_empty(&lease->dirty) && core->dirty.next == &lease->dirty) {
            list_remove(&lease->dirty);
        }
    }
    *out = (struct core_effect){0};
    if (core->stopping && !core->leaving && may_leave(core, now)) {
        core->leaving = true;
        core->sync_again = true;
    }
    if (sync_is_due(core, now)) {
        out->kind = EFFECT_SYNC;
        return true;
    }
    bool over = core->left || core->failed != STATUS_OK;
    if (over && !core->syncing && !core->stopped && list_empty(&core->leases)) {
        core->stopped = true;
        out->kind = EFFECT_STOPPED;
        return true;
    }
    return false;
}

static uint64_t sooner(uint64_t at, uint64_t other, uint64_t now)
{
    return other > now && other < at ? other : at;
}

uint64_t core_next_ms(const struct core *core, uint64_t now)
{
    uint64_t at = UINT64_MAX;
    if (core->stopped) {
        return at;
    }
    if (!core->syncing && !core->left && core->failed == STATUS_OK) {
        at = core->sync_at_ms > now ? core->sync_at_ms : now;
    }
    if (core->stopping && !core->leaving) {
        at = sooner(at, core->stop_by_ms, now);
    }
    LIST_FOR_EACH (node, &core->leases) {
        const struct core_lease *lease = CONTAINER_OF(node, struct core_lease, node);
        bool wants = !lease->sending && mark_compare(lease->wanted, lease->stored) > 0;
        at = wants ? sooner(at, lease->due_ms, now) : at;
        at = lease->reader == READER_NONE ? sooner(at, lease->opened_due_ms, now) : at;
    }
    return at;
}

void core_tick(struct core *core, uint64_t now)
{
    LIST_FOR_EACH (node, &core->leases) {
        struct core_lease *lease = CONTAINER_OF(node, struct core_lease, node);
        measure(lease, now);
        core_touch(core, lease);
    }
}

/* ---- reading ----------------------------------------------------------------------------------
 */

void core_opened(struct core *core, struct core_lease *lease, uint64_t offset, uint64_t now)
{
    lease->reader = READER_OPEN;
    lease->open_failures = 0;
    if (lease->from.kind == MARK_NEWEST || lease->from.kind == MARK_TIME) {
        lease->start = lease->from = lease->delivered = mark_at(offset, 0);
        core_want(lease, lease->from, now); /* a later owner must begin there, too */
    }
    core_touch(core, lease);
}

static void open_later(struct core_lease *lease, uint64_t now)
{
    uint64_t at = now + core_backoff(lease->open_failures++, OPEN_RETRY_MAX_MS);
    lease->opened_due_ms = at > lease->opened_due_ms ? at : lease->opened_due_ms;
}

void core_open_failed(struct core *core, struct core_lease *lease, uint64_t now)
{
    lease->reader = READER_NONE;
    open_later(lease, now);
    core_touch(core, lease);
}

static void fetch_over(struct core *core, struct core_lease *lease)
{
    lease->reader = lease->reader == READER_CLOSING ? READER_NONE : READER_OPEN;
    core_touch(core, lease);
}

/* Of the record at the checkpoint some user records may have been processed. */
static void skip_processed(const struct core_lease *lease, struct core_batch *batch)
{
    while (batch->taken < batch->count && lease->start.kind == MARK_AT &&
           batch->records[batch->taken].position.offset == lease->start.offset &&
           batch->records[batch->taken].sub_sequence < lease->start.sub) {
        batch->taken++;
    }
}

void core_fetched(struct core *core, struct core_lease *lease, struct core_batch *batch,
                  uint64_t next)
{
    bool wanted =
        lease->reader == READER_FETCHING && lease->phase == CORE_RUNNING && !lease->restart;
    batch->taken = 0;
    skip_processed(lease, batch);
    if (wanted) {
        lease->from = mark_at(next, 0);
    }
    if (wanted && batch->taken < batch->count) {
        list_push(&lease->batches, &batch->node);
        lease->queued_bytes += batch->bytes;
        lease->queued_records += batch->count - batch->taken;
    } else {
        list_push(&lease->dropped, &batch->node);
    }
    fetch_over(core, lease);
}

void core_fetched_nothing(struct core *core, struct core_lease *lease)
{
    fetch_over(core, lease);
}

void core_ended(struct core *core, struct core_lease *lease)
{
    lease->over = lease->reader == READER_FETCHING;
    fetch_over(core, lease);
}

void core_fetch_failed(struct core *core, struct core_lease *lease, uint64_t now)
{
    bool closing = lease->reader == READER_CLOSING;
    fetch_over(core, lease);
    if (!closing) {
        lease->reopen = true;
        open_later(lease, now);
    }
}
