/* PUT: one batch into one shard, answered when it is committed. */
#include <stdlib.h>

#include "broker/api/internal.h"

static void recycle(struct pending_put *p)
{
    p->next = p->api->free_puts;
    p->api->free_puts = p;
}

static void put_done(struct shard_put *put)
{
    struct pending_put *p = CONTAINER_OF(put, struct pending_put, put);
    if (put->status == STATUS_OK) {
        Weir__PutReply reply = WEIR__PUT_REPLY__INIT;
        reply.base_offset = put->base_offset;
        reply.append_ms = put->append_ms;
        reply.generation = put->generation;
        reply.duplicate = put->duplicate;
        session_reply(p->call, (struct session_payload){.body = &reply.base});
    } else {
        const char *text = put->status == STATUS_UNCERTAIN
                               ? "the shard's leader changed while the batch was not yet "
                                 "committed: it may or may not be in the log"
                               : status_text(put->status);
        api_refuse(p->api, p->call, p->shard, put->status, text);
    }
    recycle(p);
}

static struct pending_put *pending_put(struct api *api)
{
    struct pending_put *p = api->free_puts;
    if (p != NULL) {
        api->free_puts = p->next;
        return p;
    }
    return calloc(1, sizeof(*p));
}

void api_put(struct api *api, struct session_call *call)
{
    Weir__Put *request = weir__put__unpack(NULL, call->body.size, call->body.data);
    if (request == NULL) {
        session_reply_error(call, STATUS_INVALID, NULL, "PUT: the message cannot be decoded");
        return;
    }
    uint64_t id = request->shard;
    weir__put__free_unpacked(request, NULL);
    struct shard *shard = api_shard(api, call, id);
    if (shard == NULL) {
        return;
    }
    struct pending_put *p = pending_put(api);
    if (p == NULL) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "broker-%u is out of memory",
                            api->options.broker);
        return;
    }
    p->api = api;
    p->call = call;
    p->shard = id;
    p->put.done = put_done;
    struct error error;
    enum status status = shard_put(shard, call->attachment, &p->put, &error);
    if (status != STATUS_OK) {
        recycle(p);
        api_refuse(api, call, id, status, error.text);
    }
}
