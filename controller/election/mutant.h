/* The rules of docs/replication.md that elections and moves can leave out on purpose
 * (base/mutant.h); numbered with those of broker/replica/mutant.h. */
#pragma once

#include "base/mutant.h"

enum election_mutant {
    MUTANT_REPORT_WITHOUT_FENCE = 2, /* R3: what was reported to an earlier fence counts */
    MUTANT_AMNESIAC_VOTES = 7,       /* R14: disk generations are not looked at */
    MUTANT_CORRUPT_TAIL_COUNTS = 8,  /* R4: an uncertain reply counts as certain */
    MUTANT_LONGEST_LOG_WINS = 10,    /* R5: the end of the log alone */
    MUTANT_NO_JOINT_FENCE = 13,      /* R15: a quorum of the new configuration is enough */
    MUTANT_STABLE_TOO_EARLY = 17,    /* R15: prev_cfg goes with the grant */
    MUTANT_HEIR_WITHOUT_ALL = 35,    /* 2.9: whom the leader named leads, whatever its log */
    MUTANT_ONE_REPLY_ELECTS = 42,    /* R4: whoever replies first */
    MUTANT_HOLE_NOT_AWAITED = 57,    /* 2.9: leads with a hole that nobody who replied can fill */
};

#define MUTANT(name) MUTANT_IS(MUTANT_##name)
