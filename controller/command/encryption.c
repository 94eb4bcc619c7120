/* Encryption of a stream, and its data keys. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "controller/command/stream_control.h"
#include "controller/ring/ring.h"

/* Longer than any stream keeps records: data keys that ended before may go. */
#define DATA_KEY_KEPT_MS ((uint64_t)(COMMAND_RETENTION_HOURS_MAX + 48) * 60 * 60 * 1000)

/* A key whose successor is so old encrypts no record that is still kept. */
static void forget_old(Weir__StreamAttributes *a, uint64_t now_ms)
{
    while (a->n_data_keys > 1 && a->data_keys[1]->created_ms + DATA_KEY_KEPT_MS < now_ms) {
        list_delete(&a->data_keys, &a->n_data_keys, 0);
    }
}

NODISCARD static bool add_data_key(Weir__StreamAttributes *a, const ProtobufCBinaryData *wrapped,
                                   const char *ring_key, uint32_t ring_version, uint64_t now_ms)
{
    Weir__DataKey *key = calloc(1, sizeof(*key));
    uint8_t *copy = malloc(wrapped->len + 1);
    if (key != NULL) {
        weir__data_key__init(key);
    }
    if (key == NULL || copy == NULL || !text_set(&key->ring_key, ring_key) ||
        !list_insert(&a->data_keys, &a->n_data_keys, a->n_data_keys, key)) {
        weir__data_key__free_unpacked(key, NULL);
        free(copy);
        return false;
    }
    memcpy(copy, wrapped->data, wrapped->len);
    key->wrapped = (ProtobufCBinaryData){.data = copy, .len = wrapped->len};
    key->version = ++a->data_key_version;
    key->ring_version = ring_version;
    key->created_ms = now_ms;
    forget_old(a, now_ms);
    return true;
}

/* The key of a Start, when it may be used. */
static bool key_is_good(struct control *c, const Weir__RingKey *key)
{
    const char *name = c->in->encryption->key_id;
    if (key == NULL) {
        command_refuse(c->result, STATUS_KEY_NOT_FOUND,
                       "Key %.100s does not exist: weirctl keyring list shows the keys.", name);
        return false;
    }
    enum status status = ring_key_usable(key);
    if (status != STATUS_OK) {
        command_refuse(c->result, status, "Key %.100s is %s.", name,
                       status == STATUS_KEY_DISABLED ? "disabled" : "pending deletion");
    }
    return status == STATUS_OK;
}

/* The stream's newest data key is of the key's newest version, or becomes the one that came. */
static bool take_data_key(struct control *c, const Weir__RingKey *key)
{
    const Weir__StreamControl__Encryption *in = c->in->encryption;
    const Weir__RingKeyVersion *version = ring_key_newest(key);
    if (ring_key_wrapped_newest(key, c->attributes)) {
        return true;
    }
    if (version == NULL || in->data_key.len == 0 || strcmp(in->ring_key, key->id) != 0 ||
        in->ring_version != version->version) {
        command_refuse(c->result, STATUS_BUSY, "the key ring has just been changed: retry");
        return false;
    }
    return add_data_key(c->attributes, &in->data_key, in->ring_key, in->ring_version, c->now_ms) ||
           control_no_memory(c);
}

/* By whichever of its names. */
static bool is_same_key(struct control *c, const Weir__RingKey *key)
{
    if (strcmp(c->attributes->key_id, c->in->encryption->key_id) == 0) {
        return true;
    }
    AUTO(ring_key_free) Weir__RingKey *now = ring_find(c->db, c->attributes->key_id);
    return key != NULL && now != NULL && strcmp(key->id, now->id) == 0;
}

bool control_encryption(struct control *c)
{
    const Weir__StreamControl__Encryption *in = c->in->encryption;
    Weir__StreamAttributes *a = c->attributes;
    if (c->stream.state != DB_STREAM_ACTIVE) {
        return control_refuse_state(c, c->stream.state);
    }
    if (in->key_id[0] == '\0' || strlen(in->key_id) > COMMAND_KEY_ID_MAX) {
        command_refuse(c->result, STATUS_INVALID, "A key id has 1 to %d characters.",
                       COMMAND_KEY_ID_MAX);
        return false;
    }
    AUTO(ring_key_free) Weir__RingKey *key = ring_find(c->db, in->key_id);
    if (in->encrypt && !key_is_good(c, key)) {
        return false;
    }
    bool same_key = a->encrypted && is_same_key(c, key);
    if (!in->encrypt && a->encrypted && !same_key) {
        command_refuse(c->result, STATUS_INVALID,
                       "Stream %s under account %s is not encrypted with this key.", c->stream.name,
                       settings_account(c->settings));
        return false;
    }
    if (in->encrypt == a->encrypted && (same_key || !in->encrypt)) {
        return true;
    }
    uint32_t limit =
        control_limit(c->settings->encryption_change_limit, COMMAND_ENCRYPTION_CHANGES_MAX);
    if (!control_count_change(c, limit, &a->encryption_changes_ms, &a->n_encryption_changes_ms,
                              "encryption") ||
        (in->encrypt && !take_data_key(c, key))) {
        return false;
    }
    if (!text_set(&a->key_id, in->encrypt ? in->key_id : "")) {
        return control_no_memory(c);
    }
    a->encrypted = in->encrypt;
    return control_begin_update(c);
}

static void attributes_store(struct db *db, uint32_t stream, const Weir__StreamAttributes *a,
                             struct db_result *result)
{
    if (weir__stream_attributes__get_packed_size(a) > ATTRIBUTES_BYTES_MAX) {
        command_refuse(result, STATUS_LIMIT, "the stream has too many data keys");
        return;
    }
    db_attributes_put(db, stream, a);
}

void command_data_key(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__CmdDataKey *in = command->data_key;
    struct db_stream stream;
    if (!db_stream_get(db, in->stream, &stream)) {
        command_refuse(result, STATUS_NOT_FOUND, "there is no stream %u", in->stream);
        return;
    }
    AUTO(attributes_free) Weir__StreamAttributes *a = db_attributes_get(db, in->stream);
    AUTO(ring_key_free) Weir__RingKey *key = db_ring_get(db, in->ring_key);
    const Weir__RingKeyVersion *newest = key == NULL ? NULL : ring_key_newest(key);
    if (a == NULL) { /* as at the end: NOLINT(bugprone-branch-clone) */
        result->status = STATUS_NO_MEMORY;
    } else if (!a->encrypted || a->data_key_version + 1 != in->version || newest == NULL ||
               newest->version != in->ring_version || ring_key_usable(key) != STATUS_OK ||
               in->wrapped.len == 0 || in->wrapped.len > DB_SEALED_MAX) {
        command_refuse(result, STATUS_STALE, "the stream or the key ring has changed meanwhile");
    } else if (!add_data_key(a, &in->wrapped, in->ring_key, in->ring_version,
                             db_meta(db)->time_ms)) {
        result->status = STATUS_NO_MEMORY;
    } else {
        attributes_store(db, in->stream, a, result);
    }
}
