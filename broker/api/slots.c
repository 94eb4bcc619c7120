#include "broker/api/slots.h"

#include <stdbool.h>
#include <stdlib.h>

enum { TABLE_SLOTS = 256, FORGET_MS = 60 * 1000 };

struct entry {
    struct entry *next;
    uint64_t shard, consumer, subscription, begun_ms, seen_ms;
};

struct slots {
    struct entry *slots[TABLE_SLOTS];
};

struct slots *slots_new(void)
{
    return calloc(1, sizeof(struct slots));
}

void slots_free(struct slots *slots)
{
    for (uint32_t i = 0; slots != NULL && i < TABLE_SLOTS; i++) {
        while (slots->slots[i] != NULL) {
            struct entry *e = slots->slots[i];
            slots->slots[i] = e->next;
            free(e);
        }
    }
    free(slots);
}

/* Where the entry is or would be; those whose subscription has gone silent go on the way. */
static struct entry **find(struct slots *slots, uint64_t shard, uint64_t consumer, uint64_t now_ms)
{
    uint64_t hash = (shard ^ consumer) * UINT64_C(0x9e3779b97f4a7c15);
    struct entry **at = &slots->slots[hash >> 56];
    while (*at != NULL && ((*at)->shard != shard || (*at)->consumer != consumer)) {
        struct entry *e = *at;
        if (now_ms > e->seen_ms + FORGET_MS) {
            *at = e->next;
            free(e);
        } else {
            at = &e->next;
        }
    }
    return at;
}

NODISCARD static enum status take(struct entry **at, uint64_t shard, uint64_t consumer,
                                  uint64_t subscription, uint64_t begun_ms, uint64_t now_ms)
{
    struct entry *e = *at;
    if (e == NULL) {
        e = calloc(1, sizeof(*e));
        if (e == NULL) {
            return STATUS_NO_MEMORY;
        }
        *at = e;
    }
    *e = (struct entry){.next = e->next,
                        .shard = shard,
                        .consumer = consumer,
                        .subscription = subscription,
                        .begun_ms = begun_ms,
                        .seen_ms = now_ms};
    return STATUS_OK;
}

enum status slots_begin(struct slots *slots, uint64_t shard, uint64_t consumer,
                        uint64_t subscription, uint64_t now_ms)
{
    struct entry **at = find(slots, shard, consumer, now_ms);
    const struct entry *e = *at;
    if (e != NULL && e->subscription != subscription && now_ms < e->begun_ms + SLOT_HELD_MS) {
        return STATUS_IN_USE;
    }
    return take(at, shard, consumer, subscription, now_ms, now_ms);
}

enum status slots_check(struct slots *slots, uint64_t shard, uint64_t consumer,
                        uint64_t subscription, uint64_t now_ms)
{
    struct entry **at = find(slots, shard, consumer, now_ms);
    struct entry *e = *at;
    if (e == NULL) {
        return take(at, shard, consumer, subscription, 0, now_ms);
    }
    if (e->subscription != subscription) {
        return STATUS_IN_USE;
    }
    e->seen_ms = now_ms;
    return STATUS_OK;
}

void slots_end(struct slots *slots, uint64_t shard, uint64_t consumer, uint64_t subscription)
{
    struct entry **at = find(slots, shard, consumer, 0);
    struct entry *e = *at;
    if (e != NULL && e->subscription == subscription) {
        *at = e->next;
        free(e);
    }
}
