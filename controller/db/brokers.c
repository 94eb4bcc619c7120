#include "controller/db/internal.h"

static void read_broker(struct db *db, sqlite3_stmt *row, struct db_broker *out)
{
    *out = (struct db_broker){
        .id = db_u32(row, 0),
        .port = (uint16_t)db_u32(row, 3),
        .boot = db_u64(row, 4),
        .disk_gen = db_u32(row, 5),
        .alive = db_u32(row, 7) != 0,
        .replicas = db_u32(row, 8),
        .preferred = db_u32(row, 9),
        .mode = (enum db_broker_mode)db_u32(row, 10),
        .down_ms = db_u64(row, 12),
    };
    db_text(row, 11, out->label, sizeof(out->label));
    db_text(row, 1, out->zone, sizeof(out->zone));
    db_text(row, 2, out->host, sizeof(out->host));
    db_blob(db, row, 6, out->disk, sizeof(out->disk));
}

bool db_broker_get(struct db *db, uint32_t id, struct db_broker *out)
{
    sqlite3_stmt *get = db_use(db, DB_BROKER_GET);
    db_bind_u64(get, 1, id);
    if (!db_row(db, get)) {
        return false;
    }
    read_broker(db, get, out);
    (void)sqlite3_reset(get);
    return !db->failed;
}

void db_broker_put(struct db *db, const struct db_broker *broker)
{
    db_note(db, DB_KIND_BROKER, broker->id);
    sqlite3_stmt *put = db_use(db, DB_BROKER_PUT);
    db_bind_u64(put, 1, broker->id);
    db_bind_text(put, 2, broker->zone);
    db_bind_text(put, 3, broker->host);
    db_bind_u64(put, 4, broker->port);
    db_bind_u64(put, 5, broker->boot);
    db_bind_u64(put, 6, broker->disk_gen);
    db_bind_blob(put, 7, broker->disk, sizeof(broker->disk));
    db_bind_u64(put, 8, broker->alive);
    db_bind_u64(put, 9, broker->replicas);
    db_bind_u64(put, 10, broker->preferred);
    db_run(db, put);
}

void db_broker_each(struct db *db, void (*visit)(const struct db_broker *broker, void *context),
                    void *context)
{
    sqlite3_stmt *each = db_use(db, DB_BROKER_EACH);
    while (db_row(db, each)) {
        struct db_broker broker;
        read_broker(db, each, &broker);
        visit(&broker, context);
    }
}

void db_broker_load_add(struct db *db, uint32_t id, int64_t replicas, int64_t preferred)
{
    CHECK(db->in_transaction);
    sqlite3_stmt *load = db_use(db, DB_BROKER_LOAD);
    (void)sqlite3_bind_int64(load, 1, replicas);
    (void)sqlite3_bind_int64(load, 2, preferred);
    db_bind_u64(load, 3, id);
    db_run(db, load);
}

bool db_disk_get(struct db *db, const uint8_t id[DB_DISK_ID_BYTES], struct db_disk *out)
{
    sqlite3_stmt *get = db_use(db, DB_DISK_GET);
    db_bind_blob(get, 1, id, DB_DISK_ID_BYTES);
    if (!db_row(db, get)) {
        return false;
    }
    *out = (struct db_disk){
        .broker = db_u32(get, 0), .disk_gen = db_u32(get, 1), .boot = db_u64(get, 2)};
    memcpy(out->id, id, DB_DISK_ID_BYTES);
    db_blob(db, get, 3, out->process, sizeof(out->process));
    (void)sqlite3_reset(get);
    return !db->failed;
}

void db_disk_put(struct db *db, const struct db_disk *disk)
{
    CHECK(db->in_transaction);
    sqlite3_stmt *put = db_use(db, DB_DISK_PUT);
    db_bind_blob(put, 1, disk->id, sizeof(disk->id));
    db_bind_u64(put, 2, disk->broker);
    db_bind_u64(put, 3, disk->disk_gen);
    db_bind_u64(put, 4, disk->boot);
    db_bind_blob(put, 5, disk->process, sizeof(disk->process));
    db_run(db, put);
}

uint32_t db_disk_gen_max(struct db *db, uint32_t broker)
{
    sqlite3_stmt *get = db_use(db, DB_DISK_GEN_MAX);
    db_bind_u64(get, 1, broker);
    uint32_t max = db_row(db, get) ? db_u32(get, 0) : 0;
    (void)sqlite3_reset(get);
    return max;
}
