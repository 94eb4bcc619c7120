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
 * One that other brokers still reach is not dead for LIVENESS_ISOLATED_MS: it may well serve, and
 * its shards would stand still for nothing. So it is when brokers of two zones say so in their last
 * beats, or of all zones where fewer have brokers that we hear (2.9, "controller-isolated"). A
 * machine that is gone is reached by nobody before our own timeout has passed, so that this makes
 * no failover slower.
 *
 * At most LIVENESS_BUDGET_PERCENT of all brokers (one at least) are judged dead within
 * LIVENESS_BUDGET_MS: when more seem to be, it is more likely that this controller is cut off. The
 * others are held: nothing is done about them until they come back, fewer are dead, or an operator
 * consents (docs/replication.md 2.18).
 *
 * Pure: no clock, no I/O. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum {
    LIVENESS_RESETS_MAX = 64,   /* that one beat may report */
    LIVENESS_REACHED_MAX = 256, /* ditto */
    LIVENESS_ISOLATED_MS = 30 * 1000,
    LIVENESS_BUDGET_PERCENT = 34,
    LIVENESS_BUDGET_MS = 5 * 60 * 1000, /* not counted while brokers are held */
    LIVENESS_STALL_MS = 250,            /* a longer time between two checks is a stall of our own */
};

struct liveness_broker {
    uint32_t id, disk_gen;
    uint64_t boot;
    bool here; /* has a session with us */
    bool dead;
    bool held;      /* would be dead, but for the budget */
    bool consented; /* the budget does not protect it */
    bool removed;   /* from the cluster: its death is no loss, and not counted */
    uint64_t dead_ms;
    uint64_t isolated_ms; /* since when others reach it and we do not; 0: it is not so */
    bool isolated_told;   /* the caller's */
    bool lost;            /* had one, and lost it at lost_ms */
    uint64_t up_ms, beat_ms, lost_ms;
    void *session; /* the caller's, while `here` */
    uint32_t reset_count;
    uint32_t reset[LIVENESS_RESETS_MAX]; /* whose sessions to it were reset, says its last beat */
    uint32_t zone;                       /* equal for brokers of one zone; 0: not known */
    uint32_t reached_count;
    uint32_t reached[LIVENESS_REACHED_MAX]; /* who answers its pings, says its last beat */
};

struct liveness {
    uint64_t timeout_ms, grace_ms, checked_ms;
    struct liveness_broker *broker; /* ascending by id */
    size_t count, capacity;
    size_t total;     /* brokers that there are; 0: those above */
    uint64_t hold_ms; /* since when brokers are held, 0: none is */
};

void liveness_init(struct liveness *liveness, uint64_t timeout_ms, uint64_t grace_ms);
void liveness_release(struct liveness *liveness);
void liveness_clear(struct liveness *liveness); /* no longer active */

/* On activation: a broker that is registered, whose session may come. NO_MEMORY. */
NODISCARD enum status liveness_expect(struct liveness *liveness, uint64_t now_ms, uint32_t id,
                                      uint64_t boot);
/* On activation: one that was judged dead `ago_ms` before. NO_MEMORY. */
NODISCARD enum status liveness_was_dead(struct liveness *liveness, uint64_t now_ms, uint32_t id,
                                        uint64_t boot, uint64_t ago_ms);
/* It has registered on `session`. NO_MEMORY. */
NODISCARD enum status liveness_up(struct liveness *liveness, uint64_t now_ms, uint32_t id,
                                  uint64_t boot, uint32_t disk_gen, void *session);
/* `session` has ended; another one of that broker may have taken its place before. */
void liveness_lost(struct liveness *liveness, uint64_t now_ms, uint32_t id, const void *session);
/* It was taken out of the cluster, until it comes up again. */
void liveness_removed(struct liveness *liveness, uint32_t id);
void liveness_beat(struct liveness *liveness, uint64_t now_ms, uint32_t id, const uint32_t *reset,
                   size_t reset_count);
/* What else the beat says: who answers its pings. */
void liveness_reaches(struct liveness *liveness, uint32_t id, const uint32_t *reached,
                      size_t reached_count);
void liveness_in_zone(struct liveness *liveness, uint32_t id, uint32_t zone);

/* To be called before judging, and at least every LIVENESS_STALL_MS: notices our own stalls. */
void liveness_tick(struct liveness *liveness, uint64_t now_ms);
/* A broker that is dead by now and was not before: it is marked so. NULL: no more. */
struct liveness_broker *liveness_next_dead(struct liveness *liveness, uint64_t now_ms);

/* How many are held; and an operator's word that those, and the isolated ones, really are dead: how
 * many those were. */
uint32_t liveness_held(const struct liveness *liveness);
uint32_t liveness_consent(struct liveness *liveness);

struct liveness_broker *liveness_get(const struct liveness *liveness, uint32_t id); /* NULL */
