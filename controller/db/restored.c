/* What is left to be learnt after a backup was restored (db_renew()), and the settings of automatic
 * balancing: rows that no other row refers to. */
#include "controller/db/internal.h"

const char *const db_schema_balance =
    "CREATE TABLE IF NOT EXISTS balance (\n"
    "  id       INTEGER PRIMARY KEY CHECK (id = 1),\n"
    "  settings BLOB NOT NULL        -- a BalanceSettings (proto/schema/balance.proto)\n"
    ") STRICT;\n"

    "CREATE TABLE IF NOT EXISTS restored (\n"
    "  broker  INTEGER PRIMARY KEY, -- has not told what it holds since a backup was restored\n"
    "  version INTEGER NOT NULL     -- of the metadata image that it must know\n"
    ") STRICT;\n";

bool db_restored_waits(struct db *db, uint32_t broker, uint64_t *out_version)
{
    sqlite3_stmt *get = db_use(db, DB_RESTORED_GET);
    db_bind_u64(get, 1, broker);
    bool waits = db_row(db, get);
    if (waits) {
        *out_version = db_u64(get, 0);
        (void)sqlite3_reset(get);
    }
    return waits;
}

void db_restored_told(struct db *db, uint32_t broker)
{
    CHECK(db->in_transaction);
    sqlite3_stmt *delete = db_use(db, DB_RESTORED_DELETE);
    db_bind_u64(delete, 1, broker);
    db_run(db, delete);
}

size_t db_restored_each(struct db *db, uint32_t *out_brokers, size_t max)
{
    sqlite3_stmt *each = db_use(db, DB_RESTORED_EACH);
    size_t count = 0;
    while (count < max && db_row(db, each)) {
        out_brokers[count++] = db_u32(each, 0);
    }
    (void)sqlite3_reset(each);
    return count;
}
