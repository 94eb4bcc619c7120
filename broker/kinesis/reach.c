/* Calls to the leader of a shard, wherever it is by now. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "broker/kinesis/internal.h"

enum {
    RETRY_MS_MAX = 200,
    REMOTE_MS = 2000,    /* one attempt at another broker */
    IMPATIENCE_MS = 700, /* with a leader, when a replica would do */
};

static const char cut_off_text[] =
    "this broker hears no other one, and so cannot serve the shard: ask another broker";

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
    net_timer_stop(r->k->options.loop, &reach->timer); /* of looking */
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

/* ---- looking at what is under way ---- */

static void note_asked(struct reach *reach, uint32_t broker, const struct route_shard *shard)
{
    reach->asked = broker;
    reach->asked_epoch = shard == NULL ? 0 : shard->epoch;
}

static struct attempt attempt_of(const struct reach *reach)
{
    const struct kinesis_options *options = &reach->r->k->options;
    const struct route_shard *shard = route_shard(options->route, reach->shard);
    return (struct attempt){
        .asked = reach->asked,
        .asked_epoch = reach->asked_epoch,
        .leader = shard == NULL ? 0 : shard->leader_broker,
        .epoch = shard == NULL ? 0 : shard->epoch,
        .attempts = reach->attempts,
        .since_ms = request_now_ms(reach->r) - reach->began_ms,
        .any_replica = reach->any_replica,
        .cut_off = options->cut_off(options->context),
    };
}

static void look(struct net_timer *timer);

static void look_later(struct reach *reach)
{
    status_ignore(net_timer_start(reach->r->k->options.loop, &reach->timer,
                                  request_now_ms(reach->r) + ATTEMPT_LOOK_MS, look),
                  "without it the attempt ends at its own limit");
}

/* An answer from here cannot be called back: the client gets its own, and what waits for the other
 * stays until it comes. */
static void leave_local(struct reach *reach)
{
    reach->is_left = true;
    reach->done(reach, &(struct reach_reply){.status = STATUS_UNAVAILABLE, .text = cut_off_text});
}

static void look(struct net_timer *timer)
{
    struct reach *reach = CONTAINER_OF(timer, struct reach, timer);
    const struct attempt attempt = attempt_of(reach);
    enum attempt_next next = attempt_judge(&attempt);
    if (reach->is_local && next == ATTEMPT_OVER) {
        leave_local(reach);
    } else if (reach->is_remote && next != ATTEMPT_WAIT) {
        reach->next = next;
        session_cancel(&reach->remote);
    } else {
        look_later(reach);
    }
}

/* `reply` is not OK. */
static void retry_or_fail(struct reach *reach, enum status status, const char *text,
                          const char *hint)
{
    struct request *r = reach->r;
    uint32_t leader = broker_of_hint(hint);
    uint64_t now_ms = request_now_ms(r);
    const struct attempt attempt = attempt_of(reach);
    uint32_t wait_ms = reach->attempts < 6 ? 5U << reach->attempts : RETRY_MS_MAX;
    if (leader != 0 && leader != reach->leader) {
        wait_ms = 1; /* somebody knows who leads */
    }
    reach->leader = leader;
    bool elsewhere = reach->any_replica && status == STATUS_CORRUPT;
    if ((!may_retry(reach, status) && !elsewhere) || r->k->closing ||
        now_ms + wait_ms >= reach->deadline_ms) {
        fail(reach, status, text);
    } else if (attempt_is_vain(&attempt)) {
        fail(reach, STATUS_UNAVAILABLE, cut_off_text);
    } else if (net_timer_start(r->k->options.loop, &reach->timer, now_ms + wait_ms, again) !=
               STATUS_OK) {
        fail(reach, STATUS_NO_MEMORY, status_text(STATUS_NO_MEMORY));
    }
}

/* ---- at another broker ---- */

static void remote_done(struct session_request *request, const struct session_reply *reply)
{
    struct reach *reach = CONTAINER_OF(request, struct reach, remote);
    enum attempt_next next = reach->next;
    reach->is_remote = false;
    reach->next = ATTEMPT_WAIT;
    net_timer_stop(reach->r->k->options.loop, &reach->timer);
    if (next == ATTEMPT_AGAIN && reply->status != STATUS_OK) {
        reach->leader = 0; /* the image knows better than an older hint */
        go(reach);
        return;
    }
    if (next == ATTEMPT_OVER && reply->status != STATUS_OK) {
        fail(reach, STATUS_UNAVAILABLE, cut_off_text);
        return;
    }
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
    uint32_t timeout_ms = left_ms < REMOTE_MS ? (uint32_t)left_ms : (uint32_t)REMOTE_MS;
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
        look_later(reach);
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
    if (reach->is_left) {
        reach->r->running--;
        request_settle(reach->r);
        return;
    }
    net_timer_stop(reach->r->k->options.loop, &reach->timer);
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
    if (reach->method == RPC_PUT) {
        look_later(reach); /* its commit needs others */
    }
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
    note_asked(reach, leader, shard);
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
    reach->began_ms = request_now_ms(r);
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
        reach->next = ATTEMPT_WAIT;
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
