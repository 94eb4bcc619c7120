/* FORCE_RECOVER: an administrator accepts that what a shard's other replicas had is lost
 * (docs/replication.md 2.9). The shard goes on with one voter, in a new epoch and a new recovery
 * generation; the others are no voters any more, whatever they hold. */
#include "controller/command/internal.h"
#include "proto/wire/batch.h"

static void leave(struct db *db, uint64_t shard, const struct db_config *cfg,
                  struct db_replica survivor)
{
    for (uint32_t v = 0; v < cfg->voter_count; v++) {
        if (cfg->voter[v].broker != survivor.broker) {
            command_drop_replica(db, shard, cfg->voter[v], survivor);
        }
    }
}

void command_force_recover(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__CmdForceRecover *in = command->force_recover;
    struct db_shard row;
    if (in->survivor == NULL || in->shard > INT64_MAX || !db_shard_get(db, in->shard, &row) ||
        row.phase == DB_SHARD_DELETED || row.epoch != in->epoch ||
        row.generation >= BATCH_GENERATION_MAX) {
        command_refuse(result, STATUS_STALE, "the shard has changed meanwhile: ask again");
        return;
    }
    uint32_t at = 0;
    while (at < row.cfg.voter_count && (row.cfg.voter[at].broker != in->survivor->broker ||
                                        row.cfg.voter[at].disk_gen != in->survivor->disk_gen)) {
        at++;
    }
    if (at == row.cfg.voter_count) {
        command_refuse(result, STATUS_INVALID, "broker-%u has no replica of the shard that counts",
                       in->survivor->broker);
        return;
    }
    struct db_replica survivor = row.cfg.voter[at];
    leave(db, row.id, &row.cfg, survivor);
    if (row.move.state != 0) {
        command_drop_replica(db, row.id, row.move.to, survivor);
        row.move = (struct db_move){0};
        db_shard_move_put(db, &row);
    }
    Weir__LeaderMoved answer;
    weir__leader_moved__init(&answer);
    answer.broker = survivor.broker;
    answer.before = row.leader.broker;
    row.cfg =
        (struct db_config){.version = row.cfg.version + 1, .voter_count = 1, .voter = {survivor}};
    row.prev_cfg = (struct db_config){0};
    row.phase = DB_SHARD_ELECTING;
    row.epoch++;
    row.generation++;
    row.leader = (struct db_replica){0};
    row.leader_boot = 0;
    if (row.preferred != survivor.broker) {
        db_broker_load_add(db, row.preferred, 0, -1);
        db_broker_load_add(db, survivor.broker, 0, 1);
        row.preferred = survivor.broker;
    }
    db_shard_put(db, &row);
    db_shard_configs_put(db, &row);
    command_answer(result, &answer.base);
}
