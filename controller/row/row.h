/* A shard's committed row as the pure cores see it. */
#pragma once

#include "controller/db/db.h"
#include "controller/election/election.h"
#include "controller/moves/move.h"

static inline struct election_config election_config_of(const struct db_config *config)
{
    struct election_config out = {.version = config->version, .voter_count = config->voter_count};
    for (uint32_t v = 0; v < config->voter_count; v++) {
        out.voter[v] = (struct election_replica){.broker = config->voter[v].broker,
                                                 .disk_gen = config->voter[v].disk_gen};
    }
    return out;
}

static inline struct election_row election_row_of(const struct db_shard *shard)
{
    return (struct election_row){
        .shard = shard->id,
        .phase = (enum election_phase)shard->phase,
        .epoch = shard->epoch,
        .cfg = election_config_of(&shard->cfg),
        .prev_cfg = election_config_of(&shard->prev_cfg),
        .leader = {.broker = shard->leader.broker, .disk_gen = shard->leader.disk_gen},
        .leader_boot = shard->leader_boot,
        .preferred = shard->preferred,
    };
}

static inline struct move move_of(const struct db_shard *shard)
{
    const struct db_move *move = &shard->move;
    return (struct move){
        .shard = shard->id,
        .state = (enum move_state)move->state,
        .from = {.broker = move->from.broker, .disk_gen = move->from.disk_gen},
        .to = {.broker = move->to.broker,   .disk_gen = move->to.disk_gen  },
    };
}
