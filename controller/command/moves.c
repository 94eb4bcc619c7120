/* Replicas that move: a learner is named, joins with a joint epoch, and when that is stable the old
 * replica owes its deletion (docs/replication.md R14 … R16, 2.9). Whatever does not fit the rows
 * any more changes nothing: the active controller plans anew. */
#include <string.h>

#include "controller/command/internal.h"
#include "controller/moves/plan.h"
#include "controller/row/row.h"

static uint32_t find_voter(const struct db_config *cfg, uint32_t broker)
{
    uint32_t at = 0;
    while (at < cfg->voter_count && cfg->voter[at].broker != broker) {
        at++;
    }
    return at;
}

/* The zones of the voters, with `to` in the place of voter `at`, are no fewer than now. */
static bool zones_are_kept(struct db *db, const struct db_config *cfg, uint32_t at,
                           const struct db_broker *to)
{
    struct db_broker broker[DB_VOTERS_MAX];
    const char *now[DB_VOTERS_MAX], *then[DB_VOTERS_MAX];
    if (at == cfg->voter_count) {
        return true; /* one more */
    }
    for (uint32_t v = 0; v < cfg->voter_count; v++) {
        if (!db_broker_get(db, cfg->voter[v].broker, &broker[v])) {
            return false;
        }
        now[v] = broker[v].zone;
        then[v] = v == at ? to->zone : broker[v].zone;
    }
    return plan_zones(then, cfg->voter_count) >= plan_zones(now, cfg->voter_count);
}

static void begin(struct db *db, const Weir__CmdMoveBegin__Item *in)
{
    struct db_shard row;
    struct db_broker to;
    if (in->from == NULL || in->shard > INT64_MAX || !db_shard_get(db, in->shard, &row) ||
        !db_broker_get(db, in->to, &to)) {
        return;
    }
    uint32_t at = find_voter(&row.cfg, in->from->broker);
    uint32_t there = find_voter(&row.cfg, in->to);
    /* From nobody: after a forced recovery the shard has fewer replicas than it should. */
    bool adds = in->from->broker == 0 && row.cfg.voter_count < REPLICAS_PER_SHARD;
    bool good =
        row.phase == DB_SHARD_ACTIVE && row.prev_cfg.voter_count == 0 && row.move.state == 0 &&
        to.alive && to.mode == DB_BROKER_NORMAL &&
        (adds || (at < row.cfg.voter_count && row.cfg.voter[at].disk_gen == in->from->disk_gen));
    /* Another voter's broker is no place for it; its own one is, with another disk. */
    bool fits = there == row.cfg.voter_count ||
                (!adds && there == at && row.cfg.voter[at].disk_gen != to.disk_gen);
    if (!good || !fits || db_moves_to(db, to.id) >= PLAN_LEARNERS_MAX ||
        db_drops_count(db, to.id, row.id) > 0 || !zones_are_kept(db, &row.cfg, at, &to)) {
        return;
    }
    row.move = (struct db_move){
        .state = MOVE_COPYING,
        .from = adds ? (struct db_replica){0                       }
             : row.cfg.voter[at],
        .to = { .broker = to.id, .disk_gen = to.disk_gen},
        .started_ms = db_meta(db)->time_ms,
    };
    db_shard_move_put(db, &row);
    db_broker_load_add(db, to.id, 1, 0);
}

void command_move_begin(struct db *db, const Weir__Command *command, struct db_result *result)
{
    (void)result;
    for (size_t i = 0; i < command->move_begin->n_items; i++) {
        begin(db, command->move_begin->items[i]);
    }
}

static void take_config(struct db_config *to, const struct election_config *from)
{
    to->version = from->version;
    to->voter_count = from->voter_count;
    for (uint32_t v = 0; v < from->voter_count; v++) {
        to->voter[v] = (struct db_replica){
            .broker = from->voter[v].broker, .disk_gen = from->voter[v].disk_gen, .made = true};
    }
}

static void join(struct db *db, const Weir__CmdMoveJoin__Item *in)
{
    struct db_shard shard;
    if (in->to == NULL || in->shard > INT64_MAX || !db_shard_get(db, in->shard, &shard)) {
        return;
    }
    struct move move = move_of(&shard);
    struct election_row row = election_row_of(&shard);
    if (shard.move.state == 0 || in->epoch != row.epoch || in->to->broker != move.to.broker ||
        in->to->disk_gen != move.to.disk_gen || !move_may_join(&move, &row)) {
        return;
    }
    struct db_config before = shard.cfg;
    move_join(&move, &row);
    take_config(&shard.cfg, &row.cfg);
    for (uint32_t v = 0; v < before.voter_count; v++) { /* which of the others are made stays */
        shard.cfg.voter[v].made =
            before.voter[v].broker != move.from.broker ? before.voter[v].made : true;
    }
    shard.prev_cfg = before;
    if (shard.preferred != row.preferred) {
        db_broker_load_add(db, shard.preferred, 0, -1);
        db_broker_load_add(db, row.preferred, 0, 1);
        shard.preferred = row.preferred;
    }
    shard.phase = DB_SHARD_ELECTING;
    shard.epoch = row.epoch;
    shard.leader = (struct db_replica){0};
    shard.leader_boot = 0;
    shard.move.state = MOVE_JOINING;
    db_shard_put(db, &shard);
    db_shard_configs_put(db, &shard);
    db_shard_move_put(db, &shard);
}

void command_move_join(struct db *db, const Weir__Command *command, struct db_result *result)
{
    (void)result;
    for (size_t i = 0; i < command->move_join->n_items; i++) {
        join(db, command->move_join->items[i]);
    }
}

/* The replica is wanted no longer: its broker is told, for good (R16). A disk that is gone has
 * nothing to delete. */
void command_drop_replica(struct db *db, uint64_t shard, struct db_replica replica,
                          struct db_replica other)
{
    struct db_broker broker;
    if (replica.broker == 0) {
        return; /* the move added one */
    }
    db_broker_load_add(db, replica.broker, -1, 0);
    if (replica.broker != other.broker && db_broker_get(db, replica.broker, &broker) &&
        broker.disk_gen == replica.disk_gen) {
        db_drop_put(db, replica.broker, shard);
    }
}

static void settle(struct db *db, struct db_shard *row)
{
    struct move move = move_of(row);
    struct election_row seen = election_row_of(row);
    struct db_move before = row->move;
    switch (move_next(&move, &seen)) {
    case MOVE_WAIT:
    case MOVE_COPY:
        return;
    case MOVE_AGAIN:
        row->move.state = MOVE_COPYING;
        break;
    case MOVE_DONE:
        row->move = (struct db_move){0};
        command_drop_replica(db, row->id, before.from, before.to);
        break;
    case MOVE_VOID:
        row->move = (struct db_move){0};
        command_drop_replica(db, row->id, before.to, (struct db_replica){0});
        break;
    }
    db_shard_move_put(db, row);
}

void command_move_settled(struct db *db, struct db_shard *row)
{
    if (row->move.state != 0) {
        settle(db, row);
    }
}

void command_move_end(struct db *db, const Weir__Command *command, struct db_result *result)
{
    (void)result;
    for (size_t i = 0; i < command->move_end->n_shards; i++) {
        struct db_shard row;
        uint64_t shard = command->move_end->shards[i];
        if (shard > INT64_MAX || !db_shard_get(db, shard, &row) || row.move.state != MOVE_COPYING) {
            continue;
        }
        struct db_move before = row.move;
        row.move = (struct db_move){0};
        command_drop_replica(db, row.id, before.to, (struct db_replica){0});
        db_shard_move_put(db, &row);
    }
}
