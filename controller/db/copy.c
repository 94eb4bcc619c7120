/* Checkpoints, copies for Raft's snapshots, and their way back. */
#include <stdio.h>
#include <unistd.h>

#include "base/formats.h"
#include "controller/db/internal.h"

enum status db_checkpoint(const char *path, struct error *error)
{
    sqlite3 *sql = NULL;
    enum status status = db_connect(path, false, &sql, error);
    if (status != STATUS_OK) {
        return status;
    }
    /* PASSIVE: does what it can without making the home thread wait. */
    int code = sqlite3_wal_checkpoint_v2(sql, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (code != SQLITE_OK && code != SQLITE_BUSY) {
        status = error_set(error, STATUS_IO, "%s: checkpoint: %s", path, sqlite3_errmsg(sql));
    }
    (void)sqlite3_close(sql);
    return status;
}

/* The applied index and the format that a file of ours records. */
static enum status read_header(sqlite3 *sql, const char *path, uint64_t *out_index,
                               struct error *error)
{
    sqlite3_stmt *get = NULL;
    int code = sqlite3_prepare_v2(sql, "SELECT format, applied_index FROM meta WHERE id = 1", -1,
                                  &get, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(get);
    }
    uint64_t format = code == SQLITE_ROW ? db_u64(get, 0) : 0;
    uint64_t index = code == SQLITE_ROW ? db_u64(get, 1) : 0;
    (void)sqlite3_finalize(get);
    if (code != SQLITE_ROW) {
        return error_set(error, STATUS_CORRUPT, "%s: not a copy of the state: %s", path,
                         code == SQLITE_DONE ? "nothing was applied" : sqlite3_errmsg(sql));
    }
    if (format > DB_FORMAT) {
        return format_refuse(error, path, format, DB_FORMAT, OLDEST_STATE);
    }
    *out_index = index;
    return STATUS_OK;
}

enum status db_copy(const char *path, const char *target, uint64_t *out_index, struct error *error)
{
    sqlite3 *sql = NULL;
    enum status status = db_connect(path, false, &sql, error);
    if (status != STATUS_OK) {
        return status;
    }
    (void)unlink(target); /* of an attempt that failed; VACUUM INTO wants a new file */
    sqlite3_stmt *vacuum = NULL;
    int code = sqlite3_prepare_v2(sql, "VACUUM INTO ?", -1, &vacuum, NULL);
    if (code == SQLITE_OK) {
        db_bind_text(vacuum, 1, target);
        code = sqlite3_step(vacuum);
    }
    (void)sqlite3_finalize(vacuum);
    if (code != SQLITE_DONE) {
        status = error_set(error, code == SQLITE_FULL ? STATUS_DISK_FULL : STATUS_IO,
                           "%s: cannot write the copy: %s", target, sqlite3_errmsg(sql));
    }
    (void)sqlite3_close(sql);
    sqlite3 *copy = NULL;
    if (status == STATUS_OK) {
        code = sqlite3_open_v2(target, &copy, SQLITE_OPEN_READONLY, NULL);
        status = code == SQLITE_OK ? read_header(copy, target, out_index, error)
                                   : error_set(error, STATUS_IO, "%s: cannot read the copy: %s",
                                               target, sqlite3_errstr(code));
        (void)sqlite3_close(copy);
    }
    if (status != STATUS_OK) {
        (void)unlink(target);
    }
    return status;
}

/* Damage that nobody has noticed must not become the new truth. */
static enum status check_pages(sqlite3 *sql, const char *path, struct error *error)
{
    sqlite3_stmt *check = NULL;
    bool good = sqlite3_prepare_v2(sql, "PRAGMA quick_check(1)", -1, &check, NULL) == SQLITE_OK &&
                sqlite3_step(check) == SQLITE_ROW &&
                sqlite3_stricmp((const char *)sqlite3_column_text(check, 0), "ok") == 0;
    (void)sqlite3_finalize(check);
    return good ? STATUS_OK
                : error_set(error, STATUS_CORRUPT, "%s: the copy of the state is damaged", path);
}

enum status db_restore(struct db *db, const char *source, struct error *error)
{
    CHECK(!db->in_transaction);
    sqlite3 *from = NULL;
    int code = sqlite3_open_v2(source, &from, SQLITE_OPEN_READONLY, NULL);
    enum status status = STATUS_OK;
    uint64_t index = 0;
    if (code != SQLITE_OK) {
        status = error_set(error, STATUS_IO, "%s: %s", source, sqlite3_errstr(code));
    }
    if (status == STATUS_OK) {
        status = read_header(from, source, &index, error);
    }
    if (status == STATUS_OK) {
        status = check_pages(from, source, error);
    }
    if (status == STATUS_OK) {
        for (size_t i = 0; i < DB_STATEMENT_COUNT; i++) {
            (void)sqlite3_reset(db->statement[i]);
        }
        sqlite3_backup *backup = sqlite3_backup_init(db->sql, "main", from, "main");
        code = backup == NULL ? sqlite3_errcode(db->sql) : sqlite3_backup_step(backup, -1);
        if (backup != NULL) {
            (void)sqlite3_backup_finish(backup);
        }
        if (code != SQLITE_DONE) {
            status = error_set(error, STATUS_IO, "%s: restoring %s: %s", db->path, source,
                               sqlite3_errstr(code));
        }
    }
    (void)sqlite3_close(from);
    if (status != STATUS_OK) {
        return status;
    }
    status = db_upgrade(db, error); /* the copy may be an older version's */
    if (status != STATUS_OK) {
        return status;
    }
    db_reload(db);
    return db->failed ? error_set(error, db->error.status, "%s", db->error.text) : STATUS_OK;
}

enum status db_renew(const char *path, uint64_t *out_index, struct error *error)
{
    sqlite3 *sql = NULL;
    uint64_t index = 0;
    int code = sqlite3_open_v2(path, &sql, SQLITE_OPEN_READWRITE, NULL);
    enum status status = code == SQLITE_OK
                             ? read_header(sql, path, &index, error)
                             : error_set(error, STATUS_IO, "%s: %s", path, sqlite3_errstr(code));
    if (status == STATUS_OK) {
        status = check_pages(sql, path, error);
    }
    if (status == STATUS_OK) {
        char text[4096];
        (void)snprintf(text, sizeof(text),
                       "PRAGMA synchronous = FULL; BEGIN IMMEDIATE; %s %s"
                       "UPDATE meta SET applied_index = applied_index + %llu,"
                       " version = version + %llu, next_producer = next_producer + %llu,"
                       " next_stream = next_stream + %d;"
                       "INSERT OR REPLACE INTO restored (broker, version) SELECT id, (SELECT "
                       "version FROM meta) FROM brokers WHERE id NOT IN (SELECT broker FROM "
                       "broker_plans WHERE mode = %d); COMMIT",
                       db_schema_moves, db_schema_balance, (unsigned long long)DB_RENEW_ENTRIES,
                       (unsigned long long)DB_RENEW_ENTRIES, (unsigned long long)DB_RENEW_ENTRIES,
                       DB_RENEW_STREAMS, DB_BROKER_REMOVED);
        if (sqlite3_exec(sql, text, NULL, NULL, NULL) != SQLITE_OK) {
            status = error_set(error, STATUS_IO, "%s: %s", path, sqlite3_errmsg(sql));
        }
    }
    (void)sqlite3_close(sql);
    if (status == STATUS_OK) {
        *out_index = index + DB_RENEW_ENTRIES;
    }
    return status;
}
