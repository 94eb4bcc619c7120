#include "broker/health/slow.h"

#include <string.h>

void slow_init(struct slow *slow, uint32_t factor)
{
    *slow = (struct slow){.factor = factor};
}

void slow_note_stall(struct slow *slow, uint64_t us)
{
    uint32_t capped = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
    if (capped > slow->stall_us[slow->at]) {
        slow->stall_us[slow->at] = capped;
    }
}

uint32_t slow_p99_us(const struct histogram *histogram)
{
    uint64_t left = histogram->count / 100; /* so many may have taken longer */
    for (uint32_t i = HISTOGRAM_BUCKETS + 1; i-- > 0;) {
        if (histogram->bucket[i] > left) {
            uint64_t bound = i < HISTOGRAM_BUCKETS ? histogram_bound_us(i) : UINT32_MAX;
            return bound > UINT32_MAX ? UINT32_MAX : (uint32_t)bound;
        }
        left -= histogram->bucket[i];
    }
    return 0;
}

static void add_since(struct histogram *to, const struct histogram *now,
                      const struct histogram *before)
{
    for (uint32_t i = 0; i <= HISTOGRAM_BUCKETS; i++) {
        to->bucket[i] += now->bucket[i] - before->bucket[i];
    }
    to->count += now->count - before->count;
    to->sum_us += now->sum_us - before->sum_us;
}

static struct slow_figures sum_up(const struct slow *slow)
{
    static const struct histogram none;
    struct histogram all = {0};
    uint64_t in_flight_us = 0;
    struct slow_figures out = {0};
    for (uint32_t i = 0; i < SLOW_WINDOW; i++) {
        add_since(&all, &slow->window[i], &none);
        in_flight_us = slow->in_flight_us[i] > in_flight_us ? slow->in_flight_us[i] : in_flight_us;
        out.stall_us = slow->stall_us[i] > out.stall_us ? slow->stall_us[i] : out.stall_us;
    }
    out.sync_us = slow_p99_us(&all);
    /* One that does not end is in no histogram. A short one says nothing: looks catch long ones. */
    if (in_flight_us >= SLOW_SYNC_FLOOR_US && in_flight_us > out.sync_us) {
        out.sync_us = in_flight_us > UINT32_MAX ? UINT32_MAX : (uint32_t)in_flight_us;
    }
    return out;
}

/* Of those that are known, the middle one: the lower of two. 0: none is known. */
static uint32_t middle(const struct slow_figures *peers, size_t count, bool stalls)
{
    uint32_t sorted[SLOW_PEERS_MAX];
    size_t known = 0;
    for (size_t i = 0; i < count && i < SLOW_PEERS_MAX; i++) {
        uint32_t value = stalls ? peers[i].stall_us : peers[i].sync_us;
        if (peers[i].sync_us == 0 && peers[i].stall_us == 0) {
            continue; /* nothing was heard of it yet */
        }
        if (value == 0 && !stalls) {
            continue;
        }
        size_t at = known++;
        for (; at > 0 && sorted[at - 1] > value; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = value == 0 ? 1 : value;
    }
    return known == 0 ? 0 : sorted[(known - 1) / 2];
}

static void judge(struct slow_watch *watch, uint64_t now_ms, uint64_t own, uint64_t others,
                  uint32_t factor, uint64_t floor)
{
    bool above = factor != 0 && others != 0 && own > floor && own > others * factor;
    if (!above) {
        watch->above_ms = 0;
        return;
    }
    watch->above_ms = watch->above_ms == 0 ? now_ms : watch->above_ms;
    if (now_ms >= watch->above_ms + SLOW_AFTER_MS) {
        watch->found_ms = now_ms;
    }
}

void slow_look(struct slow *slow, uint64_t now_ms, const struct histogram *syncs,
               uint64_t in_flight_us, const struct slow_figures *peers, size_t peer_count)
{
    if (slow->started) { /* what was before, recovery among it, is not of our time */
        add_since(&slow->window[slow->at], syncs, &slow->seen);
    }
    slow->started = true;
    slow->seen = *syncs;
    slow->in_flight_us[slow->at] = in_flight_us;
    slow->figures = sum_up(slow);
    judge(&slow->disk, now_ms, slow->figures.sync_us, middle(peers, peer_count, false),
          slow->factor, SLOW_SYNC_FLOOR_US);
    judge(&slow->loop, now_ms, slow->figures.stall_us, middle(peers, peer_count, true),
          slow->factor, SLOW_STALL_FLOOR_US);
    slow->at = (slow->at + 1) % SLOW_WINDOW;
    slow->window[slow->at] = (struct histogram){0};
    slow->in_flight_us[slow->at] = 0;
    slow->stall_us[slow->at] = 0;
}

struct slow_figures slow_figures(const struct slow *slow)
{
    return slow->figures;
}

static bool holds(const struct slow_watch *watch, uint64_t now_ms)
{
    return watch->found_ms != 0 && now_ms < watch->found_ms + SLOW_HOLD_MS;
}

enum slowness slow_is(const struct slow *slow, uint64_t now_ms)
{
    return holds(&slow->disk, now_ms)   ? SLOW_DISK
           : holds(&slow->loop, now_ms) ? SLOW_LOOP
                                        : SLOW_NOT;
}
