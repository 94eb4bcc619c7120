/* The Kinesis interface within the broker: what it needs of the rest, and where it listens. */
#include "base/trace.h"
#include "broker/server/server_internal.h"
#include "proto/net/stream.h"

static struct session *broker_session(void *context, uint32_t broker)
{
    const struct server *s = context;
    return peers_session(s->peers, broker);
}

static bool cut_off(void *context)
{
    const struct server *s = context;
    bool others = false;
    for (uint32_t i = 0; i < route_broker_count(s->route); i++) {
        const struct route_broker *broker = route_broker_at(s->route, i);
        if (broker->id == s->config->id || !broker->alive) {
            continue;
        }
        if (peers_is_heard(s->peers, broker->id)) {
            return false;
        }
        others = true;
    }
    return others;
}

static bool knows_metadata(void *context)
{
    struct server *s = context;
    uint64_t floor = s->controllers == NULL ? 0 : controllers_floor_version(s->controllers);
    s->image_known = s->image_known || (floor != 0 && route_version(s->route) >= floor);
    return s->image_known;
}

static struct session *controller_session(void *context)
{
    const struct server *s = context;
    return s->controllers == NULL ? NULL : controllers_session(s->controllers);
}

static enum sigv4_key signing_key(const char *access_key, const char *date, struct bytes token,
                                  uint8_t key[SIGV4_KEY_BYTES],
                                  char principal[SIGV4_PRINCIPAL_BYTES], void *context)
{
    const struct server *s = context;
    return keys_signing_key(access_key, date, token, key, principal, s->keys);
}

static bool ask_keys(void *context)
{
    const struct server *s = context;
    return s->controllers != NULL && controllers_ask_keys(s->controllers);
}

static const struct token_keys *token_keys(void *context)
{
    const struct server *s = context;
    return keys_tokens(s->keys);
}

NODISCARD static enum status listen_tls(struct server *s, const char *host, struct error *error)
{
    const struct server_config *c = s->config;
    const char *cert = c->kinesis_cert_file[0] == '\0' ? c->cert_file : c->kinesis_cert_file;
    const char *key = c->kinesis_cert_file[0] == '\0' ? c->key_file : c->kinesis_key_file;
    enum status status = net_tls_open_public(cert, key, &s->public_tls, error);
    return status == STATUS_OK
               ? kinesis_listen(s->kinesis, host, c->kinesis_listen_port, s->public_tls, error)
               : status;
}

enum status server_open_front(struct server *s, struct error *error)
{
    const struct server_config *c = s->config;
    if (c->kinesis_listen_port == 0 && c->kinesis_cleartext_port == 0) {
        return STATUS_OK;
    }
    const struct kinesis_options options = {.loop = s->loop,
                                            .api = s->api,
                                            .route = s->route,
                                            .broker = c->id,
                                            .kept = shards_kept(s->shards),
                                            .broker_session = broker_session,
                                            .cut_off = cut_off,
                                            .controller_session = controller_session,
                                            .knows_metadata = knows_metadata,
                                            .signing_key = signing_key,
                                            .ask_keys = ask_keys,
                                            .token_keys = token_keys,
                                            .deduplicate = c->kinesis_deduplicate,
                                            .operation_limits = c->limit_operations,
                                            .context = s};
    if (!kinesis_limits_are_good(c->limit_operations, error)) {
        return error->status;
    }
    s->kinesis = kinesis_new(&options);
    if (s->kinesis == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    const char *host = c->kinesis_listen_host[0] == '\0' ? c->listen_host : c->kinesis_listen_host;
    enum status status = STATUS_OK;
    if (c->kinesis_listen_port != 0) {
        status = listen_tls(s, host, error);
    }
    if (status == STATUS_OK && c->kinesis_cleartext_port != 0) {
        trace(TRACE_WARNING, "server", "the Kinesis interface is served in the clear on port %u",
              c->kinesis_cleartext_port);
        status = kinesis_listen(s->kinesis, host, c->kinesis_cleartext_port, NULL, error);
    }
    return status;
}
