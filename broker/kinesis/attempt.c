#include "broker/kinesis/attempt.h"

bool attempt_is_vain(const struct attempt *attempt)
{
    return attempt->cut_off && attempt->since_ms >= ATTEMPT_CUT_OFF_MS &&
           (!attempt->any_replica || attempt->attempts >= ATTEMPT_ROUND);
}

enum attempt_next attempt_judge(const struct attempt *attempt)
{
    /* Only what the image has learnt since counts: a hint may have been newer than it. */
    if (attempt->leader != 0 && attempt->leader != attempt->asked &&
        attempt->epoch > attempt->asked_epoch) {
        return ATTEMPT_AGAIN;
    }
    return attempt_is_vain(attempt) ? ATTEMPT_OVER : ATTEMPT_WAIT;
}
