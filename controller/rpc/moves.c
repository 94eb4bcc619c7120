/* Replicas that move: the active controller looks at the rows a few times a second, plans what is
 * missing (controller/moves), feeds what is under way, and has learners join. All that must survive
 * is in the rows, so that whoever is active next goes on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/trace.h"
#include "controller/moves/plan.h"
#include "controller/row/row.h"
#include "controller/rpc/internal.h"
#include "proto/schema/moves.pb-c.h"

/* ---- what is told to brokers
 * ------------------------------------------------------------------------ */

struct learn_message {
    Weir__Learn message;
    Weir__LearnShard shard, *shards[1];
    Weir__ReplicaId id, *ids[1];
};

static void send_learn(const struct controller *c, uint32_t broker, const struct db_shard *row,
                       const struct db_replica *to, bool make)
{
    const struct client *client = brokers_client(c, broker);
    if (client == NULL) {
        return;
    }
    struct learn_message m;
    weir__learn__init(&m.message);
    weir__learn_shard__init(&m.shard);
    weir__replica_id__init(&m.id);
    m.shard.shard = row->id;
    m.shard.epoch = row->epoch;
    m.ids[0] = &m.id;
    m.shards[0] = &m.shard;
    m.message.shards = m.shards;
    m.message.n_shards = 1;
    if (to != NULL) {
        m.id.broker = to->broker;
        m.id.disk_gen = to->disk_gen;
        m.shard.make = make ? &m.id : NULL;
        m.shard.learners = m.ids;
        m.shard.n_learners = make ? 0 : 1;
    }
    status_ignore(
        session_send(client->session, RPC_LEARN, (struct session_payload){.body = &m.message.base}),
        "it is said again");
}

bool moves_send_handover(const struct controller *c, const struct db_shard *row, uint32_t heir)
{
    const struct client *client = brokers_client(c, row->leader.broker);
    for (uint32_t v = 0; client != NULL && v < row->cfg.voter_count; v++) {
        if (row->cfg.voter[v].broker != heir) {
            continue;
        }
        Weir__Handover message;
        Weir__HandoverShard shard, *shards[1] = {&shard};
        Weir__ReplicaId id;
        weir__handover__init(&message);
        weir__handover_shard__init(&shard);
        weir__replica_id__init(&id);
        id.broker = heir;
        id.disk_gen = row->cfg.voter[v].disk_gen;
        shard.shard = row->id;
        shard.epoch = row->epoch;
        shard.heir = &id;
        message.shards = shards;
        message.n_shards = 1;
        return session_send(client->session, RPC_HANDOVER,
                            (struct session_payload){.body = &message.base}) == STATUS_OK;
    }
    return false;
}

/* ---- commands
 * -------------------------------------------------------------------------------------- */

void moves_propose(struct controller *c, const struct plan_output *plan)
{
    AUTO(free_pointer) Weir__CmdMoveBegin__Item *items = calloc(plan->count, sizeof(*items));
    AUTO(free_pointer) Weir__ReplicaId *from = calloc(plan->count, sizeof(*from));
    AUTO(free_pointer)
    Weir__CmdMoveBegin__Item **pointers = calloc(plan->count, sizeof(Weir__CmdMoveBegin__Item *));
    if (items == NULL || from == NULL || pointers == NULL) {
        return;
    }
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_move *move = &plan->moves[i];
        weir__cmd_move_begin__item__init(&items[i]);
        weir__replica_id__init(&from[i]);
        from[i].broker = move->from.broker;
        from[i].disk_gen = move->from.disk_gen;
        items[i].shard = move->shard;
        items[i].from = &from[i];
        items[i].to = move->to;
        pointers[i] = &items[i];
        if (move->from.broker == 0) {
            trace(TRACE_INFO, "moves", "shard %u/%u: one more replica on broker-%u: %s",
                  (unsigned)(move->shard >> 32), (unsigned)move->shard, move->to, move->reason);
            continue;
        }
        trace(TRACE_INFO, "moves", "shard %u/%u: its replica on broker-%u goes to broker-%u: %s",
              (unsigned)(move->shard >> 32), (unsigned)move->shard, move->from.broker, move->to,
              move->reason);
    }
    Weir__CmdMoveBegin begin;
    weir__cmd_move_begin__init(&begin);
    begin.n_items = plan->count;
    begin.items = pointers;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_MOVE_BEGIN;
    command.move_begin = &begin;
    command_of_ours(c, &command, (uint32_t)plan->count);
}

static void propose_end(struct controller *c, const struct db_shard *row, const char *why)
{
    trace(TRACE_WARNING, "moves",
          "shard %u/%u: the replica that copies to broker-%u is given up: %s",
          (unsigned)(row->id >> 32), (unsigned)row->id, row->move.to.broker, why);
    uint64_t shard = row->id;
    Weir__CmdMoveEnd end;
    weir__cmd_move_end__init(&end);
    end.n_shards = 1;
    end.shards = &shard;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_MOVE_END;
    command.move_end = &end;
    command_of_ours(c, &command, 1);
    send_learn(c, row->leader.broker, row, NULL, false);
}

static void propose_join(struct controller *c, const struct db_shard *row)
{
    Weir__CmdMoveJoin join;
    Weir__CmdMoveJoin__Item item, *items[1] = {&item};
    Weir__ReplicaId to;
    weir__cmd_move_join__init(&join);
    weir__cmd_move_join__item__init(&item);
    weir__replica_id__init(&to);
    to.broker = row->move.to.broker;
    to.disk_gen = row->move.to.disk_gen;
    item.shard = row->id;
    item.epoch = row->epoch;
    item.to = &to;
    join.n_items = 1;
    join.items = items;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_MOVE_JOIN;
    command.move_join = &join;
    command_of_ours(c, &command, 1);
}

/* ---- one look at everything
 * ------------------------------------------------------------------------- */

/* Whoever does not leave and is there: the next leader of a shard whose leader's replica moves. */
static uint32_t other_leader(const struct controller *c, const struct db_shard *row)
{
    uint32_t best = 0;
    for (uint32_t v = 0; v < row->cfg.voter_count; v++) {
        uint32_t id = row->cfg.voter[v].broker;
        const struct db_broker *broker = watch_broker(c->watch, id);
        if (id != row->move.from.broker && broker != NULL && brokers_client(c, id) != NULL &&
            broker->disk_gen == row->cfg.voter[v].disk_gen &&
            (best == 0 || id == row->preferred || !brokers_may_lead(c, best) ||
             (best != row->preferred && broker->mode == DB_BROKER_NORMAL))) {
            best = id;
        }
    }
    return best;
}

static void feed_one(struct controller *c, const struct db_shard *row)
{
    struct move move = move_of(row);
    struct election_row seen = election_row_of(row);
    if (move.state != MOVE_COPYING || move_next(&move, &seen) == MOVE_WAIT) {
        return; /* the election goes on by itself */
    }
    const struct db_broker *to = watch_broker(c->watch, move.to.broker);
    if (to == NULL || to->disk_gen != move.to.disk_gen || !to->alive) {
        propose_end(c, row, "that broker is dead, or its disk is gone");
    } else if (to->mode != DB_BROKER_NORMAL) {
        propose_end(c, row, "that broker is not to have replicas");
    } else if (move_next(&move, &seen) != MOVE_COPY) {
        propose_end(c, row, "there is nothing left to replace");
    } else {
        send_learn(c, move.to.broker, row, &row->move.to, true);
        send_learn(c, row->leader.broker, row, &row->move.to, false);
    }
}

static bool is_full(const struct controller *c, uint32_t broker)
{
    const struct client *client = brokers_client(c, broker);
    return client == NULL || strcmp(client->disk_state, "ok") != 0;
}

static void fill_brokers(const struct controller *c, struct plan_input *in)
{
    size_t count = 0;
    const struct db_broker *rows = watch_brokers(c->watch, &count);
    uint64_t wall_ms = net_wall_ms();
    for (size_t i = 0; i < count; i++) {
        const struct db_broker *row = &rows[i];
        bool here = row->alive && brokers_client(c, row->id) != NULL;
        in->brokers[i] = (struct plan_broker){
            .id = row->id,
            .disk_gen = row->disk_gen,
            .zone = row->zone,
            .alive = row->alive,
            .takes = here && row->mode == DB_BROKER_NORMAL && !is_full(c, row->id),
            .leaves = row->mode != DB_BROKER_NORMAL,
            .dead_ms = row->alive || row->down_ms == 0 || wall_ms < row->down_ms
                           ? 0
                           : wall_ms - row->down_ms + 1,
        };
    }
    in->broker_count = count;
}

static struct plan_broker *find(const struct plan_input *in, uint32_t id)
{
    for (size_t i = 0; i < in->broker_count; i++) {
        if (in->brokers[i].id == id) {
            return &in->brokers[i];
        }
    }
    return NULL;
}

static void count_replica(const struct plan_input *in, uint32_t broker, bool learner)
{
    struct plan_broker *b = find(in, broker);
    if (b != NULL) {
        b->replicas++;
        b->learners += learner ? 1 : 0;
    }
}

static void fill_shards(const struct controller *c, struct plan_input *in,
                        struct plan_shard *shards)
{
    size_t count = 0, used = 0;
    const struct db_shard *rows = watch_shards(c->watch, &count);
    for (size_t i = 0; i < count; i++) {
        const struct db_shard *row = &rows[i];
        if (row->phase == DB_SHARD_DELETED) {
            continue;
        }
        bool moves = row->move.state != 0;
        for (uint32_t v = 0; v < row->cfg.voter_count; v++) {
            count_replica(in, row->cfg.voter[v].broker, false);
        }
        if (moves) { /* it is as good as there */
            count_replica(in, row->move.to.broker, true);
            struct plan_broker *from = find(in, row->move.from.broker);
            if (from != NULL && from->replicas > 0) {
                from->replicas--;
            }
            in->under_way++;
        }
        shards[used++] = (struct plan_shard){
            .shard = row->id,
            .free = row->phase == DB_SHARD_ACTIVE && row->prev_cfg.voter_count == 0 && !moves,
            .cfg = election_config_of(&row->cfg),
        };
    }
    in->shards = shards;
    in->shard_count = used;
}

static void make_plan(struct controller *c)
{
    size_t brokers = 0, shards = 0;
    (void)watch_brokers(c->watch, &brokers);
    (void)watch_shards(c->watch, &shards);
    uint32_t at_once = c->options.moves_at_once;
    AUTO(free_pointer) struct plan_broker *broker = calloc(brokers + 1, sizeof(*broker));
    AUTO(free_pointer) struct plan_shard *shard = calloc(shards + 1, sizeof(*shard));
    AUTO(free_pointer) struct plan_move *moves = calloc(at_once, sizeof(*moves));
    if (broker == NULL || shard == NULL || moves == NULL) {
        return;
    }
    struct plan_input in = {.brokers = broker,
                            .replace_after_ms = c->options.replace_after_ms,
                            .rebalance = db_rebalancing(c->db),
                            .at_once = at_once};
    struct plan_output out = {.moves = moves};
    fill_brokers(c, &in);
    fill_shards(c, &in, shard);
    plan_moves(&in, &out);
    c->moves_missing = out.missing;
    (void)snprintf(c->moves_wait_for, sizeof(c->moves_wait_for), "%s", out.waits_for);
    if (out.count > 0) {
        moves_propose(c, &out);
    } else if (in.rebalance && out.even) {
        Weir__CmdRebalanced rebalanced = WEIR__CMD_REBALANCED__INIT;
        Weir__Command command = WEIR__COMMAND__INIT;
        command.kind_case = WEIR__COMMAND__KIND_REBALANCED;
        command.rebalanced = &rebalanced;
        command_of_ours(c, &command, 1);
        trace(TRACE_INFO, "moves", "brokers carry even numbers of replicas");
    }
}

static void moves_fired(struct net_timer *timer)
{
    struct controller *c = CONTAINER_OF(timer, struct controller, moves_timer);
    size_t count = 0;
    const struct db_shard *rows = watch_shards(c->watch, &count);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].move.state != 0) {
            feed_one(c, &rows[i]);
        }
    }
    /* A controller that has just become active lets the brokers come first. */
    if (controller_now(c) >= c->moves_from_ms) {
        make_plan(c);
    }
    status_ignore(
        net_timer_start(c->options.loop, timer, controller_now(c) + MOVES_EVERY_MS, moves_fired),
        "the timer has had its place in the heap");
}

void moves_activate(struct controller *c)
{
    c->moves_from_ms = controller_now(c) + MOVES_PATIENCE_MS;
    moves_fired(&c->moves_timer);
}

void moves_deactivate(struct controller *c)
{
    net_timer_stop(c->options.loop, &c->moves_timer);
}

/* ---- what brokers tell
 * ------------------------------------------------------------------------------ */

static void learned(struct controller *c, const Weir__LearnedShard *in)
{
    const struct db_shard *row = watch_shard(c->watch, in->shard);
    if (row == NULL || in->learner == NULL || row->move.state != MOVE_COPYING ||
        row->epoch != in->epoch || row->move.to.broker != in->learner->broker ||
        row->move.to.disk_gen != in->learner->disk_gen) {
        return;
    }
    struct move move = move_of(row);
    struct election_row seen = election_row_of(row);
    if (move_may_join(&move, &seen)) {
        propose_join(c, row);
    } else if (move_next(&move, &seen) == MOVE_COPY) { /* its leader leaves: another one first */
        uint32_t heir = other_leader(c, row);
        if (heir != 0) {
            (void)moves_send_handover(c, row, heir);
        }
    }
}

enum status handle_learned(struct controller *c, struct client *client, struct bytes body)
{
    Weir__Learned *in = weir__learned__unpack(NULL, body.size, body.data);
    if (in == NULL) {
        return STATUS_INVALID;
    }
    bool counts = c->active && client->broker != 0 && in->boot == client->boot;
    for (size_t i = 0; counts && i < in->n_shards; i++) {
        learned(c, in->shards[i]);
    }
    weir__learned__free_unpacked(in, NULL);
    return STATUS_OK;
}
