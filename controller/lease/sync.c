/* A worker's call: it renews what it has, and hears what it must know. */
#include <stdlib.h>
#include <string.h>

#include "controller/lease/internal.h"

void lease_answer_release(struct lease_answer *answer)
{
    free(answer->assigned);
    free(answer->lost);
    free(answer->hand_over);
    *answer = (struct lease_answer){0};
}

static enum status add_number(uint64_t **array, size_t *count, size_t *capacity, uint64_t number)
{
    if (*count == *capacity) {
        size_t more = *capacity == 0 ? 16 : 2 * *capacity;
        uint64_t *grown = realloc(*array, more * sizeof(*grown));
        if (grown == NULL) {
            return STATUS_NO_MEMORY;
        }
        *array = grown;
        *capacity = more;
    }
    (*array)[(*count)++] = number;
    return STATUS_OK;
}

static enum status add_hand_over(struct lease_answer *answer, struct lease_hand_over item)
{
    if (answer->hand_over_count == answer->hand_over_capacity) {
        size_t more = answer->hand_over_capacity == 0 ? 8 : 2 * answer->hand_over_capacity;
        struct lease_hand_over *grown = realloc(answer->hand_over, more * sizeof(*grown));
        if (grown == NULL) {
            return STATUS_NO_MEMORY;
        }
        answer->hand_over = grown;
        answer->hand_over_capacity = more;
    }
    answer->hand_over[answer->hand_over_count++] = item;
    return STATUS_OK;
}

static enum status find(const struct leases *l, const struct lease_call *call, struct app **out_app,
                        struct worker **out_worker)
{
    for (size_t a = 0; a < l->app_count; a++) {
        struct app *app = l->app[a];
        if (strcmp(app->name, call->application) != 0) {
            continue;
        }
        for (size_t i = 0; i < app->worker_count; i++) {
            struct worker *worker = app->worker[i];
            if (strcmp(worker->row.name, call->worker) != 0) {
                continue;
            }
            if (memcmp(worker->row.incarnation, call->incarnation, LEASE_INCARNATION_BYTES) != 0) {
                return STATUS_FENCED;
            }
            *out_app = app;
            *out_worker = worker;
            /* Its end may be committed at any moment: a renewal would be a lie. */
            return worker->proposed_ms != 0 && !LEASE_MUTANT(MUTANT_RENEWS_WHO_IS_GONE)
                       ? STATUS_EXPIRED
                       : STATUS_OK;
        }
    }
    return STATUS_EXPIRED;
}

static void renew(struct app *app, struct worker *worker, const struct lease_call *call,
                  uint64_t now)
{
    app->stirred = app->stirred || !worker->seen || call->draining != worker->draining;
    worker->renewed_ms = now;
    worker->seen = true;
    worker->draining = worker->draining || call->draining; /* an earlier call may be late */
    worker->stream_count = 0;
    for (size_t i = 0; i < call->stream_count && i < LEASE_STREAMS_MAX; i++) {
        worker->streams[worker->stream_count++] = call->streams[i];
    }
}

/* What it lists: confirmed, or lost. */
static enum status take_held(struct app *app, struct worker *worker, const struct lease_call *call,
                             uint64_t now, struct lease_answer *answer)
{
    enum status status = STATUS_OK;
    for (struct lease *lease = worker->first; lease != NULL; lease = lease->next_of_owner) {
        lease->confirmed = false;
    }
    for (size_t i = 0; i < call->held_count && status == STATUS_OK; i++) {
        struct lease *lease = lease_get(app, call->shards[i]);
        if (lease == NULL || lease->row.counter != call->counters[i] ||
            lease->row.worker != worker->row.id) {
            status = add_number(&answer->lost, &answer->lost_count, &answer->lost_capacity,
                                call->counters[i]);
            continue;
        }
        lease->confirmed = true;
        lease->listed_ms = now;
        lease->bytes_per_s = call->bytes_per_s[i] >> 40 == 0 ? call->bytes_per_s[i] : 0;
        lease->measured = true;
    }
    return status;
}

/* What it gives up: gone on to whoever was to have it. */
static enum status take_released(const struct leases *l, struct app *app, struct worker *worker,
                                 const struct lease_call *call, uint64_t now,
                                 struct lease_effects *out)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < call->released_count && status == STATUS_OK; i++) {
        struct lease *lease = worker->first;
        while (lease != NULL && lease->row.counter != call->released[i]) {
            lease = lease->next_of_owner;
        }
        if (lease == NULL || is_proposed(lease->proposed_ms, now)) {
            continue;
        }
        lease->avoid = worker->row.id;
        lease->avoid_until_ms = now + (uint64_t)LEASE_CALM_TERMS * l->limits.term_ms;
        lease->avoid_wholly_ms = now + l->limits.term_ms;
        status = pass_on(app, lease, now, out);
    }
    return status;
}

static enum status tell(const struct leases *l, struct worker *worker, uint64_t now,
                        struct lease_answer *answer)
{
    enum status status = STATUS_OK;
    for (struct lease *lease = worker->first; lease != NULL && status == STATUS_OK;
         lease = lease->next_of_owner) {
        if (worker->draining && !lease->asked) {
            lease->asked = true;
            lease->asked_until_ms = now + l->limits.hand_over_ms;
        }
        if (is_proposed(lease->proposed_ms, now)) {
            continue; /* on its way to somebody else */
        }
        if (!lease->confirmed && !lease->asked) {
            status = add_number(&answer->assigned, &answer->assigned_count,
                                &answer->assigned_capacity, lease->row.shard);
        } else if (lease->asked) {
            uint64_t left = lease->asked_until_ms > now ? lease->asked_until_ms - now : 0;
            status = add_hand_over(answer, (struct lease_hand_over){.shard = lease->row.shard,
                                                                    .counter = lease->row.counter,
                                                                    .within_ms = left});
        }
    }
    return status;
}

static uint64_t next_call(const struct leases *l, const struct app *app,
                          const struct worker *worker, const struct lease_answer *answer)
{
    uint64_t third = l->limits.term_ms / 3;
    uint64_t next = app->worker_count * 10;
    next = next < LEASE_NEXT_MS ? LEASE_NEXT_MS : next;
    if (answer->hand_over_count > 0 || worker->incoming > 0 || app->gather_until_ms != 0) {
        next = LEASE_NEXT_FAST_MS;
    }
    return next < third ? next : third;
}

enum status lease_sync(struct leases *l, uint64_t now, const struct lease_call *call,
                       struct lease_effects *out, struct lease_answer *out_answer)
{
    struct app *app = NULL;
    struct worker *worker = NULL;
    enum status status = l->active ? find(l, call, &app, &worker) : STATUS_NOT_ACTIVE;
    if (status != STATUS_OK) {
        return status;
    }
    lease_answer_release(out_answer);
    renew(app, worker, call, now);
    out_answer->application = app->id;
    out_answer->worker = worker->row.id;
    if (call->leaving) {
        worker->leaving = true;
        worker->proposed_ms = now;
        return effect_add(out, (struct lease_effect){.type = LEASE_GONE,
                                                     .application = app->id,
                                                     .worker = worker->row.id});
    }
    list_owned(app);
    status = take_held(app, worker, call, now, out_answer);
    if (status == STATUS_OK && call->released_count > 0) {
        count_loads(app, now);
        status = take_released(l, app, worker, call, now, out);
    }
    if (status == STATUS_OK) {
        status = tell(l, worker, now, out_answer);
    }
    out_answer->workers = (uint32_t)app->worker_count;
    out_answer->leases = app->unfinished;
    out_answer->next_sync_ms = next_call(l, app, worker, out_answer);
    return status;
}

/* ---- status pages
 * ---------------------------------------------------------------------------------- */

enum status lease_view(const struct leases *l, uint64_t now, uint64_t application, uint64_t shard,
                       struct lease_view *out)
{
    const struct app *app = l->active ? app_get(l, application) : NULL;
    const struct lease *lease = app == NULL ? NULL : lease_get(app, shard);
    if (lease == NULL) {
        return l->active ? STATUS_NOT_FOUND : STATUS_NOT_ACTIVE;
    }
    const struct lease *parent = lease->row.finished ? NULL : lease_parent_open(app, lease);
    bool read = false;
    for (size_t i = 0; i < app->worker_count && !read; i++) {
        read = worker_takes(app->worker[i], shard);
    }
    *out = (struct lease_view){
        .bytes_per_s = lease->row.worker == 0 ? 0 : lease->bytes_per_s,
        .confirmed = lease->confirmed,
        .hand_over_ms = !lease->asked                 ? 0
                        : lease->asked_until_ms > now ? lease->asked_until_ms - now
                                                      : 1,
        .waits_for_parents = parent != NULL,
        .waits_for = parent == NULL ? 0 : parent->row.shard,
        .nobody_reads = !read,
    };
    return STATUS_OK;
}

enum status lease_worker_view(const struct leases *l, uint64_t now, uint64_t application,
                              uint64_t id, struct lease_worker_view *out)
{
    const struct app *app = l->active ? app_get(l, application) : NULL;
    const struct worker *worker = app == NULL ? NULL : worker_get(app, id);
    if (worker == NULL) {
        return l->active ? STATUS_NOT_FOUND : STATUS_NOT_ACTIVE;
    }
    struct lease_worker_view view = {
        .seen = worker->seen, .age_ms = now - worker->renewed_ms, .draining = worker->draining};
    for (size_t i = 0; i < app->lease_count; i++) {
        const struct lease *lease = app->lease[i];
        if (lease->row.worker == id) {
            view.leases++;
            view.bytes_per_s += lease->bytes_per_s;
        }
    }
    *out = view;
    return STATUS_OK;
}
