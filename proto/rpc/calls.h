/* The calls of one side of a connection that wait for replies. An id holds the number of its slot,
 * so that a reply finds its call in one step, and a count that keeps a late reply from finding the
 * slot's next user. A zeroed struct is an empty table. Pure. */
#pragma once

#include <stdint.h>

#include "base/limits.h"
#include "base/status.h"

struct rpc_calls_slot;

struct rpc_calls {
    struct rpc_calls_slot *slots;
    uint32_t capacity, count;
    uint32_t first_free; /* number of the slot + 1; 0 = none */
    uint64_t made;       /* ids given out */
};

/* `owner` is borrowed and not NULL. BUSY at SESSION_CALLS_MAX; NO_MEMORY. */
NODISCARD enum status rpc_calls_add(struct rpc_calls *calls, void *owner, uint64_t *out_id);

/* The owner; NULL for an id that is not in the table: never given out, or answered already. */
void *rpc_calls_find(const struct rpc_calls *calls, uint64_t id);

/* Takes it out; as rpc_calls_find(). */
void *rpc_calls_take(struct rpc_calls *calls, uint64_t id);

/* Takes any one out; NULL when the table is empty. */
void *rpc_calls_take_any(struct rpc_calls *calls);

void rpc_calls_release(struct rpc_calls *calls);
