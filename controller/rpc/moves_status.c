/* MOVES_STATUS and BROKER_CONTROL: what moves, and what administrators want to be moved. */
#include <stdio.h>
#include <stdlib.h>

#include "base/trace.h"
#include "controller/row/row.h"
#include "controller/rpc/internal.h"
#include "proto/schema/moves.pb-c.h"

struct plan_message {
    Weir__BrokerPlan plan;
};

struct move_message {
    Weir__BrokerMove move;
    Weir__ReplicaId from, to;
};

struct moves_message {
    Weir__MovesStatus status;
    struct plan_message *plan;
    Weir__BrokerPlan **plans;
    struct move_message *move;
    Weir__BrokerMove **moves;
};

static void message_release(struct moves_message *m)
{
    free(m->plan);
    free(m->plans);
    free(m->move);
    free(m->moves);
}

static Weir__BrokerPlan *plan_of(struct moves_message *m, uint32_t broker)
{
    for (size_t i = 0; i < m->status.n_brokers; i++) {
        if (m->plans[i]->broker == broker) {
            return m->plans[i];
        }
    }
    return NULL;
}

static void add_shard(const struct controller *c, struct moves_message *m,
                      const struct db_shard *row)
{
    bool lacks = row->cfg.voter_count < REPLICAS_PER_SHARD;
    for (uint32_t v = 0; v < row->cfg.voter_count; v++) {
        Weir__BrokerPlan *plan = plan_of(m, row->cfg.voter[v].broker);
        const struct db_broker *broker = watch_broker(c->watch, row->cfg.voter[v].broker);
        if (plan != NULL) {
            plan->replicas++;
        }
        lacks = lacks || broker == NULL || !broker->alive ||
                broker->disk_gen != row->cfg.voter[v].disk_gen;
    }
    m->status.under_replicated += lacks ? 1 : 0;
    Weir__BrokerPlan *leader = plan_of(m, row->leader.broker);
    if (leader != NULL) {
        leader->leaders++;
    }
    if (row->move.state == 0) {
        return;
    }
    struct move_message *out = &m->move[m->status.n_moves];
    weir__broker_move__init(&out->move);
    weir__replica_id__init(&out->from);
    weir__replica_id__init(&out->to);
    out->from.broker = row->move.from.broker;
    out->from.disk_gen = row->move.from.disk_gen;
    out->to.broker = row->move.to.broker;
    out->to.disk_gen = row->move.to.disk_gen;
    out->move.shard = row->id;
    out->move.from = &out->from;
    out->move.to = &out->to;
    out->move.joining = row->move.state == MOVE_JOINING;
    out->move.started_ms = row->move.started_ms;
    m->moves[m->status.n_moves++] = &out->move;
}

static enum status fill(const struct controller *c, struct moves_message *m)
{
    size_t brokers = 0, shards = 0;
    const struct db_broker *broker = watch_brokers(c->watch, &brokers);
    const struct db_shard *rows = watch_shards(c->watch, &shards);
    size_t moving = 0;
    for (size_t i = 0; i < shards; i++) {
        moving += rows[i].move.state != 0 ? 1 : 0;
    }
    m->plan = calloc(brokers + 1, sizeof(*m->plan));
    m->plans = calloc(brokers + 1, sizeof(*m->plans));
    m->move = calloc(moving + 1, sizeof(*m->move));
    m->moves = calloc(moving + 1, sizeof(*m->moves));
    if (m->plan == NULL || m->plans == NULL || m->move == NULL || m->moves == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; i < brokers; i++) {
        Weir__BrokerPlan *plan = m->plans[i] = &m->plan[i].plan;
        weir__broker_plan__init(plan);
        plan->broker = broker[i].id;
        plan->mode = (Weir__BrokerMode)broker[i].mode;
        plan->down_since_ms = broker[i].alive ? 0 : broker[i].down_ms;
        plan->drops = db_drops_count(c->db, broker[i].id, 0);
    }
    m->status.n_brokers = brokers;
    m->status.brokers = m->plans;
    m->status.moves = m->moves;
    for (size_t i = 0; i < shards; i++) {
        if (rows[i].phase != DB_SHARD_DELETED) {
            add_shard(c, m, &rows[i]);
        }
    }
    return STATUS_OK;
}

static void reply_status(struct controller *c, struct session_call *call)
{
    struct moves_message message = {0};
    weir__moves_status__init(&message.status);
    char waits_for[sizeof(c->moves_wait_for)];
    enum status status = fill(c, &message);
    if (status == STATUS_OK) {
        (void)snprintf(waits_for, sizeof(waits_for), "%s", c->moves_wait_for);
        message.status.waits_for = waits_for;
        message.status.rebalancing = db_rebalancing(c->db);
        reply_message(call, &message.status.base);
    } else {
        session_reply_error(call, status, NULL, "the controller is out of memory");
    }
    message_release(&message);
}

void handle_moves_status(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    if (!c->active) {
        reply_not_active(c, call);
        return;
    }
    reply_status(c, call);
}

/* A broker that was removed has no business here: it learns why when it registers again. */
static void close_removed(struct controller *c)
{
    size_t count = 0;
    const struct db_broker *brokers = watch_brokers(c->watch, &count);
    for (size_t i = 0; i < count; i++) {
        struct client *client = brokers_client(c, brokers[i].id);
        if (client != NULL && brokers[i].mode == DB_BROKER_REMOVED &&
            client->disk_gen == brokers[i].disk_gen) {
            trace(TRACE_INFO, "brokers", "broker-%u is removed", brokers[i].id);
            liveness_lost(&c->liveness, controller_now(c), brokers[i].id, client);
            client->broker = 0;
            session_close(client->session, STATUS_EXPIRED, "the broker was removed");
        }
    }
}

static void answer_control(struct controller *c, struct session_call *call, struct bytes body)
{
    (void)body;
    if (c->active) {
        close_removed(c);
    }
    reply_status(c, call);
}

void handle_broker_control(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__BrokerControl *in = weir__broker_control__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    if (in->action == WEIR__BROKER_CONTROL__ACTION__CONSENT_FAILOVER) {
        weir__broker_control__free_unpacked(in, NULL);
        if (!c->active) {
            reply_not_active(c, call);
            return;
        }
        brokers_consent(c); /* of this controller's own judgement: no command */
        reply_status(c, call);
        return;
    }
    Weir__CmdBrokerControl control;
    weir__cmd_broker_control__init(&control);
    control.control = in;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.request = in->request;
    command.kind_case = WEIR__COMMAND__KIND_BROKER_CONTROL;
    command.broker_control = &control;
    command_for_call(c, call, &command, 1, answer_control);
    weir__broker_control__free_unpacked(in, NULL);
}
