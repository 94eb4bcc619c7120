/* Brokers: their registration, beats, deaths, and the deletions that they owe. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "controller/rpc/internal.h"

struct client *brokers_client(const struct controller *c, uint32_t broker)
{
    const struct liveness_broker *known = liveness_get(&c->liveness, broker);
    return known == NULL || !known->here ? NULL : known->session;
}

/* ---- registration
 * ---------------------------------------------------------------------------------- */

/* The session becomes the broker's one. */
static void attach(struct controller *c, struct client *client)
{
    struct client *before = brokers_client(c, client->broker);
    if (liveness_up(&c->liveness, controller_now(c), client->broker, client->boot, client->disk_gen,
                    client) != STATUS_OK) {
        session_close(client->session, STATUS_NO_MEMORY, "the controller is out of memory");
        return;
    }
    if (before != NULL && before != client) {
        before->broker = 0;
        session_close(before->session, STATUS_STALE, "the broker registered on another session");
    }
    client->dropped_up_to = 0;
    elections_broker_up(c, client);
    replicas_look_again(c);
    brokers_send_drops(c);
    controller_wake(c);
}

static void answer_register(struct controller *c, struct session_call *call, struct bytes body)
{
    Weir__RegisterBrokerReply *reply =
        weir__register_broker_reply__unpack(NULL, body.size, body.data);
    if (reply == NULL) {
        session_reply_error(call, STATUS_INTERNAL, NULL, "the registration's result is not one");
        return;
    }
    if (call->session != NULL) {
        struct client *client = session_data(call->session);
        client->broker = call->caller.id;
        client->boot = call->caller.boot;
        client->disk_gen = reply->disk_gen;
        trace(TRACE_INFO, "brokers", "broker-%u registered: boot %llu, disk %u", client->broker,
              (unsigned long long)client->boot, client->disk_gen);
        if (c->active) {
            attach(c, client);
        }
    }
    reply->beat_every_ms = c->options.beat_every_ms;
    reply->version = db_meta(c->db)->version; /* it is applied, and all before it */
    reply_message(call, &reply->base);
    weir__register_broker_reply__free_unpacked(reply, NULL);
}

void handle_register(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__RegisterBroker *in =
        weir__register_broker__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    if (in->broker != call->caller.id || in->boot != call->caller.boot) {
        session_reply_error(call, STATUS_WRONG_IDENTITY, NULL,
                            "%s with boot %llu registers as broker-%u with boot %llu",
                            call->caller.name, (unsigned long long)call->caller.boot, in->broker,
                            (unsigned long long)in->boot);
    } else {
        Weir__CmdRegisterBroker registration;
        weir__cmd_register_broker__init(&registration);
        registration.broker = in->broker;
        registration.boot = in->boot;
        registration.disk = in->disk;
        registration.zone = in->zone;
        registration.address = in->address;
        registration.process = in->process;
        Weir__Command command = WEIR__COMMAND__INIT;
        command.kind_case = WEIR__COMMAND__KIND_REGISTER_BROKER;
        command.register_broker = &registration;
        command_for_call(c, call, &command, 1, answer_register);
    }
    weir__register_broker__free_unpacked(in, NULL);
}

/* ---- beats and deaths
 * ------------------------------------------------------------------------------ */

/* More brokers seem to be dead than may be at once: said once, and when it is over. */
static void tell_held(struct controller *c)
{
    uint32_t held = liveness_held(&c->liveness);
    if (held > c->held_told) {
        trace(TRACE_ERROR, "brokers",
              "%u more brokers are silent, and too many are to be true: this controller may be cut "
              "off. Nothing is failed over for them; if they are dead: weirctl cluster "
              "consent-failover",
              held);
    } else if (held == 0 && c->held_told > 0) {
        trace(TRACE_INFO, "brokers", "no broker's failover is held back any more");
    }
    c->held_told = held;
}

/* Brokers of one zone have one number. */
static uint32_t zone_number(const struct db_broker *rows, size_t at)
{
    size_t first = 0;
    while (strcmp(rows[first].zone, rows[at].zone) != 0) {
        first++;
    }
    return (uint32_t)first + 1;
}

/* Brokers that others reach and we do not: said once each, and when it is over. */
static void tell_isolated(struct controller *c)
{
    for (size_t i = 0; i < c->liveness.count; i++) {
        struct liveness_broker *broker = &c->liveness.broker[i];
        bool isolated = broker->isolated_ms != 0 && !broker->dead;
        if (isolated && !broker->isolated_told) {
            trace(TRACE_WARNING, "brokers",
                  "broker-%u is silent, but other brokers reach it: it keeps its leaderships for "
                  "%d s at most",
                  broker->id, LIVENESS_ISOLATED_MS / 1000);
        }
        broker->isolated_told = isolated;
    }
}

static void judge(struct controller *c)
{
    uint64_t now = controller_now(c);
    struct liveness_broker *dead;
    size_t total = 0;
    const struct db_broker *rows = watch_brokers(c->watch, &total);
    c->liveness.total = 0;
    for (size_t i = 0; i < total; i++) {
        if (rows[i].mode == DB_BROKER_REMOVED) {
            liveness_removed(&c->liveness, rows[i].id);
        } else {
            c->liveness.total++;
        }
        liveness_in_zone(&c->liveness, rows[i].id, zone_number(rows, i));
    }
    while ((dead = liveness_next_dead(&c->liveness, now)) != NULL) {
        trace(TRACE_WARNING, "brokers", "broker-%u is dead: %s", dead->id,
              dead->lost ? "its session was lost" : "its beats stopped");
        struct client *client = dead->here ? dead->session : NULL;
        uint32_t id = dead->id;
        Weir__CmdBrokerDown down = WEIR__CMD_BROKER_DOWN__INIT;
        down.broker = id;
        down.boot = dead->boot;
        Weir__Command command = WEIR__COMMAND__INIT;
        command.kind_case = WEIR__COMMAND__KIND_BROKER_DOWN;
        command.broker_down = &down;
        if (client != NULL) {
            /* It may only sleep: when it wakes it learns that it has to register again. */
            liveness_lost(&c->liveness, now, id, client);
            client->broker = 0;
            session_close(client->session, STATUS_EXPIRED, "no beat came in time: register again");
        }
        elections_broker_down(c, id);
        command_of_ours(c, &command, 1);
    }
    tell_held(c);
    tell_isolated(c);
}

void brokers_consent(struct controller *c)
{
    uint32_t count = liveness_consent(&c->liveness);
    trace(TRACE_WARNING, "brokers", "an administrator says that %u held brokers are dead", count);
    judge(c);
}

static void liveness_fired(struct net_timer *timer)
{
    struct controller *c = CONTAINER_OF(timer, struct controller, liveness_timer);
    liveness_tick(&c->liveness, controller_now(c));
    judge(c);
    status_ignore(net_timer_start(c->options.loop, timer, controller_now(c) + LIVENESS_STALL_MS / 5,
                                  liveness_fired),
                  "the timer has had its place in the heap");
}

enum status handle_beat(struct controller *c, struct client *client, struct bytes body)
{
    Weir__BrokerBeat *beat = weir__broker_beat__unpack(NULL, body.size, body.data);
    if (beat == NULL) {
        return STATUS_INVALID;
    }
    if (c->active && client->broker != 0 && beat->boot == client->boot) {
        liveness_beat(&c->liveness, controller_now(c), client->broker, beat->reset, beat->n_reset);
        liveness_reaches(&c->liveness, client->broker, beat->reachable, beat->n_reachable);
        client->disk_bytes = beat->disk_bytes;
        client->disk_free_bytes = beat->disk_free_bytes;
        client->replicas = beat->replicas;
        client->unlisted = beat->unlisted;
        client->quarantined = beat->quarantined;
        client->reclaimed = beat->reclaimed;
        client->damage = (struct client_damage){.holes = beat->holes,
                                                .scrub_permille = beat->scrub_permille,
                                                .found = beat->damage_found,
                                                .repaired = beat->damage_repaired,
                                                .differ = beat->segments_differ,
                                                .scrub_passes = beat->scrub_passes,
                                                .scrub_finished_ms = beat->scrub_finished_ms,
                                                .scrub_late = beat->scrub_late};
        client->leaders = beat->leaders;
        client->clock_offset_ms = beat->clock_offset_ms;
        client->sync_us = beat->sync_us;
        client->stall_us = beat->stall_us;
        client->wall_ms = beat->time_ms;
        client->wall_at_ms = controller_now(c);
        (void)snprintf(client->disk_state, sizeof(client->disk_state), "%s", beat->disk_state);
        fitness_note_beat(c, client, beat);
        if (beat->n_reset > 0) {
            judge(c);
        }
    }
    weir__broker_beat__free_unpacked(beat, NULL);
    return STATUS_OK;
}

void brokers_session_lost(struct controller *c, struct client *client)
{
    if (c->active && client->broker != 0) {
        liveness_lost(&c->liveness, controller_now(c), client->broker, client);
        judge(c);
    }
}

/* ---- becoming active, and no longer
 * ---------------------------------------------------------------- */

/* The controller before us may be silent without its sessions having ended: brokers would go on
 * beating to it. */
static void announce(struct controller *c)
{
    Weir__Fence fence = WEIR__FENCE__INIT;
    fence.controller = c->options.id;
    LIST_FOR_EACH (node, &c->clients) {
        struct session *session = CONTAINER_OF(node, struct client, node)->session;
        if (session_peer(session)->role == RPC_ROLE_BROKER) {
            status_ignore(
                session_send(session, RPC_FENCE, (struct session_payload){.body = &fence.base}),
                "it asks around when its session ends");
        }
    }
}

/* Everybody gets a full timeout from now on, but those who were judged dead before: what that was
 * to bring about may not have been done yet. Sessions on which brokers registered in an earlier
 * time of ours count again. */
void brokers_activate(struct controller *c)
{
    uint64_t now = controller_now(c);
    liveness_clear(&c->liveness);
    liveness_tick(&c->liveness, now);
    size_t count = 0;
    const struct db_broker *brokers = watch_brokers(c->watch, &count);
    for (size_t i = 0; i < count; i++) {
        if (!brokers[i].alive) {
            elections_broker_down(c, brokers[i].id);
            uint64_t wall_ms = net_wall_ms();
            uint64_t ago_ms = wall_ms > brokers[i].down_ms ? wall_ms - brokers[i].down_ms : 0;
            status_ignore(
                liveness_was_dead(&c->liveness, now, brokers[i].id, brokers[i].boot, ago_ms),
                "it does not count for the budget then");
        } else if (liveness_expect(&c->liveness, now, brokers[i].id, brokers[i].boot) !=
                   STATUS_OK) {
            trace(TRACE_ERROR, "brokers", "out of memory: broker-%u is not watched", brokers[i].id);
        }
    }
    LIST_FOR_EACH (node, &c->clients) {
        struct client *client = CONTAINER_OF(node, struct client, node);
        const struct db_broker *row =
            client->broker == 0 ? NULL : watch_broker(c->watch, client->broker);
        if (row != NULL && row->alive && row->boot == client->boot) {
            attach(c, client);
        } else {
            client->broker = 0;
        }
    }
    announce(c);
    liveness_fired(&c->liveness_timer);
    fitness_activate(c);
}

void brokers_deactivate(struct controller *c)
{
    net_timer_stop(c->options.loop, &c->liveness_timer);
    net_timer_stop(c->options.loop, &c->drops_timer);
    liveness_clear(&c->liveness);
    fitness_deactivate(c);
}

/* ---- deletions
 * ------------------------------------------------------------------------------------- */

static void drops_fired(struct net_timer *timer)
{
    struct controller *c = CONTAINER_OF(timer, struct controller, drops_timer);
    LIST_FOR_EACH (node, &c->clients) {
        CONTAINER_OF(node, struct client, node)->dropped_up_to = 0;
    }
    brokers_send_drops(c);
}

/* The next shards that the broker owes; whether it owes any. */
static bool send_drops(struct controller *c, struct client *client)
{
    uint64_t shards[DROPS_FRAME_SHARDS_MAX];
    size_t count =
        db_drops_get(c->db, client->broker, client->dropped_up_to, shards, DROPS_FRAME_SHARDS_MAX);
    if (count == 0) {
        return client->dropped_up_to != 0 && db_drops_get(c->db, client->broker, 0, shards, 1) > 0;
    }
    Weir__DropShards message = WEIR__DROP_SHARDS__INIT;
    message.shards = shards;
    message.n_shards = count;
    if (session_send(client->session, RPC_DROP_SHARDS,
                     (struct session_payload){.body = &message.base}) == STATUS_OK) {
        client->dropped_up_to = shards[count - 1];
    }
    return true;
}

void brokers_send_drops(struct controller *c)
{
    bool any = false;
    for (size_t i = 0; i < c->liveness.count; i++) {
        const struct liveness_broker *broker = &c->liveness.broker[i];
        if (broker->here) {
            any = send_drops(c, broker->session) || any;
        }
    }
    if (any && c->drops_timer.heap_index == 0) {
        status_ignore(net_timer_start(c->options.loop, &c->drops_timer,
                                      controller_now(c) + DROPS_RESEND_MS, drops_fired),
                      "the next change of the drops sends them");
    }
}

static void dropped(struct controller *c, uint32_t broker, Weir__ShardsDropped *in)
{
    Weir__CmdShardsDropped drop = WEIR__CMD_SHARDS_DROPPED__INIT;
    drop.broker = broker;
    drop.shards = in->shards;
    drop.n_shards = in->n_shards;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_SHARDS_DROPPED;
    command.shards_dropped = &drop;
    uint32_t weight = in->n_shards > UINT32_MAX ? UINT32_MAX : (uint32_t)in->n_shards;
    command_of_ours(c, &command, weight);
}

enum status handle_shards_dropped(struct controller *c, struct client *client, struct bytes body)
{
    Weir__ShardsDropped *in = weir__shards_dropped__unpack(NULL, body.size, body.data);
    if (in == NULL) {
        return STATUS_INVALID;
    }
    if (c->active && client->broker != 0 && in->n_shards > 0) {
        dropped(c, client->broker, in);
    }
    weir__shards_dropped__free_unpacked(in, NULL);
    return STATUS_OK;
}
