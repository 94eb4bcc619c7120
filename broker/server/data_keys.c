#include "broker/server/data_keys.h"

#include <openssl/crypto.h>

#include "base/trace.h"

static void want(void *context, uint32_t stream)
{
    (void)stream;
    struct data_key_fetch *f = context;
    if (!f->told) {
        f->not_before_ms = 0; /* the next look asks */
    }
}

enum status data_key_fetch_open(struct data_key_fetch *f, struct net_loop *loop,
                                const struct route *route, uint64_t refresh_ms, uint64_t life_ms)
{
    *f = (struct data_key_fetch){.loop = loop, .route = route};
    f->vault = vault_new(refresh_ms, life_ms, want, f);
    return f->vault == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

void data_key_fetch_release(struct data_key_fetch *f)
{
    vault_free(f->vault);
    f->vault = NULL;
}

/* ---- fetching ---- */

static void wipe(Weir__DataKeys *reply)
{
    for (size_t i = 0; reply != NULL && i < reply->n_streams; i++) {
        for (size_t k = 0; k < reply->streams[i]->n_keys; k++) {
            ProtobufCBinaryData *key = &reply->streams[i]->keys[k]->key;
            if (key->len > 0) {
                OPENSSL_cleanse(key->data, key->len);
            }
        }
    }
}

static void done(struct session_request *request, const struct session_reply *reply)
{
    struct data_key_fetch *f = CONTAINER_OF(request, struct data_key_fetch, request);
    enum status status = reply->status;
    f->asking = false;
    if (status == STATUS_OK) {
        Weir__DataKeys *keys = weir__data_keys__unpack(NULL, reply->body.size, reply->body.data);
        status = keys == NULL ? STATUS_INVALID : vault_take(f->vault, keys, f->asked_ms);
        wipe(keys);
        weir__data_keys__free_unpacked(keys, NULL);
    }
    if (status == STATUS_OK) {
        f->told = false;
        f->not_before_ms = 0; /* there may be more streams */
        return;
    }
    f->not_before_ms = net_now_ms(f->loop) + DATA_KEYS_RETRY_MS;
    if (!f->told) {
        trace(TRACE_WARNING, "keys", "data keys cannot be had: %s",
              reply->status != STATUS_OK ? reply->error.text : status_text(status));
        f->told = true;
    }
}

/* Whether we hold a replica of any of its shards: else the controllers refuse. */
static bool is_here(const struct data_key_fetch *f, const struct route_stream *stream)
{
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        if (shards_find(f->shards, (uint64_t)stream->id << 32 | i) != NULL) {
            return true;
        }
    }
    return false;
}

static bool is_due(const struct data_key_fetch *f, const struct route_stream *stream,
                   uint64_t now_ms)
{
    uint32_t newest = stream->attributes->data_key_version;
    uint64_t ring_version = route_settings(f->route)->ring_version;
    return newest != 0 && stream->state != WEIR__STREAM_STATE__STREAM_DELETING &&
           vault_is_due(f->vault, stream->id, newest, ring_version, now_ms) && is_here(f, stream);
}

static size_t gather(struct data_key_fetch *f, uint32_t streams[DATA_KEYS_STREAMS_MAX])
{
    size_t count = 0;
    uint64_t now_ms = net_now_ms(f->loop);
    uint32_t all = route_stream_count(f->route);
    for (uint32_t i = 0; i < all && count < DATA_KEYS_STREAMS_MAX; i++) {
        const struct route_stream *stream = route_stream_at(f->route, i);
        if (is_due(f, stream, now_ms)) {
            streams[count++] = stream->id;
        }
    }
    return count;
}

void data_key_fetch_look(struct data_key_fetch *f, struct session *session, bool now)
{
    uint64_t now_ms = net_now_ms(f->loop);
    vault_tick(f->vault, now_ms);
    if (f->shards == NULL || f->asking || session == NULL || route_version(f->route) == 0 ||
        (now_ms < f->not_before_ms && !(now && !f->told))) {
        return;
    }
    uint32_t streams[DATA_KEYS_STREAMS_MAX];
    size_t count = gather(f, streams);
    f->not_before_ms = now_ms + DATA_KEYS_LOOK_MS;
    if (count == 0) {
        return;
    }
    Weir__GetDataKeys message = WEIR__GET_DATA_KEYS__INIT;
    message.streams = streams;
    message.n_streams = count;
    if (session_call(session, RPC_DATA_KEYS, (struct session_payload){.body = &message.base},
                     DATA_KEYS_TIMEOUT_MS, &f->request, done) == STATUS_OK) {
        f->asking = true;
        f->asked_ms = now_ms;
    }
}

/* ---- sealing ---- */

enum status data_key_seal(struct data_key_fetch *f, const struct shard *shard, bool must,
                          struct batch_header *h, struct bytes *payload, struct error *error)
{
    const struct route_stream *stream = route_stream(f->route, (uint32_t)(shard->id >> 32));
    if (stream == NULL) {
        return error_set(error, STATUS_BUSY,
                         "this broker does not know yet whether the stream is encrypted; retry");
    }
    if (!stream->attributes->encrypted && !must) {
        return STATUS_OK;
    }
    enum status status = vault_seal(f->vault, net_now_ms(f->loop), h, payload);
    return status == STATUS_OK ? STATUS_OK
                               : error_set(error, status, "stream %s is encrypted: %s",
                                           stream->name, status_text(status));
}
