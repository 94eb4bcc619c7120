/* Calls to the leader of a shard, wherever it is by now. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "broker/kinesis/internal.h"

enum { RETRY_MS_MAX = 200, IMPATIENCE_MS = 700 /* with a leader, when a replica would do */ };

static void go(struct reach *reach);

static struct arena *arena_of(struct reach *reach)
{
    return reach->arena == NULL ? &reach->r->arena : reach->arena;
}

static uint32_t broker_of_hint(const char *hint)
{
    static const char prefix[] = "broker-";
    uint32_t id = 0;
    if (hint == NULL || strncmp(hint, prefix, sizeof(prefix) - 1) != 0) {
        return 0;
    }
    for (hint += sizeof(prefix) - 1; *hint >= '0' && *hint <= '9' && id < 100000000; hint++) {
        id = id * 10 + (uint32_t)(*hint - '0');
    }
    return id;
}

static bool may_retry(const struct reach *reach, enum status status)
{
    switch ((int)status) {
    case STATUS_NOT_LEADER:
    case STATUS_UNAVAILABLE:
    case STATUS_UNCERTAIN:
    case STATUS_NO_QUORUM:
    case STATUS_BUSY:
    case STATUS_TIMEOUT:
    case STATUS_CLOSING:
    case STATUS_IO:
    case STATUS_KEY_UNAVAILABLE: /* it is being fetched */
        return true;
    case STATUS_NOT_FOUND: /* there, when the image here knows it: that broker's is older */
        return route_shard(reach->r->k->options.route, reach->shard) != NULL;
    default:
        return false;
    }
}

static void finish(struct reach *reach, const struct reach_reply *reply)
{
    struct request *r = reach->r;
    reach->done(reach, reply);
    r->running--;
    request_settle(r);
}

static void fail(struct reach *reach, enum status status, const char *text)
{
    finish(reach, &(struct reach_reply){.status = status, .text = text});
}

static void again(struct net_timer *timer)
{
    go(CONTAINER_OF(timer, struct reach, timer));
}

/* `reply` is not OK. */
static void retry_or_fail(struct reach *reach, enum status status, const char *text,
                          const char *hint)
{
    struct request *r = reach->r;
    uint32_t leader = broker_of_hint(hint);
    uint64_t now_ms = request_now_ms(r);
    uint32_t wait_ms = reach->attempts < 6 ? 5U << reach->attempts : RETRY_MS_MAX;
    if (leader != 0 && leader != reach->leader) {
        wait_ms = 1; /* somebody knows who leads */
    }
    reach->leader = leader;
    bool elsewhere = reach->any_replica && status == STATUS_CORRUPT;
    if ((!may_retry(reach, status) && !elsewhere) || r->k->closing ||
        now_ms + wait_ms >= reach->deadline_ms) {
        fail(reach, status, text);
    } else if (net_timer_start(r->k->options.loop, &reach->timer, now_ms + wait_ms, again) !=
               STATUS_OK) {
        fail(reach, STATUS_NO_MEMORY, status_text(STATUS_NO_MEMORY));
    }
}

/* ---- at another broker ---- */

static void remote_done(struct session_request *request, const struct session_reply *reply)
{
    struct reach *reach = CONTAINER_OF(request, struct reach, remote);
    reach->is_remote = false;
    if (reply->status != STATUS_OK) {
        retry_or_fail(reach, reply->status, reply->error.text, reply->hint);
        return;
    }
    finish(reach, &(struct reach_reply){.body = reply->body,
                                        .pieces = &reply->attachment,
                                        .piece_count = reply->attachment.size > 0});
}

static void go_remote(struct reach *reach, struct session *session)
{
    struct request *r = reach->r;
    uint64_t now_ms = request_now_ms(r);
    uint64_t left_ms = reach->deadline_ms > now_ms ? reach->deadline_ms - now_ms : 1;
    uint32_t timeout_ms = left_ms < ATTEMPT_MS ? (uint32_t)left_ms : (uint32_t)ATTEMPT_MS;
    if (reach->any_replica && timeout_ms > IMPATIENCE_MS) {
        timeout_ms = IMPATIENCE_MS;
    }
    if (reach->patience_ms > timeout_ms) {
        timeout_ms = reach->patience_ms;
    }
    enum status status =
        session_call(session, reach->method,
                     (struct session_payload){.body = reach->message,
                                              .pieces = &reach->attachment,
                                              .piece_count = reach->attachment.size > 0},
                     timeout_ms, &reach->remote, remote_done);
    if (status == STATUS_OK) {
        reach->is_remote = true;
    } else {
        retry_or_fail(reach, status, status_text(status), NULL);
    }
}

/* ---- here ---- */

static void local_done(struct session_call *call, const struct session_payload *payload,
                       const struct error *error, const char *hint)
{
    struct reach *reach = CONTAINER_OF(call, struct reach, local);
    reach->is_local = false;
    if (error != NULL) {
        retry_or_fail(reach, error->status, error->text, hint);
        return;
    }
    size_t size = payload->body == NULL ? 0 : protobuf_c_message_get_packed_size(payload->body);
    uint8_t *body = arena_take_bytes(arena_of(reach), size + 1);
    if (body == NULL) {
        fail(reach, STATUS_NO_MEMORY, status_text(STATUS_NO_MEMORY));
        return;
    }
    if (payload->body != NULL) {
        (void)protobuf_c_message_pack(payload->body, body);
    }
    finish(reach, &(struct reach_reply){.body = bytes_of(body, size),
                                        .pieces = payload->pieces,
                                        .piece_count = payload->piece_count});
}

static void go_local(struct reach *reach)
{
    reach->is_local = true;
    reach->local = (struct session_call){
        .caller = {.role = RPC_ROLE_BROKER, .id = reach->r->k->options.broker},
        .method = reach->method,
        .body = reach->body,
        .attachment = reach->attachment,
        .deadline_ms = reach->deadline_ms,
        .local = local_done,
    };
    (void)api_called(reach->r->k->options.api, &reach->local);
}

/* ---- either ---- */

/* Whom to ask now: the leader at every other attempt, and its followers in turn between, if they
 * will do and the leader has failed once. 0: nobody is known. */
static uint32_t choose(const struct reach *reach, const struct route_shard *shard)
{
    uint32_t leader = reach->leader;
    if (leader == 0 && shard != NULL) {
        leader = shard->leader_broker;
    }
    bool follower = reach->any_replica && shard != NULL && shard->replica_count > 0 &&
                    (leader == 0 || reach->attempts % 2 == 1);
    if (!follower) {
        return leader;
    }
    uint32_t turn = leader == 0 ? reach->attempts : reach->attempts / 2;
    uint32_t count = shard->replica_count;
    uint32_t broker = shard->replica_brokers[turn % count];
    return broker == leader && count > 1 ? shard->replica_brokers[(turn + 1) % count] : broker;
}

static void go(struct reach *reach)
{
    const struct kinesis_options *options = &reach->r->k->options;
    const struct route_shard *shard = route_shard(options->route, reach->shard);
    uint32_t leader = choose(reach, shard);
    reach->attempts++;
    if (leader == options->broker) {
        go_local(reach);
        return;
    }
    struct session *session =
        leader == 0 ? NULL : options->broker_session(options->context, leader);
    if (session == NULL) {
        retry_or_fail(reach, shard == NULL ? STATUS_NOT_FOUND : STATUS_UNAVAILABLE,
                      "the shard's leader cannot be reached", NULL);
        return;
    }
    go_remote(reach, session);
}

void reach_start(struct reach *reach, const ProtobufCMessage *message, struct bytes attachment)
{
    struct request *r = reach->r;
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *body = arena_take_bytes(arena_of(reach), size + 1);
    r->running++;
    reach->message = message;
    reach->attachment = attachment;
    reach->deadline_ms = reach->deadline_ms == 0 ? r->deadline_ms : reach->deadline_ms;
    if (body == NULL) {
        fail(reach, STATUS_NO_MEMORY, status_text(STATUS_NO_MEMORY));
        return;
    }
    (void)protobuf_c_message_pack(message, body);
    reach->body = bytes_of(body, size);
    go(reach);
}

void reach_cancel(struct reach *reach)
{
    if (reach->is_remote) {
        session_cancel(&reach->remote);
    } else if (reach->is_local) {
        reach->local.gone = true;
        if (reach->local.cancelled != NULL) {
            reach->local.cancelled(&reach->local);
        }
    } else if (reach->timer.heap_index != 0) {
        net_timer_stop(reach->r->k->options.loop, &reach->timer);
        fail(reach, STATUS_CANCELLED, status_text(STATUS_CANCELLED));
    }
}
