#include "controller/db/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/formats.h"
#include "controller/db/internal.h"

/* ---- statements
 * ------------------------------------------------------------------------------------ */

void db_fail(struct db *db, const char *what)
{
    if (!db->failed) {
        db->failed = true;
        int code = sqlite3_errcode(db->sql);
        enum status status = code == SQLITE_FULL                               ? STATUS_DISK_FULL
                             : code == SQLITE_NOMEM                            ? STATUS_NO_MEMORY
                             : code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? STATUS_CORRUPT
                                                                               : STATUS_IO;
        (void)error_set(&db->error, status, "%s: %s: %s", db->path, what, sqlite3_errmsg(db->sql));
    }
}

void db_abort(struct db *db, enum status status, const char *text)
{
    CHECK(status != STATUS_OK);
    if (!db->failed) {
        db->failed = true;
        (void)error_set(&db->error, status, "%s: %s", db->path, text);
    }
}

sqlite3_stmt *db_use(struct db *db, enum db_statement which)
{
    sqlite3_stmt *statement = db->statement[which];
    (void)sqlite3_reset(statement);
    (void)sqlite3_clear_bindings(statement);
    return statement;
}

bool db_row(struct db *db, sqlite3_stmt *statement)
{
    if (db->failed) {
        return false;
    }
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        db_fail(db, sqlite3_sql(statement));
    }
    if (code != SQLITE_ROW) {
        (void)sqlite3_reset(statement);
    }
    return code == SQLITE_ROW;
}

void db_run(struct db *db, sqlite3_stmt *statement)
{
    if (db_row(db, statement)) {
        (void)sqlite3_reset(statement);
    }
}

void db_text(sqlite3_stmt *statement, int column, char *out, size_t size)
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    (void)snprintf(out, size, "%s", text == NULL ? "" : (const char *)text);
}

void db_blob(struct db *db, sqlite3_stmt *statement, int column, uint8_t *out, size_t size)
{
    const void *data = sqlite3_column_blob(statement, column);
    if (data == NULL || (size_t)sqlite3_column_bytes(statement, column) != size) {
        memset(out, 0, size);
        db_abort(db, STATUS_CORRUPT, "a column has a wrong length");
        return;
    }
    memcpy(out, data, size);
}

/* ---- changes
 * --------------------------------------------------------------------------------------- */

bool db_ids_insert(struct db_ids *ids, uint64_t id)
{
    size_t low = 0, high = ids->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ids->id[middle] < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < ids->count && ids->id[low] == id) {
        return true;
    }
    if (ids->count == ids->capacity) {
        size_t capacity = ids->capacity == 0 ? 64 : 2 * ids->capacity;
        uint64_t *grown = realloc(ids->id, capacity * sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        ids->id = grown;
        ids->capacity = capacity;
    }
    memmove(ids->id + low + 1, ids->id + low, (ids->count - low) * sizeof(*ids->id));
    ids->id[low] = id;
    ids->count++;
    return true;
}

void db_note(struct db *db, enum db_kind kind, uint64_t id)
{
    CHECK(db->in_transaction);
    struct db_ids *ids = kind == DB_KIND_BROKER   ? &db->changes.brokers
                         : kind == DB_KIND_STREAM ? &db->changes.streams
                         : kind == DB_KIND_SHARD  ? &db->changes.shards
                                                  : &db->changes.deleted_streams;
    db->changed = true;
    if (!db_ids_insert(ids, id)) {
        db_abort(db, STATUS_NO_MEMORY, "out of memory");
    }
}

struct db_changes *db_changes(struct db *db)
{
    return &db->changes;
}

bool db_changes_any(const struct db_changes *changes)
{
    return changes->brokers.count > 0 || changes->streams.count > 0 || changes->shards.count > 0 ||
           changes->deleted_streams.count > 0 || changes->drops || changes->settings;
}

void db_changes_clear(struct db_changes *changes)
{
    changes->brokers.count = changes->streams.count = 0;
    changes->shards.count = changes->deleted_streams.count = 0;
    changes->drops = changes->settings = false;
    changes->applications.count = changes->leases.count = 0;
}

static void changes_release(struct db_changes *changes)
{
    free(changes->brokers.id);
    free(changes->streams.id);
    free(changes->shards.id);
    free(changes->deleted_streams.id);
    free(changes->applications.id);
    free(changes->leases.key);
}

/* ---- the transaction and the meta row
 * -------------------------------------------------------------- */

const struct db_meta *db_meta(const struct db *db)
{
    return &db->meta;
}

static void meta_write(struct db *db)
{
    const struct db_meta *m = &db->meta;
    sqlite3_stmt *put = db_use(db, DB_META_PUT);
    db_bind_u64(put, 1, DB_FORMAT);
    db_bind_u64(put, 2, m->applied_index);
    db_bind_u64(put, 3, m->version);
    db_bind_u64(put, 4, m->time_ms);
    db_bind_u64(put, 5, m->state_hash);
    db_bind_u64(put, 6, m->next_producer);
    db_bind_u64(put, 7, m->next_stream);
    if (m->has_cluster) {
        db_bind_blob(put, 8, m->cluster, CLUSTER_ID_BYTES);
    }
    db_run(db, put);
}

static void meta_read(struct db *db)
{
    struct db_meta m = {.next_producer = 1, .next_stream = 1};
    sqlite3_stmt *get = db_use(db, DB_META_GET);
    if (db_row(db, get)) {
        m.applied_index = db_u64(get, 1);
        m.version = db_u64(get, 2);
        m.time_ms = db_u64(get, 3);
        m.state_hash = db_u64(get, 4);
        m.next_producer = db_u64(get, 5);
        m.next_stream = db_u32(get, 6);
        m.has_cluster = sqlite3_column_type(get, 7) != SQLITE_NULL;
        if (m.has_cluster) {
            db_blob(db, get, 7, m.cluster, CLUSTER_ID_BYTES);
        }
        (void)sqlite3_reset(get);
    }
    db->meta = m;
}

void db_begin(struct db *db)
{
    CHECK(!db->in_transaction);
    db->in_transaction = true;
    db->changed = false;
    db_run(db, db_use(db, DB_BEGIN));
}

uint64_t db_mixed(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

enum status db_commit(struct db *db, uint64_t index, uint32_t mix, struct error *error)
{
    CHECK(db->in_transaction);
    CHECK(index > db->meta.applied_index);
    db->meta.applied_index = index;
    db->meta.version += db->changed ? 1 : 0;
    db->meta.state_hash = db_mixed(db_mixed(db->meta.state_hash ^ index) + mix);
    meta_write(db);
    db_run(db, db_use(db, DB_COMMIT));
    db->in_transaction = false;
    if (db->failed) {
        return error_set(error, db->error.status, "%s", db->error.text);
    }
    return STATUS_OK;
}

uint64_t db_next_version(const struct db *db)
{
    return db->meta.version + (db->changed ? 1 : 0);
}

void db_time_advance(struct db *db, uint64_t time_ms)
{
    CHECK(db->in_transaction);
    /* SQLite's integers are signed. */
    if (time_ms > db->meta.time_ms && time_ms <= INT64_MAX) {
        db->meta.time_ms = time_ms;
    }
}

void db_cluster_set(struct db *db, const uint8_t cluster[CLUSTER_ID_BYTES])
{
    CHECK(db->in_transaction);
    db->meta.has_cluster = true;
    memcpy(db->meta.cluster, cluster, CLUSTER_ID_BYTES);
    db->changed = true;
}

uint32_t db_stream_id_take(struct db *db)
{
    CHECK(db->in_transaction);
    CHECK(db->meta.next_stream < INT32_MAX); /* a shard's id is a positive number for SQLite */
    return db->meta.next_stream++;
}

uint64_t db_producers_take(struct db *db, uint64_t count)
{
    CHECK(db->in_transaction);
    CHECK(count <= INT64_MAX - db->meta.next_producer);
    uint64_t first = db->meta.next_producer;
    db->meta.next_producer += count;
    return first;
}

/* ---- open and close
 * -------------------------------------------------------------------------------- */

enum status db_connect(const char *path, bool create, sqlite3 **out, struct error *error)
{
    sqlite3 *sql = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
    int code = sqlite3_open_v2(path, &sql, flags, NULL);
    if (code == SQLITE_OK) {
        (void)sqlite3_busy_timeout(sql, DB_BUSY_MS);
        code = sqlite3_exec(sql,
                            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                            "PRAGMA wal_autocheckpoint = 0; PRAGMA trusted_schema = OFF;",
                            NULL, NULL, NULL);
    }
    if (code != SQLITE_OK) {
        enum status status =
            code == SQLITE_NOTADB || code == SQLITE_CORRUPT ? STATUS_CORRUPT : STATUS_IO;
        status = error_set(error, status, "%s: cannot open the database: %s", path,
                           sql == NULL ? sqlite3_errstr(code) : sqlite3_errmsg(sql));
        (void)sqlite3_close(sql);
        return status;
    }
    *out = sql;
    return STATUS_OK;
}

static int on_wal(void *data, sqlite3 *sql, const char *name, int pages)
{
    (void)sql;
    (void)name;
    ((struct db *)data)->wal_pages = (uint32_t)pages;
    return SQLITE_OK;
}

enum status db_upgrade(struct db *db, struct error *error)
{
    char sql[128];
    (void)snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %d;",
                   DB_APPLICATION_ID, DB_FORMAT);
    const char *const steps[] = {
        "BEGIN",          db_schema,       db_schema_account, db_schema_lineage,
        db_schema_leases, db_schema_moves, db_schema_balance, sql,
        "COMMIT"};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (sqlite3_exec(db->sql, steps[i], NULL, NULL, NULL) != SQLITE_OK) {
            return error_set(error, STATUS_IO, "%s: cannot make the tables: %s", db->path,
                             sqlite3_errmsg(db->sql));
        }
    }
    return STATUS_OK;
}

/* Makes the tables of a new file; refuses a file of somebody else or of a later version. */
static enum status prepare_tables(struct db *db, struct error *error)
{
    uint64_t application = 0, format = 0;
    const char *const pragmas[] = {"PRAGMA application_id", "PRAGMA user_version"};
    uint64_t *const values[] = {&application, &format};
    for (size_t i = 0; i < 2; i++) {
        sqlite3_stmt *get = NULL;
        if (sqlite3_prepare_v2(db->sql, pragmas[i], -1, &get, NULL) == SQLITE_OK &&
            sqlite3_step(get) == SQLITE_ROW) {
            *values[i] = db_u64(get, 0);
        }
        (void)sqlite3_finalize(get);
    }
    if (application != 0 && application != DB_APPLICATION_ID) {
        return error_set(error, STATUS_CORRUPT, "%s: is not a database of Weir", db->path);
    }
    if (format > DB_FORMAT) {
        return format_refuse(error, db->path, format, DB_FORMAT, OLDEST_STATE);
    }
    if (format < DB_FORMAT) {
        enum status status = db_upgrade(db, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    for (size_t i = 0; i < DB_STATEMENT_COUNT; i++) {
        if (sqlite3_prepare_v3(db->sql, db_statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &db->statement[i], NULL) != SQLITE_OK) {
            return error_set(error, STATUS_CORRUPT, "%s: %s", db->path, sqlite3_errmsg(db->sql));
        }
    }
    return STATUS_OK;
}

enum status db_open(const char *path, struct db **out, struct error *error)
{
    struct db *db = calloc(1, sizeof(*db));
    if (db == NULL || (db->path = strdup(path)) == NULL) {
        free(db);
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    enum status status = db_connect(path, true, &db->sql, error);
    if (status == STATUS_OK) {
        (void)sqlite3_wal_hook(db->sql, on_wal, db);
        status = prepare_tables(db, error);
    }
    if (status == STATUS_OK) {
        meta_read(db);
        if (db->failed) {
            status = error_set(error, db->error.status, "%s", db->error.text);
        }
    }
    if (status != STATUS_OK) {
        db_close(db);
        return status;
    }
    *out = db;
    return STATUS_OK;
}

void db_close(struct db *db)
{
    if (db == NULL) {
        return;
    }
    for (size_t i = 0; i < DB_STATEMENT_COUNT; i++) {
        (void)sqlite3_finalize(db->statement[i]);
    }
    (void)sqlite3_close(db->sql);
    changes_release(&db->changes);
    free(db->path);
    free(db);
}

uint32_t db_wal_pages(const struct db *db)
{
    return db->wal_pages;
}

void db_reload(struct db *db)
{
    db_changes_clear(&db->changes);
    meta_read(db);
}
