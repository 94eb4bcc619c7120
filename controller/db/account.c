/* What is kept as messages, and the keys: rows that no other row refers to. */
#include <stdlib.h>
#include <string.h>

#include "controller/db/internal.h"

/* The blob in column 0 of the row that `get` finds, as a message; an empty one without a row. */
static ProtobufCMessage *read_message(struct db *db, sqlite3_stmt *get,
                                      const ProtobufCMessageDescriptor *descriptor)
{
    bool there = db_row(db, get);
    const uint8_t *data = there ? sqlite3_column_blob(get, 0) : NULL;
    size_t size = data == NULL ? 0 : (size_t)sqlite3_column_bytes(get, 0);
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, NULL, size, data);
    (void)sqlite3_reset(get);
    if (message == NULL) {
        /* Either way nothing that is based on it may be committed. */
        db_abort(db, STATUS_NO_MEMORY, "a message is damaged, or out of memory");
    }
    return message;
}

/* Binds the packed message and runs the statement. */
static void write_message(struct db *db, sqlite3_stmt *put, int at, const ProtobufCMessage *message)
{
    CHECK(db->in_transaction);
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(size + 1);
    if (packed == NULL) {
        db_abort(db, STATUS_NO_MEMORY, "out of memory");
        return;
    }
    (void)protobuf_c_message_pack(message, packed);
    db_bind_blob(put, at, packed, size);
    db_run(db, put);
    (void)sqlite3_clear_bindings(put);
    free(packed);
}

Weir__StreamAttributes *db_attributes_get(struct db *db, uint32_t stream)
{
    sqlite3_stmt *get = db_use(db, DB_ATTRIBUTES_GET);
    db_bind_u64(get, 1, stream);
    return (Weir__StreamAttributes *)(void *)read_message(db, get,
                                                          &weir__stream_attributes__descriptor);
}

void db_attributes_put(struct db *db, uint32_t stream, const Weir__StreamAttributes *attributes)
{
    db_note(db, DB_KIND_STREAM, stream);
    sqlite3_stmt *put = db_use(db, DB_ATTRIBUTES_PUT);
    db_bind_u64(put, 1, stream);
    write_message(db, put, 2, &attributes->base);
}

Weir__ClusterSettings *db_settings_get(struct db *db)
{
    return (Weir__ClusterSettings *)(void *)read_message(db, db_use(db, DB_SETTINGS_GET),
                                                         &weir__cluster_settings__descriptor);
}

void db_settings_put(struct db *db, const Weir__ClusterSettings *settings)
{
    db->changed = true;
    db->changes.settings = true;
    write_message(db, db_use(db, DB_SETTINGS_PUT), 1, &settings->base);
}

Weir__BalanceSettings *db_balance_get(struct db *db)
{
    return (Weir__BalanceSettings *)(void *)read_message(db, db_use(db, DB_BALANCE_GET),
                                                         &weir__balance_settings__descriptor);
}

void db_balance_put(struct db *db, const Weir__BalanceSettings *settings)
{
    write_message(db, db_use(db, DB_BALANCE_PUT), 1, &settings->base);
}

/* ---- keys
 * ------------------------------------------------------------------------------------------ */

/* Cut to DB_SEALED_MAX: what is longer was never ours, and does not open. */
static void read_key(sqlite3_stmt *row, struct db_key *out)
{
    *out = (struct db_key){.enabled = db_u64(row, 2) != 0, .created_ms = db_u64(row, 3)};
    db_text(row, 0, out->id, sizeof(out->id));
    db_text(row, 1, out->name, sizeof(out->name));
    const void *sealed = sqlite3_column_blob(row, 4);
    size_t size = sealed == NULL ? 0 : (size_t)sqlite3_column_bytes(row, 4);
    size = size > DB_SEALED_MAX ? DB_SEALED_MAX : size;
    if (size > 0) {
        memcpy(out->sealed, sealed, size);
    }
    out->sealed_bytes = (uint32_t)size;
}

bool db_key_get(struct db *db, const char *id, struct db_key *out)
{
    sqlite3_stmt *get = db_use(db, DB_KEY_GET);
    db_bind_text(get, 1, id);
    if (!db_row(db, get)) {
        return false;
    }
    read_key(get, out);
    (void)sqlite3_reset(get);
    return true;
}

void db_key_put(struct db *db, const struct db_key *key)
{
    CHECK(db->in_transaction);
    sqlite3_stmt *put = db_use(db, DB_KEY_PUT);
    db_bind_text(put, 1, key->id);
    db_bind_text(put, 2, key->name);
    db_bind_u64(put, 3, key->enabled);
    db_bind_u64(put, 4, key->created_ms);
    db_bind_blob(put, 5, key->sealed, key->sealed_bytes);
    db_run(db, put);
}

bool db_key_delete(struct db *db, const char *id)
{
    CHECK(db->in_transaction);
    sqlite3_stmt *row = db_use(db, DB_KEY_DELETE);
    db_bind_text(row, 1, id);
    db_run(db, row);
    return !db->failed && sqlite3_changes(db->sql) > 0;
}

static uint64_t count(struct db *db, enum db_statement which)
{
    sqlite3_stmt *get = db_use(db, which);
    uint64_t number = db_row(db, get) ? db_u64(get, 0) : 0;
    (void)sqlite3_reset(get);
    return number;
}

uint64_t db_key_count(struct db *db)
{
    return count(db, DB_KEY_COUNT);
}

uint64_t db_shards_open(struct db *db)
{
    return count(db, DB_SHARDS_OPEN);
}

void db_key_each(struct db *db, void (*visit)(const struct db_key *key, void *context),
                 void *context)
{
    sqlite3_stmt *each = db_use(db, DB_KEY_EACH);
    while (db_row(db, each)) {
        struct db_key key;
        read_key(each, &key);
        visit(&key, context);
    }
}

void db_token_key_add(struct db *db, struct bytes sealed)
{
    CHECK(db->in_transaction);
    sqlite3_stmt *put = db_use(db, DB_TOKEN_KEY_PUT);
    db_bind_blob(put, 1, sealed.data, sealed.size);
    db_run(db, put);
}

void db_token_key_each(struct db *db,
                       void (*visit)(uint32_t id, struct bytes sealed, void *context),
                       void *context)
{
    sqlite3_stmt *each = db_use(db, DB_TOKEN_KEY_EACH);
    while (db_row(db, each)) {
        const void *sealed = sqlite3_column_blob(each, 1);
        size_t size = sealed == NULL ? 0 : (size_t)sqlite3_column_bytes(each, 1);
        visit(db_u32(each, 0), bytes_of(sealed, size), context);
    }
}

/* ---- the key ring
 * ---------------------------------------------------------------------------------- */

static Weir__RingKey *read_ring_key(struct db *db, sqlite3_stmt *row)
{
    const uint8_t *data = sqlite3_column_blob(row, 0);
    size_t size = data == NULL ? 0 : (size_t)sqlite3_column_bytes(row, 0);
    Weir__RingKey *key = weir__ring_key__unpack(NULL, size, data);
    if (key == NULL) {
        db_abort(db, STATUS_NO_MEMORY, "a key of the ring is damaged, or out of memory");
    }
    return key;
}

Weir__RingKey *db_ring_get(struct db *db, const char *id)
{
    sqlite3_stmt *get = db_use(db, DB_RING_GET);
    db_bind_text(get, 1, id);
    Weir__RingKey *key = db_row(db, get) ? read_ring_key(db, get) : NULL;
    (void)sqlite3_reset(get);
    return key;
}

void db_ring_put(struct db *db, const Weir__RingKey *key)
{
    sqlite3_stmt *put = db_use(db, DB_RING_PUT);
    db_bind_text(put, 1, key->id);
    write_message(db, put, 2, &key->base);
}

void db_ring_delete(struct db *db, const char *id)
{
    CHECK(db->in_transaction);
    sqlite3_stmt *row = db_use(db, DB_RING_DELETE);
    db_bind_text(row, 1, id);
    db_run(db, row);
}

void db_ring_each(struct db *db, void (*visit)(const Weir__RingKey *key, void *context),
                  void *context)
{
    sqlite3_stmt *each = db_use(db, DB_RING_EACH);
    while (db_row(db, each)) {
        Weir__RingKey *key = read_ring_key(db, each);
        if (key != NULL) {
            visit(key, context);
            weir__ring_key__free_unpacked(key, NULL);
        }
    }
}
