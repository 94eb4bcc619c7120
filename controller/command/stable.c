/* STABLE(epoch): EPOCH_START of the epoch is committed under the new configuration, so the previous
 * one is no longer possible (docs/replication.md R15). */
#include "controller/command/internal.h"

void command_stable(struct db *db, const Weir__Command *command, struct db_result *result)
{
    (void)result;
    for (size_t i = 0; i < command->stable->n_shards; i++) {
        const Weir__CmdStable__Shard *in = command->stable->shards[i];
        struct db_shard row;
        if (in->shard > INT64_MAX || !db_shard_get(db, in->shard, &row) || in->epoch != row.epoch ||
            row.phase != DB_SHARD_ACTIVE || row.prev_cfg.voter_count == 0) {
            continue;
        }
        row.prev_cfg = (struct db_config){0};
        db_shard_put(db, &row);
        db_shard_configs_put(db, &row);
        command_move_settled(db, &row);
    }
}
