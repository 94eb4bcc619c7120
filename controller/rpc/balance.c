/* Automatic balancing (controller/balance): brokers' reports go in, plans are carried out:
 * hand-overs of leaderships, asked again while they take, and moves of replicas. Of the active
 * controller, in its memory; only what has come of it is in the rows. */
#include "controller/balance/balance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/trace.h"
#include "controller/row/row.h"
#include "controller/rpc/balancer.h"
#include "controller/rpc/internal.h"

enum { TICK_MS = 250, ASK_MS = 300, GIVE_UP_MS = 10 * 1000 };

bool balance_open(struct controller *c)
{
    c->balancer = calloc(1, sizeof(*c->balancer));
    if (c->balancer != NULL) {
        c->balancer->core = balance_new();
    }
    return c->balancer != NULL && c->balancer->core != NULL;
}

void balance_close(struct controller *c)
{
    if (c->balancer != NULL) {
        balance_free(c->balancer->core);
        free(c->balancer->plan.brokers);
        free(c->balancer);
        c->balancer = NULL;
    }
}

/* ---- settings ---- */

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value == 0 ? fallback : value;
}

void balancer_settings(struct controller *c, struct balance_settings *out)
{
    Weir__BalanceSettings *in = db_balance_get(c->db);
    struct balance_settings d = balance_defaults();
    *out = d;
    if (in == NULL) {
        return; /* out of memory: the database says so with the next entry */
    }
    out->leaders = !in->leaders_off;
    out->replicas = !in->replicas_off;
    out->interval_ms = or_default(in->interval_ms, d.interval_ms);
    out->rest_ms = or_default(in->rest_ms, d.rest_ms);
    out->leader_threshold = or_default(in->leader_threshold, d.leader_threshold);
    out->leader_lasts_ms = or_default(in->leader_lasts_ms, d.leader_lasts_ms);
    out->leader_moves = or_default(in->leader_moves, d.leader_moves);
    out->replica_threshold = or_default(in->replica_threshold, d.replica_threshold);
    out->replica_lasts_ms = or_default(in->replica_lasts_ms, d.replica_lasts_ms);
    out->replica_moves = or_default(in->replica_moves, d.replica_moves);
    weir__balance_settings__free_unpacked(in, NULL);
}

/* ---- reports ---- */

static struct balance_traffic traffic_of(const Weir__Traffic *in)
{
    return in == NULL
               ? (struct balance_traffic){0}
               : (struct balance_traffic){.in = in->in, .out = in->out, .requests = in->requests};
}

static void take_report(struct controller *c, uint32_t broker, const Weir__BrokerLoad *in)
{
    struct balance_report_shard shards[BALANCE_REPORT_SHARDS_MAX];
    struct balance_report report = {.broker = broker,
                                    .traffic = traffic_of(in->traffic),
                                    .led_bytes = in->led_bytes,
                                    .leaders = in->leaders,
                                    .shards = shards};
    for (size_t i = 0; i < in->n_shards; i++) {
        const struct db_shard *row = watch_shard(c->watch, in->shards[i]->shard);
        if (row == NULL || row->leader.broker != broker) {
            continue; /* a former leader */
        }
        shards[report.shard_count++] =
            (struct balance_report_shard){.shard = in->shards[i]->shard,
                                          .log_bytes = in->shards[i]->log_bytes,
                                          .traffic = traffic_of(in->shards[i]->traffic),
                                          .missing = in->shards[i]->missing};
    }
    status_ignore(balance_report(c->balancer->core, controller_now(c), &report),
                  "the next report follows soon");
}

void handle_broker_load(struct controller *c, struct client *client, struct session_call *call)
{
    Weir__BrokerLoad *in = weir__broker_load__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL || in->n_shards > BALANCE_REPORT_SHARDS_MAX) {
        reply_malformed(call);
    } else if (!c->active) {
        reply_not_active(c, call);
    } else {
        if (client->broker != 0 && in->boot == client->boot) {
            take_report(c, client->broker, in);
        }
        reply_empty(call);
    }
    weir__broker_load__free_unpacked(in, NULL);
}

/* ---- leaderships under way ---- */

static bool is_open(const struct controller *c, uint64_t shard)
{
    struct election_view view;
    return election_view(c->election, shard, &view) == STATUS_OK && view.phase == ELECTION_ACTIVE &&
           view.opened;
}

/* Where leaderships were moved to, there they belong. */
static void prefer(struct controller *c, uint64_t shard, uint32_t broker)
{
    Weir__CmdPrefer message;
    Weir__CmdPrefer__Item item, *items[1] = {&item};
    weir__cmd_prefer__init(&message);
    weir__cmd_prefer__item__init(&item);
    item.shard = shard;
    item.broker = broker;
    message.items = items;
    message.n_items = 1;
    Weir__Command command;
    weir__command__init(&command);
    command.kind_case = WEIR__COMMAND__KIND_PREFER;
    command.prefer = &message;
    command_of_ours(c, &command, 1);
}

/* Whether it is over. */
static bool step(struct controller *c, struct balancer_move *m)
{
    const struct db_shard *row = watch_shard(c->watch, m->shard);
    uint64_t now_ms = controller_now(c);
    if (row == NULL || row->phase == DB_SHARD_DELETED) {
        return true;
    }
    bool led = row->phase == DB_SHARD_ACTIVE && is_open(c, row->id);
    if (led && row->leader.broker == m->to) {
        trace(TRACE_INFO, "balance",
              "shard %u/%u: broker-%u leads instead of broker-%u, after %llu ms",
              (unsigned)(row->id >> 32), (unsigned)row->id, m->to, m->from,
              (unsigned long long)(now_ms - m->asked_ms));
        c->balancer->leaders_moved++;
        if (row->preferred != m->to) {
            prefer(c, row->id, m->to);
        }
        return true;
    }
    if (led && row->leader.broker != m->from) {
        return true; /* an election came between */
    }
    if (now_ms - m->began_ms >= GIVE_UP_MS) {
        trace(TRACE_INFO, "balance",
              "shard %u/%u: broker-%u did not hand over to broker-%u, which may lag: it goes on",
              (unsigned)(row->id >> 32), (unsigned)row->id, m->from, m->to);
        return true;
    }
    if (led && now_ms >= m->asked_ms + ASK_MS && moves_send_handover(c, row, m->to)) {
        m->asked_ms = now_ms;
    }
    return false;
}

static void step_all(struct controller *c, uint64_t only)
{
    struct balancer *b = c->balancer;
    size_t kept = 0;
    for (size_t i = 0; i < b->move_count; i++) {
        if ((only != 0 && b->moves[i].shard != only) || !step(c, &b->moves[i])) {
            b->moves[kept++] = b->moves[i];
        }
    }
    b->move_count = kept;
}

void balance_opened(struct controller *c, uint64_t shard)
{
    step_all(c, shard);
}

/* ---- a look ---- */

static void fill_brokers(const struct controller *c, struct balance_broker *out,
                         struct balance_input *in)
{
    size_t count = 0;
    const struct db_broker *rows = watch_brokers(c->watch, &count);
    for (size_t i = 0; i < count && in->broker_count < BALANCE_BROKERS_MAX; i++) {
        const struct client *client = brokers_client(c, rows[i].id);
        enum fitness_why unfit = fitness_of(&c->fitness, rows[i].id);
        if (rows[i].mode == DB_BROKER_REMOVED) {
            continue;
        }
        out[in->broker_count++] = (struct balance_broker){
            .id = rows[i].id,
            .disk_gen = rows[i].disk_gen,
            .boot = rows[i].boot,
            .zone = rows[i].zone,
            .here = rows[i].alive && client != NULL,
            .leaves = rows[i].mode != DB_BROKER_NORMAL,
            .unfit = unfit == FITNESS_WELL ? NULL : fitness_text(unfit),
            .disk_good = client != NULL && strcmp(client->disk_state, "ok") == 0,
            .disk_bytes = client == NULL ? 0 : client->disk_bytes,
            .free_bytes = client == NULL ? 0 : client->disk_free_bytes,
        };
    }
    in->brokers = out;
}

/* Where its replicas will be. */
static struct election_config config_after(const struct db_shard *row)
{
    struct election_config cfg = election_config_of(&row->cfg);
    for (uint32_t v = 0; row->move.state != 0 && v < cfg.voter_count; v++) {
        if (cfg.voter[v].broker == row->move.from.broker) {
            cfg.voter[v] = (struct election_replica){.broker = row->move.to.broker,
                                                     .disk_gen = row->move.to.disk_gen};
        }
    }
    return cfg;
}

static void count_learner(struct balance_broker *brokers, size_t count, uint32_t id)
{
    for (size_t i = 0; i < count; i++) {
        brokers[i].learners += brokers[i].id == id ? 1 : 0;
    }
}

static void fill_shards(const struct controller *c, struct balance_broker *brokers,
                        struct balance_shard *out, struct balance_input *in)
{
    size_t count = 0;
    const struct db_shard *rows = watch_shards(c->watch, &count);
    for (size_t i = 0; i < count; i++) {
        const struct db_shard *row = &rows[i];
        if (row->phase == DB_SHARD_DELETED) {
            continue;
        }
        bool moves = row->move.state != 0;
        if (moves) {
            in->replicas_moving++;
            count_learner(brokers, in->broker_count, row->move.to.broker);
        }
        out[in->shard_count++] = (struct balance_shard){
            .shard = row->id,
            .free = row->phase == DB_SHARD_ACTIVE && row->prev_cfg.voter_count == 0 && !moves &&
                    is_open(c, row->id),
            .preferred = row->preferred,
            .leader = {.broker = row->leader.broker, .disk_gen = row->leader.disk_gen},
            .cfg = config_after(row),
        };
    }
    in->shards = out;
}

static const char *why_replicas_wait(const struct controller *c)
{
    size_t count = 0;
    const struct db_broker *rows = watch_brokers(c->watch, &count);
    for (size_t i = 0; i < count; i++) {
        if (!rows[i].alive && rows[i].replicas > 0 && rows[i].mode != DB_BROKER_REMOVED) {
            return "a broker that has replicas is not there";
        }
    }
    if (c->moves_missing > 0) {
        return "replicas that are missing, or leave their brokers, come first";
    }
    return db_rebalancing(c->db) ? "weirctl rebalance is under way" : NULL;
}

/* Where leaderships were moved to is a command that every controller has to know. */
static const char *why_leaders_wait(struct controller *c, char text[GATE_TEXT_BYTES])
{
    uint32_t version =
        command_field_version(&weir__command__descriptor, WEIR__COMMAND__KIND_PREFER);
    return members_hold_back(c, version, text) ? text : NULL;
}

static void begin_leaders(struct controller *c, const struct balance_half *half)
{
    struct balancer *b = c->balancer;
    for (size_t i = 0; i < half->count && b->move_count < BALANCE_MOVES_MAX; i++) {
        const struct balance_move *m = &half->moves[i];
        trace(
            TRACE_INFO, "balance",
            "shard %u/%u: its leadership goes from broker-%u, which has %u %% of the mean load, to "
            "broker-%u, which has %u %%",
            (unsigned)(m->shard >> 32), (unsigned)m->shard, m->from.broker, m->from_percent, m->to,
            m->to_percent);
        b->moves[b->move_count++] = (struct balancer_move){
            .shard = m->shard, .from = m->from.broker, .to = m->to, .began_ms = controller_now(c)};
    }
    step_all(c, 0);
}

static void begin_replicas(struct controller *c, const struct balance_half *half)
{
    struct plan_move moves[BALANCE_MOVES_MAX];
    struct plan_output plan = {.moves = moves};
    for (size_t i = 0; i < half->count; i++) {
        const struct balance_move *m = &half->moves[i];
        trace(TRACE_INFO, "balance",
              "shard %u/%u: its replica goes from broker-%u, which holds %u %% of the mean, to "
              "broker-%u, which holds %u %%",
              (unsigned)(m->shard >> 32), (unsigned)m->shard, m->from.broker, m->from_percent,
              m->to, m->to_percent);
        moves[plan.count++] = (struct plan_move){
            .shard = m->shard, .from = m->from, .to = m->to, .reason = "to balance brokers"};
    }
    c->balancer->replicas_moved += plan.count;
    moves_propose(c, &plan);
}

static void look(struct controller *c)
{
    struct balancer *b = c->balancer;
    size_t brokers = 0, shards = 0;
    (void)watch_brokers(c->watch, &brokers);
    (void)watch_shards(c->watch, &shards);
    AUTO(free_pointer) struct balance_broker *broker = calloc(brokers + 1, sizeof(*broker));
    AUTO(free_pointer) struct balance_shard *shard = calloc(shards + 1, sizeof(*shard));
    struct balance_state *states = calloc(brokers + 1, sizeof(*states));
    if (broker == NULL || shard == NULL || states == NULL) {
        free(states);
        return;
    }
    free(b->plan.brokers);
    b->plan.brokers = states;
    char held[GATE_TEXT_BYTES];
    struct balance_input in = {.leaders_wait = why_leaders_wait(c, held),
                               .replicas_wait = why_replicas_wait(c)};
    fill_brokers(c, broker, &in);
    fill_shards(c, broker, shard, &in);
    if (balance_look(b->core, controller_now(c), &in, &b->plan) != STATUS_OK) {
        b->broker_count = 0;
        return;
    }
    b->broker_count = in.broker_count;
    b->looked_ms = controller_now(c);
    if (b->plan.leaders.now) {
        begin_leaders(c, &b->plan.leaders);
    }
    if (b->plan.replicas.now && b->plan.replicas.count > 0) {
        begin_replicas(c, &b->plan.replicas);
    }
}

void balancer_look(struct controller *c)
{
    struct balance_settings settings;
    balancer_settings(c, &settings);
    balance_configure(c->balancer->core, &settings);
    c->balancer->look_ms = controller_now(c) + settings.interval_ms;
    look(c);
}

static void fired(struct net_timer *timer)
{
    struct balancer *b = CONTAINER_OF(timer, struct balancer, timer);
    struct controller *c = b->controller;
    step_all(c, 0);
    if (controller_now(c) >= b->look_ms) {
        balancer_look(c);
    }
    status_ignore(net_timer_start(c->options.loop, timer, controller_now(c) + TICK_MS, fired),
                  "the timer has had its place in the heap");
}

void balance_activate(struct controller *c)
{
    struct balancer *b = c->balancer;
    b->controller = c;
    b->move_count = b->broker_count = 0;
    b->leaders_moved = b->replicas_moved = 0;
    balance_clear(b->core);
    b->look_ms = controller_now(c) + MOVES_PATIENCE_MS;
    status_ignore(net_timer_start(c->options.loop, &b->timer, controller_now(c) + TICK_MS, fired),
                  "without it nothing is balanced until somebody else is active");
}

void balance_deactivate(struct controller *c)
{
    if (c->balancer != NULL) {
        net_timer_stop(c->options.loop, &c->balancer->timer);
        c->balancer->move_count = 0;
    }
}

void balance_touched(struct controller *c, uint64_t shard)
{
    balance_moved(c->balancer->core, controller_now(c), shard);
}

void balance_metrics(const struct controller *c, struct metrics *m)
{
    const struct balancer *b = c->balancer;
    bool known = c->active && b->broker_count > 0;
    metrics_one(m, "weir_balance_leader_moves_total", METRIC_COUNTER,
                "Leaderships that it moved to balance brokers, since it is active.",
                (double)b->leaders_moved);
    metrics_one(m, "weir_balance_replica_moves_total", METRIC_COUNTER,
                "Moves of replicas that it began to balance brokers, since it is active.",
                (double)b->replicas_moved);
    metrics_one(m, "weir_balance_leader_gap_ratio", METRIC_GAUGE,
                "The greatest difference of two brokers' load by leaderships, of the mean.",
                known ? b->plan.leaders.percent / 100.0 : 0);
    metrics_one(m, "weir_balance_replica_gap_ratio", METRIC_GAUGE,
                "The greatest difference of two brokers' load by replicas, of the mean.",
                known ? b->plan.replicas.percent / 100.0 : 0);
}
