/* Questions of leaders here whether they still lead (broker/tip/tip.h): those of one turn go to
 * each other broker in one CONFIRM, and its answers come in one. Each is decided as soon as a
 * majority has answered; nobody waits longer than TIPS_PATIENCE_MS, or twice that for a peer of the
 * version before, which does not know CONFIRM and is asked for SHARD_STATUS then.
 *
 * One home thread, that of the loop. */
#pragma once

#include "broker/api/api.h"
#include "broker/server/peers.h"

enum {
    TIPS_PATIENCE_MS = 1000,
    TIPS_SHARDS_MAX = 512, /* in one round: what is more waits for the next turn */
    TIPS_ROUNDS_MAX = 32,  /* under way: what is more waits for one of them to end */
};

struct tips;

/* What is given is borrowed. `schedule`: end of turn, please: tips_turn(). NULL: out of memory. */
struct tips *tips_new(struct shards *shards, struct peers *peers, void *context,
                      void (*schedule)(void *context));
/* Everybody who waits is told false. */
void tips_close(struct tips *tips);
void tips_free(struct tips *tips); /* after the loop's objects are gone */

/* tip->done comes later. */
void tips_confirm(struct tips *tips, struct api_tip *tip);
void tips_turn(struct tips *tips);

/* Another broker asks. False: it is another method. */
bool tips_called(struct tips *tips, struct session_call *call);
