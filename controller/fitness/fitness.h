/* Brokers that should lead nothing, although they are alive: their disk or process is slow while
 * others' are not, their disk is full, or their clock is far off (docs/replication.md 2.9, "slow
 * leader" and "clock jumps"). Their leaderships move away, a few at a time, and none is given to
 * them until what is wrong has been over for some minutes, as they say themselves.
 *
 * At most FITNESS_PERCENT of all brokers (one at least) are so at a time: when more say that of
 * themselves, the cause is a common one, and moving helps nobody. Who was first stays.
 *
 * Of the active controller, in its memory only: beats tell all of it anew. Pure: no clock, no I/O.
 * One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum {
    FITNESS_PERCENT = 34,
    FITNESS_SHARE_PERCENT = 10, /* of a broker's leaderships that move within FITNESS_EVERY_MS */
    FITNESS_EVERY_MS = 1000,
    FITNESS_SILENT_MS = 5000, /* then what it said last is forgotten */
};

/* As told in beats (proto/schema/control.proto). */
enum fitness_why {
    FITNESS_WELL,
    FITNESS_DISK,
    FITNESS_LOOP,
    FITNESS_CLOCK,
    FITNESS_FULL,
    FITNESS_WHYS
};

struct fitness_broker {
    uint32_t id;
    enum fitness_why why; /* as its last beat said */
    bool unfit;           /* ... and it is believed */
    uint64_t beat_ms, since_ms;
    uint64_t moved_ms; /* when leaderships were asked to move last */
    bool told;         /* the caller's: what it has told of `unfit` */
    uint64_t asked;    /* the caller's: the shard that was asked to move last */
    uint32_t most;     /* that it led since it is unfit: the share is of these */
};

struct fitness {
    struct fitness_broker *broker; /* ascending by id */
    size_t count, capacity;
};

void fitness_init(struct fitness *fitness);
void fitness_release(struct fitness *fitness);
void fitness_clear(struct fitness *fitness); /* no longer active */

/* A beat of one of so many brokers; an unknown reason is FITNESS_DISK, of a newer version.
 * NO_MEMORY: it is as if it had not come. */
NODISCARD enum status fitness_beat(struct fitness *fitness, uint64_t now_ms, uint32_t id,
                                   uint32_t why, size_t brokers);

/* Of brokers that are silent, what they said last does not count any more. */
void fitness_forget_silent(struct fitness *fitness, uint64_t now_ms);

/* FITNESS_WELL: it may lead. */
enum fitness_why fitness_of(const struct fitness *fitness, uint32_t id);

/* How many of its `leading` leaderships may be asked to move now; to be called at least every
 * second, and what is not done is asked again then. */
uint32_t fitness_share(struct fitness *fitness, uint64_t now_ms, uint32_t id, uint32_t leading);

/* "slow disk"; "" when it is well. */
const char *fitness_text(enum fitness_why why);
