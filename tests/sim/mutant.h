/* Rules that the shells around the cores keep, taken out on purpose in the simulator's own shells
 * (base/mutant.h); numbered with those of broker/replica/mutant.h. Each names the code of ours that
 * keeps the rule. */
#pragma once

#include "broker/replica/mutant.h"

enum sim_mutant {
    MUTANT_DEDUP_BEFORE_COMMIT = 30,       /* 2.11: broker/shard/put.c */
    MUTANT_DEDUP_NOT_ROLLED_BACK = 31,     /* 2.11: broker/shard/effects.c */
    MUTANT_SEALED_BEFORE_DEDUP = 32,       /* 2.12: broker/shard/put.c */
    MUTANT_CHILDREN_OPEN_EARLY = 33,       /* 2.12: controller/command/reshard_advance.c */
    MUTANT_SYNC_RETRIED = 34,              /* 2.9: broker/log/write.c */
    MUTANT_RETENTION_BY_ONE_CLOCK = 39,    /* 2.12: broker/server/retention.c */
    MUTANT_ORPHANS_DELETED = 40,           /* R16: broker/log/quarantine.c */
    MUTANT_READS_UNCOMMITTED = 45,         /* P3: broker/api */
    MUTANT_RECONFIGURES_TWICE = 48,        /* R15: controller/moves/move.c */
    MUTANT_INSTALL_WITHOUT_PRODUCERS = 49, /* 2.8: broker/shard/rebuild.c */
    MUTANT_HOLE_FILLED_UNCHECKED = 54,     /* 2.9: broker/log/patch.c */
    MUTANT_DAMAGE_FORGOTTEN = 55,          /* 2.9: broker/log/damage.c */
    MUTANT_TIP_UNCONFIRMED = 70,           /* 2.10: broker/server/tips.c */
    MUTANT_APPEND_TIME_UNCLAMPED = 72,     /* 2.9: broker/server/health.c */
    MUTANT_FENCED_BEFORE_COMMIT = 73,      /* R1: controller/rpc/controller.c */
    MUTANT_CONTROLLER_AMNESIA = 74,        /* 2.9: controller/raft/store_load.c */
    MUTANT_LOG_WRITTEN_UNSYNCED = 75,      /* 2.9: controller/raft/store_writer.c */
    MUTANT_VOTE_FORGOTTEN = 76,            /* 2.9: controller/raft/store_writer.c */
    MUTANT_ROWS_NOT_LOADED = 77,           /* 2.10: controller/rpc/elections.c */
    MUTANT_REGISTERED_UNCOMMITTED = 78,    /* 2.9: controller/rpc/brokers.c */
};
