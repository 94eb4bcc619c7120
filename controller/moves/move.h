/* One replica's way from one disk to another (docs/replication.md R14, R15, 2.9): a learner copies
 * the log, then a new epoch takes it in under a joint fence, and when that epoch's EPOCH_START is
 * committed the old replica is dropped.
 *
 *     COPYING   `to` is a learner of the shard's leader
 *     JOINING   the row is or was ELECTING with `to` in its configuration and `from` in the
 * previous
 *
 * Pure: the row decides, on every controller alike. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controller/election/election.h"

enum move_state { MOVE_COPYING = 1, MOVE_JOINING = 2 };

/* `from` broker 0: the shard has fewer than REPLICAS_PER_SHARD, after a forced recovery; `to` comes
 * in addition. */
struct move {
    uint64_t shard;
    enum move_state state;
    struct election_replica from, to;
};

enum move_step {
    MOVE_WAIT,  /* an election or a joint configuration is not over */
    MOVE_COPY,  /* `to` is to be fed; once it is near it may join */
    MOVE_AGAIN, /* the joint epoch fell back to the old configuration (R5): `to` copies on */
    MOVE_DONE,  /* the row is stable with `to`: `from` may be dropped */
    MOVE_VOID,  /* `from` is no voter any more, or the shard is gone: `to` may be dropped */
};

/* What the row makes of the move. */
enum move_step move_next(const struct move *move, const struct election_row *row);

/* Whether `to` may take the place of `from` now: ACTIVE, stable, and `from` does not lead (its log
 * would be the best one, and only in the previous configuration). */
bool move_may_join(const struct move *move, const struct election_row *row);

/* Makes the row ELECTING with the next epoch, `to` in the place of `from`, and the old voters as
 * the previous configuration. Only after move_may_join(). */
void move_join(const struct move *move, struct election_row *row);
