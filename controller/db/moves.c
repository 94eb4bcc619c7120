/* Replicas that move, and what is planned for brokers. A shard without a row here does not move, a
 * broker without one is to go on as it is. */
#include "controller/db/internal.h"

const char *const db_schema_moves =
    "CREATE TABLE IF NOT EXISTS shard_moves (\n"
    "  shard       INTEGER PRIMARY KEY, -- stream << 32 | number\n"
    "  state       INTEGER NOT NULL,    -- enum move_state (controller/moves/move.h)\n"
    "  from_broker INTEGER NOT NULL,\n"
    "  from_gen    INTEGER NOT NULL,\n"
    "  to_broker   INTEGER NOT NULL,\n"
    "  to_gen      INTEGER NOT NULL,\n"
    "  started_ms  INTEGER NOT NULL     -- cluster time\n"
    ") STRICT;\n"

    "CREATE TABLE IF NOT EXISTS broker_plans (\n"
    "  broker  INTEGER PRIMARY KEY,  -- 0: all of them (mode 1: numbers of replicas are made even)\n"
    "  mode    INTEGER NOT NULL,     -- enum db_broker_mode\n"
    "  label   TEXT NOT NULL,        -- its zone, whatever it says itself; empty: what it says\n"
    "  down_ms INTEGER NOT NULL      -- cluster time when it was found dead; 0: it is alive\n"
    ") STRICT;\n";

void db_move_read(struct db *db, struct db_shard *shard)
{
    sqlite3_stmt *get = db_use(db, DB_MOVE_GET);
    db_bind_u64(get, 1, shard->id);
    shard->move = (struct db_move){0};
    if (db_row(db, get)) {
        shard->move = (struct db_move){
            .state = db_u32(get, 0),
            .from = {.broker = db_u32(get, 1), .disk_gen = db_u32(get, 2)},
            .to = {.broker = db_u32(get, 3), .disk_gen = db_u32(get, 4)},
            .started_ms = db_u64(get, 5),
        };
        (void)sqlite3_reset(get);
    }
}

void db_shard_move_put(struct db *db, const struct db_shard *shard)
{
    const struct db_move *move = &shard->move;
    db_note(db, DB_KIND_SHARD, shard->id);
    sqlite3_stmt *put = db_use(db, move->state == 0 ? DB_MOVE_DELETE : DB_MOVE_PUT);
    db_bind_u64(put, 1, shard->id);
    if (move->state != 0) {
        db_bind_u64(put, 2, move->state);
        db_bind_u64(put, 3, move->from.broker);
        db_bind_u64(put, 4, move->from.disk_gen);
        db_bind_u64(put, 5, move->to.broker);
        db_bind_u64(put, 6, move->to.disk_gen);
        db_bind_u64(put, 7, move->started_ms);
    }
    db_run(db, put);
}

void db_broker_plan_put(struct db *db, const struct db_broker *broker)
{
    db_note(db, DB_KIND_BROKER, broker->id);
    sqlite3_stmt *put = db_use(db, DB_PLAN_PUT);
    db_bind_u64(put, 1, broker->id);
    db_bind_u64(put, 2, (uint64_t)broker->mode);
    db_bind_text(put, 3, broker->label);
    db_bind_u64(put, 4, broker->down_ms);
    db_run(db, put);
}

bool db_rebalancing(struct db *db)
{
    sqlite3_stmt *get = db_use(db, DB_REBALANCE_GET);
    bool rebalancing = db_row(db, get) && db_u32(get, 0) != 0;
    (void)sqlite3_reset(get);
    return rebalancing;
}

void db_rebalancing_set(struct db *db, bool rebalancing)
{
    CHECK(db->in_transaction);
    sqlite3_stmt *put = db_use(db, DB_PLAN_PUT);
    db_bind_u64(put, 1, 0);
    db_bind_u64(put, 2, rebalancing);
    db_bind_text(put, 3, "");
    db_bind_u64(put, 4, 0);
    db_run(db, put);
}

uint32_t db_moves_to(struct db *db, uint32_t broker)
{
    sqlite3_stmt *get = db_use(db, DB_MOVES_TO);
    db_bind_u64(get, 1, broker);
    uint32_t count = db_row(db, get) ? db_u32(get, 0) : 0;
    (void)sqlite3_reset(get);
    return count;
}

uint32_t db_drops_count(struct db *db, uint32_t broker, uint64_t shard)
{
    sqlite3_stmt *get = db_use(db, DB_DROPS_COUNT);
    db_bind_u64(get, 1, broker);
    db_bind_u64(get, 2, shard);
    uint32_t count = db_row(db, get) ? db_u32(get, 0) : 0;
    (void)sqlite3_reset(get);
    return count;
}
