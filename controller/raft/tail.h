/* The newest entries of the log, in memory: what is still to be written, sent or applied. Older
 * ones are read back from the store. Pure; belongs to one core. */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "base/status.h"

/* One entry of the log; `type` is libraft's enum raft_entry_type. */
struct raft_entry_view {
    uint64_t index, term;
    uint32_t type;
    struct bytes data; /* borrowed */
};

struct raft_tail_entry;

/* Holds [first, next); empty when they are equal. */
struct raft_tail {
    struct raft_tail_entry **slots; /* a ring; capacity is a power of two */
    uint64_t capacity;
    uint64_t first, next;
    uint64_t bytes;
};

/* Empty, the next entry being `next`. */
void raft_tail_init(struct raft_tail *tail, uint64_t next);
void raft_tail_release(struct raft_tail *tail);

/* Forgets everything; the next entry will be `next`. */
void raft_tail_reset(struct raft_tail *tail, uint64_t next);

/* Copies the entry in; its index must be tail->next. */
NODISCARD enum status raft_tail_append(struct raft_tail *tail, const struct raft_entry_view *entry);

/* Drops `from` and everything behind it (and moves `first` down when it is older than that). */
void raft_tail_truncate(struct raft_tail *tail, uint64_t from);

/* Drops the oldest entries, none behind `keep_from`, while more than `bytes_max` are held. */
void raft_tail_evict(struct raft_tail *tail, uint64_t keep_from, uint64_t bytes_max);

/* False when it is not held. The data stay valid until the entry is dropped. */
bool raft_tail_get(const struct raft_tail *tail, uint64_t index, struct raft_entry_view *out);
