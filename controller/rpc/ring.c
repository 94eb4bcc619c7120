/* The key ring: for administrators, and what brokers get out of it. Keys are in clear only here,
 * while they are made, wrap a data key, or unwrap it (docs/security.md). */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/trace.h"
#include "controller/ring/ring.h"
#include "controller/rpc/internal.h"
#include "controller/secret/secret.h"

#define PURPOSE_RING_KEY "ring key"
#define PURPOSE_DATA_KEY "data key"

enum {
    NAME_BYTES = 64,
    DATA_KEY_AGE_DAYS = 90, /* then a stream gets another */
};

static const uint64_t day_ms = 24ULL * 60 * 60 * 1000;

bool ring_is_there(const struct controller *c, struct session_call *call)
{
    if (!c->active) {
        reply_not_active(c, call);
        return false;
    }
    if (c->options.secrets == NULL) {
        session_reply_error(call, STATUS_UNSUPPORTED, NULL,
                            "this cluster has no cluster key, and so no key ring: set "
                            "cluster-key-file on every controller");
        return false;
    }
    return true;
}

/* ---- keys in clear ---- */

/* What a data key is bound to. */
static void data_key_name(uint32_t stream, const char *ring_key, char out[NAME_BYTES])
{
    (void)snprintf(out, NAME_BYTES, "%u/%.37s", stream, ring_key);
}

static const Weir__RingKeyVersion *find_version(const Weir__RingKey *key, uint32_t version)
{
    for (size_t i = 0; i < key->n_versions; i++) {
        if (key->versions[i]->version == version) {
            return key->versions[i];
        }
    }
    return NULL;
}

/* KEY_DENIED: it cannot be opened with the cluster keys that are here. */
NODISCARD static enum status open_version(const struct controller *c, const Weir__RingKey *key,
                                          const Weir__RingKeyVersion *version,
                                          struct secret_ring **out)
{
    uint8_t plain[SECRET_PLAIN_MAX];
    size_t size = 0;
    enum status status =
        secret_open(c->options.secrets, PURPOSE_RING_KEY, key->id,
                    bytes_of(version->sealed.data, version->sealed.len), plain, &size);
    if (status != STATUS_OK || size != SECRET_KEY_BYTES) {
        trace(TRACE_ERROR, "ring", "version %u of key %s cannot be opened: %s", version->version,
              key->id,
              status == STATUS_NOT_FOUND ? "cluster-key-file lacks the key that sealed it"
                                         : status_text(status));
        secret_wipe(plain, sizeof(plain));
        return STATUS_KEY_DENIED;
    }
    status = secret_ring_of_key(bytes_of(plain, size), c->options.secrets, out);
    secret_wipe(plain, sizeof(plain));
    return status;
}

/* A new secret, sealed under the cluster key, for the key with this id. */
NODISCARD static enum status make_version(const struct controller *c, const char *id,
                                          uint8_t out[SECRET_SEALED_MAX], size_t *out_size)
{
    uint8_t plain[SECRET_KEY_BYTES];
    enum status status = secret_random(plain, sizeof(plain));
    if (status == STATUS_OK) {
        status = secret_seal(c->options.secrets, PURPOSE_RING_KEY, id,
                             bytes_of(plain, sizeof(plain)), out, out_size);
    }
    secret_wipe(plain, sizeof(plain));
    return status;
}

/* A new data key for the stream, wrapped by the newest version. */
NODISCARD static enum status make_data_key(const struct controller *c, const Weir__RingKey *key,
                                           uint32_t stream, uint8_t out[SECRET_SEALED_MAX],
                                           size_t *out_size, uint32_t *out_version)
{
    const Weir__RingKeyVersion *version = ring_key_newest(key);
    struct secret_ring *ring = NULL;
    uint8_t plain[SECRET_KEY_BYTES];
    char name[NAME_BYTES];
    enum status status = version == NULL ? STATUS_KEY_DENIED : open_version(c, key, version, &ring);
    if (status == STATUS_OK) {
        status = secret_random(plain, sizeof(plain));
    }
    if (status == STATUS_OK) {
        data_key_name(stream, key->id, name);
        status = secret_seal(ring, PURPOSE_DATA_KEY, name, bytes_of(plain, sizeof(plain)), out,
                             out_size);
        secret_wipe(plain, sizeof(plain));
    }
    secret_ring_free(ring);
    if (status == STATUS_OK) {
        *out_version = version->version;
    }
    return status;
}

enum status ring_unwrap(struct controller *c, const Weir__RingKey *key, uint32_t stream,
                        const Weir__DataKey *from, uint8_t *out, size_t *out_size)
{
    const Weir__RingKeyVersion *version = find_version(key, from->ring_version);
    struct secret_ring *ring = NULL;
    char name[NAME_BYTES];
    enum status status =
        version == NULL ? STATUS_KEY_NOT_FOUND : open_version(c, key, version, &ring);
    if (status == STATUS_OK) {
        data_key_name(stream, key->id, name);
        status = secret_open(ring, PURPOSE_DATA_KEY, name,
                             bytes_of(from->wrapped.data, from->wrapped.len), out, out_size);
        if (status != STATUS_OK) {
            trace(TRACE_ERROR, "ring", "data key %u of stream %u cannot be unwrapped: %s",
                  from->version, stream, status_text(status));
            status = STATUS_KEY_DENIED;
        }
    }
    secret_ring_free(ring);
    return status;
}

enum status ring_data_key(struct controller *c, uint32_t stream,
                          Weir__StreamControl__Encryption *encryption)
{
    if (c->options.secrets == NULL) {
        return STATUS_OK; /* there are no keys: the command says so */
    }
    AUTO(ring_key_free) Weir__RingKey *key = ring_find(c->db, encryption->key_id);
    if (key == NULL || ring_key_usable(key) != STATUS_OK) {
        return STATUS_OK; /* ditto */
    }
    AUTO(free_pointer) uint8_t *sealed = malloc(SECRET_SEALED_MAX);
    AUTO(free_pointer) char *id = strdup(key->id);
    size_t size = 0;
    if (sealed == NULL || id == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = make_data_key(c, key, stream, sealed, &size, &encryption->ring_version);
    if (status == STATUS_OK) {
        encryption->data_key = (ProtobufCBinaryData){.data = sealed, .len = size};
        encryption->ring_key = id;
        sealed = NULL;
        id = NULL;
    }
    return status;
}

/* ---- the ring's own housekeeping ---- */

NODISCARD static enum status make_id(char out[DB_RING_ID_BYTES])
{
    uint8_t r[16];
    enum status status = secret_random(r, sizeof(r));
    if (status == STATUS_OK) {
        r[6] = (uint8_t)((r[6] & 0x0f) | 0x40);
        r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
        (void)snprintf(out, DB_RING_ID_BYTES,
                       "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0],
                       r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12],
                       r[13], r[14], r[15]);
    }
    return status;
}

static void submit_ring(struct controller *c, Weir__CmdRing *ring)
{
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_RING;
    command.ring = ring;
    command_of_ours(c, &command, 1);
}

static void make_default(struct controller *c)
{
    char id[DB_RING_ID_BYTES], alias[] = RING_DEFAULT_ALIAS,
                               description[] = "made by the cluster, for streams without another";
    uint8_t sealed[SECRET_SEALED_MAX];
    Weir__CmdRing ring = WEIR__CMD_RING__INIT;
    enum status status = make_id(id);
    if (status == STATUS_OK) {
        status = make_version(c, id, sealed, &ring.sealed.len);
    }
    if (status != STATUS_OK) {
        trace(TRACE_ERROR, "ring", "cannot make %s: %s", alias, status_text(status));
        return;
    }
    ring.action = WEIR__RING_CONTROL__ACTION__CREATE;
    ring.key = id;
    ring.alias = alias;
    ring.description = description;
    ring.sealed.data = sealed;
    ring.first = true;
    submit_ring(c, &ring);
}

struct ring_look {
    uint32_t keys;
    uint64_t now_ms;
    char gone[DB_RING_ID_BYTES]; /* one that is to be destroyed now */
};

static void look_at_key(const Weir__RingKey *key, void *context)
{
    struct ring_look *look = context;
    look->keys++;
    if (key->state == WEIR__RING_KEY__STATE__PENDING_DELETION && key->deletion_ms <= look->now_ms) {
        (void)snprintf(look->gone, sizeof(look->gone), "%s", key->id);
    }
}

static void attributes_release(Weir__StreamAttributes **attributes)
{
    weir__stream_attributes__free_unpacked(*attributes, NULL);
}

/* Another data key for a stream whose newest one is of an older version of its ring key, or old. */
static void roll_stream(struct controller *c, uint32_t stream)
{
    AUTO(attributes_release) Weir__StreamAttributes *a = db_attributes_get(c->db, stream);
    if (a == NULL || !a->encrypted || a->n_data_keys == 0) {
        return;
    }
    const Weir__DataKey *newest = a->data_keys[a->n_data_keys - 1];
    AUTO(ring_key_free) Weir__RingKey *key = db_ring_get(c->db, newest->ring_key);
    bool is_old = newest->created_ms + DATA_KEY_AGE_DAYS * day_ms < net_wall_ms();
    if (key == NULL || ring_key_usable(key) != STATUS_OK ||
        (ring_key_wrapped_newest(key, a) && !is_old)) {
        return;
    }
    uint8_t sealed[SECRET_SEALED_MAX];
    Weir__CmdDataKey made = WEIR__CMD_DATA_KEY__INIT;
    if (make_data_key(c, key, stream, sealed, &made.wrapped.len, &made.ring_version) != STATUS_OK) {
        return; /* told; the next look tries again */
    }
    made.stream = stream;
    made.version = a->data_key_version + 1;
    made.wrapped.data = sealed;
    made.ring_key = key->id;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_DATA_KEY;
    command.data_key = &made;
    command_of_ours(c, &command, 1);
}

void ring_look(struct controller *c)
{
    if (!c->active || c->options.secrets == NULL || !db_meta(c->db)->has_cluster) {
        return;
    }
    struct ring_look look = {.now_ms = net_wall_ms()};
    db_ring_each(c->db, look_at_key, &look);
    if (look.gone[0] != '\0') {
        trace(TRACE_WARNING, "ring", "key %s is destroyed: what it encrypted is lost", look.gone);
        Weir__CmdRing gone = WEIR__CMD_RING__INIT;
        gone.action = WEIR__RING_CONTROL__ACTION__DELETE;
        gone.key = look.gone;
        gone.gone = true;
        submit_ring(c, &gone);
    }
    size_t count = 0;
    const struct db_stream *streams = watch_streams(c->watch, &count);
    for (size_t i = 0; i < count; i++) {
        const Weir__StreamAttributes *a = watch_attributes(c->watch, streams[i].id);
        if (a != NULL && a->encrypted && streams[i].state != DB_STREAM_DELETING) {
            roll_stream(c, streams[i].id);
        }
    }
}

void ring_activate(struct controller *c)
{
    struct ring_look look = {0};
    if (c->options.secrets == NULL) {
        return;
    }
    db_ring_each(c->db, look_at_key, &look);
    if (look.keys == 0) {
        make_default(c);
    }
    ring_look(c);
}

/* ---- administrators ---- */

/* Without what is sealed, with its ARN. */
struct telling {
    struct controller *c;
    Weir__RingKeys reply;
    size_t capacity;
    bool failed;
};

static void tell_key(const Weir__RingKey *key, void *context)
{
    struct telling *telling = context;
    const Weir__ClusterSettings *settings = watch_settings(telling->c->watch);
    size_t size = weir__ring_key__get_packed_size(key);
    uint8_t *packed = malloc(size + 1);
    Weir__RingKey *copy = NULL;
    if (packed != NULL) {
        (void)weir__ring_key__pack(key, packed);
        copy = weir__ring_key__unpack(NULL, size, packed);
        free(packed);
    }
    char arn[256];
    (void)snprintf(arn, sizeof(arn), "arn:aws:kms:%s:%s:key/%s",
                   settings == NULL ? "" : settings->region,
                   settings == NULL ? "" : settings->account_id, key->id);
    char *text = strdup(arn);
    Weir__RingKey **grown =
        realloc(telling->reply.keys, (telling->reply.n_keys + 1) * sizeof(Weir__RingKey *));
    if (grown != NULL) {
        telling->reply.keys = grown;
    }
    if (copy == NULL || text == NULL || grown == NULL) {
        weir__ring_key__free_unpacked(copy, NULL);
        free(text);
        telling->failed = true;
        return;
    }
    for (size_t i = 0; i < copy->n_versions; i++) {
        secret_wipe(copy->versions[i]->sealed.data, copy->versions[i]->sealed.len);
        free(copy->versions[i]->sealed.data);
        copy->versions[i]->sealed = (ProtobufCBinaryData){0};
    }
    if (copy->arn != protobuf_c_empty_string) {
        free(copy->arn);
    }
    copy->arn = text;
    grown[telling->reply.n_keys++] = copy;
}

static void tell(struct telling *telling, struct session_call *call)
{
    if (telling->failed) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "the controller is out of memory");
    } else {
        reply_message(call, &telling->reply.base);
    }
    for (size_t i = 0; i < telling->reply.n_keys; i++) {
        weir__ring_key__free_unpacked(telling->reply.keys[i], NULL);
    }
    free(telling->reply.keys);
}

static void list(struct controller *c, struct session_call *call)
{
    struct telling telling = {.c = c};
    weir__ring_keys__init(&telling.reply);
    db_ring_each(c->db, tell_key, &telling);
    tell(&telling, call);
}

static void refuse_unknown(struct session_call *call, const char *name)
{
    session_reply_error(call, STATUS_KEY_NOT_FOUND, NULL, "the key ring has no key %.100s", name);
}

static void describe(struct controller *c, struct session_call *call, const char *name)
{
    AUTO(ring_key_free) Weir__RingKey *key = ring_find(c->db, name);
    if (key == NULL) {
        refuse_unknown(call, name);
        return;
    }
    struct telling telling = {.c = c};
    weir__ring_keys__init(&telling.reply);
    tell_key(key, &telling);
    tell(&telling, call);
}

static void answer_key(struct controller *c, struct session_call *call, struct bytes body)
{
    Weir__RingKeys *made = weir__ring_keys__unpack(NULL, body.size, body.data);
    if (made == NULL || made->n_keys != 1) {
        session_reply_error(call, STATUS_INTERNAL, NULL,
                            "the result of the first request with this id is not a ring key's");
    } else {
        struct telling telling = {.c = c};
        weir__ring_keys__init(&telling.reply);
        tell_key(made->keys[0], &telling);
        tell(&telling, call);
    }
    weir__ring_keys__free_unpacked(made, NULL);
    ring_look(c); /* a rotated key has streams */
}

/* Fills in what only we can: ids, secrets, times. */
NODISCARD static enum status prepare(struct controller *c, const Weir__RingControl *in,
                                     Weir__CmdRing *ring, char id[DB_RING_ID_BYTES],
                                     uint8_t sealed[SECRET_SEALED_MAX])
{
    enum status status = STATUS_OK;
    if (in->action == WEIR__RING_CONTROL__ACTION__CREATE) {
        status = make_id(id);
        ring->key = id;
    } else if (in->action == WEIR__RING_CONTROL__ACTION__ROTATE) {
        AUTO(ring_key_free) Weir__RingKey *key = ring_find(c->db, in->key);
        if (key == NULL) {
            return STATUS_KEY_NOT_FOUND;
        }
        (void)snprintf(id, DB_RING_ID_BYTES, "%s", key->id);
        ring->key = id;
    } else if (in->action == WEIR__RING_CONTROL__ACTION__DELETE) {
        uint32_t days = in->days == 0 ? RING_DAYS_MAX : in->days;
        ring->deletion_ms = net_wall_ms() + days * day_ms;
        return days < RING_DAYS_MIN || days > RING_DAYS_MAX ? STATUS_INVALID : STATUS_OK;
    } else {
        return STATUS_OK;
    }
    if (status == STATUS_OK) {
        status = make_version(c, id, sealed, &ring->sealed.len);
        ring->sealed.data = sealed;
    }
    return status;
}

static void change(struct controller *c, struct session_call *call, Weir__RingControl *in)
{
    char id[DB_RING_ID_BYTES];
    uint8_t sealed[SECRET_SEALED_MAX];
    Weir__CmdRing ring = WEIR__CMD_RING__INIT;
    ring.action = in->action;
    ring.key = in->key;
    ring.alias = in->alias;
    ring.description = in->description;
    enum status status = prepare(c, in, &ring, id, sealed);
    if (status == STATUS_KEY_NOT_FOUND) {
        refuse_unknown(call, in->key);
    } else if (status == STATUS_INVALID) {
        session_reply_error(call, status, NULL, "a key is destroyed after %d to %d days, not %u",
                            RING_DAYS_MIN, RING_DAYS_MAX, in->days);
    } else if (status != STATUS_OK) {
        session_reply_error(call, status, NULL, "a key cannot be made: %s", status_text(status));
    } else {
        Weir__Command command = WEIR__COMMAND__INIT;
        command.request = in->request;
        command.kind_case = WEIR__COMMAND__KIND_RING;
        command.ring = &ring;
        command_for_call(c, call, &command, 1, answer_key);
    }
}

void handle_ring_control(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__RingControl *in = weir__ring_control__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    if (ring_is_there(c, call)) {
        if (in->action == WEIR__RING_CONTROL__ACTION__LIST) {
            list(c, call);
        } else if (in->action == WEIR__RING_CONTROL__ACTION__DESCRIBE) {
            describe(c, call, in->key);
        } else {
            change(c, call, in); /* an action of a newer caller's is INVALID */
        }
    }
    weir__ring_control__free_unpacked(in, NULL);
}
