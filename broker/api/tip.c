/* Answers that say what is newest: only a leader knows, and it makes sure that it is one still
 * (docs/replication.md 2.10). */
#include <stdlib.h>

#include "broker/api/internal.h"

struct pending_tip {
    struct api_tip tip;
    struct api *api;
    struct session_call *call;
    void (*answer)(struct api *api, struct session_call *call, struct shard *shard, uint64_t offset,
                   bool leads);
    uint64_t offset, asked_ms;
};

static void told(struct api_tip *tip, bool leads)
{
    struct pending_tip *p = CONTAINER_OF(tip, struct pending_tip, tip);
    struct api *api = p->api;
    struct shard *shard = api->closing ? NULL : shards_find(api->options.shards, tip->shard);
    if (shard == NULL) {
        api_refuse(api, p->call, tip->shard, api->closing ? STATUS_CLOSING : STATUS_NOT_FOUND,
                   "the shard is gone");
    } else {
        if (leads) {
            shard_confirmed(shard, p->asked_ms);
        }
        p->answer(api, p->call, shard, p->offset, leads);
    }
    free(p);
}

void api_confirm(struct api *api, struct session_call *call, const struct shard *shard,
                 uint64_t offset,
                 void (*answer)(struct api *api, struct session_call *call, struct shard *shard,
                                uint64_t offset, bool leads))
{
    struct pending_tip *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "broker-%u is out of memory",
                            api->options.broker);
        return;
    }
    *p = (struct pending_tip){
        .tip = {.shard = shard->id, .done = told},
        .api = api,
        .call = call,
        .answer = answer,
        .offset = offset,
        .asked_ms = net_now_ms(api->options.loop)
    };
    api->options.confirm(api->options.context, &p->tip);
}
