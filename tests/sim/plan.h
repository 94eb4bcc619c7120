/* What a seed lets happen: drawn once, at its start (faults.c). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"

enum fault {
    FAULT_CRASH,
    FAULT_CRASH_ALL,
    FAULT_PAUSE,
    FAULT_PARTITION,
    FAULT_ONE_WAY,
    FAULT_RESET,
    FAULT_SLOW_SYNC,
    FAULT_DAMAGE,
    FAULT_DISK_LOST,
    FAULT_CONTROLLER,
    FAULT_FALSE_DOWN,
    FAULT_RECONFIGURE,
    FAULT_RETAIN,
    FAULT_NEMESIS,
    FAULT_SPLIT,
    FAULT_SWIZZLE,
    FAULT_WITH_CLIENTS,
    FAULT_QUORUM,
    FAULT_DISK_FULL,
    FAULT_SYNC_FAILS,
    FAULT_SYNC_HANGS,
    FAULT_OLD_IMAGE,
    FAULT_CLOCK,
    FAULT_MEMORY,
    FAULT_ROT, /* the last: not drawn with the others */
    FAULTS,
};

/* Places where the shells may do what is allowed and unusual; a quarter of them in each seed. */
enum knob {
    KNOB_BIG_BATCHES, /* the windows are full with a few of them */
    KNOB_EMPTY_APPEND,
    KNOB_LATE_PUMP,
    KNOB_MORE_PUMPS,
    KNOB_LATE_TICK,
    KNOB_MORE_TICKS,
    KNOB_SYNC_WAITS,
    KNOB_SYNC_OF_PART,
    KNOB_LATE_LIVENESS,
    KNOB_LATE_CONTROLLER_TICK,
    KNOB_LATE_APPLY,
    KNOB_FENCE_TWICE,
    KNOB_GRANT_TWICE,
    KNOB_REPORT_TWICE,
    KNOB_RESET_AT_ONCE,
    KNOB_LATE_REGISTRATION,
    KNOB_EARLY_RETRY,
    KNOB_RETRY_ELSEWHERE,
    KNOB_LEARN_OFTEN,
    KNOB_SEAL_OFTEN,
    KNOBS,
};

struct plan {
    uint32_t brokers, shards, controllers, clients;
    bool fault[FAULTS];
    bool knob[KNOBS];
    uint32_t knob_per_1000;
    bool only_plain;                /* clients: the heaviest load */
    uint64_t every_us[FAULTS];      /* mean time between */
    uint32_t loss, duplicate, late; /* per 1,000 messages */
    uint64_t late_us;
    bool ordered; /* as TCP keeps it: no loss within a session, nothing after it */
    uint64_t delay_us, sync_us, slow_sync_us, detect_us, raft_us, restart_us;
    uint64_t put_us;
    uint32_t append_batches, ambiguous; /* ambiguous torn tails per 100 crashes */
    uint64_t faults_end_us;
    bool moves;          /* replicas move as learners, and leaders are asked to hand over */
    uint64_t reshard_us; /* when the controllers begin to close the parents; 0: never */
    uint64_t keep_ms;    /* retention */
    bool raft;           /* the controllers' Raft is the real one */
    uint64_t raft_election_ms;
    uint32_t raft_snapshot; /* entries between two snapshots */
    uint32_t hot;           /* so many batches are read from memory, whatever their disk holds */
};

/* Which processes are of the version before (version.c). */
struct versions {
    struct rng rng;
    bool mixed, ended, controllers_too, controller_old[3];
};

/* What is taken away from a seed's plan, to see whether it still fails. */
struct limits {
    uint64_t without_faults, without_knobs; /* bits */
    uint64_t end_us;                        /* 0: as planned */
    uint32_t shards, clients;               /* at most; 0: as planned */
    bool calm;                              /* no message lost, doubled or late */
    bool without_moves, without_reshard;
    bool raft, without_raft; /* forced; never */
};
extern const char *const fault_names[FAULTS];
extern const char *const knob_names[KNOBS];
