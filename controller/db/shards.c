#include "controller/db/internal.h"

static void read_shard(struct db *db, sqlite3_stmt *row, struct db_shard *out)
{
    uint8_t first[HASH_KEY_BYTES], last[HASH_KEY_BYTES];
    db_blob(db, row, 1, first, sizeof(first));
    db_blob(db, row, 2, last, sizeof(last));
    *out = (struct db_shard){
        .id = db_u64(row, 0),
        .range = {.first = hash_key_from_bytes(first), .last = hash_key_from_bytes(last)},
        .created_s = db_u64(row, 3),
        .phase = (enum db_shard_phase)db_u32(row, 4),
        .granted = db_u32(row, 5) != 0,
        .epoch = db_u32(row, 6),
        .generation = db_u32(row, 7),
        .preferred = db_u32(row, 8),
        .leader = { .broker = db_u32(row, 9),                                           .disk_gen = db_u32(row, 10)},
        .leader_boot = db_u64(row, 11),
        .cfg.version = db_u32(row, 12),
        .prev_cfg.version = db_u32(row, 13),
    };
}

static void read_configs(struct db *db, struct db_shard *shard)
{
    sqlite3_stmt *get = db_use(db, DB_REPLICAS_GET);
    db_bind_u64(get, 1, shard->id);
    while (db_row(db, get)) {
        struct db_config *config = db_u32(get, 0) == 0 ? &shard->cfg : &shard->prev_cfg;
        if (config->voter_count < DB_VOTERS_MAX) {
            config->voter[config->voter_count++] = (struct db_replica){
                .broker = db_u32(get, 1), .disk_gen = db_u32(get, 2), .made = db_u32(get, 3) != 0};
        }
    }
}

/* The first shard in [first, end). The statement is reset before this returns, so that the caller
 * may change rows. */
static bool shard_next(struct db *db, uint64_t first, uint64_t end, struct db_shard *out)
{
    sqlite3_stmt *get = db_use(db, DB_SHARD_NEXT);
    db_bind_u64(get, 1, first);
    db_bind_u64(get, 2, end);
    if (!db_row(db, get)) {
        return false;
    }
    struct db_shard shard;
    read_shard(db, get, &shard);
    (void)sqlite3_reset(get);
    read_configs(db, &shard);
    db_lineage_read(db, &shard);
    db_move_read(db, &shard);
    if (db->failed) {
        return false;
    }
    *out = shard;
    return true;
}

bool db_shard_get(struct db *db, uint64_t id, struct db_shard *out)
{
    return shard_next(db, id, id + 1, out);
}

void db_shard_each(struct db *db, uint32_t stream,
                   void (*visit)(const struct db_shard *shard, void *context), void *context)
{
    uint64_t first = stream == 0 ? 0 : db_shard_id(stream, 0);
    uint64_t end = stream == 0 ? (uint64_t)INT64_MAX : db_shard_id(stream + 1, 0);
    struct db_shard shard;
    while (shard_next(db, first, end, &shard)) {
        first = shard.id + 1;
        visit(&shard, context);
    }
}

void db_shard_put(struct db *db, const struct db_shard *shard)
{
    db_note(db, DB_KIND_SHARD, shard->id);
    uint8_t first[HASH_KEY_BYTES], last[HASH_KEY_BYTES];
    hash_key_to_bytes(shard->range.first, first);
    hash_key_to_bytes(shard->range.last, last);
    sqlite3_stmt *put = db_use(db, DB_SHARD_PUT);
    db_bind_u64(put, 1, shard->id);
    db_bind_blob(put, 2, first, sizeof(first));
    db_bind_blob(put, 3, last, sizeof(last));
    db_bind_u64(put, 4, shard->created_s);
    db_bind_u64(put, 5, (uint64_t)shard->phase);
    db_bind_u64(put, 6, shard->granted);
    db_bind_u64(put, 7, shard->epoch);
    db_bind_u64(put, 8, shard->generation);
    db_bind_u64(put, 9, shard->preferred);
    db_bind_u64(put, 10, shard->leader.broker);
    db_bind_u64(put, 11, shard->leader.disk_gen);
    db_bind_u64(put, 12, shard->leader_boot);
    db_bind_u64(put, 13, shard->cfg.version);
    db_bind_u64(put, 14, shard->prev_cfg.version);
    db_run(db, put);
}

void db_shard_configs_put(struct db *db, const struct db_shard *shard)
{
    db_note(db, DB_KIND_SHARD, shard->id);
    sqlite3_stmt *clear = db_use(db, DB_REPLICAS_DELETE);
    db_bind_u64(clear, 1, shard->id);
    db_run(db, clear);
    const struct db_config *configs[] = {&shard->cfg, &shard->prev_cfg};
    for (uint32_t c = 0; c < 2; c++) {
        CHECK(configs[c]->voter_count <= DB_VOTERS_MAX);
        for (uint32_t v = 0; v < configs[c]->voter_count; v++) {
            sqlite3_stmt *put = db_use(db, DB_REPLICA_PUT);
            db_bind_u64(put, 1, shard->id);
            db_bind_u64(put, 2, c);
            db_bind_u64(put, 3, v);
            db_bind_u64(put, 4, configs[c]->voter[v].broker);
            db_bind_u64(put, 5, configs[c]->voter[v].disk_gen);
            db_bind_u64(put, 6, configs[c]->voter[v].made);
            db_run(db, put);
        }
    }
}

void db_replica_made(struct db *db, uint64_t shard, uint32_t broker, uint32_t disk_gen)
{
    sqlite3_stmt *made = db_use(db, DB_REPLICA_MADE);
    db_bind_u64(made, 1, shard);
    db_bind_u64(made, 2, broker);
    db_bind_u64(made, 3, disk_gen);
    db_run(db, made);
    if (!db->failed && sqlite3_changes(db->sql) > 0) {
        db_note(db, DB_KIND_SHARD, shard);
    }
}
