/* All crash points of a trace: at every step, several fates of what was not synced. */
#pragma once

#include "tests/crash/trace.h"

struct points {
    struct medium medium;
    struct rng rng;
    uint32_t random; /* random subsets at each step */
    uint64_t count, distinct;
    uint64_t *seen; /* hashes of images with what the owner expected of them */
    uint64_t seen_count, seen_capacity;
    char what[96]; /* the point that is being looked at, for messages */

    /* Called for every image that differs from those before it. `expected` (see below) included. */
    void (*each)(void *context, const struct image *image);
    /* A number that stands for what must be found at this step. */
    uint64_t (*expected)(void *context);
    void *context;
};

void points_init(struct points *points, const struct trace *trace, uint64_t seed);
void points_release(struct points *points);
/* From step `from` to step `to` of the trace; may be called once. */
void points_run(struct points *points, uint32_t from, uint32_t to);
/* One random fate of what a medium has not yet; the caller releases *out. */
void points_random(const struct medium *medium, struct rng *rng, struct image *out);

/* The message of a check that failed says which point it was. */
void points_explain_failures(struct points *points);
