/* Counters, gauges and histograms, and the text in which Prometheus reads them (exposition format
 * 0.0.4).
 *
 * Whoever counts does so in plain fields of its own, on its own thread: no lock, no look-up, no
 * allocation. A page is written on that thread when somebody asks for it: families one after
 * another, each with its samples. Every family has at most METRICS_SERIES_MAX samples; what is left
 * out is counted and told by metrics_finish(). Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

enum { METRICS_SERIES_MAX = 2000, HISTOGRAM_BUCKETS = 16 };

/* Durations in microseconds, in buckets from 100 us to 10 s. A zeroed struct is empty. */
struct histogram {
    uint64_t bucket[HISTOGRAM_BUCKETS + 1]; /* the last: longer than all bounds */
    uint64_t count, sum_us;
};

void histogram_note(struct histogram *histogram, uint64_t us);
/* The upper bound of a bucket but the last. */
uint64_t histogram_bound_us(uint32_t bucket);

/* A page under construction. A zeroed struct is empty. */
struct metrics {
    struct buf out;
    const char *family;
    enum metric_type type;
    uint32_t series;   /* of the family */
    uint64_t left_out; /* of all */
    bool failed;       /* out of memory: the page must not be given out */
};

/* Names and help are ours: [a-z_][a-z0-9_]*, and one line without backslashes. A family appears
 * once on a page, and all its samples follow it. */
void metrics_family(struct metrics *m, const char *name, enum metric_type type, const char *help);

/* A sample of the current family; then pairs of a label's name and value, and NULL. Values may be
 * any text. */
void metrics_put(struct metrics *m, double value, ...) __attribute__((sentinel));
void metrics_put_histogram(struct metrics *m, const struct histogram *histogram, ...)
    __attribute__((sentinel));

/* A family with one sample and no labels. */
void metrics_one(struct metrics *m, const char *name, enum metric_type type, const char *help,
                 double value);

/* Tells how much was left out; the page is complete. */
void metrics_finish(struct metrics *m);
void metrics_release(struct metrics *m);
