/* The shell around the election core: rows and messages in, commands and messages out. */
#include <assert.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/trace.h"
#include "controller/rpc/internal.h"

static_assert((int)ELECTION_ELECTING == DB_SHARD_ELECTING &&
                  (int)ELECTION_ACTIVE == DB_SHARD_ACTIVE &&
                  (int)ELECTION_SEALED == DB_SHARD_SEALED &&
                  (int)ELECTION_NO_QUORUM == DB_SHARD_NO_QUORUM &&
                  (int)ELECTION_DELETED == DB_SHARD_DELETED && (int)ELECTION_IDLE == DB_SHARD_IDLE,
              "a row's phase is the core's");
static_assert((int)DB_VOTERS_MAX == ELECTION_VOTERS_MAX, "configurations are copied");

/* ---- in
 * -------------------------------------------------------------------------------------------- */

static struct election_config core_config(const struct db_config *config)
{
    struct election_config out = {.version = config->version, .voter_count = config->voter_count};
    for (uint32_t v = 0; v < config->voter_count; v++) {
        out.voter[v] = (struct election_replica){.broker = config->voter[v].broker,
                                                 .disk_gen = config->voter[v].disk_gen};
    }
    return out;
}

void elections_feed(struct controller *c, const struct election_input *input)
{
    enum status status = election_step(c->election, controller_now(c), input, &c->effects);
    if (status == STATUS_NO_MEMORY) {
        trace(TRACE_ERROR, "elections", "out of memory");
    } else if (status != STATUS_OK) {
        trace(TRACE_DEBUG, "elections", "shard %u/%u: input %d is %s",
              (unsigned)(input->shard >> 32), (unsigned)input->shard, (int)input->type,
              status_name(status));
    }
    controller_wake(c);
}

void elections_row(struct controller *c, const struct db_shard *shard)
{
    struct election_row row = {
        .shard = shard->id,
        .phase = (enum election_phase)shard->phase,
        .epoch = shard->epoch,
        .cfg = core_config(&shard->cfg),
        .prev_cfg = core_config(&shard->prev_cfg),
        .leader = {.broker = shard->leader.broker, .disk_gen = shard->leader.disk_gen},
        .leader_boot = shard->leader_boot,
        .preferred = shard->preferred,
    };
    elections_feed(c,
                   &(struct election_input){.type = ELECTION_ROW, .shard = shard->id, .row = &row});
}

void elections_activate(struct controller *c)
{
    elections_feed(c, &(struct election_input){.type = ELECTION_ACTIVATED});
    size_t count = 0;
    const struct db_shard *shards = watch_shards(c->watch, &count);
    for (size_t i = 0; i < count; i++) {
        elections_row(c, &shards[i]);
    }
    replicas_look_again(c);
}

void elections_deactivate(struct controller *c)
{
    elections_feed(c, &(struct election_input){.type = ELECTION_DEACTIVATED});
    election_effects_clear(&c->effects);
    replicas_deactivate(c);
    net_timer_stop(c->options.loop, &c->election_timer);
}

void elections_broker_up(struct controller *c, const struct client *client)
{
    elections_feed(c, &(struct election_input){.type = ELECTION_BROKER_UP,
                                               .broker = client->broker,
                                               .disk_gen = client->disk_gen,
                                               .boot = client->boot});
}

void elections_broker_down(struct controller *c, uint32_t broker)
{
    c->counts.brokers_lost++;
    elections_feed(c, &(struct election_input){.type = ELECTION_BROKER_DOWN, .broker = broker});
}

enum status handle_fence_report(struct controller *c, struct client *client, struct bytes body)
{
    Weir__FenceReport *report = weir__fence_report__unpack(NULL, body.size, body.data);
    if (report == NULL) {
        return STATUS_INVALID;
    }
    bool counts = c->active && client->broker != 0 && report->boot == client->boot;
    for (size_t i = 0; counts && i < report->n_shards; i++) {
        const Weir__ReportShard *shard = report->shards[i];
        if (shard->replica == NULL) {
            continue;
        }
        if (shard->ok && shard->replica->broker == client->broker &&
            shard->replica->disk_gen == client->disk_gen) {
            replicas_reported(c, shard->shard,
                              (struct db_replica){.broker = shard->replica->broker,
                                                  .disk_gen = shard->replica->disk_gen});
        }
        elections_feed(c, &(struct election_input){
                              .type = ELECTION_REPORT,
                              .broker = client->broker,
                              .boot = report->boot,
                              .shard = shard->shard,
                              .epoch = shard->epoch,
                              .report = {.replica = {.broker = shard->replica->broker,
                                                     .disk_gen = shard->replica->disk_gen},
                                         .epoch = shard->epoch,
                                         .ok = shard->ok,
                                         .certain = shard->certain,
                                         .promised = shard->promised,
                                         .last_epoch = shard->last_epoch,
                                         .boot = report->boot,
                                         .end = shard->end,
                                         .holes = shard->holes,
                                         .holes_end = shard->holes_end}
        });
    }
    weir__fence_report__free_unpacked(report, NULL);
    return STATUS_OK;
}

enum status handle_leading(struct controller *c, struct client *client, struct bytes body)
{
    Weir__Leading *leading = weir__leading__unpack(NULL, body.size, body.data);
    if (leading == NULL) {
        return STATUS_INVALID;
    }
    bool counts = c->active && client->broker != 0 && leading->boot == client->boot;
    for (size_t i = 0; counts && i < leading->n_shards; i++) {
        elections_feed(c, &(struct election_input){.type = ELECTION_OPENED,
                                                   .broker = client->broker,
                                                   .boot = leading->boot,
                                                   .shard = leading->shards[i]->shard,
                                                   .epoch = leading->shards[i]->epoch});
        leaders_opened(c, leading->shards[i]->shard);
        c->counts.leaders++;
    }
    weir__leading__free_unpacked(leading, NULL);
    return STATUS_OK;
}

enum status handle_resign(struct controller *c, struct client *client, struct bytes body)
{
    Weir__Resign *resign = weir__resign__unpack(NULL, body.size, body.data);
    if (resign == NULL) {
        return STATUS_INVALID;
    }
    bool counts = c->active && client->broker != 0 && resign->boot == client->boot;
    for (size_t i = 0; counts && i < resign->n_shards; i++) {
        elections_feed(c, &(struct election_input){.type = ELECTION_RESIGNED,
                                                   .broker = client->broker,
                                                   .boot = resign->boot,
                                                   .shard = resign->shards[i]->shard,
                                                   .epoch = resign->shards[i]->epoch,
                                                   .promised = resign->shards[i]->promised,
                                                   .heir = resign->shards[i]->heir,
                                                   .stalled = resign->shards[i]->promised == 0 &&
                                                              resign->shards[i]->heir == 0});
    }
    weir__resign__free_unpacked(resign, NULL);
    return STATUS_OK;
}

/* ---- out: messages that protobuf-c can pack
 * -------------------------------------------------------- */

struct config_message {
    Weir__ReplicaConfig config;
    Weir__ReplicaId voter[ELECTION_VOTERS_MAX];
    Weir__ReplicaId *voters[ELECTION_VOTERS_MAX];
};

static Weir__ReplicaId replica_message(struct election_replica replica)
{
    Weir__ReplicaId out = WEIR__REPLICA_ID__INIT;
    out.broker = replica.broker;
    out.disk_gen = replica.disk_gen;
    return out;
}

static Weir__ReplicaConfig *config_message(struct config_message *out,
                                           const struct election_config *config)
{
    if (config->voter_count == 0) {
        return NULL;
    }
    weir__replica_config__init(&out->config);
    for (uint32_t v = 0; v < config->voter_count; v++) {
        out->voter[v] = replica_message(config->voter[v]);
        out->voters[v] = &out->voter[v];
    }
    out->config.version = config->version;
    out->config.n_voters = config->voter_count;
    out->config.voters = out->voters;
    return &out->config;
}

/* One shard's part of any of the messages below. */
struct item {
    union {
        Weir__CmdElecting__Shard electing;
        Weir__CmdActive__Shard active;
        Weir__CmdStable__Shard stable;
        Weir__FenceShard fence;
        Weir__GrantShard grant;
    } message;
    Weir__ReplicaId replica;
    struct config_message cfg, prev;
    Weir__ReplicaId reported[2 * ELECTION_VOTERS_MAX];
    Weir__ReplicaId *made[2 * ELECTION_VOTERS_MAX];
};

/* Effects of one type (and of one broker) become one message; these are its items. */
struct batch {
    struct item *item;
    void **pointer; /* what protobuf-c wants: an array of pointers */
    size_t count;
};

static void batch_release(struct batch *batch)
{
    free(batch->item);
    free(batch->pointer);
}

static void fill_active(const struct controller *c, struct item *item,
                        const struct election_effect *effect)
{
    Weir__CmdActive__Shard *out = &item->message.active;
    weir__cmd_active__shard__init(out);
    item->replica = replica_message(effect->leader);
    out->shard = effect->shard;
    out->epoch = effect->epoch;
    out->leader = &item->replica;
    out->boot = effect->boot;
    out->config = config_message(&item->cfg, &effect->cfg);
    out->prev_config = config_message(&item->prev, &effect->prev_cfg);
    const struct db_shard *row = watch_shard(c->watch, effect->shard);
    out->made = item->made;
    for (uint32_t i = 0; row != NULL && i < effect->reported_count; i++) {
        const struct election_replica *reported = &effect->reported[i];
        if (!replica_is_made(row, reported->broker, reported->disk_gen)) {
            item->reported[out->n_made] = replica_message(*reported);
            item->made[out->n_made] = &item->reported[out->n_made];
            out->n_made++;
        }
    }
}

static void fill_fence(const struct controller *c, struct item *item,
                       const struct election_effect *effect)
{
    const struct client *client = brokers_client(c, effect->broker);
    const struct db_shard *row = watch_shard(c->watch, effect->shard);
    Weir__FenceShard *out = &item->message.fence;
    weir__fence_shard__init(out);
    item->replica = replica_message(
        (struct election_replica){.broker = effect->broker, .disk_gen = client->disk_gen});
    out->shard = effect->shard;
    out->epoch = effect->epoch;
    out->config = config_message(&item->cfg, &effect->cfg);
    out->prev_config = config_message(&item->prev, &effect->prev_cfg);
    out->replica = &item->replica;
    out->fresh = row != NULL && !replica_is_made(row, effect->broker, client->disk_gen);
}

static void fill_grant(const struct controller *c, struct item *item,
                       const struct election_effect *effect)
{
    const struct db_shard *row = watch_shard(c->watch, effect->shard);
    Weir__GrantShard *out = &item->message.grant;
    weir__grant_shard__init(out);
    item->replica = replica_message(effect->leader);
    out->shard = effect->shard;
    out->epoch = effect->epoch;
    out->replica = &item->replica;
    out->boot = effect->boot;
    out->config = config_message(&item->cfg, &effect->cfg);
    out->prev_config = config_message(&item->prev, &effect->prev_cfg);
    out->generation = row == NULL ? 0 : row->generation;
    out->waits_for_parents = row != NULL && row->lineage.state == DB_SHARD_WAITING;
}

static void fill(const struct controller *c, struct item *item,
                 const struct election_effect *effect)
{
    switch (effect->type) {
    case ELECTION_PROPOSE_ELECTING:
        weir__cmd_electing__shard__init(&item->message.electing);
        item->message.electing.shard = effect->shard;
        item->message.electing.epoch = effect->epoch;
        break;
    case ELECTION_PROPOSE_ACTIVE:
        fill_active(c, item, effect);
        break;
    case ELECTION_PROPOSE_STABLE:
        weir__cmd_stable__shard__init(&item->message.stable);
        item->message.stable.shard = effect->shard;
        item->message.stable.epoch = effect->epoch;
        break;
    case ELECTION_FENCE:
        fill_fence(c, item, effect);
        break;
    case ELECTION_GRANT:
        fill_grant(c, item, effect);
        break;
    }
}

/* ---- out: sending
 * ---------------------------------------------------------------------------------- */

static void propose(struct controller *c, enum election_effect_type type, struct batch *batch)
{
    Weir__Command command = WEIR__COMMAND__INIT;
    Weir__CmdElecting electing = WEIR__CMD_ELECTING__INIT;
    Weir__CmdActive active = WEIR__CMD_ACTIVE__INIT;
    Weir__CmdStable stable = WEIR__CMD_STABLE__INIT;
    if (type == ELECTION_PROPOSE_ELECTING) {
        electing.n_shards = batch->count;
        electing.shards = (Weir__CmdElecting__Shard **)batch->pointer;
        command.kind_case = WEIR__COMMAND__KIND_ELECTING;
        command.electing = &electing;
    } else if (type == ELECTION_PROPOSE_ACTIVE) {
        active.n_shards = batch->count;
        active.shards = (Weir__CmdActive__Shard **)batch->pointer;
        command.kind_case = WEIR__COMMAND__KIND_ACTIVE;
        command.active = &active;
    } else {
        stable.n_shards = batch->count;
        stable.shards = (Weir__CmdStable__Shard **)batch->pointer;
        command.kind_case = WEIR__COMMAND__KIND_STABLE;
        command.stable = &stable;
    }
    command_of_ours(c, &command, (uint32_t)batch->count);
}

static void send(struct controller *c, enum election_effect_type type, struct client *client,
                 struct batch *batch)
{
    Weir__Fence fence = WEIR__FENCE__INIT;
    Weir__Grant grant = WEIR__GRANT__INIT;
    struct session_payload payload = {.body = &grant.base};
    enum rpc_method method = RPC_GRANT;
    if (type == ELECTION_FENCE) {
        fence.controller = c->options.id;
        fence.n_shards = batch->count;
        fence.shards = (Weir__FenceShard **)batch->pointer;
        payload.body = &fence.base;
        method = RPC_FENCE;
    } else {
        grant.n_shards = batch->count;
        grant.shards = (Weir__GrantShard **)batch->pointer;
    }
    status_ignore(session_send(client->session, method, payload),
                  "the core asks again for what was not answered");
}

/* Effects [first, first + count) are of one type, and of one broker. */
static void carry_out(struct controller *c, size_t first, size_t count)
{
    const struct election_effect *effect = &c->effects.effect[first];
    bool message = effect->type == ELECTION_FENCE || effect->type == ELECTION_GRANT;
    struct client *client = message ? brokers_client(c, effect->broker) : NULL;
    if (message && client == NULL) {
        return; /* its session was lost meanwhile */
    }
    AUTO(batch_release)
    struct batch batch = {.item = calloc(count, sizeof(*batch.item)),
                          .pointer = calloc(count, sizeof(*batch.pointer)),
                          .count = count};
    if (batch.item == NULL || batch.pointer == NULL) {
        return; /* it is asked for again */
    }
    for (size_t i = 0; i < count; i++) {
        fill(c, &batch.item[i], &effect[i]);
        batch.pointer[i] = &batch.item[i].message;
    }
    if (message) {
        send(c, effect->type, client, &batch);
    } else {
        propose(c, effect->type, &batch);
    }
}

static void election_fired(struct net_timer *timer)
{
    struct controller *c = CONTAINER_OF(timer, struct controller, election_timer);
    elections_feed(c, &(struct election_input){.type = ELECTION_TICK});
}

void elections_flush(struct controller *c)
{
    election_effects_group(&c->effects);
    size_t first = 0;
    while (first < c->effects.count) {
        const struct election_effect *effect = c->effects.effect;
        bool message = effect[first].type == ELECTION_FENCE || effect[first].type == ELECTION_GRANT;
        size_t limit = message ? ELECTION_FRAME_SHARDS_MAX : ELECTION_PROPOSAL_SHARDS_MAX;
        size_t end = first + 1;
        while (end < c->effects.count && end - first < limit &&
               effect[end].type == effect[first].type &&
               (!message || effect[end].broker == effect[first].broker)) {
            end++;
        }
        carry_out(c, first, end - first);
        c->counts.elections += effect[first].type == ELECTION_PROPOSE_ELECTING ? end - first : 0;
        first = end;
    }
    election_effects_clear(&c->effects);
    uint64_t deadline = election_deadline(c->election);
    if (c->active && deadline != UINT64_MAX) {
        status_ignore(
            net_timer_start(c->options.loop, &c->election_timer, deadline, election_fired),
            "the next input starts it");
    } else {
        net_timer_stop(c->options.loop, &c->election_timer);
    }
}
