/* The rows as the core knows them. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "controller/lease/internal.h"

/* ---- memory
 * ---------------------------------------------------------------------------------------- */

/* Room for one more; false: out of memory. */
static bool grow(void **array, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity) {
        return true;
    }
    size_t more = *capacity == 0 ? 16 : 2 * *capacity;
    void *grown = realloc(*array, more * size);
    if (grown == NULL) {
        return false;
    }
    *array = grown;
    *capacity = more;
    return true;
}

enum status effect_add(struct lease_effects *out, struct lease_effect effect)
{
    void *array = out->effect;
    if (!grow(&array, &out->capacity, out->count, sizeof(effect))) {
        return STATUS_NO_MEMORY;
    }
    out->effect = array;
    out->effect[out->count++] = effect;
    return STATUS_OK;
}

void lease_effects_clear(struct lease_effects *effects)
{
    effects->count = 0;
}

void lease_effects_release(struct lease_effects *effects)
{
    free(effects->effect);
    *effects = (struct lease_effects){0};
}

struct leases *leases_new(const struct lease_limits *limits)
{
    struct leases *l = calloc(1, sizeof(*l));
    if (l != NULL) {
        l->limits = *limits;
        l->limits.term_ms = limits->term_ms == 0 ? LEASE_TERM_MS : limits->term_ms;
        l->limits.hand_over_ms =
            limits->hand_over_ms == 0 ? LEASE_HAND_OVER_MS : limits->hand_over_ms;
    }
    return l;
}

static void app_free(struct app *app)
{
    for (size_t i = 0; i < app->lease_count; i++) {
        free(app->lease[i]);
    }
    for (size_t i = 0; i < app->worker_count; i++) {
        free(app->worker[i]);
    }
    free((void *)app->lease);
    free((void *)app->worker);
    free(app->stream);
    free(app);
}

void leases_forget(struct leases *l)
{
    for (size_t i = 0; i < l->app_count; i++) {
        app_free(l->app[i]);
    }
    free((void *)l->app);
    free(l->stream);
    l->app = NULL;
    l->stream = NULL;
    l->app_count = l->app_capacity = l->stream_count = l->stream_capacity = 0;
    l->active = false;
}

void leases_free(struct leases *l)
{
    if (l != NULL) {
        leases_forget(l);
        free(l);
    }
}

/* ---- finding
 * --------------------------------------------------------------------------------------- */

static size_t app_lower(const struct leases *l, uint64_t id)
{
    size_t low = 0, high = l->app_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (l->app[middle]->id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct app *app_get(const struct leases *l, uint64_t id)
{
    size_t at = app_lower(l, id);
    return at < l->app_count && l->app[at]->id == id ? l->app[at] : NULL;
}

static size_t lease_lower(const struct app *app, uint64_t shard)
{
    size_t low = 0, high = app->lease_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (app->lease[middle]->row.shard < shard) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct lease *lease_get(const struct app *app, uint64_t shard)
{
    size_t at = lease_lower(app, shard);
    return at < app->lease_count && app->lease[at]->row.shard == shard ? app->lease[at] : NULL;
}

static struct worker *worker_among(struct worker *const *list, size_t count, uint64_t id)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list[middle]->row.id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && list[low]->row.id == id ? list[low] : NULL;
}

struct worker *worker_get(const struct app *app, uint64_t id)
{
    return worker_among(app->worker, app->worker_count, id);
}

static struct known_stream *stream_get(const struct leases *l, uint32_t stream)
{
    for (size_t i = 0; i < l->stream_count; i++) {
        if (l->stream[i].stream == stream) {
            return &l->stream[i];
        }
    }
    return NULL;
}

bool stream_is_gone(const struct leases *l, uint32_t stream)
{
    const struct known_stream *known = stream_get(l, stream);
    return known != NULL && known->gone;
}

uint32_t stream_shards(const struct leases *l, uint32_t stream)
{
    const struct known_stream *known = stream_get(l, stream);
    return known == NULL ? 0 : known->shards;
}

/* ---- rows
 * ------------------------------------------------------------------------------------------ */

static enum status app_make(struct leases *l, uint64_t id, const char *name, struct app **out)
{
    void *array = (void *)l->app;
    if (!grow(&array, &l->app_capacity, l->app_count, sizeof(struct app *))) {
        return STATUS_NO_MEMORY;
    }
    l->app = array;
    struct app *app = calloc(1, sizeof(*app));
    if (app == NULL) {
        return STATUS_NO_MEMORY;
    }
    app->id = id;
    size_t length = strnlen(name, LEASE_NAME_BYTES - 1);
    memcpy(app->name, name, length);
    size_t at = app_lower(l, id);
    memmove((void *)(l->app + at + 1), (void *)(l->app + at),
            (l->app_count - at) * sizeof(struct app *));
    l->app[at] = app;
    l->app_count++;
    *out = app;
    return STATUS_OK;
}

static enum status app_gone(struct leases *l, uint64_t id)
{
    size_t at = app_lower(l, id);
    if (at < l->app_count && l->app[at]->id == id) {
        app_free(l->app[at]);
        l->app_count--;
        memmove((void *)(l->app + at), (void *)(l->app + at + 1),
                (l->app_count - at) * sizeof(struct app *));
    }
    return STATUS_OK;
}

/* Several workers are often started at once: the first must not get everything. */
static void gather(struct app *app, uint64_t now)
{
    if (app->gather_until_ms == 0) {
        app->gather_latest_ms = now + LEASE_GATHER_MAX_MS;
    }
    uint64_t until = now + LEASE_GATHER_MS;
    app->gather_until_ms = until < app->gather_latest_ms ? until : app->gather_latest_ms;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = (*(struct worker *const *)a)->row.id, y = (*(struct worker *const *)b)->row.id;
    return x < y ? -1 : x > y;
}

static enum status take_workers(struct app *app, uint64_t now, const struct lease_input *in)
{
    struct worker **list = calloc(in->worker_count + 1, sizeof(struct worker *));
    enum status status = list == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    size_t count = 0, made = 0;
    for (size_t i = 0; status == STATUS_OK && i < in->worker_count; i++) {
        struct worker *worker = worker_get(app, in->workers[i].id);
        if (worker == NULL) {
            worker = calloc(1, sizeof(*worker));
            if (worker == NULL) {
                status = STATUS_NO_MEMORY;
                break;
            }
            worker->row = in->workers[i];
            /* A full term: also for those that an earlier active controller has heard of last. */
            worker->renewed_ms = now;
            if (LEASE_MUTANT(MUTANT_NO_FULL_TERM)) {
                worker->renewed_ms = 0;
            }
            made++;
        }
        list[count++] = worker;
    }
    if (status != STATUS_OK) {
        for (size_t i = 0; i < count; i++) {
            if (worker_get(app, list[i]->row.id) == NULL) {
                free(list[i]);
            }
        }
        free((void *)list);
        return status;
    }
    qsort((void *)list, count, sizeof(struct worker *), by_id);
    for (size_t i = 0; i < app->worker_count; i++) {
        if (worker_among(list, count, app->worker[i]->row.id) == NULL) {
            free(app->worker[i]);
        }
    }
    free((void *)app->worker);
    app->worker = list;
    app->worker_count = count;
    app->listed = false;
    app->stirred = true;
    if (made > 0) {
        gather(app, now);
    }
    return STATUS_OK;
}

static enum status take_streams(struct app *app, const struct lease_input *in)
{
    struct app_stream *list = calloc(in->stream_count + 1, sizeof(*list));
    if (list == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; i < in->stream_count; i++) {
        list[i].row = in->streams[i];
    }
    free(app->stream);
    app->stream = list;
    app->stream_count = in->stream_count;
    app->stirred = true;
    return STATUS_OK;
}

static enum status take_application(struct leases *l, uint64_t now, const struct lease_input *in)
{
    if (in->gone) {
        return app_gone(l, in->application);
    }
    struct app *app = app_get(l, in->application);
    enum status status = app == NULL ? app_make(l, in->application, in->name, &app) : STATUS_OK;
    if (status == STATUS_OK) {
        status = take_workers(app, now, in);
    }
    return status == STATUS_OK ? take_streams(app, in) : status;
}

static void lease_remove(struct app *app, uint64_t shard)
{
    size_t at = lease_lower(app, shard);
    if (at < app->lease_count && app->lease[at]->row.shard == shard) {
        free(app->lease[at]);
        app->lease_count--;
        memmove((void *)(app->lease + at), (void *)(app->lease + at + 1),
                (app->lease_count - at) * sizeof(struct lease *));
        app->listed = false;
        app->stirred = true;
    }
}

static enum status lease_make(struct app *app, uint64_t shard, struct lease **out)
{
    void *array = (void *)app->lease;
    if (!grow(&array, &app->lease_capacity, app->lease_count, sizeof(struct lease *))) {
        return STATUS_NO_MEMORY;
    }
    app->lease = array;
    struct lease *lease = calloc(1, sizeof(*lease));
    if (lease == NULL) {
        return STATUS_NO_MEMORY;
    }
    size_t at = lease_lower(app, shard);
    memmove((void *)(app->lease + at + 1), (void *)(app->lease + at),
            (app->lease_count - at) * sizeof(struct lease *));
    app->lease[at] = lease;
    app->lease_count++;
    *out = lease;
    return STATUS_OK;
}

static enum status take_row(struct leases *l, uint64_t now, const struct lease_input *in)
{
    struct app *app = app_get(l, in->application);
    if (app == NULL) {
        return STATUS_NOT_FOUND; /* deleted in the same entry */
    }
    if (in->gone) {
        lease_remove(app, in->shard);
        return STATUS_OK;
    }
    struct lease *lease = lease_get(app, in->row->shard);
    if (lease == NULL) {
        enum status status = lease_make(app, in->row->shard, &lease);
        if (status != STATUS_OK) {
            return status;
        }
    } else if (lease->row.counter == in->row->counter && lease->row.worker == in->row->worker &&
               lease->row.finished == in->row->finished) {
        return STATUS_OK; /* a checkpoint */
    } else if (in->row->finished && !lease->row.finished) {
        lease->finisher = lease->row.worker;
    } else if (lease->row.finished) {
        lease->finisher = 0; /* reset */
    }
    lease->row = *in->row;
    lease->listed_ms = now;
    lease->confirmed = lease->asked = false;
    lease->proposed_ms = lease->proposed_worker = 0;
    if (lease->row.worker != 0) {
        lease->heir = lease->avoid = 0;
    }
    app->listed = false;
    app->stirred = true;
    return STATUS_OK;
}

static enum status take_stream(struct leases *l, const struct lease_input *in)
{
    struct known_stream *known = stream_get(l, in->stream);
    if (known == NULL) {
        void *array = l->stream;
        if (!grow(&array, &l->stream_capacity, l->stream_count, sizeof(*l->stream))) {
            return STATUS_NO_MEMORY;
        }
        l->stream = array;
        known = &l->stream[l->stream_count++];
    }
    *known = (struct known_stream){.stream = in->stream, .shards = in->shards, .gone = in->gone};
    return STATUS_OK;
}

static void shard_gone(struct leases *l, uint64_t shard)
{
    for (size_t i = 0; i < l->app_count; i++) {
        struct lease *lease = lease_get(l->app[i], shard);
        if (lease != NULL) {
            lease->gone = true;
            l->app[i]->stirred = true;
        }
    }
}

/* The rows are those of workers that somebody else has heard of: they will call soon. */
static void loaded(struct leases *l, uint64_t now)
{
    for (size_t i = 0; i < l->app_count; i++) {
        struct app *app = l->app[i];
        if (app->worker_count > 0) {
            app->gather_until_ms = app->gather_latest_ms = now + l->limits.term_ms / 2;
            app->wait_for_known = true;
        }
    }
}

static enum status tick(struct leases *l, uint64_t now, struct lease_effects *out)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < l->app_count && status == STATUS_OK; i++) {
        status = app_run(l, l->app[i], now, out);
    }
    l->next_tick_ms = now + LEASE_TICK_MS;
    return status;
}

enum status lease_step(struct leases *l, uint64_t now, const struct lease_input *in,
                       struct lease_effects *out)
{
    if (in->type == LEASE_ACTIVATED) {
        leases_forget(l);
        l->active = true;
        l->next_tick_ms = now;
        return STATUS_OK;
    }
    if (!l->active) {
        return STATUS_NOT_ACTIVE;
    }
    switch (in->type) {
    case LEASE_LOADED:
        loaded(l, now);
        return STATUS_OK;
    case LEASE_DEACTIVATED:
        leases_forget(l);
        return STATUS_OK;
    case LEASE_APPLICATION:
        return take_application(l, now, in);
    case LEASE_ROW:
        return take_row(l, now, in);
    case LEASE_STREAM:
        return take_stream(l, in);
    case LEASE_SHARD_GONE:
        shard_gone(l, in->shard);
        return STATUS_OK;
    case LEASE_TICK:
        return tick(l, now, out);
    case LEASE_ACTIVATED:
    default:
        UNREACHABLE();
    }
}

/* An application without workers can still have streams and shards to forget, or to learn. */
uint64_t lease_deadline(const struct leases *l)
{
    return l->active && l->app_count > 0 ? l->next_tick_ms : UINT64_MAX;
}
