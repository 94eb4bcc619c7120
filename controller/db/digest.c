/* What all rows say, as one number: to compare controllers that have applied the same entries. */
#include <stdlib.h>
#include <string.h>

#include "controller/db/internal.h"

struct db_digest {
    sqlite3 *sql;
};

/* FNV-1a; rows are told apart well enough by it, and nobody attacks here. */
static uint64_t fold(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *byte = data;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static uint64_t fold_column(uint64_t hash, sqlite3_stmt *row, int at)
{
    int type = sqlite3_column_type(row, at);
    hash = fold(hash, &type, sizeof(type));
    if (type == SQLITE_INTEGER) {
        sqlite3_int64 value = sqlite3_column_int64(row, at);
        return fold(hash, &value, sizeof(value));
    }
    if (type == SQLITE_NULL) {
        return hash;
    }
    const void *data = sqlite3_column_blob(row, at);
    int size = sqlite3_column_bytes(row, at);
    hash = fold(hash, &size, sizeof(size));
    return size > 0 ? fold(hash, data, (size_t)size) : hash;
}

/* A sum over rows: their order, which may differ after a copy, does not matter. */
static int digest_table(sqlite3 *sql, const char *name, uint64_t *sum)
{
    char *text = sqlite3_mprintf("SELECT * FROM \"%w\"", name);
    if (text == NULL) {
        return SQLITE_NOMEM;
    }
    sqlite3_stmt *rows = NULL;
    int code = sqlite3_prepare_v2(sql, text, -1, &rows, NULL);
    sqlite3_free(text);
    if (code != SQLITE_OK) {
        return code;
    }
    uint64_t start = fold(UINT64_C(0xcbf29ce484222325), name, strlen(name));
    while ((code = sqlite3_step(rows)) == SQLITE_ROW) {
        uint64_t hash = start;
        int columns = sqlite3_column_count(rows);
        for (int i = 0; i < columns; i++) {
            hash = fold_column(hash, rows, i);
        }
        *sum += db_mixed(hash);
    }
    (void)sqlite3_finalize(rows);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

uint32_t db_format(void)
{
    return DB_FORMAT;
}

enum status db_digest_begin(const char *path, struct db_digest **out, struct error *error)
{
    struct db_digest *digest = calloc(1, sizeof(*digest));
    if (digest == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    enum status status = db_connect(path, false, &digest->sql, error);
    /* A transaction that has read holds its view, whatever is committed meanwhile. */
    if (status == STATUS_OK && sqlite3_exec(digest->sql, "BEGIN; SELECT applied_index FROM meta",
                                            NULL, NULL, NULL) != SQLITE_OK) {
        status = error_set(error, STATUS_IO, "%s: digest: %s", path, sqlite3_errmsg(digest->sql));
    }
    if (status != STATUS_OK) {
        db_digest_free(digest);
        return status;
    }
    *out = digest;
    return STATUS_OK;
}

enum status db_digest_run(struct db_digest *digest, uint64_t *out_digest, struct error *error)
{
    sqlite3_stmt *tables = NULL;
    uint64_t sum = 0;
    int code = sqlite3_prepare_v2(digest->sql,
                                  "SELECT name FROM sqlite_master WHERE type = 'table' AND name "
                                  "NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
                                  -1, &tables, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(tables)) == SQLITE_ROW) {
        code = digest_table(digest->sql, (const char *)sqlite3_column_text(tables, 0), &sum);
    }
    (void)sqlite3_finalize(tables);
    if (code != SQLITE_DONE) {
        return error_set(error, code == SQLITE_CORRUPT ? STATUS_CORRUPT : STATUS_IO,
                         "the state cannot be read to compare it: %s", sqlite3_errmsg(digest->sql));
    }
    *out_digest = sum;
    return STATUS_OK;
}

void db_digest_free(struct db_digest *digest)
{
    if (digest != NULL) {
        (void)sqlite3_close(digest->sql);
        free(digest);
    }
}
