#include "controller/db/internal.h"

static void read_stream(sqlite3_stmt *row, struct db_stream *out)
{
    *out = (struct db_stream){
        .id = db_u32(row, 0),
        .state = (enum db_stream_state)db_u32(row, 2),
        .created_ms = db_u64(row, 3),
        .retention_hours = db_u32(row, 4),
        .shard_count = db_u32(row, 5),
        .waiting = db_u32(row, 6),
    };
    db_text(row, 1, out->name, sizeof(out->name));
}

static bool get_one(struct db *db, sqlite3_stmt *get, struct db_stream *out)
{
    if (!db_row(db, get)) {
        return false;
    }
    read_stream(get, out);
    (void)sqlite3_reset(get);
    return true;
}

bool db_stream_get(struct db *db, uint32_t id, struct db_stream *out)
{
    sqlite3_stmt *get = db_use(db, DB_STREAM_GET);
    db_bind_u64(get, 1, id);
    return get_one(db, get, out);
}

bool db_stream_find(struct db *db, const char *name, struct db_stream *out)
{
    sqlite3_stmt *get = db_use(db, DB_STREAM_FIND);
    db_bind_text(get, 1, name);
    return get_one(db, get, out);
}

void db_stream_put(struct db *db, const struct db_stream *stream)
{
    db_note(db, DB_KIND_STREAM, stream->id);
    sqlite3_stmt *put = db_use(db, DB_STREAM_PUT);
    db_bind_u64(put, 1, stream->id);
    db_bind_text(put, 2, stream->name);
    db_bind_u64(put, 3, (uint64_t)stream->state);
    db_bind_u64(put, 4, stream->created_ms);
    db_bind_u64(put, 5, stream->retention_hours);
    db_bind_u64(put, 6, stream->shard_count);
    db_bind_u64(put, 7, stream->waiting);
    db_run(db, put);
}

void db_stream_delete(struct db *db, uint32_t id)
{
    db_note(db, DB_KIND_DELETED_STREAM, id);
    const enum db_statement statements[] = {DB_SHARDS_DELETE, DB_REPLICAS_DELETE_RANGE,
                                            DB_LINEAGES_DELETE, DB_MOVES_DELETE};
    for (size_t i = 0; i < 4; i++) {
        sqlite3_stmt *range = db_use(db, statements[i]);
        db_bind_u64(range, 1, db_shard_id(id, 0));
        db_bind_u64(range, 2, db_shard_id(id + 1, 0));
        db_run(db, range);
    }
    const enum db_statement rows[] = {DB_STREAM_DELETE, DB_ATTRIBUTES_DELETE, DB_RESHARD_DELETE};
    for (size_t i = 0; i < 3; i++) {
        sqlite3_stmt *row = db_use(db, rows[i]);
        db_bind_u64(row, 1, id);
        db_run(db, row);
    }
}

void db_stream_each(struct db *db, void (*visit)(const struct db_stream *stream, void *context),
                    void *context)
{
    sqlite3_stmt *each = db_use(db, DB_STREAM_EACH);
    while (db_row(db, each)) {
        struct db_stream stream;
        read_stream(each, &stream);
        visit(&stream, context);
    }
}

/* ---- deletions that brokers owe
 * -------------------------------------------------------------------- */

void db_drop_put(struct db *db, uint32_t broker, uint64_t shard)
{
    CHECK(db->in_transaction);
    db->changes.drops = true;
    sqlite3_stmt *put = db_use(db, DB_DROP_PUT);
    db_bind_u64(put, 1, broker);
    db_bind_u64(put, 2, shard);
    db_run(db, put);
}

bool db_drop_delete(struct db *db, uint32_t broker, uint64_t shard)
{
    CHECK(db->in_transaction);
    sqlite3_stmt *row = db_use(db, DB_DROP_DELETE);
    db_bind_u64(row, 1, broker);
    db_bind_u64(row, 2, shard);
    db_run(db, row);
    bool was_there = !db->failed && sqlite3_changes(db->sql) > 0;
    db->changes.drops = db->changes.drops || was_there;
    return was_there;
}

size_t db_drops_get(struct db *db, uint32_t broker, uint64_t after, uint64_t *out_shards,
                    size_t max)
{
    sqlite3_stmt *get = db_use(db, DB_DROPS_GET);
    db_bind_u64(get, 1, broker);
    db_bind_u64(get, 2, after);
    db_bind_u64(get, 3, max);
    size_t count = 0;
    while (count < max && db_row(db, get)) {
        out_shards[count++] = db_u64(get, 0);
    }
    (void)sqlite3_reset(get);
    return count;
}

bool db_stream_has_drops(struct db *db, uint32_t stream)
{
    sqlite3_stmt *get = db_use(db, DB_DROPS_OF_STREAM);
    db_bind_u64(get, 1, db_shard_id(stream, 0));
    db_bind_u64(get, 2, db_shard_id(stream + 1, 0));
    bool has = db_row(db, get);
    (void)sqlite3_reset(get);
    return has;
}

/* ---- results of requests
 * --------------------------------------------------------------------------- */

bool db_request_get(struct db *db, const uint8_t request[DB_REQUEST_BYTES], struct db_result *out)
{
    sqlite3_stmt *get = db_use(db, DB_REQUEST_GET);
    db_bind_blob(get, 1, request, DB_REQUEST_BYTES);
    if (!db_row(db, get)) {
        return false;
    }
    struct db_result result = {.status = status_from_wire(db_u32(get, 0))};
    db_text(get, 1, result.text, sizeof(result.text));
    const void *body = sqlite3_column_blob(get, 2);
    enum status status = buf_append(&result.body, body, (size_t)sqlite3_column_bytes(get, 2));
    (void)sqlite3_reset(get);
    if (status != STATUS_OK) {
        db_abort(db, STATUS_NO_MEMORY, "out of memory");
        return false;
    }
    *out = result;
    return true;
}

void db_request_put(struct db *db, const uint8_t request[DB_REQUEST_BYTES],
                    const struct db_result *result)
{
    CHECK(db->in_transaction);
    sqlite3_stmt *put = db_use(db, DB_REQUEST_PUT);
    db_bind_blob(put, 1, request, DB_REQUEST_BYTES);
    db_bind_u64(put, 2, db->meta.time_ms);
    db_bind_u64(put, 3, (uint64_t)result->status);
    db_bind_text(put, 4, result->text);
    db_bind_blob(put, 5, result->body.data, result->body.size);
    db_run(db, put);

    sqlite3_stmt *trim = db_use(db, DB_REQUEST_TRIM);
    db_bind_u64(trim, 1, DB_REQUESTS_MAX);
    db_run(db, trim);
    if (db->meta.time_ms > DB_REQUEST_AGE_MS) {
        sqlite3_stmt *expire = db_use(db, DB_REQUEST_EXPIRE);
        db_bind_u64(expire, 1, db->meta.time_ms - DB_REQUEST_AGE_MS);
        db_run(db, expire);
    }
}
