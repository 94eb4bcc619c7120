/* ELECTING(epoch): a number is committed before anybody is asked to promise it, and is used once
 * (docs/replication.md R1). What does not fit the row changes nothing. */
#include "controller/command/internal.h"

void command_electing(struct db *db, const Weir__Command *command, struct db_result *result)
{
    (void)result;
    const Weir__CmdElecting *in = command->electing;
    for (size_t i = 0; i < in->n_shards; i++) {
        struct db_shard row;
        if (in->shards[i]->shard > INT64_MAX || !db_shard_get(db, in->shards[i]->shard, &row) ||
            in->shards[i]->epoch <= row.epoch || row.phase == DB_SHARD_SEALED ||
            row.phase == DB_SHARD_DELETED) {
            continue;
        }
        row.phase = DB_SHARD_ELECTING;
        row.epoch = in->shards[i]->epoch;
        row.leader = (struct db_replica){0};
        row.leader_boot = 0;
        db_shard_put(db, &row);
    }
}
