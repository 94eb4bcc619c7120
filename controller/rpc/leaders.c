/* Leaderships that move because an administrator wants it: one, or all back to where they should
 * be. Nothing of it is kept: the leader is asked to hand over, again while that takes, and whoever
 * asked hears what has come of it. */
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "controller/rpc/internal.h"
#include "proto/schema/moves.pb-c.h"

struct leader_call {
    struct list node; /* on controller->leader_calls */
    struct session_call *call;
    uint64_t shard; /* 0: all */
    uint32_t target, before;
    uint64_t sent_ms; /* the order that is being obeyed */
    uint64_t asked_ms, deadline_ms;
    bool handed; /* the leader has said that it hands over */
};

static void finish(struct leader_call *l, uint32_t leader, uint64_t pause_ms, uint32_t under_way)
{
    Weir__LeaderMoved reply;
    weir__leader_moved__init(&reply);
    reply.broker = leader;
    reply.before = l->before;
    reply.pause_ms = (uint32_t)pause_ms;
    reply.under_way = under_way;
    reply_message(l->call, &reply.base);
    list_remove(&l->node);
    free(l);
}

static void refuse(struct leader_call *l, enum status status, const char *text)
{
    session_reply_error(l->call, status, NULL, "%s", text);
    list_remove(&l->node);
    free(l);
}

static bool is_open(const struct controller *c, uint64_t shard)
{
    struct election_view view;
    return election_view(c->election, shard, &view) == STATUS_OK && view.phase == ELECTION_ACTIVE &&
           view.opened;
}

static void step_one(struct controller *c, struct leader_call *l)
{
    const struct db_shard *row = watch_shard(c->watch, l->shard);
    uint64_t now_ms = controller_now(c);
    if (row == NULL) {
        refuse(l, STATUS_NOT_FOUND, "the shard was deleted");
    } else if (row->phase == DB_SHARD_ACTIVE && row->leader.broker == l->target &&
               is_open(c, row->id)) {
        trace(TRACE_INFO, "moves",
              "shard %u/%u: broker-%u leads instead of broker-%u, after %llu ms",
              (unsigned)(row->id >> 32), (unsigned)row->id, l->target, l->before,
              (unsigned long long)(l->sent_ms == 0 ? 0 : now_ms - l->sent_ms));
        balance_touched(c, row->id);
        finish(l, l->target, l->sent_ms == 0 ? 0 : now_ms - l->sent_ms, 0);
    } else if (now_ms >= l->deadline_ms) {
        refuse(l, STATUS_TIMEOUT,
               "the leader did not hand over: the broker that is to lead may lag, or be away; what "
               "leads goes on");
    } else if (row->phase == DB_SHARD_ACTIVE && is_open(c, row->id) &&
               now_ms >= l->asked_ms + LEADERS_ASK_MS) {
        l->asked_ms = now_ms;
        l->handed = false;
        if (moves_send_handover(c, row, l->target)) {
            l->sent_ms = now_ms;
        }
    }
}

/* Whether the shard is led by another broker than it should be, which could lead it. */
static bool is_astray(const struct controller *c, const struct db_shard *row)
{
    const struct db_broker *preferred = watch_broker(c->watch, row->preferred);
    if (row->phase != DB_SHARD_ACTIVE || row->leader.broker == row->preferred ||
        preferred == NULL || preferred->mode != DB_BROKER_NORMAL ||
        !brokers_may_lead(c, row->preferred)) {
        return false;
    }
    for (uint32_t v = 0; v < row->cfg.voter_count; v++) {
        if (row->cfg.voter[v].broker == row->preferred) {
            return row->cfg.voter[v].disk_gen == preferred->disk_gen;
        }
    }
    return false;
}

static void step_all(struct controller *c, struct leader_call *l)
{
    size_t count = 0;
    const struct db_shard *rows = watch_shards(c->watch, &count);
    uint64_t now_ms = controller_now(c);
    bool ask = now_ms >= l->asked_ms + LEADERS_ASK_MS;
    uint32_t astray = 0, asked = 0, elections = 0;
    for (size_t i = 0; i < count; i++) {
        elections += rows[i].phase == DB_SHARD_ELECTING ? 1 : 0;
        if (!is_astray(c, &rows[i])) {
            continue;
        }
        astray++;
        if (ask && asked < LEADERS_AT_ONCE && is_open(c, rows[i].id)) {
            asked += moves_send_handover(c, &rows[i], rows[i].preferred) ? 1 : 0;
        }
    }
    l->asked_ms = ask ? now_ms : l->asked_ms;
    if ((astray == 0 && elections == 0) || now_ms >= l->deadline_ms) {
        finish(l, 0, 0, astray);
    }
}

static void leaders_fired(struct net_timer *timer)
{
    struct controller *c = CONTAINER_OF(timer, struct controller, leaders_timer);
    LIST_FOR_EACH_SAFE (node, &c->leader_calls) {
        struct leader_call *l = CONTAINER_OF(node, struct leader_call, node);
        if (l->shard != 0) {
            step_one(c, l);
        } else {
            step_all(c, l);
        }
    }
    if (!list_empty(&c->leader_calls)) {
        status_ignore(net_timer_start(c->options.loop, timer, controller_now(c) + LEADERS_EVERY_MS,
                                      leaders_fired),
                      "the timer has had its place in the heap");
    }
}

void leaders_deactivate(struct controller *c)
{
    net_timer_stop(c->options.loop, &c->leaders_timer);
    while (!list_empty(&c->leader_calls)) {
        struct leader_call *l = CONTAINER_OF(c->leader_calls.next, struct leader_call, node);
        refuse(l, STATUS_UNCERTAIN, "another controller is active now: ask again");
    }
}

/* The first LEADING of a new epoch ends the pause: it is noticed at once, not with the next tick.
 */
void leaders_opened(struct controller *c, uint64_t shard)
{
    balance_opened(c, shard);
    LIST_FOR_EACH_SAFE (node, &c->leader_calls) {
        struct leader_call *l = CONTAINER_OF(node, struct leader_call, node);
        if (l->shard == shard) {
            step_one(c, l);
        }
    }
}

static bool find_target(struct controller *c, const Weir__LeaderControl *in, struct leader_call *l,
                        struct session_call *call)
{
    const struct db_stream *stream = watch_stream_find(c->watch, in->stream);
    const struct db_shard *row =
        stream == NULL ? NULL : watch_shard(c->watch, db_shard_id(stream->id, in->shard));
    if (row == NULL) {
        session_reply_error(
            call, STATUS_NOT_FOUND, NULL,
            stream == NULL ? "there is no stream %s" : "stream %s has no such shard", in->stream);
        return false;
    }
    l->shard = row->id;
    l->before = row->leader.broker;
    l->target = in->broker == 0 ? row->preferred : in->broker;
    bool votes = false;
    for (uint32_t v = 0; v < row->cfg.voter_count; v++) {
        votes = votes || row->cfg.voter[v].broker == l->target;
    }
    if (!votes) {
        session_reply_error(call, STATUS_INVALID, NULL,
                            row->cfg.voter_count < REPLICAS_PER_SHARD
                                ? "broker-%u has no replica of the shard: broker-%u has, and the "
                                  "others are being made"
                                : "broker-%u has no replica of the shard: broker-%u, broker-%u and "
                                  "broker-%u have",
                            l->target, row->cfg.voter[0].broker, row->cfg.voter[1].broker,
                            row->cfg.voter[2].broker);
        return false;
    }
    if (brokers_client(c, l->target) == NULL) {
        session_reply_error(call, STATUS_UNAVAILABLE, NULL, "broker-%u is not there", l->target);
        return false;
    }
    return true;
}

void handle_leader_control(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    if (!c->active) {
        reply_not_active(c, call);
        return;
    }
    Weir__LeaderControl *in = weir__leader_control__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    struct leader_call *l = calloc(1, sizeof(*l));
    if (l == NULL) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "the controller is out of memory");
    } else if (in->stream[0] != '\0' && !find_target(c, in, l, call)) {
        free(l);
    } else {
        l->call = call;
        l->deadline_ms = controller_now(c) + LEADERS_DEADLINE_MS;
        list_init(&l->node);
        list_push(&c->leader_calls, &l->node);
        leaders_fired(&c->leaders_timer);
    }
    weir__leader_control__free_unpacked(in, NULL);
}
