/* Data keys of encrypted streams, for the brokers that hold replicas of them. */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "controller/ring/ring.h"
#include "controller/rpc/internal.h"
#include "controller/secret/secret.h"

enum { STREAMS_MAX = 64 };

static void free_attributes(Weir__StreamAttributes **attributes)
{
    weir__stream_attributes__free_unpacked(*attributes, NULL);
}

/* One answer under construction: messages of the heap, wiped when they are freed. */
static void free_reply(Weir__DataKeys **reply)
{
    for (size_t i = 0; *reply != NULL && i < (*reply)->n_streams; i++) {
        for (size_t k = 0; k < (*reply)->streams[i]->n_keys; k++) {
            ProtobufCBinaryData *key = &(*reply)->streams[i]->keys[k]->key;
            if (key->len > 0) {
                secret_wipe(key->data, key->len);
            }
        }
    }
    weir__data_keys__free_unpacked(*reply, NULL);
}

static bool is_in(const struct db_config *config, uint32_t broker)
{
    for (uint32_t i = 0; i < config->voter_count; i++) {
        if (config->voter[i].broker == broker) {
            return true;
        }
    }
    return false;
}

/* Whether the broker holds a replica of a shard of the stream, or held one a moment ago: a broker
 * that was taken over must not collect the keys of streams that it does not have. */
static bool may_have(const struct controller *c, const struct db_stream *stream, uint32_t broker)
{
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        const struct db_shard *shard = watch_shard(c->watch, db_shard_id(stream->id, i));
        if (shard != NULL && (is_in(&shard->cfg, broker) || is_in(&shard->prev_cfg, broker))) {
            return true;
        }
    }
    return false;
}

/* Unwraps one; its status tells why not. */
static void take_key(struct controller *c, uint32_t stream, const Weir__DataKey *from,
                     Weir__DataKeys__Key *to)
{
    AUTO(ring_key_free) Weir__RingKey *key = db_ring_get(c->db, from->ring_key);
    uint8_t *plain = calloc(1, SECRET_PLAIN_MAX);
    size_t size = 0;
    enum status status = plain == NULL ? STATUS_KEY_DENIED
                         : key == NULL ? STATUS_KEY_NOT_FOUND
                                       : ring_key_usable(key);
    if (status == STATUS_OK) {
        status = ring_unwrap(c, key, stream, from, plain, &size);
    }
    if (status == STATUS_OK && size == SECRET_KEY_BYTES) {
        to->key = (ProtobufCBinaryData){.data = plain, .len = size};
        plain = NULL;
    } else if (status == STATUS_OK) {
        secret_wipe(plain, SECRET_PLAIN_MAX);
        status = STATUS_KEY_DENIED;
    }
    to->version = from->version;
    to->status = (uint32_t)status;
    free(plain);
}

NODISCARD static enum status take_stream(struct controller *c, uint32_t broker, uint32_t id,
                                         Weir__DataKeys__Stream *to)
{
    struct db_stream stream;
    to->stream = id;
    if (!db_stream_get(c->db, id, &stream)) {
        to->status = (uint32_t)STATUS_NOT_FOUND;
        return STATUS_OK;
    }
    if (!may_have(c, &stream, broker)) {
        to->status = (uint32_t)STATUS_DENIED;
        return STATUS_OK;
    }
    AUTO(free_attributes) Weir__StreamAttributes *a = db_attributes_get(c->db, id);
    to->keys = a == NULL ? NULL : calloc(a->n_data_keys + 1, sizeof(*to->keys));
    if (to->keys == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; i < a->n_data_keys; i++) {
        Weir__DataKeys__Key *key = calloc(1, sizeof(*key));
        if (key == NULL) {
            return STATUS_NO_MEMORY;
        }
        weir__data_keys__key__init(key);
        to->keys[to->n_keys++] = key;
        take_key(c, id, a->data_keys[i], key);
    }
    return STATUS_OK;
}

NODISCARD static enum status take_all(struct controller *c, uint32_t broker,
                                      const Weir__GetDataKeys *in, Weir__DataKeys *reply)
{
    reply->ring_version = watch_settings(c->watch)->ring_version;
    reply->streams = calloc(in->n_streams + 1, sizeof(*reply->streams));
    enum status status = reply->streams == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    for (size_t i = 0; i < in->n_streams && status == STATUS_OK; i++) {
        Weir__DataKeys__Stream *stream = calloc(1, sizeof(*stream));
        if (stream == NULL) {
            return STATUS_NO_MEMORY;
        }
        weir__data_keys__stream__init(stream);
        reply->streams[reply->n_streams++] = stream;
        status = take_stream(c, broker, in->streams[i], stream);
    }
    return status;
}

static void answer(struct controller *c, struct session_call *call, const Weir__GetDataKeys *in)
{
    AUTO(free_reply) Weir__DataKeys *reply = calloc(1, sizeof(*reply));
    enum status status = reply == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    if (status == STATUS_OK) {
        weir__data_keys__init(reply);
        status = watch_settings(c->watch) == NULL ? STATUS_UNAVAILABLE
                                                  : take_all(c, call->caller.id, in, reply);
    }
    if (status == STATUS_OK) {
        reply_message(call, &reply->base);
    } else {
        session_reply_error(call, status, NULL, "%s", status_text(status));
    }
}

void handle_data_keys(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__GetDataKeys *in = weir__get_data_keys__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    if (in->n_streams > STREAMS_MAX) {
        session_reply_error(call, STATUS_INVALID, NULL, "keys of %d streams are given at a time",
                            STREAMS_MAX);
    } else if (ring_is_there(c, call)) {
        answer(c, call, in);
    }
    weir__get_data_keys__free_unpacked(in, NULL);
}
