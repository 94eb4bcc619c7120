/* What splits and merges have made of a shard, and which streams are on their way to another number
 * of shards. A shard without a row here is open, and has no parents. */
#include "controller/db/internal.h"

const char *const db_schema_lineage =
    "CREATE TABLE IF NOT EXISTS shard_lineages (\n"
    "  shard        INTEGER PRIMARY KEY, -- stream << 32 | number\n"
    "  state        INTEGER NOT NULL,    -- enum db_shard_state\n"
    "  parents      INTEGER NOT NULL,    -- how many\n"
    "  parent       INTEGER NOT NULL,    -- number, of the lower range\n"
    "  adjacent     INTEGER NOT NULL,    -- number of its neighbour\n"
    "  final_offset INTEGER NOT NULL,    -- where its SEAL ends; 0: not known\n"
    "  closed_ms    INTEGER NOT NULL     -- no record is younger\n"
    ") STRICT;\n"

    "CREATE TABLE IF NOT EXISTS reshards (\n"
    "  stream INTEGER PRIMARY KEY,\n"
    "  target INTEGER NOT NULL -- shards with equal ranges; 0: what has been begun is all\n"
    ") STRICT;\n";

void db_lineage_read(struct db *db, struct db_shard *shard)
{
    sqlite3_stmt *get = db_use(db, DB_LINEAGE_GET);
    db_bind_u64(get, 1, shard->id);
    shard->lineage = (struct db_lineage){0};
    if (db_row(db, get)) {
        shard->lineage = (struct db_lineage){
            .state = (enum db_shard_state)db_u32(get, 0),
            .parent_count = db_u32(get, 1),
            .parent = {db_u32(get, 2), db_u32(get, 3)},
            .final_offset = db_u64(get, 4),
            .closed_ms = db_u64(get, 5),
        };
        (void)sqlite3_reset(get);
    }
}

void db_shard_lineage_put(struct db *db, const struct db_shard *shard)
{
    const struct db_lineage *lineage = &shard->lineage;
    CHECK(lineage->parent_count <= DB_PARENTS_MAX);
    db_note(db, DB_KIND_SHARD, shard->id);
    sqlite3_stmt *put = db_use(db, DB_LINEAGE_PUT);
    db_bind_u64(put, 1, shard->id);
    db_bind_u64(put, 2, (uint64_t)lineage->state);
    db_bind_u64(put, 3, lineage->parent_count);
    db_bind_u64(put, 4, lineage->parent[0]);
    db_bind_u64(put, 5, lineage->parent[1]);
    db_bind_u64(put, 6, lineage->final_offset);
    db_bind_u64(put, 7, lineage->closed_ms);
    db_run(db, put);
}

bool db_shard_in_state(struct db *db, uint32_t stream, uint32_t from, enum db_shard_state state,
                       uint32_t *out_number)
{
    sqlite3_stmt *get = db_use(db, DB_LINEAGE_NEXT);
    db_bind_u64(get, 1, db_shard_id(stream, from));
    db_bind_u64(get, 2, db_shard_id(stream + 1, 0));
    db_bind_u64(get, 3, (uint64_t)state);
    if (!db_row(db, get)) {
        return false;
    }
    *out_number = (uint32_t)db_u64(get, 0);
    (void)sqlite3_reset(get);
    return true;
}

bool db_reshard_get(struct db *db, uint32_t stream, uint32_t *out_target)
{
    sqlite3_stmt *get = db_use(db, DB_RESHARD_GET);
    db_bind_u64(get, 1, stream);
    if (!db_row(db, get)) {
        return false;
    }
    *out_target = db_u32(get, 0);
    (void)sqlite3_reset(get);
    return true;
}

void db_reshard_put(struct db *db, uint32_t stream, uint32_t target)
{
    CHECK(db->in_transaction);
    sqlite3_stmt *put = db_use(db, DB_RESHARD_PUT);
    db_bind_u64(put, 1, stream);
    db_bind_u64(put, 2, target);
    db_run(db, put);
}

void db_reshard_delete(struct db *db, uint32_t stream)
{
    CHECK(db->in_transaction);
    sqlite3_stmt *row = db_use(db, DB_RESHARD_DELETE);
    db_bind_u64(row, 1, stream);
    db_run(db, row);
}
