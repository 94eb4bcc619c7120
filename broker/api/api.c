#include "broker/api/api.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "broker/api/internal.h"

struct api *api_new(const struct api_options *options)
{
    struct api *api = calloc(1, sizeof(*api));
    if (api == NULL) {
        return NULL;
    }
    api->options = *options;
    list_init(&api->reads_queued);
    list_init(&api->subscriptions);
    api->limits = limits_new();
    api->loads = loads_new();
    api->slots = slots_new();
    if (api->limits == NULL || api->loads == NULL || api->slots == NULL) {
        api_free(api);
        return NULL;
    }
    return api;
}

void api_close(struct api *api)
{
    api->closing = true;
    api_end_subscriptions(api);
    api_refuse_queued(api);
}

void api_free(struct api *api)
{
    if (api == NULL) {
        return;
    }
    while (api->free_puts != NULL) {
        struct pending_put *p = api->free_puts;
        api->free_puts = p->next;
        free(p);
    }
    api_free_reads(api);
    limits_free(api->limits);
    loads_free(api->loads);
    slots_free(api->slots);
    batch_builder_release(&api->kept);
    coder_release(&api->coder);
    free(api);
}

/* Who leads: what the replica heard from its leader, unless the metadata knows a later epoch. */
static const char *leader_name(const struct api *api, uint64_t id)
{
    const struct route *route = api->options.route;
    const struct route_shard *row = route_shard(route, id);
    const struct shard *shard = shards_find(api->options.shards, id);
    uint32_t broker = row == NULL ? 0 : row->leader_broker;
    if (shard != NULL) {
        struct replica_view view;
        replica_view(shard->replica, &view);
        if (view.leader.broker != 0 && (row == NULL || view.epoch >= row->epoch)) {
            broker = view.leader.broker;
        }
    }
    const struct route_broker *leader =
        broker == api->options.broker ? NULL : route_broker(route, broker);
    return leader == NULL ? "" : leader->name;
}

/* When to ask again; NULL: the caller may choose. */
static const char *wait_hint(enum status status)
{
    switch ((unsigned)status) {
    case STATUS_BUSY:
        return "wait-20";
    case STATUS_THROTTLED:
        return "wait-100";
    case STATUS_DISK_FULL:
        return "wait-1000";
    default:
        return NULL;
    }
}

void api_refuse(struct api *api, struct session_call *call, uint64_t shard, enum status status,
                const char *text)
{
    bool elsewhere = status == STATUS_NOT_LEADER || status == STATUS_UNCERTAIN ||
                     status == STATUS_NO_QUORUM || status == STATUS_IO ||
                     status == STATUS_CORRUPT || status == STATUS_UNAVAILABLE;
    const char *hint = elsewhere ? leader_name(api, shard) : wait_hint(status);
    session_reply_error(call, status, hint, "%s", text);
}

struct shard *api_shard(struct api *api, struct session_call *call, uint64_t id)
{
    if (api->closing) {
        session_reply_error(call, STATUS_CLOSING, NULL, "broker-%u is stopping",
                            api->options.broker);
        return NULL;
    }
    struct shard *shard = shards_find(api->options.shards, id);
    if (shard != NULL) {
        return shard;
    }
    if (route_shard(api->options.route, id) != NULL) {
        session_reply_error(call, STATUS_NOT_LEADER, leader_name(api, id),
                            "broker-%u has no replica of shard %u of stream %u",
                            api->options.broker, (uint32_t)id, (uint32_t)(id >> 32));
    } else {
        session_reply_error(call, STATUS_NOT_FOUND, NULL, "there is no shard %u of stream %u",
                            (uint32_t)id, (uint32_t)(id >> 32));
    }
    return NULL;
}

bool api_called(struct api *api, struct session_call *call)
{
    if (call->method == RPC_PUT) {
        api_put(api, call);
    } else if (call->method == RPC_READ) {
        api_read(api, call);
    } else if (call->method == RPC_SUBSCRIBE) {
        api_subscribe(api, call);
    } else if (call->method == RPC_SUBSCRIBE_CREDIT) {
        api_subscribe_credit(api, call);
    } else if (call->method == RPC_RESOLVE) {
        api_resolve(api, call);
    } else if (call->method == RPC_SHARD_STATUS) {
        api_shard_status(api, call);
    } else {
        return false;
    }
    return true;
}
