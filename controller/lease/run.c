/* What an application needs: workers that were silent for a term end, leases that nobody has get an
 * owner, hand-overs that took too long are ended, streams and shards come and go. */
#include "controller/lease/internal.h"

bool is_proposed(uint64_t proposed_ms, uint64_t now)
{
    return proposed_ms != 0 && now < proposed_ms + LEASE_PROPOSE_MS;
}

bool worker_is_taker(const struct worker *worker)
{
    return worker->seen && !worker->draining && !worker->leaving && worker->proposed_ms == 0;
}

bool worker_takes(const struct worker *worker, uint64_t shard)
{
    uint32_t stream = (uint32_t)(shard >> 32);
    for (size_t i = 0; worker_is_taker(worker) && i < worker->stream_count; i++) {
        if (worker->streams[i] == stream) {
            return true;
        }
    }
    return false;
}

const struct lease *lease_parent_open(const struct app *app, const struct lease *lease)
{
    for (uint32_t i = 0; i < lease->row.parent_count && !LEASE_MUTANT(MUTANT_CHILD_BEFORE_PARENTS);
         i++) {
        const struct lease *parent = lease_get(app, lease->row.parent[i]);
        if (parent != NULL && !parent->row.finished && !parent->gone) {
            return parent;
        }
    }
    return NULL;
}

/* ---- loads
 * ----------------------------------------------------------------------------------------- */

uint64_t lease_weight(const struct app *app, const struct lease *lease)
{
    uint64_t bytes = lease->measured ? lease->bytes_per_s : app->mean_bytes_per_s;
    return bytes + app->mean_bytes_per_s / 4 + 1;
}

uint64_t lease_next_owner(const struct lease *lease, uint64_t now)
{
    if (lease->row.finished || lease->gone) {
        return 0;
    }
    if (is_proposed(lease->proposed_ms, now)) {
        return lease->proposed_worker;
    }
    return lease->asked && lease->heir != 0 ? lease->heir : lease->row.worker;
}

void list_owned(struct app *app)
{
    if (app->listed) {
        return;
    }
    for (size_t i = 0; i < app->worker_count; i++) {
        app->worker[i]->first = NULL;
    }
    /* Neighbours often have the same owner; from the last, so that lists ascend. */
    struct worker *worker = NULL;
    for (size_t i = app->lease_count; i > 0; i--) {
        struct lease *lease = app->lease[i - 1];
        if (lease->row.worker == 0) {
            continue;
        }
        if (worker == NULL || worker->row.id != lease->row.worker) {
            worker = worker_get(app, lease->row.worker);
        }
        if (worker != NULL) {
            lease->next_of_owner = worker->first;
            worker->first = lease;
        }
    }
    app->listed = true;
}

static void measure(struct app *app)
{
    uint64_t sum = 0, count = 0;
    app->unfinished = 0;
    for (size_t i = 0; i < app->lease_count; i++) {
        const struct lease *lease = app->lease[i];
        if (!lease->row.finished && !lease->gone) {
            app->unfinished++;
            sum += lease->measured ? lease->bytes_per_s : 0;
            count += lease->measured;
        }
    }
    app->mean_bytes_per_s = count == 0 ? 0 : sum / count;
}

static void add_load(struct app *app, const struct lease *lease, struct worker *worker)
{
    worker->leases++;
    worker->load += lease_weight(app, lease);
    worker->incoming += lease->row.worker != worker->row.id;
}

void count_loads(struct app *app, uint64_t now)
{
    measure(app);
    app->takers = 0;
    for (size_t i = 0; i < app->worker_count; i++) {
        struct worker *worker = app->worker[i];
        worker->leases = worker->incoming = 0;
        worker->load = 0;
        app->takers += worker_is_taker(worker);
    }
    struct worker *worker = NULL;
    for (size_t i = 0; i < app->lease_count; i++) {
        uint64_t owner = lease_next_owner(app->lease[i], now);
        if (owner != 0 && (worker == NULL || worker->row.id != owner)) {
            worker = worker_get(app, owner);
        }
        if (owner != 0 && worker != NULL) {
            add_load(app, app->lease[i], worker);
        }
    }
}

/* ---- owners
 * ---------------------------------------------------------------------------------------- */

/* Who read the parents to their end has their children's keys in mind; unless it has its share. */
static struct worker *finisher_of_parents(const struct app *app, const struct lease *lease)
{
    uint32_t share = app->takers == 0 ? 0 : (app->unfinished + app->takers - 1) / app->takers;
    for (uint32_t i = 0; i < lease->row.parent_count; i++) {
        const struct lease *parent = lease_get(app, lease->row.parent[i]);
        struct worker *worker =
            parent == NULL || parent->finisher == 0 ? NULL : worker_get(app, parent->finisher);
        if (worker != NULL && worker_takes(worker, lease->row.shard) && worker->leases <= share) {
            return worker;
        }
    }
    return NULL;
}

static bool is_avoided(const struct lease *lease, const struct worker *worker, uint64_t now)
{
    return lease->avoid == worker->row.id && now < lease->avoid_until_ms;
}

static struct worker *least_loaded(const struct app *app, const struct lease *lease, bool avoiding,
                                   uint64_t now)
{
    struct worker *best = NULL;
    for (size_t i = 0; i < app->worker_count; i++) {
        struct worker *worker = app->worker[i];
        if (worker->row.id == lease->row.worker || (avoiding && is_avoided(lease, worker, now)) ||
            !worker_takes(worker, lease->row.shard)) {
            continue;
        }
        if (best == NULL || worker->load < best->load ||
            (worker->load == best->load && worker->leases < best->leases)) {
            best = worker;
        }
    }
    return best;
}

/* Who should have a lease that nobody has; NULL: nobody can. */
static struct worker *choose_owner(const struct app *app, const struct lease *lease, uint64_t now)
{
    struct worker *best = lease->heir == 0 ? NULL : worker_get(app, lease->heir);
    if (best != NULL && worker_takes(best, lease->row.shard)) {
        return best;
    }
    best = finisher_of_parents(app, lease);
    if (best != NULL && !is_avoided(lease, best, now)) {
        return best;
    }
    best = least_loaded(app, lease, true, now);
    return best != NULL || now < lease->avoid_wholly_ms ? best
                                                        : least_loaded(app, lease, false, now);
}

static enum status propose_owner(struct app *app, struct lease *lease, struct worker *worker,
                                 uint64_t now, struct lease_effects *out)
{
    app->stirred = true;
    lease->proposed_ms = now;
    lease->proposed_worker = worker == NULL ? 0 : worker->row.id;
    if (worker != NULL) {
        add_load(app, lease, worker);
    }
    return effect_add(out, (struct lease_effect){.type = LEASE_ASSIGN,
                                                 .application = app->id,
                                                 .shard = lease->row.shard,
                                                 .counter = lease->row.counter,
                                                 .worker = lease->proposed_worker});
}

enum status pass_on(struct app *app, struct lease *lease, uint64_t now, struct lease_effects *out)
{
    struct worker *next = choose_owner(app, lease, now);
    return next == NULL && lease->row.worker == 0 ? STATUS_OK
                                                  : propose_owner(app, lease, next, now, out);
}

/* ---- the passes
 * ------------------------------------------------------------------------------------ */

static enum status end_workers(const struct leases *l, struct app *app, uint64_t now,
                               struct lease_effects *out)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < app->worker_count && status == STATUS_OK; i++) {
        struct worker *worker = app->worker[i];
        bool over = worker->leaving || worker->proposed_ms != 0 ||
                    now >= worker->renewed_ms + l->limits.term_ms;
        if (over && !is_proposed(worker->proposed_ms, now)) {
            worker->proposed_ms = now;
            status = effect_add(out, (struct lease_effect){.type = LEASE_GONE,
                                                           .application = app->id,
                                                           .worker = worker->row.id});
        }
    }
    return status;
}

static enum status update_streams(const struct leases *l, struct app *app, uint64_t now,
                                  struct lease_effects *out)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < app->stream_count && status == STATUS_OK; i++) {
        struct app_stream *stream = &app->stream[i];
        bool gone = stream_is_gone(l, stream->row.stream);
        bool grown = stream_shards(l, stream->row.stream) > stream->row.next_shard;
        if ((gone || grown) && !is_proposed(stream->proposed_ms, now)) {
            stream->proposed_ms = now;
            status = effect_add(
                out, (struct lease_effect){.type = gone ? LEASE_FORGET_STREAM : LEASE_GROW,
                                           .application = app->id,
                                           .stream = stream->row.stream});
        }
    }
    return status;
}

/* A lease that somebody has. */
static enum status look_at_owned(const struct leases *l, struct app *app, struct lease *lease,
                                 const struct worker *owner, uint64_t now,
                                 struct lease_effects *out)
{
    const struct worker *heir = lease->heir == 0 ? NULL : worker_get(app, lease->heir);
    if (lease->asked && !owner->draining &&
        (heir == NULL || !worker_takes(heir, lease->row.shard))) {
        lease->asked = false; /* who should have got it is gone */
        lease->heir = 0;
    }
    if (owner->draining && !lease->asked) {
        lease->asked = true;
        lease->asked_until_ms = now + l->limits.hand_over_ms;
    }
    if (lease->asked && now >= lease->asked_until_ms && !LEASE_MUTANT(MUTANT_NO_HAND_OVER_LIMIT)) {
        return pass_on(app, lease, now, out);
    }
    if (owner->seen && !lease->confirmed && !LEASE_MUTANT(MUTANT_UNLISTED_STAYS) &&
        now >= lease->listed_ms + l->limits.term_ms) {
        lease->avoid = owner->row.id; /* it does not want it */
        lease->avoid_until_ms = now + (uint64_t)LEASE_CALM_TERMS * l->limits.term_ms;
        lease->avoid_wholly_ms = now + l->limits.term_ms;
        return pass_on(app, lease, now, out);
    }
    return STATUS_OK;
}

static enum status look_at(const struct leases *l, struct app *app, struct lease *lease,
                           uint64_t now, bool gathering, struct lease_effects *out)
{
    if (is_proposed(lease->proposed_ms, now)) {
        app->stirred = true;
        return STATUS_OK;
    }
    if (lease->gone) {
        app->stirred = true;
        lease->proposed_ms = now;
        return effect_add(out, (struct lease_effect){.type = LEASE_FORGET,
                                                     .application = app->id,
                                                     .shard = lease->row.shard});
    }
    if (lease->row.finished) {
        return STATUS_OK;
    }
    const struct worker *owner = lease->row.worker == 0 ? NULL : worker_get(app, lease->row.worker);
    if (owner != NULL) {
        enum status status = look_at_owned(l, app, lease, owner, now, out);
        /* It has a time limit, which whoever looks only now and then would overlook. */
        app->stirred = app->stirred || lease->asked || !lease->confirmed;
        return status;
    }
    app->stirred = app->stirred || gathering;
    if (gathering || lease_parent_open(app, lease) != NULL) {
        return STATUS_OK;
    }
    return pass_on(app, lease, now, out);
}

static bool is_gathering(struct app *app, uint64_t now)
{
    bool all = app->wait_for_known;
    for (size_t i = 0; i < app->worker_count && all; i++) {
        all = app->worker[i]->seen;
    }
    if (all || now >= app->gather_until_ms) {
        app->gather_until_ms = 0;
        app->wait_for_known = false;
    }
    return app->gather_until_ms != 0;
}

enum status app_run(struct leases *l, struct app *app, uint64_t now, struct lease_effects *out)
{
    enum status status = end_workers(l, app, now, out);
    if (status == STATUS_OK) {
        status = update_streams(l, app, now, out);
    }
    bool gathering = is_gathering(app, now);
    if (status == STATUS_OK && !app->stirred && now < app->whole_ms) {
        return STATUS_OK; /* all leases have owners who renew them */
    }
    app->stirred = gathering;
    app->whole_ms = now + LEASE_WHOLE_MS;
    count_loads(app, now);
    for (size_t i = 0; i < app->lease_count && status == STATUS_OK; i++) {
        status = look_at(l, app, app->lease[i], now, gathering, out);
    }
    if (status == STATUS_OK && !gathering) {
        app_balance(l, app, now);
    }
    app->stirred = app->stirred || status != STATUS_OK;
    return status;
}
