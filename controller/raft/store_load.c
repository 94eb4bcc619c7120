/* Opening raft.db: creating it once, and believing nothing in it unchecked. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/formats.h"
#include "controller/raft/snapshot_file.h"
#include "controller/raft/store_internal.h"

enum { FORMAT = FORMAT_RAFT_LOG };

static const char schema[] =
    "CREATE TABLE identity(one INTEGER PRIMARY KEY CHECK (one = 1), id INTEGER NOT NULL,"
    " servers BLOB NOT NULL) STRICT;"
    "CREATE TABLE meta(one INTEGER PRIMARY KEY CHECK (one = 1), generation INTEGER NOT NULL,"
    " term INTEGER NOT NULL, voted_for INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT;"
    "CREATE TABLE snapshot(one INTEGER PRIMARY KEY CHECK (one = 1), idx INTEGER NOT NULL,"
    " term INTEGER NOT NULL, configuration_index INTEGER NOT NULL, configuration BLOB NOT NULL,"
    " bytes INTEGER NOT NULL, hash BLOB NOT NULL, crc INTEGER NOT NULL) STRICT;"
    "CREATE TABLE log(idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, type INTEGER NOT NULL,"
    " data BLOB NOT NULL, crc INTEGER NOT NULL) STRICT;";

static enum status execute(sqlite3 *db, const char *sql, struct error *error)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? STATUS_OK : store_error(db, rc, "opening", error);
}

static enum status open_database(struct raft_store *store, sqlite3 **out, struct error *error)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/raft.db", store->dir);
    int rc = sqlite3_open_v2(
        path, out, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        return store_error(*out, rc, "opening", error);
    }
    sqlite3_busy_timeout(*out, 10000);
    /* The write-ahead log keeps its place in the directory, which is synced once. */
    int persist = 1;
    (void)sqlite3_file_control(*out, "main", SQLITE_FCNTL_PERSIST_WAL, &persist);
    return execute(*out,
                   "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                   "PRAGMA cache_size = -4096",
                   error);
}

static enum status open_files(struct raft_store *store, bool *out_marked, struct error *error)
{
    char path[PATH_MAX];
    store->dir_fd = open(store->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->dir_fd < 0) {
        return error_set(error, STATUS_IO, "%s: %s", store->dir, strerror(errno));
    }
    (void)snprintf(path, sizeof(path), "%s/raft.lock", store->dir);
    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->lock_fd < 0) {
        return error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
    }
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return error_set(error, STATUS_INVALID, "%s: another process uses this directory", path);
    }
    (void)snprintf(path, sizeof(path), "%s/raft.mark", store->dir);
    store->mark_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->mark_fd < 0) {
        return error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
    }
    /* It is empty until the database has been made: a crash before that leaves nothing behind. */
    struct stat facts;
    *out_marked = fstat(store->mark_fd, &facts) == 0 && facts.st_size > 0;
    return STATUS_OK;
}

/* ---- creation ---- */

static void put_servers(const struct raft_store *store, uint8_t *out)
{
    for (uint32_t i = 0; i < store->options.id_count; i++) {
        put_u32(out + 4 * (size_t)i, store->options.ids[i]);
    }
}

static enum status put_identity(struct raft_store *store, struct error *error)
{
    uint8_t servers[4 * RAFT_NODE_SERVERS_MAX];
    put_servers(store, servers);
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(
        store->db, "INSERT INTO identity(one, id, servers) VALUES (1, ?, ?)", -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(statement, 1, store->options.id);
        /* None of one that joins: it takes what the others tell. */
        uint32_t count = store->options.join ? 0 : store->options.id_count;
        sqlite3_bind_blob(statement, 2, servers, (int)(4 * count), SQLITE_STATIC);
        rc = sqlite3_step(statement);
    }
    (void)sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? STATUS_OK : store_error(store->db, rc, "creating", error);
}

static enum status encode_initial(const struct raft_store *store, struct raft_buffer *out,
                                  struct error *error)
{
    struct raft_configuration configuration;
    raft_configuration_init(&configuration);
    int rv = 0;
    for (uint32_t i = 0; rv == 0 && i < store->options.id_count; i++) {
        char address[32];
        (void)snprintf(address, sizeof(address), "controller-%u", store->options.ids[i]);
        rv = raft_configuration_add(&configuration, store->options.ids[i], address, RAFT_VOTER);
    }
    if (rv == 0) {
        rv = raft_configuration_encode(&configuration, out);
    }
    raft_configuration_close(&configuration);
    return rv == 0
               ? STATUS_OK
               : error_set(error, STATUS_INVALID, "the initial controllers: %s", raft_strerror(rv));
}

/* A log that begins with a snapshot: the file lies there, and every controller that begins with it
 * has the same index, term and configuration. */
static enum status put_restored(struct raft_store *store, struct error *error)
{
    const struct raft_node_restored *restored = &store->options.restored;
    struct raft_snapshot_info info = {
        .index = restored->index, .term = restored->term, .configuration_index = restored->index};
    struct raft_buffer encoded = {0};
    char path[RAFT_SNAPSHOT_PATH_BYTES];
    raft_snapshot_path(store->dir, info.index, path);
    enum status status = raft_snapshot_measure(path, true, &info.bytes, info.hash, error);
    if (status == STATUS_OK) {
        status = encode_initial(store, &encoded, error);
    }
    if (status == STATUS_OK) {
        CHECK(encoded.len <= sizeof(info.configuration));
        memcpy(info.configuration, encoded.base, encoded.len);
        info.configuration_size = encoded.len;
        raft_free(encoded.base);
        status = store_put_snapshot(store, &info, error);
    }
    return status;
}

/* The configuration that all of the initial set bootstrap with, at index 1 of term 1. */
static enum status put_configuration(struct raft_store *store, struct error *error)
{
    struct raft_buffer encoded = {0};
    enum status status = encode_initial(store, &encoded, error);
    if (status != STATUS_OK) {
        return status;
    }
    struct raft_entry_view entry = {
        .index = 1, .term = 1, .type = RAFT_CHANGE, .data = bytes_of(encoded.base, encoded.len)};
    status = store_put_entry(store, &entry, error);
    raft_free(encoded.base);
    return status;
}

static enum status put_beginning(struct raft_store *store, struct error *error)
{
    if (store->options.restored.index != 0) {
        return put_restored(store, error);
    }
    return store->options.join ? STATUS_OK : put_configuration(store, error);
}

static enum status create(struct raft_store *store, struct error *error)
{
    enum status status = execute(store->db, "BEGIN IMMEDIATE", error);
    if (status == STATUS_OK) {
        status = execute(store->db, schema, error);
    }
    if (status == STATUS_OK) {
        status = store_prepare(store, error);
    }
    if (status == STATUS_OK) {
        status = put_identity(store, error);
    }
    if (status == STATUS_OK) {
        status = put_beginning(store, error);
    }
    if (status == STATUS_OK) {
        const struct raft_node_restored *restored = &store->options.restored;
        store->meta =
            (struct store_meta){.generation = 1, .term = restored->index == 0 ? 1 : restored->term};
        status = store_put_meta(store, error);
    }
    if (status == STATUS_OK) {
        status = execute(store->db, "PRAGMA user_version = 1; COMMIT", error);
    }
    return status;
}

/* ---- checks ---- */

/* One integer, or text "ok", of a pragma. */
static enum status ask(sqlite3 *db, const char *sql, sqlite3_int64 *out_number, bool *out_ok,
                       struct error *error)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    enum status status = STATUS_OK;
    if (rc != SQLITE_ROW) {
        status = store_error(db, rc, "checking", error);
    } else {
        const unsigned char *text = sqlite3_column_text(statement, 0);
        *out_ok = text != NULL && strcmp((const char *)text, "ok") == 0;
        *out_number = sqlite3_column_int64(statement, 0);
    }
    (void)sqlite3_finalize(statement);
    return status;
}

static enum status damaged(struct error *error, const char *what)
{
    return error_set(error, STATUS_CORRUPT,
                     "raft.db: %s: this controller must not vote any more, replace it by a fresh "
                     "one under another id",
                     what);
}

static enum status check_identity(struct raft_store *store, struct error *error)
{
    uint8_t servers[4 * RAFT_NODE_SERVERS_MAX];
    put_servers(store, servers);
    sqlite3_stmt *statement = NULL;
    int rc =
        sqlite3_prepare_v2(store->db, "SELECT id, servers FROM identity", -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    enum status status = STATUS_OK;
    if (rc != SQLITE_ROW) {
        status = rc == SQLITE_DONE ? damaged(error, "it does not say whose it is")
                                   : store_error(store->db, rc, "reading", error);
    } else if (sqlite3_column_int64(statement, 0) != store->options.id) {
        status = error_set(error, STATUS_INVALID, "%s belongs to controller-%lld, not to us",
                           store->dir, (long long)sqlite3_column_int64(statement, 0));
    } else {
        struct bytes first =
            bytes_of(sqlite3_column_blob(statement, 1), (size_t)sqlite3_column_bytes(statement, 1));
        store->joined = first.size == 0;
        store->other_list =
            !bytes_equal(first, bytes_of(servers, 4 * (size_t)store->options.id_count));
    }
    (void)sqlite3_finalize(statement);
    return status;
}

static enum status load_meta(struct raft_store *store, struct error *error)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(store->db, "SELECT generation, term, voted_for, crc FROM meta", -1,
                                &statement, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    enum status status = STATUS_OK;
    if (rc == SQLITE_ROW) {
        store->meta.generation = (uint64_t)sqlite3_column_int64(statement, 0);
        store->meta.term = (uint64_t)sqlite3_column_int64(statement, 1);
        store->meta.voted_for = (uint64_t)sqlite3_column_int64(statement, 2);
        if (store_meta_crc(&store->meta) != (uint32_t)sqlite3_column_int64(statement, 3)) {
            status = damaged(error, "the term and vote fail their check");
        }
    } else {
        status = rc == SQLITE_DONE ? damaged(error, "the term and vote are missing")
                                   : store_error(store->db, rc, "reading", error);
    }
    (void)sqlite3_finalize(statement);
    return status;
}

static enum status check_mark(struct raft_store *store, bool marked, struct error *error)
{
    uint8_t mark[12] = {0};
    ssize_t size = pread(store->mark_fd, mark, sizeof(mark), 0);
    if (size < 0) {
        return error_set(error, STATUS_IO, "raft.mark: %s", strerror(errno));
    }
    bool readable = size == (ssize_t)sizeof(mark) && crc32c(0, mark, 8) == get_u32(mark + 8);
    if (store->meta.generation == 1 && (!marked || !readable)) {
        enum status status = store_put_mark(store, true, error); /* a crash during creation */
        if (status == STATUS_OK && fsync(store->dir_fd) != 0) {
            status = error_set(error, STATUS_IO, "%s: %s", store->dir, strerror(errno));
        }
        return status;
    }
    if (!readable) {
        return damaged(error, "raft.mark is missing or damaged");
    }
    if (get_u64(mark) > store->meta.generation) {
        return damaged(error, "transactions that were committed are missing");
    }
    return STATUS_OK;
}

static enum status read_snapshot_row(sqlite3_stmt *statement, struct raft_snapshot_info *info,
                                     struct error *error)
{
    int configuration = sqlite3_column_bytes(statement, 3);
    if (configuration <= 0 || (size_t)configuration > sizeof(info->configuration) ||
        sqlite3_column_bytes(statement, 5) != RAFT_HASH_BYTES) {
        return damaged(error, "the snapshot's row is malformed");
    }
    info->index = (uint64_t)sqlite3_column_int64(statement, 0);
    info->term = (uint64_t)sqlite3_column_int64(statement, 1);
    info->configuration_index = (uint64_t)sqlite3_column_int64(statement, 2);
    info->configuration_size = (size_t)configuration;
    memcpy(info->configuration, sqlite3_column_blob(statement, 3), info->configuration_size);
    info->bytes = (uint64_t)sqlite3_column_int64(statement, 4);
    memcpy(info->hash, sqlite3_column_blob(statement, 5), RAFT_HASH_BYTES);
    if (store_snapshot_crc(info) != (uint32_t)sqlite3_column_int64(statement, 6) ||
        !raft_configuration_is_sound(bytes_of(info->configuration, info->configuration_size))) {
        return damaged(error, "the snapshot's row fails its check");
    }
    return STATUS_OK;
}

static enum status load_snapshot(struct raft_store *store, struct raft_snapshot_info *out,
                                 struct error *error)
{
    sqlite3_stmt *statement = NULL;
    struct raft_snapshot_info info = {0};
    int rc = sqlite3_prepare_v2(store->db,
                                "SELECT idx, term, configuration_index, configuration, bytes, "
                                "hash, crc FROM snapshot",
                                -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    enum status status = STATUS_OK;
    if (rc == SQLITE_ROW) {
        status = read_snapshot_row(statement, &info, error);
    } else if (rc != SQLITE_DONE) {
        status = store_error(store->db, rc, "reading", error);
    }
    (void)sqlite3_finalize(statement);
    if (status == STATUS_OK && info.index != 0) {
        status = raft_snapshot_check(store->dir, &info, error);
    }
    if (status == STATUS_OK) {
        *out = info;
    }
    return status;
}

/* Keeps what the core needs: every term, and the configurations. */
static enum status load_entry(struct raft_store *store, sqlite3_stmt *statement,
                              struct raft_core_state *state, uint32_t *capacity,
                              struct error *error)
{
    struct raft_entry_view entry = {
        .index = (uint64_t)sqlite3_column_int64(statement, 0),
        .term = (uint64_t)sqlite3_column_int64(statement, 1),
        .type = (uint32_t)sqlite3_column_int64(statement, 2),
        .data =
            bytes_of(sqlite3_column_blob(statement, 3), (size_t)sqlite3_column_bytes(statement, 3)),
    };
    if (store_entry_crc(&entry) != (uint32_t)sqlite3_column_int64(statement, 4)) {
        return damaged(error, "an entry of the log fails its check");
    }
    if (store->loaded_count > 0 &&
        entry.index != store->loaded[store->loaded_count - 1].index + 1) {
        return damaged(error, "entries of the log are missing");
    }
    if (store->loaded_count == *capacity) {
        *capacity = *capacity * 2 + 256;
        struct raft_entry_view *grown = realloc(store->loaded, *capacity * sizeof(*grown));
        if (grown == NULL) {
            return error_set(error, STATUS_NO_MEMORY, "out of memory");
        }
        store->loaded = grown;
    }
    uint8_t *copy = NULL;
    if (entry.type == RAFT_CHANGE && entry.data.size > 0) {
        copy = malloc(entry.data.size);
        if (copy == NULL) {
            return error_set(error, STATUS_NO_MEMORY, "out of memory");
        }
        memcpy(copy, entry.data.data, entry.data.size);
    }
    state->bytes += entry.data.size;
    entry.data = bytes_of(copy, copy == NULL ? 0 : entry.data.size);
    store->loaded[store->loaded_count++] = entry;
    return STATUS_OK;
}

static enum status load_log(struct raft_store *store, struct raft_core_state *state,
                            struct error *error)
{
    sqlite3_stmt *statement = NULL;
    uint32_t capacity = 0;
    enum status status = STATUS_OK;
    int rc = sqlite3_prepare_v2(
        store->db, "SELECT idx, term, type, data, crc FROM log ORDER BY idx", -1, &statement, NULL);
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(statement);
        if (rc == SQLITE_ROW) {
            status = load_entry(store, statement, state, &capacity, error);
        }
        if (status != STATUS_OK) {
            break;
        }
    }
    if (status == STATUS_OK && rc != SQLITE_DONE) {
        status = store_error(store->db, rc, "reading", error);
    }
    (void)sqlite3_finalize(statement);
    state->entries = store->loaded;
    state->count = store->loaded_count;
    state->first = state->count > 0 ? store->loaded[0].index : state->snapshot.index + 1;
    return status;
}

/* The list that is given must be the one that the log began with, until the set has changed: from
 * then on it only says where to begin asking. */
static enum status check_list(const struct raft_store *store, const struct raft_core_state *state,
                              struct error *error)
{
    bool has_changed = store->joined || state->snapshot.configuration_index > 1;
    for (uint32_t i = 0; i < state->count; i++) {
        has_changed =
            has_changed || (state->entries[i].type == RAFT_CHANGE && state->entries[i].index > 1);
    }
    if (store->other_list && !has_changed) {
        return error_set(error, STATUS_INVALID,
                         "%s was bootstrapped with other controllers than the configuration names",
                         store->dir);
    }
    return STATUS_OK;
}

static enum status load_existing(struct raft_store *store, bool marked,
                                 struct raft_core_state *state, struct error *error)
{
    sqlite3_int64 number = 0;
    bool ok = false;
    enum status status = ask(store->db, "PRAGMA quick_check(1)", &number, &ok, error);
    if (status == STATUS_OK && !ok) {
        status = damaged(error, "SQLite finds it damaged");
    }
    if (status == STATUS_OK) {
        status = check_identity(store, error);
    }
    if (status == STATUS_OK) {
        status = load_meta(store, error);
    }
    if (status == STATUS_OK) {
        status = check_mark(store, marked, error);
    }
    if (status == STATUS_OK) {
        status = load_snapshot(store, &state->snapshot, error);
    }
    if (status == STATUS_OK) {
        state->term = store->meta.term;
        state->voted_for = store->meta.voted_for;
        status = load_log(store, state, error);
    }
    if (status == STATUS_OK) {
        state->joining = store->joined;
        status = check_list(store, state, error);
    }
    if (status == STATUS_OK && store->statements[0] == NULL) {
        status = store_prepare(store, error);
    }
    return status;
}

static enum status open_reader(struct raft_store *store, struct error *error)
{
    enum status status = open_database(store, &store->reader, error);
    if (status != STATUS_OK) {
        return status;
    }
    int rc =
        sqlite3_prepare_v3(store->reader, "SELECT term, type, data, crc FROM log WHERE idx = ?", -1,
                           SQLITE_PREPARE_PERSISTENT, &store->read_entry, NULL);
    return rc == SQLITE_OK ? STATUS_OK : store_error(store->reader, rc, "preparing", error);
}

enum status store_load(struct raft_store *store, struct raft_core_state *state, struct error *error)
{
    bool marked = false, ok = false;
    sqlite3_int64 format = 0;
    enum status status = open_files(store, &marked, error);
    if (status == STATUS_OK) {
        status = open_database(store, &store->db, error);
    }
    if (status == STATUS_OK) {
        status = ask(store->db, "PRAGMA user_version", &format, &ok, error);
    }
    if (status == STATUS_OK && format == 0) {
        status =
            marked ? damaged(error, "it is empty, but was written before") : create(store, error);
    } else if (status == STATUS_OK && format != FORMAT) {
        status =
            format_refuse(error, "raft.db", (uint64_t)format, FORMAT_RAFT_LOG, OLDEST_RAFT_LOG);
    }
    if (status == STATUS_OK) {
        status = load_existing(store, marked, state, error);
    }
    if (status == STATUS_OK) {
        raft_snapshot_remove_others(store->dir, state->snapshot.index);
        status = open_reader(store, error);
    }
    return status;
}
