/* Which brokers are alive, as the active controller sees it. In its memory only: consequences are
 * commands.
 *
 * A broker is judged dead when
 *   - no beat of it has come for `timeout_ms`, or
 *   - its session was lost and is not back within `grace_ms`, or
 *   - its session was lost and another broker says that its own was reset as well: at once.
 * Judging a living broker dead is always safe; it costs an election (docs/replication.md 2.18). A
 * controller that has just become active gives every broker a full timeout, and time in which the
 * controller itself stood still counts for nobody.
 *
 * Pure: no clock, no I/O. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum {
    LIVENESS_RESETS_MAX = 64, /* that one beat may report */
    LIVENESS_STALL_MS = 250,  /* a longer time between two checks is a stall of our own */
};

struct liveness_broker {
    uint32_t id, disk_gen;
    uint64_t boot;
    bool here; /* has a session with us */
    bool dead;
    bool lost; /* had one, and lost it at lost_ms */
    uint64_t up_ms, beat_ms, lost_ms;
    void *session; /* the caller's, while `here` */
    uint32_t reset_count;
    uint32_t reset[LIVENESS_RESETS_MAX]; /* whose sessions to it were reset, says its last beat */
};

struct liveness {
    uint64_t timeout_ms, grace_ms, checked_ms;
    struct liveness_broker *broker; /* ascending by id */
    size_t count, capacity;
};

void liveness_init(struct liveness *liveness, uint64_t timeout_ms, uint64_t grace_ms);
void liveness_release(struct liveness *liveness);
void liveness_clear(struct liveness *liveness); /* no longer active */

/* On activation: a broker that is registered, whose session may come. NO_MEMORY. */
NODISCARD enum status liveness_expect(struct liveness *liveness, uint64_t now_ms, uint32_t id,
                                      uint64_t boot);
/* It has registered on `session`. NO_MEMORY. */
NODISCARD enum status liveness_up(struct liveness *liveness, uint64_t now_ms, uint32_t id,
                                  uint64_t boot, uint32_t disk_gen, void *session);
/* `session` has ended; another one of that broker may have taken its place before. */
void liveness_lost(struct liveness *liveness, uint64_t now_ms, uint32_t id, const void *session);
void liveness_beat(struct liveness *liveness, uint64_t now_ms, uint32_t id, const uint32_t *reset,
                   size_t reset_count);

/* To be called before judging, and at least every LIVENESS_STALL_MS: notices our own stalls. */
void liveness_tick(struct liveness *liveness, uint64_t now_ms);
/* A broker that is dead by now and was not before: it is marked so. NULL: no more. */
struct liveness_broker *liveness_next_dead(struct liveness *liveness, uint64_t now_ms);

struct liveness_broker *liveness_get(const struct liveness *liveness, uint32_t id); /* NULL */
