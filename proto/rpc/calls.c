#include "proto/rpc/calls.h"

#include <stdlib.h>

#include "base/check.h"

enum { SLOTS_MIN = 16, SLOT_MASK = SESSION_CALLS_MAX - 1 };

static_assert((SESSION_CALLS_MAX & SLOT_MASK) == 0, "ids hold the slot in their low bits");

struct rpc_calls_slot {
    void *owner; /* NULL = free */
    uint64_t id;
    uint32_t next_free;
};

static enum status grow(struct rpc_calls *calls)
{
    uint32_t capacity = calls->capacity == 0 ? SLOTS_MIN : calls->capacity * 2;
    struct rpc_calls_slot *slots = realloc(calls->slots, capacity * sizeof(*slots));
    if (slots == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = capacity; i > calls->capacity; i--) {
        slots[i - 1] = (struct rpc_calls_slot){.next_free = calls->first_free};
        calls->first_free = i;
    }
    calls->slots = slots;
    calls->capacity = capacity;
    return STATUS_OK;
}

enum status rpc_calls_add(struct rpc_calls *calls, void *owner, uint64_t *out_id)
{
    CHECK(owner != NULL);
    if (calls->count == SESSION_CALLS_MAX) {
        return STATUS_BUSY;
    }
    if (calls->first_free == 0) {
        enum status status = grow(calls);
        if (status != STATUS_OK) {
            return status;
        }
    }
    uint32_t number = calls->first_free - 1;
    struct rpc_calls_slot *slot = &calls->slots[number];
    calls->first_free = slot->next_free;
    calls->made++;
    calls->count++;
    slot->owner = owner;
    slot->id = calls->made * SESSION_CALLS_MAX | number;
    *out_id = slot->id;
    return STATUS_OK;
}

static struct rpc_calls_slot *slot_of(const struct rpc_calls *calls, uint64_t id)
{
    uint64_t number = id & SLOT_MASK;
    if (number >= calls->capacity || calls->slots[number].owner == NULL ||
        calls->slots[number].id != id) {
        return NULL;
    }
    return &calls->slots[number];
}

void *rpc_calls_find(const struct rpc_calls *calls, uint64_t id)
{
    const struct rpc_calls_slot *slot = slot_of(calls, id);
    return slot == NULL ? NULL : slot->owner;
}

static void *slot_take(struct rpc_calls *calls, struct rpc_calls_slot *slot)
{
    void *owner = slot->owner;
    slot->owner = NULL;
    slot->next_free = calls->first_free;
    calls->first_free = (uint32_t)(slot - calls->slots) + 1;
    calls->count--;
    return owner;
}

void *rpc_calls_take(struct rpc_calls *calls, uint64_t id)
{
    struct rpc_calls_slot *slot = slot_of(calls, id);
    return slot == NULL ? NULL : slot_take(calls, slot);
}

void *rpc_calls_take_any(struct rpc_calls *calls)
{
    for (uint32_t i = 0; calls->count > 0 && i < calls->capacity; i++) {
        if (calls->slots[i].owner != NULL) {
            return slot_take(calls, &calls->slots[i]);
        }
    }
    return NULL;
}

void rpc_calls_release(struct rpc_calls *calls)
{
    free(calls->slots);
    *calls = (struct rpc_calls){0};
}
