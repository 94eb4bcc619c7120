/* Rules that tests/sim/lease takes out one at a time, to see that it would notice (base/mutant.h).
 * Numbered by themselves: no program has these and those of replication. */
#pragma once

#include "base/mutant.h"

#define LEASE_MUTANT(number) MUTANT_IS(number)

enum {
    MUTANT_NO_FULL_TERM = 1,    /* a new active controller believes that everybody is silent */
    MUTANT_UNFENCED_CHECKPOINT, /* of any counter */
    MUTANT_CHECKPOINT_GOES_BACK,
    MUTANT_CHILD_BEFORE_PARENTS,
    MUTANT_MOVES_UNBOUNDED,
    MUTANT_RENEWS_WHO_IS_GONE, /* although its end is proposed */
    MUTANT_ASSIGN_IGNORES_COUNTER,
    MUTANT_UNLISTED_STAYS, /* with a worker that does not process it */
    MUTANT_NO_BALANCE,
    MUTANT_NO_HAND_OVER_LIMIT, /* whoever does not answer keeps it */
    MUTANT_COUNT
};
