#include "tests/crash/points.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

static struct points *current;

static void explain(void)
{
    if (current != NULL) {
        /* NOLINTNEXTLINE(bugprone-signal-handler,cert-sig30-c): the process ends with it */
        (void)fprintf(stderr, "at crash point %s\n", current->what);
    }
}

static void aborted(int signal_number)
{
    explain();
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

void points_explain_failures(struct points *points)
{
    static bool done;
    current = points;
    if (!done) {
        (void)atexit(explain);
        (void)signal(SIGABRT, aborted);
        (void)signal(SIGSEGV, aborted);
        done = true;
    }
}

void points_init(struct points *points, const struct trace *trace, uint64_t seed)
{
    *points = (struct points){.seen_capacity = 1U << 16};
    points->seen = calloc(points->seen_capacity, sizeof(*points->seen));
    CHECK(points->seen != NULL);
    medium_init(&points->medium, trace);
    rng_init(&points->rng, seed);
}

void points_release(struct points *points)
{
    free(points->seen);
    medium_release(&points->medium);
}

static bool seen_add(struct points *points, uint64_t hash)
{
    hash |= 1;
    uint64_t mask = points->seen_capacity - 1;
    uint64_t slot = (hash >> 8) & mask;
    while (points->seen[slot] != 0) {
        if (points->seen[slot] == hash) {
            return false;
        }
        slot = (slot + 1) & mask;
    }
    points->seen[slot] = hash;
    points->seen_count++;
    if (2 * points->seen_count > points->seen_capacity) {
        uint64_t *old = points->seen, capacity = points->seen_capacity;
        points->seen_capacity = 2 * capacity;
        points->seen_count = 0;
        points->seen = calloc(points->seen_capacity, sizeof(*points->seen));
        CHECK(points->seen != NULL);
        for (uint64_t i = 0; i < capacity; i++) {
            if (old[i] != 0) {
                (void)seen_add(points, old[i]);
            }
        }
        free(old);
    }
    return true;
}

static void look(struct points *points, const struct fate *fate)
{
    struct image image;
    medium_crash(&points->medium, fate, &image);
    points->count++;
    uint64_t hash = image_hash(&image) ^ points->expected(points->context) * 0x9e3779b97f4a7c15u;
    if (seen_add(points, hash)) {
        points->distinct++;
        points->each(points->context, &image);
    }
    image_release(&image);
}

/* ---- fates ---- */

struct choice {
    uint32_t pending, sectors;
    bool others;
    struct rng *rng;
};

static bool keep_others(void *context, uint32_t pending, const struct trace_op *op, uint32_t sector)
{
    const struct choice *choice = context;
    (void)op;
    return pending == choice->pending ? sector < choice->sectors : choice->others;
}

/* The end of the write arrives, its beginning does not. */
static bool keep_end(void *context, uint32_t pending, const struct trace_op *op, uint32_t sector)
{
    const struct choice *choice = context;
    (void)op;
    return pending == choice->pending ? sector >= choice->sectors : choice->others;
}

static bool keep_random(void *context, uint32_t pending, const struct trace_op *op, uint32_t sector)
{
    const struct choice *choice = context;
    (void)pending;
    (void)op;
    (void)sector;
    return rng_once_in(choice->rng, 2) != 0;
}

static void look_at(struct points *points, struct choice choice,
                    bool (*keep)(void *, uint32_t, const struct trace_op *, uint32_t),
                    const char *name)
{
    (void)snprintf(points->what, sizeof(points->what), "%u: %s, write %u, %u sectors, others %s",
                   points->medium.at, name, choice.pending, choice.sectors,
                   choice.others ? "kept" : "lost");
    struct fate fate = {.keep = keep, .context = &choice};
    look(points, &fate);
}

static void look_around(struct points *points)
{
    const struct medium *medium = &points->medium;
    uint32_t none = medium->pending_count;
    look_at(points, (struct choice){.pending = none}, keep_others, "all lost");
    look_at(points, (struct choice){.pending = none, .others = true}, keep_others, "all kept");
    for (uint32_t i = 0; i < medium->pending_count; i++) {
        look_at(points, (struct choice){.pending = i, .others = true}, keep_others, "one lost");
    }
    if (medium->pending_count == 0) {
        return;
    }
    uint32_t last = medium->pending_count - 1;
    uint32_t sectors = trace_sectors(&medium->trace->op[medium->pending[last]]);
    for (uint32_t s = 1; s < sectors; s++) {
        look_at(points, (struct choice){.pending = last, .sectors = s}, keep_others, "torn");
        look_at(points, (struct choice){.pending = last, .sectors = s, .others = true}, keep_others,
                "torn");
        look_at(points, (struct choice){.pending = last, .sectors = s, .others = true}, keep_end,
                "end only");
    }
    for (uint32_t i = 0; i < points->random; i++) {
        look_at(points, (struct choice){.pending = i, .rng = &points->rng}, keep_random, "random");
    }
}

void points_run(struct points *points, uint32_t from, uint32_t to)
{
    while (points->medium.at < to) {
        medium_step(&points->medium);
        /* A sync or a note takes no choice away that the step before it did not have, but says
         * more of what must be there. */
        if (points->medium.at > from) {
            look_around(points);
        }
    }
}

void points_random(const struct medium *medium, struct rng *rng, struct image *out)
{
    struct choice choice = {.pending = UINT32_MAX, .rng = rng, .others = rng_once_in(rng, 2) != 0};
    struct fate fate = {.keep = rng_once_in(rng, 2) ? keep_random : keep_others,
                        .context = &choice};
    medium_crash(medium, &fate, out);
}
