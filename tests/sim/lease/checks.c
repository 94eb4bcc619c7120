/* What must hold. U: nobody processes a shard for more than three terms. P: parents before
 * children. O: one owner per counter. C: checkpoints do not go back, and only their owner moves
 * them. T: who renews keeps its leases. M: moves are bounded. B: loads become even. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "tests/sim/lease/world.h"

static bool is_in(struct world *w, const struct sim_worker *worker)
{
    struct db_application app;
    struct db_lease_worker row;
    return worker->alive && db_application_find(w->db, "app", &app) &&
           db_lease_worker_find(w->db, app.id, worker->name, &row) &&
           memcmp(row.incarnation, worker->incarnation, sizeof(row.incarnation)) == 0;
}

void check_before(struct world *w)
{
    for (size_t i = 0; i < WORKERS; i++) {
        w->was_in[i] = is_in(w, &w->worker[i]);
    }
}

static void check_parents(struct world *w, const struct track *track, uint64_t shard)
{
    for (uint32_t i = 0; i < track->parent_count; i++) {
        const struct track *parent = &w->track[world_shard(w, track->parent[i])];
        if (parent->there && !parent->finished && parent->gone_ms == 0) {
            violate(w, "P", "shard %u/%u has an owner before its parent %u is finished",
                    (unsigned)(shard >> 32), (unsigned)shard, (unsigned)track->parent[i]);
        }
    }
}

/* The lease was taken from a worker that still processes it. */
static void check_taken(struct world *w, const struct track *track, uint64_t shard)
{
    struct db_lease_worker row;
    for (size_t i = 0; i < WORKERS; i++) {
        const struct sim_worker *worker = &w->worker[i];
        if (w->resetting || !worker_is_well(w, worker) ||
            !worker_processes(worker, shard, track->counter) ||
            !db_lease_worker_get(w->db, track->worker, &row)) {
            continue;
        }
        uint64_t listed = track->listed_ms > track->owned_ms ? track->listed_ms : track->owned_ms;
        bool asked =
            track->asked_since_ms != 0 && w->now_ms + 200 >= track->asked_since_ms + HAND_OVER_MS;
        bool late = track->late_ms != 0 && w->now_ms < track->late_ms + 1500;
        if (!asked && !late && w->now_ms < listed + TERM_MS) {
            violate(w, "T",
                    "%s processes shard %u/%u and lost it: listed %llu ms ago, had it for %llu ms, "
                    "asked %llu ms ago",
                    worker->name, (unsigned)(shard >> 32), (unsigned)shard,
                    (unsigned long long)(w->now_ms - track->listed_ms),
                    (unsigned long long)(w->now_ms - track->owned_ms),
                    (unsigned long long)(w->now_ms - track->asked_since_ms));
        }
    }
}

static void check_lease(struct world *w, const struct db_lease *row)
{
    struct track *track = &w->track[world_shard(w, row->shard)];
    bool known = track->there && !w->resetting;
    uint64_t offset = row->checkpoint.type == DB_AT_OFFSET ? row->checkpoint.offset : 0;
    bool finished = row->checkpoint.type == DB_SHARD_END;
    CHECK(row->counter < OWNERS_MAX);
    if (row->worker != 0) {
        if (w->owner[row->counter] != 0 && w->owner[row->counter] != row->worker) {
            violate(w, "O", "counter %llu has two owners", (unsigned long long)row->counter);
        }
        w->owner[row->counter] = row->worker;
        if (row->worker != track->worker || row->counter != track->counter) {
            check_parents(w, track, row->shard);
        }
    }
    if (known && row->counter < track->counter) {
        violate(w, "O", "a counter went back");
    }
    if (known && row->counter == track->counter && row->worker != track->worker && !finished) {
        violate(w, "O", "another owner with the same counter");
    }
    if (known && ((track->finished && !finished) || (!finished && offset < track->offset))) {
        violate(w, "C", "the checkpoint of shard %u/%u went back", (unsigned)(row->shard >> 32),
                (unsigned)row->shard);
    }
    if (known && row->counter != track->counter && track->worker != 0) {
        check_taken(w, track, row->shard);
    }
    if (!track->there || row->counter != track->counter) {
        track->owned_ms = w->now_ms;
        track->asked_since_ms = 0;
    }
    track->there = true;
    track->counter = row->counter;
    track->worker = row->worker;
    track->offset = offset;
    track->finished = finished;
}

void check_after(struct world *w)
{
    struct db_lease row;
    const struct db_lease_keys *keys = &db_changes(w->db)->leases;
    for (size_t i = 0; i < keys->count; i++) {
        struct track *track = &w->track[world_shard(w, keys->key[i].shard)];
        if (db_lease_get(w->db, keys->key[i].application, keys->key[i].shard, &row)) {
            check_lease(w, &row);
        } else if (track->there && track->gone_ms == 0 && !w->resetting) {
            violate(w, "C", "the lease of a shard that is kept has gone");
        } else {
            track->there = track->finished = false;
        }
    }
    for (size_t i = 0; i < WORKERS; i++) {
        const struct sim_worker *worker = &w->worker[i];
        if (w->was_in[i] && !is_in(w, worker) && !worker->leaving && worker->joined &&
            w->now_ms < worker->ok_sent_ms + TERM_MS) {
            violate(w, "T", "%s renewed %llu ms ago, and was given up", worker->name,
                    (unsigned long long)(w->now_ms - worker->ok_sent_ms));
        }
    }
}

/* It was accepted: it must have been its owner's. */
void check_checkpoint(struct world *w, const struct mail *mail)
{
    const struct track *track = &w->track[world_shard(w, mail->shard)];
    if (mail->status == STATUS_OK && track->counter != mail->counter) {
        violate(w, "C", "a checkpoint with counter %llu was accepted, it is %llu",
                (unsigned long long)mail->counter, (unsigned long long)track->counter);
    }
}

/* ---- as time goes by
 * ------------------------------------------------------------------------------- */

static bool parents_done(const struct world *w, const struct track *track)
{
    for (uint32_t i = 0; i < track->parent_count; i++) {
        const struct track *parent = &w->track[world_shard(w, track->parent[i])];
        if (parent->there && !parent->finished && parent->gone_ms == 0) {
            return false;
        }
    }
    return true;
}

/* Since when somebody is well who could take it; UINT64_MAX: nobody is. */
static uint64_t takers_since(const struct world *w, uint64_t shard)
{
    uint64_t since = UINT64_MAX;
    for (size_t i = 0; i < WORKERS; i++) {
        const struct sim_worker *worker = &w->worker[i];
        if (worker_is_well(w, worker) && (worker->streams >> ((shard >> 32) - 1) & 1) != 0 &&
            worker->refuses != shard && worker->healthy_ms < since) {
            since = worker->healthy_ms;
        }
    }
    return since;
}

static void check_processed(struct world *w, size_t at)
{
    struct track *track = &w->track[at];
    bool done = !track->there || track->finished || track->gone_ms != 0;
    for (size_t i = 0; i < WORKERS && !done; i++) {
        const struct sim_worker *worker = &w->worker[i];
        done = worker->alive && w->now_ms >= worker->paused_until_ms &&
               worker_processes(worker, w->shard[at], track->counter);
    }
    uint64_t takers = done ? UINT64_MAX : takers_since(w, w->shard[at]);
    if (done || !w->active || takers == UINT64_MAX || !parents_done(w, track)) {
        track->bad_since_ms = 0;
        return;
    }
    track->bad_since_ms = track->bad_since_ms == 0 ? w->now_ms : track->bad_since_ms;
    uint64_t since = track->bad_since_ms;
    since = since < w->active_since_ms ? w->active_since_ms : since;
    since = since < takers ? takers : since;
    /* Each owner that falls silent in its turn, or does not start it, costs a term. */
    uint64_t all = since;
    since = track->worker != 0 && since < track->owned_ms ? track->owned_ms : since;
    if (w->now_ms > since + 3 * (uint64_t)TERM_MS || w->now_ms > all + 6 * (uint64_t)TERM_MS) {
        violate(w, "U", "nobody processes shard %u/%u (counter %llu) since %llu ms",
                (unsigned)(w->shard[at] >> 32), (unsigned)w->shard[at],
                (unsigned long long)track->counter,
                (unsigned long long)(w->now_ms - track->bad_since_ms));
    }
}

static void check_moves(struct world *w)
{
    struct db_application app;
    struct lease_view view;
    struct lease_worker_view owner;
    uint32_t moves = 0;
    if (!w->active || !db_application_find(w->db, "app", &app)) {
        return;
    }
    for (size_t i = 0; i < w->shard_count; i++) {
        struct track *track = &w->track[i];
        if (!track->there ||
            lease_view(w->leases, w->now_ms, app.id, w->shard[i], &view) != STATUS_OK ||
            view.hand_over_ms == 0) {
            track->asked_since_ms = 0;
            continue;
        }
        bool drains =
            lease_worker_view(w->leases, w->now_ms, app.id, track->worker, &owner) == STATUS_OK &&
            owner.draining;
        moves += !drains;
        if (track->asked_since_ms == 0) {
            track->asked_since_ms = w->now_ms;
            w->moves += !drains;
            w->late_moves += w->now_ms > FAULTS_MS + QUIET_MS - 30000;
        }
    }
    if (moves > MOVES) {
        violate(w, "M", "%u leases are being moved at a time", moves);
    }
}

void check_time(struct world *w)
{
    for (size_t i = 0; i < w->shard_count; i++) {
        check_processed(w, i);
    }
    check_moves(w);
}

/* ---- at the end
 * ------------------------------------------------------------------------------------ */

static uint64_t weight(const struct world *w, uint64_t mean, uint64_t shard)
{
    return w->track[world_shard(w, shard)].bytes_per_s + mean / 4 + 1;
}

static void check_even(struct world *w, const struct sim_worker *a, const struct sim_worker *b,
                       uint64_t mean, uint64_t mean_load)
{
    uint64_t load[2] = {0, 0};
    const struct sim_worker *both[2] = {a, b};
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < both[k]->held_count; i++) {
            load[k] += weight(w, mean, both[k]->held[i].shard);
        }
    }
    for (size_t i = 0; load[0] > load[1] && i < a->held_count; i++) {
        uint64_t difference = load[0] - load[1], one = weight(w, mean, a->held[i].shard);
        uint64_t better = one < difference - (one < difference ? one : difference)
                              ? one
                              : difference - (one < difference ? one : difference);
        bool reads = (b->streams >> ((a->held[i].shard >> 32) - 1) & 1) != 0;
        if (reads && difference * 100 > mean_load * 20 && better * 100 > mean_load * 20) {
            violate(w, "B", "%s has %llu, %s has %llu, and a lease of %llu could move", a->name,
                    (unsigned long long)load[0], b->name, (unsigned long long)load[1],
                    (unsigned long long)one);
        }
    }
}

void check_end(struct world *w)
{
    uint64_t sum = 0, count = 0, total = 0, takers = 0;
    for (size_t i = 0; i < w->shard_count; i++) {
        bool counts = w->track[i].there && !w->track[i].finished && w->track[i].gone_ms == 0;
        sum += counts ? w->track[i].bytes_per_s : 0;
        count += counts;
    }
    uint64_t mean = count == 0 ? 0 : sum / count;
    total = sum + count * (mean / 4 + 1);
    for (size_t i = 0; i < WORKERS; i++) {
        takers += worker_is_well(w, &w->worker[i]);
    }
    if (takers < WORKERS / 2) {
        violate(w, "T", "only %llu workers are in at the end", (unsigned long long)takers);
    }
    for (size_t a = 0; a < WORKERS; a++) {
        for (size_t b = 0; b < WORKERS; b++) {
            if (a != b && worker_is_well(w, &w->worker[a]) && worker_is_well(w, &w->worker[b])) {
                check_even(w, &w->worker[a], &w->worker[b], mean, total / takers);
            }
        }
    }
    if (w->late_moves > 6) {
        violate(w, "B", "%llu leases were moved in the last 30 s, although nothing happened",
                (unsigned long long)w->late_moves);
    }
}
