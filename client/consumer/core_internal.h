/* What the core's files share. Private. */
#pragma once

#include "client/consumer/core.h"

enum {
    RETRY_MIN_MS = 200, /* doubling */
    RETRY_MAX_MS = 30000,
    OPEN_RETRY_MAX_MS = 5000,
    CHECKPOINT_RETRY_MS = 1000,
    SYNC_RETRY_MAX_MS = 2000,
    RATE_MS = 5000,
};

/* Looks at the lease with the next core_next(). */
void core_touch(struct core *core, struct core_lease *lease);
/* No word of it to the processor but this; nothing of it is checkpointed any more. */
void core_lose(struct core *core, struct core_lease *lease);
void core_drain(struct core *core, struct core_lease *lease, uint64_t now);
/* Answers every request up to `mark`. */
void core_answer(struct core_lease *lease, struct mark mark, enum status status, const char *text);
/* The next checkpoint of the lease, when one is due. */
bool core_next_checkpoint(struct core_lease *lease, uint64_t now);
/* Wants `mark` checkpointed at `due`. */
void core_want(struct core_lease *lease, struct mark mark, uint64_t due);
uint64_t core_backoff(uint32_t failures, uint64_t most);

static inline struct mark mark_end(void)
{
    return (struct mark){.kind = MARK_END};
}

/* Above every other, for core_answer(). */
static inline struct mark mark_top(void)
{
    return (struct mark){.kind = MARK_END, .sub = 1};
}
