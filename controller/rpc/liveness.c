#include "controller/rpc/liveness.h"

#include <stdlib.h>
#include <string.h>

void liveness_init(struct liveness *liveness, uint64_t timeout_ms, uint64_t grace_ms)
{
    *liveness = (struct liveness){.timeout_ms = timeout_ms, .grace_ms = grace_ms};
}

void liveness_release(struct liveness *liveness)
{
    free(liveness->broker);
    *liveness = (struct liveness){0};
}

void liveness_clear(struct liveness *liveness)
{
    liveness->count = 0;
    liveness->checked_ms = 0;
    liveness->hold_ms = 0;
}

static size_t position(const struct liveness *liveness, uint32_t id)
{
    size_t low = 0, high = liveness->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (liveness->broker[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct liveness_broker *liveness_get(const struct liveness *liveness, uint32_t id)
{
    size_t at = position(liveness, id);
    return at < liveness->count && liveness->broker[at].id == id ? &liveness->broker[at] : NULL;
}

static struct liveness_broker *get_or_add(struct liveness *liveness, uint32_t id)
{
    size_t at = position(liveness, id);
    if (at < liveness->count && liveness->broker[at].id == id) {
        return &liveness->broker[at];
    }
    if (liveness->count == liveness->capacity) {
        size_t capacity = liveness->capacity == 0 ? 16 : 2 * liveness->capacity;
        struct liveness_broker *grown = realloc(liveness->broker, capacity * sizeof(*grown));
        if (grown == NULL) {
            return NULL;
        }
        liveness->broker = grown;
        liveness->capacity = capacity;
    }
    struct liveness_broker *place = &liveness->broker[at];
    memmove(place + 1, place, (liveness->count - at) * sizeof(*place));
    liveness->count++;
    *place = (struct liveness_broker){.id = id};
    return place;
}

enum status liveness_expect(struct liveness *liveness, uint64_t now_ms, uint32_t id, uint64_t boot)
{
    struct liveness_broker *broker = get_or_add(liveness, id);
    if (broker == NULL) {
        return STATUS_NO_MEMORY;
    }
    *broker = (struct liveness_broker){.id = id, .boot = boot, .beat_ms = now_ms};
    return STATUS_OK;
}

enum status liveness_was_dead(struct liveness *liveness, uint64_t now_ms, uint32_t id,
                              uint64_t boot, uint64_t ago_ms)
{
    if (ago_ms >= LIVENESS_BUDGET_MS) {
        return STATUS_OK;
    }
    struct liveness_broker *broker = get_or_add(liveness, id);
    if (broker == NULL) {
        return STATUS_NO_MEMORY;
    }
    *broker = (struct liveness_broker){.id = id,
                                       .boot = boot,
                                       .beat_ms = now_ms,
                                       .dead = true,
                                       .dead_ms = ago_ms < now_ms ? now_ms - ago_ms : 0};
    return STATUS_OK;
}

enum status liveness_up(struct liveness *liveness, uint64_t now_ms, uint32_t id, uint64_t boot,
                        uint32_t disk_gen, void *session)
{
    struct liveness_broker *broker = get_or_add(liveness, id);
    if (broker == NULL) {
        return STATUS_NO_MEMORY;
    }
    *broker = (struct liveness_broker){
        .id = id,
        .zone = broker->zone,
        .disk_gen = disk_gen,
        .boot = boot,
        .here = true,
        .up_ms = now_ms,
        .beat_ms = now_ms,
        .session = session,
    };
    return STATUS_OK;
}

void liveness_lost(struct liveness *liveness, uint64_t now_ms, uint32_t id, const void *session)
{
    struct liveness_broker *broker = liveness_get(liveness, id);
    if (broker != NULL && broker->here && broker->session == session) {
        broker->here = false;
        broker->session = NULL;
        broker->lost = true;
        broker->lost_ms = now_ms;
    }
}

void liveness_removed(struct liveness *liveness, uint32_t id)
{
    struct liveness_broker *broker = liveness_get(liveness, id);
    if (broker != NULL) {
        broker->removed = true;
    }
}

void liveness_beat(struct liveness *liveness, uint64_t now_ms, uint32_t id, const uint32_t *reset,
                   size_t reset_count)
{
    struct liveness_broker *broker = liveness_get(liveness, id);
    if (broker == NULL || !broker->here) {
        return;
    }
    broker->beat_ms = now_ms;
    broker->reset_count =
        (uint32_t)(reset_count > LIVENESS_RESETS_MAX ? LIVENESS_RESETS_MAX : reset_count);
    if (broker->reset_count > 0) {
        memcpy(broker->reset, reset, broker->reset_count * sizeof(*reset));
    }
}

void liveness_reaches(struct liveness *liveness, uint32_t id, const uint32_t *reached,
                      size_t reached_count)
{
    struct liveness_broker *broker = liveness_get(liveness, id);
    if (broker == NULL || !broker->here) {
        return;
    }
    broker->reached_count =
        (uint32_t)(reached_count > LIVENESS_REACHED_MAX ? LIVENESS_REACHED_MAX : reached_count);
    if (broker->reached_count > 0) {
        memcpy(broker->reached, reached, broker->reached_count * sizeof(*reached));
    }
}

void liveness_in_zone(struct liveness *liveness, uint32_t id, uint32_t zone)
{
    struct liveness_broker *broker = liveness_get(liveness, id);
    if (broker != NULL) {
        broker->zone = zone;
    }
}

void liveness_tick(struct liveness *liveness, uint64_t now_ms)
{
    uint64_t gap = liveness->checked_ms == 0 ? 0 : now_ms - liveness->checked_ms;
    liveness->checked_ms = now_ms;
    for (size_t i = 0; gap > LIVENESS_STALL_MS && i < liveness->count; i++) {
        struct liveness_broker *broker = &liveness->broker[i];
        broker->beat_ms = broker->beat_ms + gap < now_ms ? broker->beat_ms + gap : now_ms;
        broker->lost_ms = broker->lost_ms + gap < now_ms ? broker->lost_ms + gap : now_ms;
    }
}

/* Whether a living broker's last beat says that the session to `id` was reset; what was said before
 * `id` came up is about its process before. */
static bool others_lost_it(const struct liveness *liveness, const struct liveness_broker *it)
{
    for (size_t i = 0; i < liveness->count; i++) {
        const struct liveness_broker *other = &liveness->broker[i];
        if (!other->here || other->dead || other == it || other->beat_ms < it->up_ms) {
            continue;
        }
        for (uint32_t r = 0; r < other->reset_count; r++) {
            if (other->reset[r] == it->id) {
                return true;
            }
        }
    }
    return false;
}

static bool is_dead(const struct liveness *liveness, const struct liveness_broker *broker,
                    uint64_t now_ms)
{
    if (now_ms >= broker->beat_ms + liveness->timeout_ms) {
        return true;
    }
    return broker->lost &&
           (now_ms >= broker->lost_ms + liveness->grace_ms || others_lost_it(liveness, broker));
}

static bool reaches(const struct liveness_broker *broker, uint32_t id)
{
    for (uint32_t i = 0; i < broker->reached_count; i++) {
        if (broker->reached[i] == id) {
            return true;
        }
    }
    return false;
}

/* Whether the zone of broker `at` is one that no broker before it has, of those that count. */
static bool is_another_zone(const struct liveness *liveness, const bool *counts, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (counts[i] && liveness->broker[i].zone == liveness->broker[at].zone) {
            return false;
        }
    }
    return true;
}

/* Whether brokers of two zones reach it, or of as many as we hear of. */
static bool is_reached(const struct liveness *liveness, const struct liveness_broker *it,
                       uint64_t now_ms)
{
    uint32_t zones = 0, reached_from = 0;
    bool heard[LIVENESS_REACHED_MAX] = {0}, reach[LIVENESS_REACHED_MAX] = {0};
    for (size_t i = 0; i < liveness->count && i < LIVENESS_REACHED_MAX; i++) {
        const struct liveness_broker *other = &liveness->broker[i];
        heard[i] = other->here && !other->dead && other != it &&
                   now_ms < other->beat_ms + liveness->timeout_ms;
        reach[i] = heard[i] && reaches(other, it->id);
        zones += heard[i] && is_another_zone(liveness, heard, i) ? 1 : 0;
        reached_from += reach[i] && is_another_zone(liveness, reach, i) ? 1 : 0;
    }
    return reached_from >= 2 || (zones > 0 && reached_from == zones);
}

/* Others reach it, and that has not been so for too long: nobody takes its leaderships. */
static bool is_isolated(const struct liveness *liveness, struct liveness_broker *broker,
                        uint64_t now_ms)
{
    if (broker->consented || broker->removed ||
        (broker->lost && others_lost_it(liveness, broker)) ||
        !is_reached(liveness, broker, now_ms)) {
        broker->isolated_ms = 0;
        return false;
    }
    broker->isolated_ms = broker->isolated_ms == 0 ? now_ms : broker->isolated_ms;
    return now_ms < broker->isolated_ms + LIVENESS_ISOLATED_MS;
}

/* Whether one more may be judged dead. */
static bool within_budget(const struct liveness *liveness, uint64_t now_ms)
{
    uint64_t until_ms = liveness->hold_ms != 0 ? liveness->hold_ms : now_ms;
    size_t dead = 0, watched = 0;
    for (size_t i = 0; i < liveness->count; i++) {
        const struct liveness_broker *broker = &liveness->broker[i];
        if (broker->removed) {
            continue;
        }
        watched++;
        dead += broker->dead && broker->dead_ms + LIVENESS_BUDGET_MS > until_ms ? 1 : 0;
    }
    size_t total = liveness->total > watched ? liveness->total : watched;
    size_t most = total * LIVENESS_BUDGET_PERCENT / 100;
    return dead < (most > 0 ? most : 1);
}

struct liveness_broker *liveness_next_dead(struct liveness *liveness, uint64_t now_ms)
{
    bool any = false;
    for (size_t i = 0; i < liveness->count; i++) {
        struct liveness_broker *broker = &liveness->broker[i];
        if (broker->dead) {
            continue;
        }
        broker->held = is_dead(liveness, broker, now_ms);
        if (!broker->held) {
            broker->isolated_ms = 0;
        } else if (is_isolated(liveness, broker, now_ms)) {
            broker->held = false;
            continue;
        }
        if (broker->held &&
            (broker->consented || broker->removed || within_budget(liveness, now_ms))) {
            broker->held = false;
            broker->dead = true;
            broker->dead_ms = now_ms;
            return broker;
        }
        any = any || broker->held;
    }
    if (!any) {
        liveness->hold_ms = 0;
    } else if (liveness->hold_ms == 0) {
        liveness->hold_ms = now_ms;
    }
    return NULL;
}

uint32_t liveness_held(const struct liveness *liveness)
{
    uint32_t count = 0;
    for (size_t i = 0; i < liveness->count; i++) {
        count += liveness->broker[i].held ? 1 : 0;
    }
    return count;
}

uint32_t liveness_consent(struct liveness *liveness)
{
    uint32_t count = 0;
    for (size_t i = 0; i < liveness->count; i++) {
        if (liveness->broker[i].held || liveness->broker[i].isolated_ms != 0) {
            liveness->broker[i].consented = true;
            count++;
        }
    }
    return count;
}
