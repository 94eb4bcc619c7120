/* BALANCE_STATUS and BALANCE_CONTROL: what is balanced, what would be, and why not. */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "controller/rpc/balancer.h"
#include "controller/rpc/internal.h"

enum { WAIT_TOLD_MAX = 64 };

struct half_message {
    Weir__BalanceHalf half;
    Weir__BalanceMove move[BALANCE_MOVES_MAX], *moves[BALANCE_MOVES_MAX];
    char text[BALANCE_TEXT_BYTES];
};

struct broker_message {
    Weir__BalanceBroker broker;
    Weir__Traffic traffic;
    char no_leaders[BALANCE_TEXT_BYTES], no_replicas[BALANCE_TEXT_BYTES];
};

struct status_message {
    Weir__BalanceStatus status;
    Weir__BalanceSettings settings;
    struct half_message leaders, replicas;
    uint32_t wait[WAIT_TOLD_MAX];
};

static void fill_half(struct half_message *m, const struct balance_half *from, bool known, bool on,
                      uint64_t moved)
{
    weir__balance_half__init(&m->half);
    m->half.on = on;
    m->half.moved = moved;
    m->half.moves = m->moves;
    (void)snprintf(m->text, sizeof(m->text), "%s", known ? from->text : "it was not looked at yet");
    m->half.text = m->text;
    m->half.now = known && from->now;
    m->half.percent = known ? from->percent : 0;
    for (size_t i = 0; known && i < from->count; i++) {
        weir__balance_move__init(&m->move[i]);
        m->move[i].shard = from->moves[i].shard;
        m->move[i].from = from->moves[i].from.broker;
        m->move[i].to = from->moves[i].to;
        m->move[i].from_percent = from->moves[i].from_percent;
        m->move[i].to_percent = from->moves[i].to_percent;
        m->moves[m->half.n_moves++] = &m->move[i];
    }
}

static void fill_settings(const struct balance_settings *from, Weir__BalanceSettings *out)
{
    weir__balance_settings__init(out);
    out->leaders_off = !from->leaders;
    out->replicas_off = !from->replicas;
    out->interval_ms = from->interval_ms;
    out->rest_ms = from->rest_ms;
    out->leader_threshold = from->leader_threshold;
    out->leader_lasts_ms = from->leader_lasts_ms;
    out->leader_moves = from->leader_moves;
    out->replica_threshold = from->replica_threshold;
    out->replica_lasts_ms = from->replica_lasts_ms;
    out->replica_moves = from->replica_moves;
}

static void fill_broker(struct broker_message *m, const struct balance_state *from)
{
    weir__balance_broker__init(&m->broker);
    weir__traffic__init(&m->traffic);
    m->traffic.in = from->traffic.in;
    m->traffic.out = from->traffic.out;
    m->traffic.requests = from->traffic.requests;
    m->broker.broker = from->id;
    m->broker.leaders = from->leaders;
    m->broker.replicas = from->replicas;
    m->broker.traffic = &m->traffic;
    m->broker.leader_percent = from->leader_percent;
    m->broker.replica_percent = from->replica_percent;
    (void)snprintf(m->no_leaders, sizeof(m->no_leaders), "%s",
                   from->no_leaders == NULL ? "" : from->no_leaders);
    (void)snprintf(m->no_replicas, sizeof(m->no_replicas), "%s",
                   from->no_replicas == NULL ? "" : from->no_replicas);
    m->broker.no_leaders = m->no_leaders;
    m->broker.no_replicas = m->no_replicas;
}

static void reply_status(struct controller *c, struct session_call *call)
{
    struct balancer *b = c->balancer;
    struct balance_settings settings;
    AUTO(free_pointer) struct status_message *m = calloc(1, sizeof(*m));
    AUTO(free_pointer)
    struct broker_message *brokers = calloc(b->broker_count + 1, sizeof(*brokers));
    AUTO(free_pointer)
    Weir__BalanceBroker **pointers = calloc(b->broker_count + 1, sizeof(Weir__BalanceBroker *));
    if (m == NULL || brokers == NULL || pointers == NULL) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "the controller is out of memory");
        return;
    }
    bool known = b->broker_count > 0;
    weir__balance_status__init(&m->status);
    balancer_settings(c, &settings);
    fill_settings(&settings, &m->settings);
    fill_half(&m->leaders, &b->plan.leaders, known, settings.leaders, b->leaders_moved);
    fill_half(&m->replicas, &b->plan.replicas, known, settings.replicas, b->replicas_moved);
    for (size_t i = 0; i < b->broker_count; i++) {
        fill_broker(&brokers[i], &b->plan.brokers[i]);
        pointers[i] = &brokers[i].broker;
    }
    m->status.settings = &m->settings;
    m->status.leaders = &m->leaders.half;
    m->status.replicas = &m->replicas.half;
    m->status.brokers = pointers;
    m->status.n_brokers = b->broker_count;
    m->status.age_ms = known ? (uint32_t)(controller_now(c) - b->looked_ms) : 0;
    m->status.n_restored_wait = db_restored_each(c->db, m->wait, WAIT_TOLD_MAX);
    m->status.restored_wait = m->wait;
    reply_message(call, &m->status.base);
}

void handle_balance_status(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    if (!c->active) {
        reply_not_active(c, call);
        return;
    }
    reply_status(c, call);
}

static void answer_control(struct controller *c, struct session_call *call, struct bytes body)
{
    (void)body;
    if (c->active) {
        balancer_look(c);
    }
    reply_status(c, call);
}

void handle_balance_control(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__BalanceControl *in =
        weir__balance_control__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    Weir__CmdBalance message;
    weir__cmd_balance__init(&message);
    message.control = in;
    Weir__Command command;
    weir__command__init(&command);
    command.request = in->request;
    command.kind_case = WEIR__COMMAND__KIND_BALANCE;
    command.balance = &message;
    command_for_call(c, call, &command, 1, answer_control);
    weir__balance_control__free_unpacked(in, NULL);
}
