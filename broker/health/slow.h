/* Whether this broker is slow while others are not: a disk that takes long and does not fail, a
 * process that gets no processor (docs/replication.md 2.9, "slow leader").
 *
 * Once a second it is told how long syncs took and how late the loop was, and how that was for the
 * others. Slow is who is more than `factor` times as slow as the middle one of those others, and
 * slower than a floor, in every look for SLOW_AFTER_MS; and stays so until SLOW_HOLD_MS have passed
 * without that. When the others are as slow, nobody is: there is nowhere better to go.
 *
 * Pure: no clock, no I/O. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/metrics.h"

enum {
    SLOW_EVERY_MS = 1000,
    SLOW_WINDOW = 3, /* looks that a figure is of: one hiccup does not last for SLOW_AFTER_MS */
    SLOW_AFTER_MS = 10 * 1000,
    SLOW_HOLD_MS = 5 * 60 * 1000,
    SLOW_SYNC_FLOOR_US = 50 * 1000,
    SLOW_STALL_FLOOR_US = 200 * 1000,
    SLOW_PEERS_MAX = 256,
};

/* Of the last SLOW_WINDOW looks. 0: not known, nothing was synced. */
struct slow_figures {
    uint32_t sync_us;  /* 99 of 100 journal writes took no longer */
    uint32_t stall_us; /* the latest that the loop was */
};

enum slowness { SLOW_NOT, SLOW_DISK, SLOW_LOOP };

/* One thing that may be slow. */
struct slow_watch {
    uint64_t above_ms; /* since when every look found it slow; 0: the last did not */
    uint64_t found_ms; /* when it was slow last; 0: never */
};

struct slow {
    uint32_t factor; /* 0: nothing is ever slow */
    struct histogram seen, window[SLOW_WINDOW];
    uint64_t in_flight_us[SLOW_WINDOW];
    uint32_t stall_us[SLOW_WINDOW], at;
    bool started;
    struct slow_watch disk, loop;
    struct slow_figures figures;
};

void slow_init(struct slow *slow, uint32_t factor);

/* The loop came so late to something that had a time. */
void slow_note_stall(struct slow *slow, uint64_t us);

/* A look. `syncs`: all of them so far; `in_flight_us`: for how long the one under way has taken, 0:
 * none is. `peers`: what the others say of themselves. */
void slow_look(struct slow *slow, uint64_t now_ms, const struct histogram *syncs,
               uint64_t in_flight_us, const struct slow_figures *peers, size_t peer_count);

/* What to tell the others, and what is wrong. */
struct slow_figures slow_figures(const struct slow *slow);
enum slowness slow_is(const struct slow *slow, uint64_t now_ms);

/* For pages: what 99 of 100 took no longer than, 0: there are none. The last bucket has no bound:
 * UINT32_MAX. */
uint32_t slow_p99_us(const struct histogram *histogram);
