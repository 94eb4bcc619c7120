/* PUT: one batch into one shard, answered when it is committed. */
#include <stdlib.h>
#include <string.h>

#include "broker/api/internal.h"

static void recycle(struct pending_put *p)
{
    p->next = p->api->free_puts;
    p->api->free_puts = p;
}

static void put_done(struct shard_put *put)
{
    struct pending_put *p = CONTAINER_OF(put, struct pending_put, put);
    /* Between the commit and this call the shard may have been dropped. */
    struct shard *shard = shards_find(p->api->options.shards, p->shard);
    if (put->status == STATUS_OK && !put->duplicate && shard != NULL) {
        shard->counters.in_bytes += p->bytes;
        shard->counters.in_records += p->records;
    }
    if (put->status == STATUS_OK) {
        histogram_note(&p->api->committed, net_clock_us() - p->came_us);
        Weir__PutReply reply = WEIR__PUT_REPLY__INIT;
        reply.base_offset = put->base_offset;
        reply.append_ms = put->append_ms;
        reply.generation = put->generation;
        reply.duplicate = put->duplicate;
        reply.pace_ms = put->pace_ms;
        if (p->refused_count > 0) {
            reply.refused = (ProtobufCBinaryData){.len = sizeof(p->refused), .data = p->refused};
        }
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

/* ---- limits ---- */

/* Builds the batch of what was not refused. It has no token: a retry of the whole would not be the
 * same batch. */
NODISCARD static enum status keep_rest(struct api *api, const struct batch_header *h,
                                       struct bytes payload, const uint8_t *refused,
                                       struct bytes *out)
{
    struct record record;
    batch_builder_reset(&api->kept);
    for (uint32_t i = 0; payload.size > 0; i++) {
        enum status status = record_next(&payload, &record);
        if (status == STATUS_OK && (refused[i / 8] & 1U << i % 8) == 0) {
            status = batch_builder_add(&api->kept, &record);
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    struct bytes batch =
        batch_builder_finish(&api->kept, h->producer_id, h->producer_epoch, h->producer_seq);
    *out = batch;
    return STATUS_OK;
}

/* Judges the records of a limited put. THROTTLED: none may come; INVALID: not a batch that can be
 * judged. *batch becomes what may come. */
NODISCARD static enum status apply_limits(struct api *api, struct shard *shard,
                                          const struct api_limits *rates, struct pending_put *p,
                                          struct bytes *batch, struct limits_cost *out_cost)
{
    struct batch_header h;
    struct error error;
    enum status status = batch_decode(*batch, &h);
    if (status != STATUS_OK || h.count > LIMITS_RECORDS_MAX) {
        return STATUS_INVALID;
    }
    if (shard_has(shard, &h)) {
        return STATUS_OK; /* a retry takes nothing more */
    }
    struct bytes payload = bytes_of(batch->data + BATCH_HEADER_BYTES, h.payload_bytes);
    status = codec_open(&api->coder, &h, payload, &payload);
    if (status == STATUS_OK) {
        status = batch_check_records(&h, payload, &error);
    }
    if (status != STATUS_OK) {
        return status == STATUS_CORRUPT ? STATUS_INVALID : status;
    }
    p->put.checked = true;
    memset(p->refused, 0, sizeof(p->refused));
    p->refused_count = limits_judge(api->limits, rates, p->shard, net_now_ms(api->options.loop),
                                    payload, p->refused, out_cost);
    shard->counters.write_exceeded += p->refused_count;
    if (p->refused_count == h.count) {
        return STATUS_THROTTLED;
    }
    if (p->refused_count == 0) {
        return STATUS_OK;
    }
    p->put.checked = false; /* what is left is another batch */
    return keep_rest(api, &h, payload, p->refused, batch);
}

void api_put(struct api *api, struct session_call *call)
{
    Weir__Put *request = weir__put__unpack(NULL, call->body.size, call->body.data);
    if (request == NULL) {
        session_reply_error(call, STATUS_INVALID, NULL, "PUT: the message cannot be decoded");
        return;
    }
    uint64_t id = request->shard;
    bool limited = request->limited, encrypt = request->encrypt;
    bool keeps = request->keeps && call->local == NULL && call->caller.role == RPC_ROLE_BROKER;
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
    p->came_us = net_clock_us();
    p->put.done = put_done;
    p->put.encrypt = encrypt;
    p->put.checked = false;
    p->refused_count = 0;
    struct limits_cost cost = {0};
    const struct api_limits rates = api_limits_of(api, id);
    struct bytes batch = call->attachment;
    struct error error = {.text = "the shard's limit is reached, or the batch cannot be judged"};
    enum status status =
        limited && shard->open ? apply_limits(api, shard, &rates, p, &batch, &cost) : STATUS_OK;
    p->put.keeper = keeps && batch.data == call->attachment.data ? call->caller.id : 0;
    status = status == STATUS_OK ? shard_put(shard, batch, &p->put, &error) : status;
    if (status == STATUS_OK) {
        api_measure(api, p);
        limits_spend(api->limits, &rates, id, net_now_ms(api->options.loop), &cost);
    } else {
        recycle(p);
        api_refuse(api, call, id, status, error.text);
    }
}
