/* Subscriptions of consumers to shards, as the shards' leaders know them: one at a time for each
 * consumer of a shard; a newer one replaces it, but not within SLOT_HELD_MS of its beginning. In
 * memory: after a change of leaders the first to read has the slot. Private, pure. */
#pragma once

#include <stdint.h>

#include "base/status.h"

enum { SLOT_HELD_MS = 5000 };

struct slots;

/* NULL when out of memory. */
struct slots *slots_new(void);
void slots_free(struct slots *slots); /* NULL is fine */

/* IN_USE: another one has just begun. NO_MEMORY. */
NODISCARD enum status slots_begin(struct slots *slots, uint64_t shard, uint64_t consumer,
                                  uint64_t subscription, uint64_t now_ms);
/* IN_USE: it was replaced. NO_MEMORY. */
NODISCARD enum status slots_check(struct slots *slots, uint64_t shard, uint64_t consumer,
                                  uint64_t subscription, uint64_t now_ms);
void slots_end(struct slots *slots, uint64_t shard, uint64_t consumer, uint64_t subscription);
