/* SUBSCRIBE: a shard's records as soon as they are committed, one reply after another, for as long
 * as the caller has room: it grants bytes, and each reply takes some (SUBSCRIBE_CREDIT).
 *
 * A subscription is a READ of our own, again and again, that waits at the tip. */
#include <stdlib.h>

#include "broker/api/internal.h"

enum {
    HEARTBEAT_MS = 1500, /* an empty reply when nothing has come for so long */
    CREDIT_MAX = 256 * 1024 * 1024,
    SUBSCRIPTIONS_MAX = 16384,
    READ_BUSY_MS = 20, /* then a read that was refused for now is tried again */
};

struct subscription {
    struct list node; /* on api->subscriptions */
    struct api *api;
    struct session_call *call;  /* the caller's */
    struct session_call inside; /* our READ */
    struct buf body;            /* of it */
    struct net_timer timer;
    uint64_t id, shard, offset;
    int64_t credit;
    uint32_t max_bytes;
    bool reading; /* `inside` is under way */
    bool over;    /* ends once it is answered */
};

static void release(struct subscription *s)
{
    net_timer_stop(s->api->options.loop, &s->timer);
    list_remove(&s->node);
    s->api->subscription_count--;
    buf_release(&s->body);
    free(s);
}

static void end(struct subscription *s, enum status status, const char *hint, const char *text)
{
    s->call->cancelled = NULL;
    session_reply_error(s->call, status, hint, "%s", text);
    release(s);
}

static void on_timer(struct net_timer *timer);

static void wake_in(struct subscription *s, uint64_t ms)
{
    struct net_loop *loop = s->api->options.loop;
    if (net_timer_start(loop, &s->timer, net_now_ms(loop) + ms, on_timer) != STATUS_OK) {
        end(s, STATUS_NO_MEMORY, NULL, "the broker is out of memory");
    }
}

static uint64_t bytes_of_payload(const struct session_payload *payload)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < payload->piece_count; i++) {
        bytes += payload->pieces[i].size;
    }
    return bytes;
}

/* What a READ brought goes on to the caller. False: the subscription is gone. */
static bool forward(struct subscription *s, const struct session_payload *payload)
{
    const Weir__ReadReply *reply = (const Weir__ReadReply *)(const void *)payload->body;
    if (reply->ended) {
        s->call->cancelled = NULL;
        session_reply(s->call, *payload);
        release(s);
        return false;
    }
    enum status status = session_reply_more(s->call, *payload);
    if (status != STATUS_OK) {
        end(s, status, NULL, "the connection does not take more");
        return false;
    }
    s->offset = reply->next_offset;
    s->credit -= (int64_t)bytes_of_payload(payload);
    return true;
}

static void pump(struct subscription *s);

static void read_done(struct session_call *call, const struct session_payload *payload,
                      const struct error *error, const char *hint)
{
    struct subscription *s = CONTAINER_OF(call, struct subscription, inside);
    s->reading = false;
    if (s->over || s->api->closing) {
        enum status why = s->over ? STATUS_CANCELLED : STATUS_CLOSING;
        end(s, why, NULL, status_text(why));
    } else if (payload != NULL) {
        if (forward(s, payload)) {
            wake_in(s, 0); /* not from inside: a backlog is a long loop */
        }
    } else if (error->status == STATUS_BUSY) {
        wake_in(s, READ_BUSY_MS);
    } else {
        end(s, error->status, hint, error->text);
    }
}

/* The next READ, when there is room for what it brings. */
static void pump(struct subscription *s)
{
    if (s->reading) {
        return;
    }
    if (s->credit <= 0) {
        Weir__ReadReply beat = WEIR__READ_REPLY__INIT;
        const struct shard *shard = shards_find(s->api->options.shards, s->shard);
        beat.next_offset = s->offset;
        beat.commit = shard != NULL ? shard->commit : s->offset;
        enum status status =
            session_reply_more(s->call, (struct session_payload){.body = &beat.base});
        if (status == STATUS_OK) {
            wake_in(s, HEARTBEAT_MS);
        } else {
            end(s, status, NULL, "the connection does not take more");
        }
        return;
    }
    Weir__Read read = WEIR__READ__INIT;
    read.shard = s->shard;
    read.offset = s->offset;
    read.max_bytes = (uint64_t)s->credit < s->max_bytes ? (uint32_t)s->credit : s->max_bytes;
    read.wait_ms = HEARTBEAT_MS;
    s->body.size = 0;
    if (buf_reserve(&s->body, weir__read__get_packed_size(&read)) != STATUS_OK) {
        end(s, STATUS_NO_MEMORY, NULL, "the broker is out of memory");
        return;
    }
    s->body.size = weir__read__pack(&read, s->body.data);
    s->reading = true;
    s->inside = (struct session_call){.caller = s->call->caller,
                                      .method = RPC_READ,
                                      .body = buf_bytes(&s->body),
                                      .deadline_ms = UINT64_MAX,
                                      .local = read_done};
    api_read(s->api, &s->inside);
}

static void on_timer(struct net_timer *timer)
{
    pump(CONTAINER_OF(timer, struct subscription, timer));
}

static void cancelled(struct session_call *call)
{
    struct subscription *s = call->data;
    s->over = true;
    if (!s->reading) {
        end(s, STATUS_CANCELLED, NULL, status_text(STATUS_CANCELLED));
    } else if (s->inside.cancelled != NULL) {
        s->inside.gone = true;
        s->inside.cancelled(&s->inside); /* read_done() ends it, now or soon */
    }
}

void api_subscribe(struct api *api, struct session_call *call)
{
    Weir__Subscribe *request = weir__subscribe__unpack(NULL, call->body.size, call->body.data);
    if (request == NULL) {
        session_reply_error(call, STATUS_INVALID, NULL, "SUBSCRIBE: the message cannot be decoded");
        return;
    }
    bool bad = request->credit == 0 || request->credit > CREDIT_MAX || call->session == NULL;
    struct subscription *s = NULL;
    if (bad) {
        session_reply_error(call, STATUS_INVALID, NULL, "SUBSCRIBE: a credit of 1 to %d bytes",
                            (int)CREDIT_MAX);
    } else if (api->subscription_count >= SUBSCRIPTIONS_MAX) {
        session_reply_error(call, STATUS_BUSY, NULL, "this broker has %d subscriptions",
                            (int)SUBSCRIPTIONS_MAX);
    } else if (api_shard(api, call, request->shard) != NULL) {
        s = calloc(1, sizeof(*s));
        if (s == NULL) {
            session_reply_error(call, STATUS_NO_MEMORY, NULL, "the broker is out of memory");
        }
    }
    if (s != NULL) {
        s->api = api;
        s->call = call;
        s->id = request->id;
        s->shard = request->shard;
        s->offset = request->offset;
        s->credit = (int64_t)request->credit;
        s->max_bytes = request->max_bytes != 0 ? request->max_bytes : API_READ_BYTES;
        call->data = s;
        call->cancelled = cancelled;
        list_push(&api->subscriptions, &s->node);
        api->subscription_count++;
        pump(s);
    }
    weir__subscribe__free_unpacked(request, NULL);
}

void api_subscribe_credit(struct api *api, struct session_call *call)
{
    Weir__SubscribeCredit *request =
        weir__subscribe_credit__unpack(NULL, call->body.size, call->body.data);
    if (request == NULL || request->bytes > CREDIT_MAX) {
        session_reply_error(call, STATUS_INVALID, NULL, "SUBSCRIBE_CREDIT: a bad message");
        weir__subscribe_credit__free_unpacked(request, NULL);
        return;
    }
    struct subscription *found = NULL;
    LIST_FOR_EACH (node, &api->subscriptions) {
        struct subscription *s = CONTAINER_OF(node, struct subscription, node);
        if (s->id == request->id && s->call->session == call->session) {
            found = s;
            break;
        }
    }
    int64_t bytes = (int64_t)request->bytes;
    weir__subscribe_credit__free_unpacked(request, NULL);
    /* None: it ended meanwhile, and its caller hears that. */
    Weir__Empty empty = WEIR__EMPTY__INIT;
    session_reply(call, (struct session_payload){.body = &empty.base});
    if (found != NULL && found->credit + bytes <= CREDIT_MAX) {
        bool starved = found->credit <= 0;
        found->credit += bytes;
        if (starved && found->credit > 0) {
            pump(found);
        }
    }
}

void api_end_subscriptions(struct api *api)
{
    LIST_FOR_EACH_SAFE (node, &api->subscriptions) {
        struct subscription *s = CONTAINER_OF(node, struct subscription, node);
        if (!s->reading) { /* else its READ is answered: the shards close, too */
            end(s, STATUS_CLOSING, NULL, "the broker is stopping");
        }
    }
}
