/* Rules of docs/replication.md taken out on purpose, one at a time, to see that the tests notice
 * (2.17, base/mutant.h). The numbers are shared with controller/election and tests/sim. */
#pragma once

#include "base/mutant.h"

enum replica_mutant {
    MUTANT_NO_EPOCH_COMMIT_RULE = 1,         /* R8: commits older epochs' records by counting */
    MUTANT_REPORT_WITHOUT_FENCE = 2,         /* R3: in the election */
    MUTANT_ACK_BEFORE_FSYNC = 3,             /* R9: a follower acknowledges what it only received */
    MUTANT_LEADER_COUNTS_SELF_UNSYNCED = 4,  /* R9 */
    MUTANT_PROMISE_NOT_DURABLE = 5,          /* R2: the report does not wait for the sync */
    MUTANT_LEADER_RESUMES_AFTER_RESTART = 6, /* R6: boot ids are not looked at */
    MUTANT_AMNESIAC_VOTES = 7,               /* R14: disk generations are not looked at */
    MUTANT_CORRUPT_TAIL_COUNTS = 8,          /* R13: an uncertain replica reports itself certain */
    MUTANT_CLEAR_ON_RECEIVE = 9,             /* R13: any record of the epoch clears `uncertain` */
    MUTANT_LONGEST_LOG_WINS = 10,            /* R5: in the election */
    MUTANT_ACK_UNVERIFIED_SUFFIX = 11,       /* R11: acknowledges its end, not what was matched */
    MUTANT_TRUNCATE_NOT_DURABLE = 12, /* R10: TRUNCATE comes with seq 0: cut the log in memory,
                                       * put nothing into the journal */
    MUTANT_NO_JOINT_FENCE = 13,       /* R15: in the election */
    MUTANT_FOLLOWER_COMMIT_UNVERIFIED = 14, /* R11: a follower commits up to its own end */
    MUTANT_NO_FLOOR = 15,             /* 2.9: a damaged journal is believed about its promises */
    MUTANT_LEARNER_COUNTS = 16,       /* R14: what only a learner holds is counted as a voter's */
    MUTANT_STABLE_TOO_EARLY = 17,     /* R15: in the election: prev_cfg goes with the grant */
    MUTANT_DROPPED_TOO_EARLY = 18,    /* R15: in the moves: the old replica goes with the grant */
    MUTANT_INSTALL_NOT_DURABLE = 19,  /* 2.8: what an install brings counts before its sync */
    MUTANT_STALE_SESSION_COUNTS = 36, /* 2.9: what it acknowledged before its restart counts */
    MUTANT_HEIR_WITHOUT_ALL = 35,    /* 2.9: hands over to whoever is named; in the election, too */
    MUTANT_GRANT_BELOW_PROMISE = 37, /* R2: a grant is good although more was promised since */
    MUTANT_FOLLOWS_BELOW_PROMISE = 38, /* R2: appends of a leader that was refused are taken */
    MUTANT_FLOOR_FORGOTTEN = 41,       /* 2.9: the floor is heard and not promised */
    MUTANT_SEAL_OUTLIVES_CUT = 43,     /* 2.12: a SEAL that was truncated closes the shard still */
    MUTANT_WRITES_BEHIND_SEAL = 44,    /* 2.12: a closed shard takes records */
    MUTANT_ACK_BEFORE_PROMISE = 47,    /* 2.7: acknowledges an epoch whose promise is not synced */
    MUTANT_LEADS_WITH_HOLES = 50,      /* 2.9: begins its epoch with damage that it knows of */
    MUTANT_TRUNCATES_UNASKED = 51, /* 2.9: one voter that lacks a hole's batches speaks for all */
    MUTANT_DAMAGED_IS_ABSENT = 52, /* R13: a batch that cannot be read is taken for another one */
    MUTANT_ACK_OVER_HOLE = 53,     /* R9: acknowledges what it knows to be damaged here */
    MUTANT_TIP_OF_PROMISED = 71,   /* 2.10: who has promised more says that it follows */
};

#define MUTANT(name) MUTANT_IS(MUTANT_##name)
