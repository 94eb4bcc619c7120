/* Private to controller/db: the connection, its statements, and helpers that keep failure sticky.
 */
#pragma once

#include <sqlite3.h>

#include "base/check.h"
#include "base/formats.h"
#include "controller/db/db.h"

#include "controller/db/statements.def"

enum {
    DB_FORMAT = FORMAT_STATE,
    DB_APPLICATION_ID = 0x57454952, /* "WEIR", in the file's header */
    DB_BUSY_MS = 10000, /* a checkpoint on another thread may hold the file for a moment */
};

enum db_statement {
#define X(name, sql) DB_##name,
    DB_STATEMENTS(X)
#undef X
        DB_STATEMENT_COUNT
};

extern const char *const db_schema, *const db_schema_account, *const db_schema_lineage,
                                                                  *const db_schema_leases,
                                                                      *const db_schema_moves,
                                                                          *const db_schema_balance;
extern const char *const db_statements[DB_STATEMENT_COUNT];

struct db {
    sqlite3 *sql;
    char *path;
    sqlite3_stmt *statement[DB_STATEMENT_COUNT];
    struct db_meta meta;
    struct db_changes changes;
    bool changed; /* the image, in this transaction */
    bool in_transaction, failed;
    struct error error; /* the first failure */
    uint32_t wal_pages;
};

/* A file's connection with our settings. IO, CORRUPT. */
NODISCARD enum status db_connect(const char *path, bool create, sqlite3 **out, struct error *error);

/* A 64-bit mixer (splitmix64's finaliser): every bit of what goes in reaches every bit. */
uint64_t db_mixed(uint64_t x);

/* Remembers the first failure of SQLite. */
void db_fail(struct db *db, const char *what);

/* The statement, reset, without bindings. */
sqlite3_stmt *db_use(struct db *db, enum db_statement which);
/* Whether there is a row; false also on failure. */
bool db_row(struct db *db, sqlite3_stmt *statement);
/* Runs a statement that gives no rows, and resets it. */
void db_run(struct db *db, sqlite3_stmt *statement);

static inline void db_bind_u64(sqlite3_stmt *statement, int at, uint64_t value)
{
    (void)sqlite3_bind_int64(statement, at, (sqlite3_int64)value);
}

/* Text and blobs live until the statement has run. */
static inline void db_bind_text(sqlite3_stmt *statement, int at, const char *text)
{
    (void)sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

static inline void db_bind_blob(sqlite3_stmt *statement, int at, const void *data, size_t size)
{
    (void)sqlite3_bind_blob(statement, at, size == 0 ? "" : data, (int)size, SQLITE_STATIC);
}

static inline uint64_t db_u64(sqlite3_stmt *statement, int column)
{
    return (uint64_t)sqlite3_column_int64(statement, column);
}

static inline uint32_t db_u32(sqlite3_stmt *statement, int column)
{
    return (uint32_t)sqlite3_column_int64(statement, column);
}

/* Cut to the size of `out`; the columns were bounded when they were written. */
void db_text(sqlite3_stmt *statement, int column, char *out, size_t size);
/* Exactly `size` bytes, else the database fails as corrupt. */
void db_blob(struct db *db, sqlite3_stmt *statement, int column, uint8_t *out, size_t size);

enum db_kind { DB_KIND_BROKER, DB_KIND_STREAM, DB_KIND_SHARD, DB_KIND_DELETED_STREAM };
void db_note(struct db *db, enum db_kind kind, uint64_t id);
/* Keeps them ascending, each once. False: out of memory. */
bool db_ids_insert(struct db_ids *ids, uint64_t id);

/* moves.c: fills shard->move. */
void db_move_read(struct db *db, struct db_shard *shard);

/* lineage.c: fills shard->lineage. */
void db_lineage_read(struct db *db, struct db_shard *shard);

/* Brings the tables of an older file to DB_FORMAT. IO. */
NODISCARD enum status db_upgrade(struct db *db, struct error *error);

/* The rows have been replaced by others: forgets the changes and reads the meta row again. */
void db_reload(struct db *db);
