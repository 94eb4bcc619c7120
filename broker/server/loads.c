#include "broker/server/loads.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "broker/server/server_internal.h"
#include "proto/schema/balance.pb-c.h"
#include "proto/schema/control.pb-c.h"

struct part {
    struct api_load load[LOADS_IN_MESSAGE];
    Weir__ShardLoad message[LOADS_IN_MESSAGE], *messages[LOADS_IN_MESSAGE];
    uint8_t split[LOADS_IN_MESSAGE][HASH_KEY_BYTES];
};

static void send_part(struct part *part, uint32_t count, struct session *session, uint64_t boot)
{
    Weir__ShardLoads loads;
    weir__shard_loads__init(&loads);
    for (uint32_t i = 0; i < count; i++) {
        Weir__ShardLoad *m = part->messages[i] = &part->message[i];
        weir__shard_load__init(m);
        m->shard = part->load[i].shard;
        m->permille = part->load[i].permille;
        if (part->load[i].can_split) {
            hash_key_to_bytes(part->load[i].split, part->split[i]);
            m->split = (ProtobufCBinaryData){.data = part->split[i], .len = HASH_KEY_BYTES};
        }
    }
    loads.boot = boot;
    loads.shards = part->messages;
    loads.n_shards = count;
    status_ignore(
        session_send(session, RPC_SHARD_LOADS, (struct session_payload){.body = &loads.base}),
        "the next report follows soon");
}

void loads_send(struct api *api, struct session *session, uint64_t boot)
{
    uint64_t cursor = 0;
    AUTO(free_pointer) struct part *part = malloc(sizeof(*part));
    if (session == NULL || part == NULL) {
        return;
    }
    do {
        uint32_t count = api_loads(api, &cursor, part->load, LOADS_IN_MESSAGE);
        if (count > 0) {
            send_part(part, count, session, boot);
        }
    } while (cursor != 0);
}

/* ---- traffic ---- */

enum { RECORD_WEIGHT = 128 };

struct ranked {
    struct shard *shard;
    uint64_t rank;
};

/* Keeps the greatest, in order. */
static void rank(struct ranked *list, uint32_t *count, uint32_t max, struct shard *shard,
                 uint64_t value)
{
    if (value == 0 || (*count == max && list[max - 1].rank >= value)) {
        return;
    }
    uint32_t at = *count < max ? (*count)++ : max - 1;
    for (; at > 0 && list[at - 1].rank < value; at--) {
        list[at] = list[at - 1];
    }
    list[at] = (struct ranked){.shard = shard, .rank = value};
}

struct traffic {
    Weir__BrokerLoad message;
    Weir__Traffic all;
    struct ranked busy[TRAFFIC_BUSY_MAX], large[TRAFFIC_LARGE_MAX];
    uint32_t busy_count, large_count;
    struct traffic_shard {
        Weir__LoadedShard shard;
        Weir__Traffic traffic;
    } shard[TRAFFIC_BUSY_MAX + TRAFFIC_LARGE_MAX];
    Weir__LoadedShard *shards[TRAFFIC_BUSY_MAX + TRAFFIC_LARGE_MAX];
    uint64_t elapsed_ms;
};

static void rate(const struct traffic *t, const struct shard *shard, Weir__Traffic *out)
{
    weir__traffic__init(out);
    out->in = shard->traffic.in_bytes * 1000 / t->elapsed_ms;
    out->out = shard->traffic.out_bytes * 1000 / t->elapsed_ms;
    out->requests = shard->traffic.records * 1000 / t->elapsed_ms;
}

static void add_shard(struct traffic *t, const struct ranked *ranked)
{
    const struct shard *shard = ranked->shard;
    for (size_t i = 0; i < t->message.n_shards; i++) {
        if (t->shards[i]->shard == shard->id) {
            return; /* it is busy and large */
        }
    }
    struct shard_lack lack;
    struct traffic_shard *out = &t->shard[t->message.n_shards];
    shard_lack(shard, &lack);
    rate(t, shard, &out->traffic);
    weir__loaded_shard__init(&out->shard);
    out->shard.shard = shard->id;
    out->shard.traffic = &out->traffic;
    out->shard.log_bytes = shard_log_segment_bytes(shard->log);
    out->shard.missing = lack.missing;
    t->shards[t->message.n_shards++] = &out->shard;
}

/* A look at everything that is led here. */
static void measure(struct server *s, struct traffic *t)
{
    for (struct shard *shard = shards_next(s->shards, NULL); shard != NULL;
         shard = shards_next(s->shards, shard)) {
        if (!shard->open) {
            continue;
        }
        uint64_t bytes = shard_log_segment_bytes(shard->log);
        Weir__Traffic one;
        rate(t, shard, &one);
        t->all.in += one.in;
        t->all.out += one.out;
        t->all.requests += one.requests;
        t->message.led_bytes += bytes;
        t->message.leaders++;
        rank(t->busy, &t->busy_count, TRAFFIC_BUSY_MAX, shard,
             2 * one.in + one.out + RECORD_WEIGHT * one.requests);
        rank(t->large, &t->large_count, TRAFFIC_LARGE_MAX, shard, bytes);
    }
    for (uint32_t i = 0; i < t->busy_count; i++) {
        add_shard(t, &t->busy[i]);
    }
    for (uint32_t i = 0; i < t->large_count; i++) {
        add_shard(t, &t->large[i]);
    }
}

static void forget(struct server *s)
{
    for (struct shard *shard = shards_next(s->shards, NULL); shard != NULL;
         shard = shards_next(s->shards, shard)) {
        shard->traffic.in_bytes = shard->traffic.out_bytes = shard->traffic.records = 0;
    }
}

/* A controller that is too old to know of it says so, and no more comes of it. */
static void answered(struct session_request *request, const struct session_reply *reply)
{
    (void)reply;
    CONTAINER_OF(request, struct server, traffic_request)->traffic_asked = false;
}

static void send_traffic(struct server *s, uint64_t now_ms)
{
    struct session *session = controllers_session(s->controllers);
    AUTO(free_pointer) struct traffic *t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return;
    }
    t->elapsed_ms = now_ms - s->traffic_ms;
    if (s->traffic_ms != 0 && session != NULL && !s->traffic_asked) {
        weir__broker_load__init(&t->message);
        weir__traffic__init(&t->all);
        t->message.boot = s->boot;
        t->message.traffic = &t->all;
        t->message.shards = t->shards;
        measure(s, t);
        s->traffic_asked =
            session_call(session, RPC_BROKER_LOAD,
                         (struct session_payload){.body = &t->message.base}, TRAFFIC_EVERY_MS,
                         &s->traffic_request, answered) == STATUS_OK;
    }
    forget(s);
    s->traffic_ms = now_ms;
}

void loads_run(struct server *s, uint64_t now_ms)
{
    if (now_ms >= s->loads_ms) {
        s->loads_ms = now_ms + LOADS_EVERY_MS;
        loads_send(s->api, controllers_session(s->controllers), s->boot);
    }
    if (now_ms >= s->traffic_ms + TRAFFIC_EVERY_MS) {
        send_traffic(s, now_ms);
    }
}
