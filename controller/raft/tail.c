#include "controller/raft/tail.h"

#include <stdlib.h>

#include "base/check.h"

struct raft_tail_entry {
    uint64_t term;
    uint32_t type, size;
    uint8_t data[];
};

void raft_tail_init(struct raft_tail *tail, uint64_t next)
{
    *tail = (struct raft_tail){.first = next, .next = next};
}

static struct raft_tail_entry **slot_of(const struct raft_tail *tail, uint64_t index)
{
    return &tail->slots[index & (tail->capacity - 1)];
}

static void drop(struct raft_tail *tail, uint64_t index)
{
    struct raft_tail_entry **slot = slot_of(tail, index);
    tail->bytes -= (*slot)->size;
    free(*slot);
    *slot = NULL;
}

void raft_tail_reset(struct raft_tail *tail, uint64_t next)
{
    while (tail->first < tail->next) {
        drop(tail, tail->first++);
    }
    tail->first = tail->next = next;
}

void raft_tail_release(struct raft_tail *tail)
{
    raft_tail_reset(tail, 0);
    free(tail->slots);
    *tail = (struct raft_tail){0};
}

static enum status grow(struct raft_tail *tail)
{
    uint64_t capacity = tail->capacity == 0 ? 64 : tail->capacity * 2;
    struct raft_tail_entry **slots = calloc(capacity, sizeof(struct raft_tail_entry *));
    if (slots == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint64_t i = tail->first; i < tail->next; i++) {
        slots[i & (capacity - 1)] = *slot_of(tail, i);
    }
    free(tail->slots);
    tail->slots = slots;
    tail->capacity = capacity;
    return STATUS_OK;
}

enum status raft_tail_append(struct raft_tail *tail, const struct raft_entry_view *entry)
{
    CHECK(entry->index == tail->next);
    CHECK(entry->data.size <= UINT32_MAX);
    if (tail->next - tail->first == tail->capacity) {
        enum status status = grow(tail);
        if (status != STATUS_OK) {
            return status;
        }
    }
    struct raft_tail_entry *copy = malloc(sizeof(*copy) + entry->data.size);
    if (copy == NULL) {
        return STATUS_NO_MEMORY;
    }
    copy->term = entry->term;
    copy->type = entry->type;
    copy->size = (uint32_t)entry->data.size;
    if (entry->data.size > 0) {
        memcpy(copy->data, entry->data.data, entry->data.size);
    }
    *slot_of(tail, tail->next) = copy;
    tail->next++;
    tail->bytes += copy->size;
    return STATUS_OK;
}

void raft_tail_truncate(struct raft_tail *tail, uint64_t from)
{
    while (tail->next > from && tail->next > tail->first) {
        tail->next--;
        drop(tail, tail->next);
    }
    if (tail->next > from) {
        tail->first = tail->next = from;
    }
}

void raft_tail_evict(struct raft_tail *tail, uint64_t keep_from, uint64_t bytes_max)
{
    while (tail->bytes > bytes_max && tail->first < tail->next && tail->first < keep_from) {
        drop(tail, tail->first++);
    }
}

bool raft_tail_get(const struct raft_tail *tail, uint64_t index, struct raft_entry_view *out)
{
    if (index < tail->first || index >= tail->next) {
        return false;
    }
    const struct raft_tail_entry *entry = *slot_of(tail, index);
    *out = (struct raft_entry_view){.index = index,
                                    .term = entry->term,
                                    .type = entry->type,
                                    .data = bytes_of(entry->data, entry->size)};
    return true;
}
