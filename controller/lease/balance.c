/* Loads become equal: owners are asked for leases, a few at a time, each of which makes the larger
 * of two loads smaller. Three things keep leases from wandering about with every breath of traffic:
 * differences within a band are none, smaller ones must have lasted for a term, and a lease that
 * has been moved stays for some terms. */
#include <stdlib.h>

#include "controller/lease/internal.h"

static int by_load(const void *a, const void *b)
{
    const struct worker *x = *(struct worker *const *)a, *y = *(struct worker *const *)b;
    if (x->load != y->load) {
        return x->load > y->load ? -1 : 1;
    }
    return x->row.id < y->row.id ? -1 : 1;
}

static bool is_movable(const struct lease *lease, const struct worker *to, uint64_t now)
{
    return lease->confirmed && !lease->asked && !lease->gone && !lease->row.finished &&
           now >= lease->calm_ms && !is_proposed(lease->proposed_ms, now) &&
           worker_takes(to, lease->row.shard);
}

/* The largest lease that is well below half the difference; without one the smallest that makes the
 * larger load smaller at all. NULL: none. */
static struct lease *choose(const struct app *app, const struct worker *from,
                            const struct worker *to, uint64_t mean, uint64_t now)
{
    uint64_t difference = from->load - to->load;
    uint64_t fitting = difference / 2 * LEASE_DAMPING_PERCENT / 100;
    struct lease *best = NULL, *smallest = NULL;
    for (struct lease *lease = from->first; lease != NULL; lease = lease->next_of_owner) {
        uint64_t weight = lease_weight(app, lease);
        /* What only turns the difference round would come back. */
        if (weight >= difference || (difference - weight) * 100 <= mean * LEASE_BAND_PERCENT ||
            !is_movable(lease, to, now)) {
            continue;
        }
        if (weight <= fitting && (best == NULL || weight > lease_weight(app, best))) {
            best = lease;
        }
        if (smallest == NULL || weight < lease_weight(app, smallest)) {
            smallest = lease;
        }
    }
    return best != NULL ? best : smallest;
}

struct balance {
    struct app *app;
    struct worker **taker; /* by load, the heaviest first */
    size_t count;
    uint64_t mean;
    uint64_t now;
};

/* Loads that differ by less are equal. */
static bool is_even(const struct balance *b, uint64_t difference, uint64_t percent)
{
    return difference <= 1 || difference * 100 <= b->mean * percent;
}

static bool find_move(const struct balance *b, struct lease **out_lease, struct worker **out_from,
                      struct worker **out_to)
{
    for (size_t h = 0; h < b->count; h++) {
        struct worker *from = b->taker[h];
        if (is_even(b, from->load - b->taker[b->count - 1]->load, LEASE_BAND_PERCENT)) {
            return false;
        }
        for (size_t k = b->count; k > h + 1; k--) {
            struct worker *to = b->taker[k - 1];
            if (is_even(b, from->load - to->load, LEASE_BAND_PERCENT)) {
                break;
            }
            struct lease *lease = choose(b->app, from, to, b->mean, b->now);
            if (lease != NULL) {
                *out_lease = lease;
                *out_from = from;
                *out_to = to;
                return true;
            }
        }
    }
    return false;
}

/* Hand-overs for the sake of balance that have not ended. */
static uint32_t moves_under_way(const struct app *app)
{
    uint32_t moves = 0;
    for (size_t i = 0; i < app->lease_count; i++) {
        moves += app->lease[i]->asked && app->lease[i]->heir != 0;
    }
    return moves;
}

/* A great difference is evened out at once: a worker is new, or has come back. A small one only
 * when it lasts. */
static bool has_lasted(const struct leases *l, const struct balance *b)
{
    struct app *app = b->app;
    uint64_t difference = b->taker[0]->load - b->taker[b->count - 1]->load;
    if (is_even(b, difference, LEASE_BAND_PERCENT)) {
        app->uneven_since_ms = 0;
        return false;
    }
    if (app->uneven_since_ms == 0) {
        app->uneven_since_ms = b->now;
    }
    return !is_even(b, difference, 50) || b->now >= app->uneven_since_ms + l->limits.term_ms;
}

static uint32_t moves_max(const struct leases *l, const struct app *app)
{
    uint32_t share = app->unfinished / LEASE_MOVES_SHARE;
    return l->limits.moves != 0 ? l->limits.moves : share > LEASE_MOVES ? share : LEASE_MOVES;
}

static void move_some(struct leases *l, struct balance *b, uint32_t moves)
{
    struct lease *lease;
    struct worker *from, *to;
    while ((moves < moves_max(l, b->app) || LEASE_MUTANT(MUTANT_MOVES_UNBOUNDED)) &&
           find_move(b, &lease, &from, &to)) {
        uint64_t weight = lease_weight(b->app, lease);
        b->app->stirred = true;
        lease->asked = true;
        lease->heir = to->row.id;
        lease->asked_until_ms = b->now + l->limits.hand_over_ms;
        lease->calm_ms = b->now + (uint64_t)LEASE_CALM_TERMS * l->limits.term_ms;
        from->load -= weight;
        from->leases--;
        to->load += weight;
        to->leases++;
        to->incoming++;
        moves++;
        qsort((void *)b->taker, b->count, sizeof(struct worker *), by_load);
    }
}

void app_balance(struct leases *l, struct app *app, uint64_t now)
{
    uint32_t moves = moves_under_way(app);
    if (app->takers < 2 || LEASE_MUTANT(MUTANT_NO_BALANCE) || moves >= moves_max(l, app)) {
        return;
    }
    struct balance b = {.app = app, .now = now};
    b.taker = calloc(app->worker_count, sizeof(struct worker *));
    if (b.taker == NULL) {
        return; /* loads stay as they are for a while */
    }
    uint64_t total = 0;
    for (size_t i = 0; i < app->worker_count; i++) {
        if (worker_is_taker(app->worker[i])) {
            b.taker[b.count++] = app->worker[i];
            total += app->worker[i]->load;
        }
    }
    b.mean = b.count == 0 ? 0 : total / b.count;
    qsort((void *)b.taker, b.count, sizeof(struct worker *), by_load);
    if (b.count >= 2 && has_lasted(l, &b)) {
        list_owned(app);
        move_some(l, &b, moves);
    }
    free((void *)b.taker);
}
