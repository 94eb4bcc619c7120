/* Whether a leader still leads, and so knows what is newest (docs/replication.md 2.10).
 *
 * A leader that was deposed may not know: it commits nothing any more, but what it holds is no
 * longer the end of the log. So before it says what the end is, it asks the other voters whether
 * they have promised a higher epoch, and believes it once a majority, itself included, has said no.
 * An election that ended before it asked had a majority promise more first (R4), and each two
 * majorities share a voter, who would have said so. No clock is asked.
 *
 * The others say what replica_follows() says; it counts only when it was said after the question
 * was asked, and the shell sees to that. Pure. */
#pragma once

#include "broker/replica/replica.h"

enum tip_verdict { TIP_OPEN, TIP_LEADS, TIP_UNKNOWN };

/* One question; of the leader. */
struct tip_round {
    uint32_t epoch;
    uint32_t voters; /* with ourselves */
    uint32_t follow, silent;
    uint32_t count; /* of those to be asked */
    struct replica_id voter[REPLICA_MEMBERS_MAX];
    bool heard[REPLICA_MEMBERS_MAX];
};

/* `view` is that of a leader whose epoch is open (R7). */
void tip_begin(struct tip_round *round, const struct replica_view *view);

/* `from` has answered, or will not. Of each voter the first counts. */
void tip_heard(struct tip_round *round, struct replica_id from, bool follows);

/* UNKNOWN: too few are left who could say yes. */
enum tip_verdict tip_verdict(const struct tip_round *round);

/* What SHARD_STATUS says of a voter: for those of a version that does not know CONFIRM. */
struct tip_status {
    bool follows; /* its role */
    bool uncertain;
    uint32_t epoch, promised;
};

/* Whether that is as good as a yes. It does not say which disk the replica has; but one that has
 * had `epoch` from its leader, and has promised no more, is the voter, or was made after it was
 * gone, when no election could do without this leader any more. Who may have forgotten a promise
 * (2.9) does not count. */
bool tip_follows_by_status(const struct tip_status *status, uint32_t epoch);
