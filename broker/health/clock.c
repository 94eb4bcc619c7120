#include "broker/health/clock.h"

#include <stddef.h>

void cluster_clock_init(struct cluster_clock *clock)
{
    *clock = (struct cluster_clock){0};
}

static uint64_t apart(int64_t a, int64_t b)
{
    return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

static bool is_fresh(const struct cluster_clock_source *source, uint64_t now_ms)
{
    return source->known && now_ms < source->at_ms + CLUSTER_CLOCK_FRESH_MS;
}

/* The fresh ones, ascending. */
static uint32_t gather(const struct cluster_clock *clock, uint64_t now_ms,
                       int64_t out[CLUSTER_CLOCK_SOURCES_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < CLUSTER_CLOCK_SOURCES_MAX; i++) {
        if (!is_fresh(&clock->source[i], now_ms)) {
            continue;
        }
        uint32_t at = count++;
        for (; at > 0 && out[at - 1] > clock->source[i].ahead_ms; at--) {
            out[at] = out[at - 1];
        }
        out[at] = clock->source[i].ahead_ms;
    }
    return count;
}

/* Of two in the middle, the one that changes less. */
static void choose(struct cluster_clock *clock, uint32_t of, uint64_t now_ms, uint64_t wall_ms)
{
    int64_t sorted[CLUSTER_CLOCK_SOURCES_MAX];
    uint32_t count = gather(clock, now_ms, sorted);
    if (count == 0 || (clock->known && count <= of / 2)) {
        return;
    }
    int64_t before = clock->known ? clock->ahead_ms : (int64_t)(wall_ms - now_ms);
    int64_t low = sorted[(count - 1) / 2], high = sorted[count / 2];
    clock->ahead_ms = apart(before, low) <= apart(before, high) ? low : high;
    clock->known = true;
}

void cluster_clock_heard(struct cluster_clock *clock, uint32_t i, uint32_t of, uint64_t asked_ms,
                         uint64_t heard_ms, uint64_t theirs_ms, uint64_t wall_ms)
{
    uint64_t trip_ms = heard_ms - asked_ms;
    if (i >= CLUSTER_CLOCK_SOURCES_MAX || heard_ms < asked_ms ||
        trip_ms > CLUSTER_CLOCK_TRIP_MS_MAX) {
        return;
    }
    struct cluster_clock_source *source = &clock->source[i];
    /* A way that takes much longer than the last one did measures worse: that one is believed for
     * a while yet. */
    if (!is_fresh(source, heard_ms) || trip_ms <= 2 * (uint64_t)source->trip_ms + 10) {
        *source = (struct cluster_clock_source){
            .known = true,
            .ahead_ms = (int64_t)(theirs_ms - (asked_ms + trip_ms / 2)),
            .at_ms = heard_ms,
            .trip_ms = (uint32_t)trip_ms,
        };
    }
    choose(clock, of, heard_ms, wall_ms);
    int64_t offset = cluster_clock_offset_ms(clock, heard_ms, wall_ms);
    if (offset > CLUSTER_CLOCK_FAR_MS || offset < -CLUSTER_CLOCK_FAR_MS) {
        clock->far_ms = heard_ms;
    }
}

uint64_t cluster_clock_ms(const struct cluster_clock *clock, uint64_t now_ms, uint64_t wall_ms)
{
    return clock->known ? now_ms + (uint64_t)clock->ahead_ms : wall_ms;
}

uint64_t cluster_clock_clamped_ms(const struct cluster_clock *clock, uint64_t now_ms,
                                  uint64_t wall_ms)
{
    uint64_t cluster_ms = cluster_clock_ms(clock, now_ms, wall_ms);
    uint64_t least = cluster_ms > CLUSTER_CLOCK_CLAMP_MS ? cluster_ms - CLUSTER_CLOCK_CLAMP_MS : 0;
    uint64_t most = cluster_ms + CLUSTER_CLOCK_CLAMP_MS;
    return wall_ms < least ? least : wall_ms > most ? most : wall_ms;
}

int64_t cluster_clock_offset_ms(const struct cluster_clock *clock, uint64_t now_ms,
                                uint64_t wall_ms)
{
    return (int64_t)(wall_ms - cluster_clock_ms(clock, now_ms, wall_ms));
}

bool cluster_clock_is_far(const struct cluster_clock *clock, uint64_t now_ms)
{
    return clock->far_ms != 0 && now_ms < clock->far_ms + CLUSTER_CLOCK_HOLD_MS;
}
