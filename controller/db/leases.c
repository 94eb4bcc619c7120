/* Consumer applications, their workers and their leases (docs/leases.md). None of it is in the
 * image that everybody watches. */
#include <stdlib.h>
#include <string.h>

#include "controller/db/internal.h"

const char *const db_schema_leases =
    "CREATE TABLE IF NOT EXISTS lease_numbers (\n"
    "  id   INTEGER PRIMARY KEY CHECK (id = 1),\n"
    "  next INTEGER NOT NULL -- ids and counters below were given out: none is ever used twice\n"
    ") STRICT;\n"

    "CREATE TABLE IF NOT EXISTS lease_applications (\n"
    "  id         INTEGER PRIMARY KEY,\n"
    "  name       TEXT NOT NULL UNIQUE,\n"
    "  created_ms INTEGER NOT NULL\n"
    ") STRICT;\n"

    "CREATE TABLE IF NOT EXISTS lease_streams (\n"
    "  application  INTEGER NOT NULL,\n"
    "  stream       INTEGER NOT NULL,\n"
    "  type         INTEGER NOT NULL, -- enum db_position_type: where the application began\n"
    "  timestamp_ms INTEGER NOT NULL,\n"
    "  next_shard   INTEGER NOT NULL, -- shards below were leased, or need not be\n"
    "  PRIMARY KEY (application, stream)\n"
    ") STRICT, WITHOUT ROWID;\n"

    "CREATE TABLE IF NOT EXISTS lease_workers (\n"
    "  id          INTEGER PRIMARY KEY,\n"
    "  application INTEGER NOT NULL,\n"
    "  name        TEXT NOT NULL,\n"
    "  incarnation BLOB NOT NULL,\n"
    "  joined_ms   INTEGER NOT NULL,\n"
    "  UNIQUE (application, name)\n"
    ") STRICT;\n"

    "CREATE TABLE IF NOT EXISTS leases (\n"
    "  application   INTEGER NOT NULL,\n"
    "  shard         INTEGER NOT NULL, -- stream << 32 | number\n"
    "  worker        INTEGER NOT NULL, -- its owner; 0: none\n"
    "  counter       INTEGER NOT NULL, -- of this tenure alone\n"
    "  owned_ms      INTEGER NOT NULL, -- when it began\n"
    "  type          INTEGER NOT NULL, -- enum db_position_type: the checkpoint\n"
    "  record        INTEGER NOT NULL, -- offset\n"
    "  sub_sequence  INTEGER NOT NULL,\n"
    "  timestamp_ms  INTEGER NOT NULL,\n"
    "  pending_type  INTEGER NOT NULL, -- the pending checkpoint; -1: none\n"
    "  pending_record       INTEGER NOT NULL,\n"
    "  pending_sub_sequence INTEGER NOT NULL,\n"
    "  checkpoint_ms INTEGER NOT NULL, -- when; 0: never\n"
    "  PRIMARY KEY (application, shard)\n"
    ") STRICT, WITHOUT ROWID;\n"
    "CREATE INDEX IF NOT EXISTS leases_of_workers ON leases (application, worker, shard);\n";

uint64_t db_lease_number_take(struct db *db)
{
    CHECK(db->in_transaction);
    sqlite3_stmt *take = db_use(db, DB_LEASE_NUMBER_TAKE);
    uint64_t number = db_row(db, take) ? db_u64(take, 0) : 1;
    (void)sqlite3_reset(take);
    return number;
}

static void note_application(struct db *db, uint64_t id)
{
    CHECK(db->in_transaction);
    if (!db_ids_insert(&db->changes.applications, id)) {
        db_abort(db, STATUS_NO_MEMORY, "out of memory");
    }
}

static void note_lease(struct db *db, uint64_t application, uint64_t shard)
{
    CHECK(db->in_transaction);
    struct db_lease_keys *keys = &db->changes.leases;
    if (keys->count == keys->capacity) {
        size_t capacity = keys->capacity == 0 ? 64 : 2 * keys->capacity;
        struct db_lease_key *grown = realloc(keys->key, capacity * sizeof(*grown));
        if (grown == NULL) {
            db_abort(db, STATUS_NO_MEMORY, "out of memory");
            return;
        }
        keys->key = grown;
        keys->capacity = capacity;
    }
    keys->key[keys->count++] = (struct db_lease_key){.application = application, .shard = shard};
}

/* ---- applications
 * ---------------------------------------------------------------------------------- */

static bool read_application(struct db *db, sqlite3_stmt *get, struct db_application *out)
{
    if (!db_row(db, get)) {
        return false;
    }
    *out = (struct db_application){.id = db_u64(get, 0), .created_ms = db_u64(get, 2)};
    db_text(get, 1, out->name, sizeof(out->name));
    return true;
}

bool db_application_get(struct db *db, uint64_t id, struct db_application *out)
{
    sqlite3_stmt *get = db_use(db, DB_APPLICATION_GET);
    db_bind_u64(get, 1, id);
    bool there = read_application(db, get, out);
    (void)sqlite3_reset(get);
    return there;
}

bool db_application_find(struct db *db, const char *name, struct db_application *out)
{
    sqlite3_stmt *get = db_use(db, DB_APPLICATION_FIND);
    db_bind_text(get, 1, name);
    bool there = read_application(db, get, out);
    (void)sqlite3_reset(get);
    return there;
}

void db_application_put(struct db *db, const struct db_application *application)
{
    note_application(db, application->id);
    sqlite3_stmt *put = db_use(db, DB_APPLICATION_PUT);
    db_bind_u64(put, 1, application->id);
    db_bind_text(put, 2, application->name);
    db_bind_u64(put, 3, application->created_ms);
    db_run(db, put);
}

void db_application_delete(struct db *db, uint64_t id)
{
    note_application(db, id);
    static const enum db_statement steps[] = {DB_LEASES_DELETE, DB_LEASE_WORKERS_DELETE,
                                              DB_LEASE_STREAMS_DELETE, DB_APPLICATION_DELETE};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        sqlite3_stmt *step = db_use(db, steps[i]);
        db_bind_u64(step, 1, id);
        db_run(db, step);
    }
}

void db_application_each(struct db *db,
                         void (*visit)(const struct db_application *application, void *context),
                         void *context)
{
    sqlite3_stmt *each = db_use(db, DB_APPLICATION_EACH);
    struct db_application application;
    while (read_application(db, each, &application)) {
        visit(&application, context);
    }
}

static uint64_t count_rows(struct db *db, enum db_statement which, uint64_t application)
{
    sqlite3_stmt *get = db_use(db, which);
    if (sqlite3_bind_parameter_count(get) > 0) {
        db_bind_u64(get, 1, application);
    }
    uint64_t count = db_row(db, get) ? db_u64(get, 0) : 0;
    (void)sqlite3_reset(get);
    return count;
}

uint64_t db_application_count(struct db *db)
{
    return count_rows(db, DB_APPLICATION_COUNT, 0);
}

/* ---- streams of an application
 * --------------------------------------------------------------------- */

static bool read_stream(struct db *db, sqlite3_stmt *get, struct db_lease_stream *out)
{
    if (!db_row(db, get)) {
        return false;
    }
    *out = (struct db_lease_stream){
        .stream = db_u32(get, 0),
        .initial = {.type = (enum db_position_type)db_u32(get, 1), .timestamp_ms = db_u64(get, 2)},
        .next_shard = db_u32(get, 3),
    };
    return true;
}

bool db_lease_stream_get(struct db *db, uint64_t application, uint32_t stream,
                         struct db_lease_stream *out)
{
    sqlite3_stmt *get = db_use(db, DB_LEASE_STREAM_GET);
    db_bind_u64(get, 1, application);
    db_bind_u64(get, 2, stream);
    bool there = read_stream(db, get, out);
    (void)sqlite3_reset(get);
    return there;
}

void db_lease_stream_put(struct db *db, uint64_t application, const struct db_lease_stream *stream)
{
    note_application(db, application);
    sqlite3_stmt *put = db_use(db, DB_LEASE_STREAM_PUT);
    db_bind_u64(put, 1, application);
    db_bind_u64(put, 2, stream->stream);
    db_bind_u64(put, 3, (uint64_t)stream->initial.type);
    db_bind_u64(put, 4, stream->initial.timestamp_ms);
    db_bind_u64(put, 5, stream->next_shard);
    db_run(db, put);
}

void db_lease_stream_delete(struct db *db, uint64_t application, uint32_t stream)
{
    note_application(db, application);
    sqlite3_stmt *row = db_use(db, DB_LEASE_STREAM_DELETE);
    db_bind_u64(row, 1, application);
    db_bind_u64(row, 2, stream);
    db_run(db, row);
}

void db_lease_stream_each(struct db *db, uint64_t application,
                          void (*visit)(const struct db_lease_stream *stream, void *context),
                          void *context)
{
    sqlite3_stmt *each = db_use(db, DB_LEASE_STREAM_EACH);
    db_bind_u64(each, 1, application);
    struct db_lease_stream stream;
    while (read_stream(db, each, &stream)) {
        visit(&stream, context);
    }
}

uint64_t db_lease_stream_count(struct db *db, uint64_t application)
{
    return count_rows(db, DB_LEASE_STREAM_COUNT, application);
}

/* ---- workers
 * --------------------------------------------------------------------------------------- */

static bool read_worker(struct db *db, sqlite3_stmt *get, struct db_lease_worker *out)
{
    if (!db_row(db, get)) {
        return false;
    }
    *out = (struct db_lease_worker){
        .id = db_u64(get, 0), .application = db_u64(get, 1), .joined_ms = db_u64(get, 4)};
    db_text(get, 2, out->name, sizeof(out->name));
    db_blob(db, get, 3, out->incarnation, sizeof(out->incarnation));
    return true;
}

bool db_lease_worker_get(struct db *db, uint64_t id, struct db_lease_worker *out)
{
    sqlite3_stmt *get = db_use(db, DB_LEASE_WORKER_GET);
    db_bind_u64(get, 1, id);
    bool there = read_worker(db, get, out);
    (void)sqlite3_reset(get);
    return there;
}

bool db_lease_worker_find(struct db *db, uint64_t application, const char *name,
                          struct db_lease_worker *out)
{
    sqlite3_stmt *get = db_use(db, DB_LEASE_WORKER_FIND);
    db_bind_u64(get, 1, application);
    db_bind_text(get, 2, name);
    bool there = read_worker(db, get, out);
    (void)sqlite3_reset(get);
    return there;
}

void db_lease_worker_put(struct db *db, const struct db_lease_worker *worker)
{
    note_application(db, worker->application);
    sqlite3_stmt *put = db_use(db, DB_LEASE_WORKER_PUT);
    db_bind_u64(put, 1, worker->id);
    db_bind_u64(put, 2, worker->application);
    db_bind_text(put, 3, worker->name);
    db_bind_blob(put, 4, worker->incarnation, sizeof(worker->incarnation));
    db_bind_u64(put, 5, worker->joined_ms);
    db_run(db, put);
}

void db_lease_worker_delete(struct db *db, const struct db_lease_worker *worker)
{
    note_application(db, worker->application);
    sqlite3_stmt *row = db_use(db, DB_LEASE_WORKER_DELETE);
    db_bind_u64(row, 1, worker->id);
    db_run(db, row);
}

void db_lease_worker_each(struct db *db, uint64_t application,
                          void (*visit)(const struct db_lease_worker *worker, void *context),
                          void *context)
{
    sqlite3_stmt *each = db_use(db, DB_LEASE_WORKER_EACH);
    db_bind_u64(each, 1, application);
    struct db_lease_worker worker;
    while (read_worker(db, each, &worker)) {
        visit(&worker, context);
    }
}

uint64_t db_lease_worker_count(struct db *db, uint64_t application)
{
    return count_rows(db, DB_LEASE_WORKER_COUNT, application);
}

/* ---- leases
 * ---------------------------------------------------------------------------------------- */

static void read_lease(sqlite3_stmt *row, struct db_lease *out)
{
    int64_t pending = sqlite3_column_int64(row, 9);
    *out = (struct db_lease){
        .application = db_u64(row, 0),
        .shard = db_u64(row, 1),
        .worker = db_u64(row, 2),
        .counter = db_u64(row, 3),
        .owned_ms = db_u64(row, 4),
        .checkpoint = {.type = (enum db_position_type)db_u32(row, 5),
                       .offset = db_u64(row, 6),
                       .sub_sequence = db_u32(row, 7),
                       .timestamp_ms = db_u64(row, 8)},
        .has_pending = pending >= 0,
        .checkpoint_ms = db_u64(row, 12),
    };
    if (out->has_pending) {
        out->pending = (struct db_position){.type = (enum db_position_type)pending,
                                            .offset = db_u64(row, 10),
                                            .sub_sequence = db_u32(row, 11)};
    }
}

/* The first with a shard in [first, end). The statement is reset before this returns, so that the
 * caller may change rows. */
static bool lease_next(struct db *db, uint64_t application, uint64_t first, uint64_t end,
                       struct db_lease *out)
{
    sqlite3_stmt *get = db_use(db, DB_LEASE_NEXT);
    db_bind_u64(get, 1, application);
    db_bind_u64(get, 2, first);
    db_bind_u64(get, 3, end);
    if (!db_row(db, get)) {
        return false;
    }
    read_lease(get, out);
    (void)sqlite3_reset(get);
    return true;
}

bool db_lease_get(struct db *db, uint64_t application, uint64_t shard, struct db_lease *out)
{
    return shard < INT64_MAX && lease_next(db, application, shard, shard + 1, out);
}

bool db_lease_of_worker(struct db *db, uint64_t application, uint64_t worker, uint64_t from,
                        struct db_lease *out)
{
    sqlite3_stmt *get = db_use(db, DB_LEASE_OF_WORKER);
    db_bind_u64(get, 1, application);
    db_bind_u64(get, 2, worker);
    db_bind_u64(get, 3, from);
    if (!db_row(db, get)) {
        return false;
    }
    uint64_t shard = db_u64(get, 0);
    (void)sqlite3_reset(get);
    return db_lease_get(db, application, shard, out);
}

void db_lease_put(struct db *db, const struct db_lease *lease)
{
    note_lease(db, lease->application, lease->shard);
    sqlite3_stmt *put = db_use(db, DB_LEASE_PUT);
    db_bind_u64(put, 1, lease->application);
    db_bind_u64(put, 2, lease->shard);
    db_bind_u64(put, 3, lease->worker);
    db_bind_u64(put, 4, lease->counter);
    db_bind_u64(put, 5, lease->owned_ms);
    db_bind_u64(put, 6, (uint64_t)lease->checkpoint.type);
    db_bind_u64(put, 7, lease->checkpoint.offset);
    db_bind_u64(put, 8, lease->checkpoint.sub_sequence);
    db_bind_u64(put, 9, lease->checkpoint.timestamp_ms);
    (void)sqlite3_bind_int64(put, 10, lease->has_pending ? (int64_t)lease->pending.type : -1);
    db_bind_u64(put, 11, lease->has_pending ? lease->pending.offset : 0);
    db_bind_u64(put, 12, lease->has_pending ? lease->pending.sub_sequence : 0);
    db_bind_u64(put, 13, lease->checkpoint_ms);
    db_run(db, put);
}

void db_lease_delete(struct db *db, uint64_t application, uint64_t shard)
{
    note_lease(db, application, shard);
    sqlite3_stmt *row = db_use(db, DB_LEASE_DELETE);
    db_bind_u64(row, 1, application);
    db_bind_u64(row, 2, shard);
    db_run(db, row);
}

void db_lease_each(struct db *db, uint64_t application, uint64_t first, uint64_t end,
                   bool (*visit)(const struct db_lease *lease, void *context), void *context)
{
    struct db_lease lease;
    while (first < end && lease_next(db, application, first, end, &lease) &&
           visit(&lease, context)) {
        first = lease.shard + 1;
    }
}
