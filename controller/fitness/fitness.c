#include "controller/fitness/fitness.h"

#include <stdlib.h>
#include <string.h>

void fitness_init(struct fitness *fitness)
{
    *fitness = (struct fitness){0};
}

void fitness_release(struct fitness *fitness)
{
    free(fitness->broker);
    *fitness = (struct fitness){0};
}

void fitness_clear(struct fitness *fitness)
{
    fitness->count = 0;
}

static size_t position(const struct fitness *fitness, uint32_t id)
{
    size_t low = 0, high = fitness->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (fitness->broker[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct fitness_broker *find(const struct fitness *fitness, uint32_t id)
{
    size_t at = position(fitness, id);
    return at < fitness->count && fitness->broker[at].id == id ? &fitness->broker[at] : NULL;
}

static struct fitness_broker *find_or_add(struct fitness *fitness, uint32_t id)
{
    struct fitness_broker *broker = find(fitness, id);
    if (broker != NULL) {
        return broker;
    }
    if (fitness->count == fitness->capacity) {
        size_t capacity = fitness->capacity == 0 ? 16 : 2 * fitness->capacity;
        struct fitness_broker *grown = realloc(fitness->broker, capacity * sizeof(*grown));
        if (grown == NULL) {
            return NULL;
        }
        fitness->broker = grown;
        fitness->capacity = capacity;
    }
    size_t at = position(fitness, id);
    struct fitness_broker *place = &fitness->broker[at];
    memmove(place + 1, place, (fitness->count - at) * sizeof(*place));
    fitness->count++;
    *place = (struct fitness_broker){.id = id};
    return place;
}

void fitness_forget_silent(struct fitness *fitness, uint64_t now_ms)
{
    for (size_t i = 0; i < fitness->count; i++) {
        struct fitness_broker *broker = &fitness->broker[i];
        if (now_ms >= broker->beat_ms + FITNESS_SILENT_MS) {
            broker->unfit = false;
            broker->why = FITNESS_WELL;
        }
    }
}

/* Whether one more of so many brokers may be unfit. */
static bool has_room(const struct fitness *fitness, size_t brokers)
{
    size_t unfit = 0, most = brokers * FITNESS_PERCENT / 100;
    for (size_t i = 0; i < fitness->count; i++) {
        unfit += fitness->broker[i].unfit ? 1 : 0;
    }
    return unfit < (most > 0 ? most : 1);
}

enum status fitness_beat(struct fitness *fitness, uint64_t now_ms, uint32_t id, uint32_t why,
                         size_t brokers)
{
    struct fitness_broker *broker = find_or_add(fitness, id);
    if (broker == NULL) {
        return STATUS_NO_MEMORY;
    }
    broker->beat_ms = now_ms;
    broker->why = why < FITNESS_WHYS ? (enum fitness_why)why : FITNESS_DISK;
    if (broker->why == FITNESS_WELL) {
        broker->unfit = false;
    } else if (!broker->unfit && has_room(fitness, brokers)) {
        broker->unfit = true;
        broker->since_ms = now_ms;
        broker->moved_ms = 0;
        broker->most = 0;
    }
    return STATUS_OK;
}

enum fitness_why fitness_of(const struct fitness *fitness, uint32_t id)
{
    const struct fitness_broker *broker = find(fitness, id);
    return broker == NULL || !broker->unfit ? FITNESS_WELL : broker->why;
}

uint32_t fitness_share(struct fitness *fitness, uint64_t now_ms, uint32_t id, uint32_t leading)
{
    struct fitness_broker *broker = find(fitness, id);
    if (broker == NULL || !broker->unfit || leading == 0 ||
        (broker->moved_ms != 0 && now_ms < broker->moved_ms + FITNESS_EVERY_MS)) {
        return 0;
    }
    broker->moved_ms = now_ms;
    broker->most = leading > broker->most ? leading : broker->most;
    uint32_t share = (uint32_t)((uint64_t)broker->most * FITNESS_SHARE_PERCENT / 100);
    share = share > 0 ? share : 1;
    return share < leading ? share : leading;
}

const char *fitness_text(enum fitness_why why)
{
    switch (why) {
    case FITNESS_DISK:
        return "slow disk";
    case FITNESS_LOOP:
        return "slow";
    case FITNESS_CLOCK:
        return "clock off";
    case FITNESS_FULL:
        return "disk full";
    case FITNESS_WELL:
    case FITNESS_WHYS:
        break;
    }
    return "";
}
