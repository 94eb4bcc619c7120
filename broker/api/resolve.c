/* RESOLVE: where an iterator begins. */
#include <stdlib.h>

#include "broker/api/internal.h"

/* A seek by time, under way. */
struct pending_seek {
    struct log_seek seek;
    struct api *api;
    struct session_call *call;
    uint64_t shard;
};

static void reply(struct session_call *call, uint64_t offset)
{
    Weir__Position position = WEIR__POSITION__INIT;
    position.offset = offset;
    session_reply(call, (struct session_payload){.body = &position.base});
}

static void refuse_tip(struct api *api, struct session_call *call, const struct shard *shard)
{
    api_refuse(api, call, shard->id, STATUS_UNAVAILABLE,
               "too few other replicas confirm that this broker leads: it cannot tell the newest "
               "record");
}

static void tip_confirmed(struct api *api, struct session_call *call, struct shard *shard,
                          uint64_t offset, bool leads)
{
    (void)offset;
    if (leads) {
        reply(call, shard->commit);
    } else {
        refuse_tip(api, call, shard);
    }
}

static void reply_tip(struct api *api, struct session_call *call, const struct shard *shard)
{
    if (!shard->open || shards_are_out(api->options.shards)) {
        api_refuse(api, call, shard->id, STATUS_NOT_LEADER,
                   "only the shard's leader knows the newest record");
    } else {
        api_confirm(api, call, shard, 0, tip_confirmed);
    }
}

static void reply_kept(struct session_call *call, const struct shard *shard, uint64_t offset)
{
    reply(call, offset > shard->log_start ? offset : shard->log_start);
}

static void beyond_confirmed(struct api *api, struct session_call *call, struct shard *shard,
                             uint64_t offset, bool leads)
{
    if (offset <= shard->commit) {
        reply_kept(call, shard, offset);
    } else if (leads) {
        api_refuse(api, call, shard->id, STATUS_INVALID,
                   "the offset lies beyond the newest record");
    } else {
        refuse_tip(api, call, shard);
    }
}

/* "Beyond the newest record" is for those to say who know what is newest. */
static void reply_offset(struct api *api, struct session_call *call, const struct shard *shard,
                         uint64_t offset)
{
    if (shard->open && offset > shard->commit) {
        api_confirm(api, call, shard, offset, beyond_confirmed);
    } else {
        reply_kept(call, shard, offset);
    }
}

static void seek_done(struct log_seek *seek)
{
    struct pending_seek *p = CONTAINER_OF(seek, struct pending_seek, seek);
    struct shard *shard = p->api->closing ? NULL : shards_find(p->api->options.shards, p->shard);
    if (seek->status != STATUS_OK || shard == NULL) {
        enum status status = seek->status != STATUS_OK ? seek->status : STATUS_NOT_FOUND;
        api_refuse(p->api, p->call, p->shard, status, status_text(status));
    } else if (seek->offset >= seek->end) {
        reply_tip(p->api, p->call, shard); /* nothing that recent here; a leader may know better */
    } else {
        reply(p->call, seek->offset);
    }
    free(p);
}

static void seek_time(struct api *api, struct session_call *call, struct shard *shard,
                      uint64_t time_ms)
{
    struct pending_seek *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "broker-%u is out of memory",
                            api->options.broker);
        return;
    }
    *p = (struct pending_seek){.api = api, .call = call, .shard = shard->id};
    p->seek.log = shard->log;
    p->seek.time_ms = time_ms;
    p->seek.end = shard->commit;
    p->seek.done = seek_done;
    enum status status = store_seek(shards_store(api->options.shards), &p->seek);
    if (status != STATUS_OK) {
        api_refuse(api, call, shard->id, status, status_text(status));
        free(p);
    }
}

static void resolve(struct api *api, struct session_call *call, struct shard *shard,
                    const Weir__Resolve *request)
{
    switch (request->type) {
    case WEIR__POSITION_TYPE__POSITION_TRIM_HORIZON:
        reply(call, shard->log_start);
        return;
    case WEIR__POSITION_TYPE__POSITION_LATEST:
        reply_tip(api, call, shard);
        return;
    case WEIR__POSITION_TYPE__POSITION_AT_OFFSET:
        reply_offset(api, call, shard, request->offset);
        return;
    case WEIR__POSITION_TYPE__POSITION_AFTER_OFFSET:
        reply_offset(api, call, shard,
                     request->offset == UINT64_MAX ? UINT64_MAX : request->offset + 1);
        return;
    case WEIR__POSITION_TYPE__POSITION_AT_TIMESTAMP:
        if (shard->commit == shard->log_start) {
            reply_tip(api, call, shard);
        } else {
            seek_time(api, call, shard, request->timestamp_ms);
        }
        return;
    case _WEIR__POSITION_TYPE_IS_INT_SIZE:
    default:
        session_reply_error(call, STATUS_INVALID, NULL, "RESOLVE: unknown type of position");
        return;
    }
}

void api_resolve(struct api *api, struct session_call *call)
{
    Weir__Resolve *request = weir__resolve__unpack(NULL, call->body.size, call->body.data);
    if (request == NULL) {
        session_reply_error(call, STATUS_INVALID, NULL, "RESOLVE: the message cannot be decoded");
        return;
    }
    struct shard *shard = api_shard(api, call, request->shard);
    if (shard != NULL && shard->role == REPLICA_HALTED) {
        api_refuse(api, call, shard->id, STATUS_CORRUPT, "this replica is halted");
    } else if (shard != NULL) {
        resolve(api, call, shard, request);
    }
    weir__resolve__free_unpacked(request, NULL);
}
