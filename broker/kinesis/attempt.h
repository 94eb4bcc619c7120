/* The pure part of reach.c: how long it is worth waiting for a broker's answer.
 *
 * A broker that is cut off does not answer and says nothing of it. What was asked of it is sent
 * again as soon as somebody else leads the shard: the same bytes with the same token, so that it is
 * stored once (docs/replication.md 2.12). And where all other brokers are silent while the
 * controllers suppose them alive, it is this one that is cut off: a client that is told so goes to
 * another, one that waits here waits for nothing. Private. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    ATTEMPT_LOOK_MS = 100,     /* between two looks at an attempt under way */
    ATTEMPT_CUT_OFF_MS = 1500, /* a broker that hears nobody tries for so long */
    ATTEMPT_ROUND = 6,         /* attempts in which every replica of a shard was asked */
};

struct attempt {
    uint32_t asked, asked_epoch; /* the broker, and the shard's epoch in the image of that moment */
    uint32_t leader, epoch;      /* in the image of now; leader 0: nobody is known */
    uint32_t attempts;           /* this one included */
    uint64_t since_ms;           /* the first of them began so long ago */
    bool any_replica;            /* others may answer, too */
    bool cut_off;                /* no living broker is heard */
};

enum attempt_next { ATTEMPT_WAIT, ATTEMPT_AGAIN, ATTEMPT_OVER };

/* What to do with an attempt that has not been answered yet. */
enum attempt_next attempt_judge(const struct attempt *attempt);

/* Between attempts: whether another one would be in vain. */
bool attempt_is_vain(const struct attempt *attempt);
