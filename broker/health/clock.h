/* What time it is in the cluster: the middle one of the controllers' clocks, as this broker has
 * measured them against its own monotonic clock, half of the way there and back taken off
 * (docs/replication.md 2.9, "clock jumps").
 *
 * So the broker's own wall clock may be wrong, jump or stand still: append times are never further
 * from cluster time than CLUSTER_CLOCK_CLAMP_MS. Once known, cluster time goes on by the monotonic
 * clock while controllers are away; what less than half of them say then changes nothing. Before
 * anything is known, it is the wall clock.
 *
 * Pure: no clock, no I/O. One thread. Times are milliseconds. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    CLUSTER_CLOCK_SOURCES_MAX = 16,
    CLUSTER_CLOCK_EVERY_MS = 1000, /* how often to ask */
    CLUSTER_CLOCK_CLAMP_MS = 500,
    CLUSTER_CLOCK_FAR_MS = 2000, /* a wall clock that is further off is one to tell of, … */
    CLUSTER_CLOCK_HOLD_MS = 5 * 60 * 1000, /* … and for so long afterwards */
    CLUSTER_CLOCK_TRIP_MS_MAX = 1000,      /* longer ways there and back measure nothing */
    CLUSTER_CLOCK_FRESH_MS = 10 * 1000,
};

struct cluster_clock {
    struct cluster_clock_source {
        bool known;
        int64_t ahead_ms; /* of our monotonic clock */
        uint64_t at_ms;   /* when it was measured, on our monotonic clock */
        uint32_t trip_ms;
    } source[CLUSTER_CLOCK_SOURCES_MAX];
    bool known;
    int64_t ahead_ms; /* cluster time is the monotonic clock and this */
    uint64_t far_ms;  /* when our wall clock was too far off last; 0: never */
};

void cluster_clock_init(struct cluster_clock *clock);

/* Source `i` of `of` (the controllers that there are) said `theirs_ms`; we asked at `asked_ms` and
 * heard at `heard_ms`, both monotonic. `wall_ms`: our own wall clock. */
void cluster_clock_heard(struct cluster_clock *clock, uint32_t i, uint32_t of, uint64_t asked_ms,
                         uint64_t heard_ms, uint64_t theirs_ms, uint64_t wall_ms);

/* Cluster time. */
uint64_t cluster_clock_ms(const struct cluster_clock *clock, uint64_t now_ms, uint64_t wall_ms);
/* `wall_ms`, but no further from cluster time than CLUSTER_CLOCK_CLAMP_MS. */
uint64_t cluster_clock_clamped_ms(const struct cluster_clock *clock, uint64_t now_ms,
                                  uint64_t wall_ms);
/* How far ahead the wall clock is; 0 while nothing is known. */
int64_t cluster_clock_offset_ms(const struct cluster_clock *clock, uint64_t now_ms,
                                uint64_t wall_ms);
/* Whether the wall clock is too far off for a leader, or was within CLUSTER_CLOCK_HOLD_MS. */
bool cluster_clock_is_far(const struct cluster_clock *clock, uint64_t now_ms);
