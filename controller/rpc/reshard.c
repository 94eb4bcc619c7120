/* Splits, merges and other numbers of shards: the call, the requests to close shards, and the end
 * of those that have been closed for longer than their streams keep records. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/trace.h"
#include "controller/rpc/internal.h"

/* ---- the call
 * -------------------------------------------------------------------------------------- */

static void answer_stream(struct controller *c, struct session_call *call, struct bytes body)
{
    (void)c;
    Weir__StreamReply *reply = weir__stream_reply__unpack(NULL, body.size, body.data);
    if (reply == NULL) {
        session_reply_error(call, STATUS_INTERNAL, NULL,
                            "the result of the first request with this id is not a stream's");
        return;
    }
    reply_message(call, &reply->base);
    weir__stream_reply__free_unpacked(reply, NULL);
}

void handle_reshard(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__Reshard *in = weir__reshard__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    if (in->kind_case == WEIR__RESHARD__KIND__NOT_SET) {
        session_reply_error(call, STATUS_INVALID, NULL, "a split, a merge or a number of shards");
    } else {
        Weir__CmdReshard reshard = WEIR__CMD_RESHARD__INIT;
        reshard.reshard = in;
        Weir__Command command = WEIR__COMMAND__INIT;
        command.request = in->request;
        command.kind_case = WEIR__COMMAND__KIND_RESHARD;
        command.reshard = &reshard;
        uint32_t weight = in->kind_case == WEIR__RESHARD__KIND_COUNT ? in->count->shards : 2;
        command_for_call(c, call, &command, weight, answer_stream);
    }
    weir__reshard__free_unpacked(in, NULL);
}

/* ---- closing shards
 * -------------------------------------------------------------------------------- */

static bool is_to_close(const struct db_shard *shard)
{
    return shard->lineage.state == DB_SHARD_SEALING && shard->lineage.final_offset == 0 &&
           shard->phase != DB_SHARD_DELETED;
}

/* Without a leader it is asked again when there is one. */
static void ask_to_close(struct controller *c, const uint64_t *shards, size_t count)
{
    for (size_t i = 0; count > 0 && i < c->liveness.count; i++) {
        const struct liveness_broker *broker = &c->liveness.broker[i];
        AUTO(free_pointer) uint64_t *led = calloc(count, sizeof(*led));
        size_t led_count = 0;
        for (size_t s = 0; broker->here && led != NULL && s < count; s++) {
            const struct db_shard *row = watch_shard(c->watch, shards[s]);
            if (row != NULL && is_to_close(row) && row->phase == DB_SHARD_ACTIVE &&
                row->leader.broker == broker->id) {
                led[led_count++] = row->id;
            }
        }
        if (led_count > 0) {
            const struct client *client = broker->session;
            Weir__SealShards message = WEIR__SEAL_SHARDS__INIT;
            message.shards = led;
            message.n_shards = led_count;
            status_ignore(session_send(client->session, RPC_SEAL_SHARDS,
                                       (struct session_payload){.body = &message.base}),
                          "it is asked again");
        }
    }
}

/* All shards that are to be closed; whether there is one. */
static bool ask_all(struct controller *c)
{
    uint64_t shards[SEALS_AT_ONCE_MAX];
    size_t count = 0, total = 0;
    const struct db_shard *rows = watch_shards(c->watch, &total);
    for (size_t i = 0; i < total && count < SEALS_AT_ONCE_MAX; i++) {
        if (is_to_close(&rows[i])) {
            shards[count++] = rows[i].id;
        }
    }
    ask_to_close(c, shards, count);
    return count > 0;
}

static void seals_fired(struct net_timer *timer)
{
    struct controller *c = CONTAINER_OF(timer, struct controller, seals_timer);
    if (ask_all(c)) {
        status_ignore(net_timer_start(c->options.loop, timer, controller_now(c) + SEALS_RESEND_MS,
                                      seals_fired),
                      "the timer has had its place in the heap");
    }
}

void reshards_row(struct controller *c, const struct db_shard *shard)
{
    if (!is_to_close(shard)) {
        return;
    }
    /* Now, because writers wait for it, and again until it is done. */
    ask_to_close(c, &shard->id, 1);
    if (c->seals_timer.heap_index == 0) {
        status_ignore(net_timer_start(c->options.loop, &c->seals_timer,
                                      controller_now(c) + SEALS_RESEND_MS, seals_fired),
                      "the next change of the shard starts it");
    }
}

enum status handle_shards_sealed(struct controller *c, struct client *client, struct bytes body)
{
    Weir__ShardsSealed *in = weir__shards_sealed__unpack(NULL, body.size, body.data);
    if (in == NULL) {
        return STATUS_INVALID;
    }
    bool counts = c->active && client->broker != 0 && in->boot == client->boot;
    AUTO(free_pointer)
    Weir__CmdShardsSealed__Shard *items = calloc(in->n_shards + 1, sizeof(*items));
    AUTO(free_pointer)
    Weir__CmdShardsSealed__Shard **pointers =
        calloc(in->n_shards + 1, sizeof(Weir__CmdShardsSealed__Shard *));
    size_t count = 0;
    for (size_t i = 0; counts && items != NULL && pointers != NULL && i < in->n_shards; i++) {
        const struct db_shard *row = watch_shard(c->watch, in->shards[i]->shard);
        if (row != NULL && is_to_close(row)) {
            weir__cmd_shards_sealed__shard__init(&items[count]);
            items[count].shard = in->shards[i]->shard;
            items[count].end = in->shards[i]->end;
            items[count].time_ms = in->shards[i]->time_ms;
            pointers[count] = &items[count];
            count++;
        }
    }
    if (count > 0) {
        Weir__CmdShardsSealed sealed = WEIR__CMD_SHARDS_SEALED__INIT;
        sealed.n_shards = count;
        sealed.shards = pointers;
        Weir__Command command = WEIR__COMMAND__INIT;
        command.kind_case = WEIR__COMMAND__KIND_SHARDS_SEALED;
        command.shards_sealed = &sealed;
        command_of_ours(c, &command, (uint32_t)count);
    }
    weir__shards_sealed__free_unpacked(in, NULL);
    return STATUS_OK;
}

/* ---- the end of closed shards
 * ---------------------------------------------------------------------- */

/* Nothing is deleted on the word of one clock: half of the brokers that are here must agree. */
static bool clock_is_confirmed(const struct controller *c, uint64_t wall_ms)
{
    size_t here = 0, agree = 0;
    LIST_FOR_EACH (node, &c->clients) {
        const struct client *client = CONTAINER_OF(node, struct client, node);
        if (client->broker != 0) {
            uint64_t now = client->wall_ms + (controller_now(c) - client->wall_at_ms);
            uint64_t off = now > wall_ms ? now - wall_ms : wall_ms - now;
            here++;
            agree += client->wall_ms != 0 && off <= EXPIRY_CLOCK_MS;
        }
    }
    return agree > 0 && 2 * agree >= here;
}

static bool has_expired(const struct controller *c, const struct db_shard *shard, uint64_t wall_ms)
{
    const struct db_stream *stream = watch_stream(c->watch, (uint32_t)(shard->id >> 32));
    return stream != NULL && shard->lineage.state == DB_SHARD_CLOSED &&
           shard->phase != DB_SHARD_DELETED &&
           shard->lineage.closed_ms + (uint64_t)stream->retention_hours * 3600 * 1000 < wall_ms;
}

static void expire(struct controller *c)
{
    uint64_t shards[EXPIRE_AT_ONCE_MAX], wall_ms = net_wall_ms();
    size_t count = 0, total = 0;
    const struct db_shard *rows = watch_shards(c->watch, &total);
    for (size_t i = 0; i < total && count < EXPIRE_AT_ONCE_MAX; i++) {
        if (has_expired(c, &rows[i], wall_ms)) {
            shards[count++] = rows[i].id;
        }
    }
    if (count == 0 || !clock_is_confirmed(c, wall_ms)) {
        return;
    }
    trace(TRACE_INFO, "reshard", "%zu closed shards are older than their streams keep records",
          count);
    Weir__CmdExpireShards expired = WEIR__CMD_EXPIRE_SHARDS__INIT;
    expired.n_shards = count;
    expired.shards = shards;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_EXPIRE_SHARDS;
    command.expire_shards = &expired;
    command_of_ours(c, &command, (uint32_t)count);
}

static void expiry_fired(struct net_timer *timer)
{
    struct controller *c = CONTAINER_OF(timer, struct controller, expiry_timer);
    expire(c);
    ring_look(c);
    status_ignore(
        net_timer_start(c->options.loop, timer, controller_now(c) + EXPIRY_EVERY_MS, expiry_fired),
        "the timer has had its place in the heap");
}

void reshards_activate(struct controller *c)
{
    seals_fired(&c->seals_timer);
    status_ignore(net_timer_start(c->options.loop, &c->expiry_timer,
                                  controller_now(c) + EXPIRY_EVERY_MS, expiry_fired),
                  "closed shards are kept for longer");
}

void reshards_deactivate(struct controller *c)
{
    net_timer_stop(c->options.loop, &c->seals_timer);
    net_timer_stop(c->options.loop, &c->expiry_timer);
}
