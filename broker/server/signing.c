#include "broker/server/signing.h"

#include "base/list.h"
#include "base/trace.h"

static void take(struct signing *s, struct bytes body)
{
    Weir__SigningKeys *reply = weir__signing_keys__unpack(NULL, body.size, body.data);
    enum status status = reply == NULL ? STATUS_INVALID : keys_take(s->keys, reply);
    if (status == STATUS_OK) {
        trace(TRACE_DEBUG, "signing", "%zu access keys, version %llu", reply->n_keys,
              (unsigned long long)reply->version);
        s->told = false;
    } else {
        trace(TRACE_WARNING, "signing", "the controllers' answer with keys: %s",
              status_text(status));
        s->not_before_ms = net_now_ms(s->loop) + SIGNING_RETRY_MS;
    }
    weir__signing_keys__free_unpacked(reply, NULL);
}

static void done(struct session_request *request, const struct session_reply *reply)
{
    struct signing *s = CONTAINER_OF(request, struct signing, request);
    uint64_t now = net_now_ms(s->loop);
    s->asking = false;
    s->not_before_ms = now + SIGNING_AGAIN_MS;
    if (reply->status == STATUS_OK) {
        take(s, reply->body);
        return;
    }
    bool without = reply->status == STATUS_UNSUPPORTED;
    if (without) {
        keys_take_none(s->keys);
    }
    s->not_before_ms = now + (without ? SIGNING_WITHOUT_MS : SIGNING_RETRY_MS);
    if (!s->told) {
        trace(without ? TRACE_INFO : TRACE_WARNING, "signing", "no keys to check signatures: %s",
              reply->error.text);
        s->told = true;
    }
}

static bool may_ask(const struct signing *s, const struct session *session)
{
    return s->keys != NULL && !s->asking && session != NULL && route_version(s->route) != 0 &&
           route_settings(s->route)->region[0] != '\0';
}

static void ask(struct signing *s, struct session *session)
{
    static char service[] = "kinesis";
    char dates[KEYS_DAYS][SIGV4_DATE_BYTES], *date[KEYS_DAYS];
    keys_dates(net_wall_ms(), dates);
    for (size_t d = 0; d < KEYS_DAYS; d++) {
        date[d] = dates[d];
    }
    Weir__GetSigningKeys message = WEIR__GET_SIGNING_KEYS__INIT;
    message.dates = date;
    message.n_dates = KEYS_DAYS;
    message.region = route_settings(s->route)->region;
    message.service = service;
    if (session_call(session, RPC_SIGNING_KEYS, (struct session_payload){.body = &message.base},
                     SIGNING_TIMEOUT_MS, &s->request, done) == STATUS_OK) {
        s->asking = true;
    }
}

void signing_look(struct signing *s, struct session *session)
{
    if (may_ask(s, session) && net_now_ms(s->loop) >= s->not_before_ms &&
        keys_are_due(s->keys, route_settings(s->route)->keys_version, net_wall_ms())) {
        ask(s, session);
    }
}

bool signing_ask(struct signing *s, struct session *session)
{
    uint64_t now_ms = net_now_ms(s->loop);
    if (may_ask(s, session) && now_ms >= s->stranger_ms) {
        s->stranger_ms = now_ms + SIGNING_STRANGER_MS;
        ask(s, session);
    }
    return s->asking;
}
