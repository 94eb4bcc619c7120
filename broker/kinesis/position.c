/* Where reading begins: GetShardIterator, and the starting positions of subscriptions. */
#include <stdio.h>
#include <string.h>

#include "broker/kinesis/internal.h"

static bool is_type(const struct position *p, const char *type)
{
    return strcmp(p->type, type) == 0;
}

/* ---- sequence numbers ---- */

static void from_sequence(struct request *r, struct position *p, const struct route_shard *shard)
{
    char text[130 + 1], id[SHARD_ID_BYTES], other[SHARD_ID_BYTES];
    struct seqnum seqnum;
    shard_id_text((uint32_t)shard->shard, id);
    bool good = p->sequence.size < sizeof(text);
    if (good) {
        memcpy(text, p->sequence.data, p->sequence.size);
        text[p->sequence.size] = '\0';
        good = seqnum_from_decimal(text, &seqnum) == STATUS_OK;
    }
    if (good && seqnum.shard_number != (uint32_t)shard->shard) {
        shard_id_text(seqnum.shard_number, other);
        answer_refuse(r, TEXT_SEQUENCE_OF_OTHER_SHARD, other, id);
        return;
    }
    if (!good || seqnum.created_s != shard->created_s) {
        answer_refuse(r, TEXT_SEQUENCE_OF_OTHER_STREAM, PRINT_BYTES(p->sequence),
                      api_operations[r->operation].name, id,
                      PRINT_BYTES(bytes_of_string(p->stream)), kinesis_account(r->k));
        return;
    }
    uint64_t at = seqnum.offset + (is_type(p, "AFTER_SEQUENCE_NUMBER") ? 1 : 0);
    if (shard->final_offset != 0 && at > shard->final_offset) {
        at = shard->final_offset; /* the number with which a closed shard ends */
    }
    p->done(r, ITERATOR_OFFSET, at);
}

/* ---- what only the leader knows ---- */

static void resolved(struct reach *reach, const struct reach_reply *reply)
{
    struct request *r = reach->r;
    struct position *p = reach->owner;
    if (reply->status != STATUS_OK) {
        answer_status(r, reply->status, reply->status == STATUS_NOT_FOUND ? reply->text : NULL);
        return;
    }
    Weir__Position *at = weir__position__unpack(NULL, reply->body.size, reply->body.data);
    if (at == NULL) {
        answer_status(r, STATUS_INTERNAL, "a broker's reply cannot be read");
        return;
    }
    uint64_t offset = at->offset;
    weir__position__free_unpacked(at, NULL);
    p->done(r, ITERATOR_OFFSET, offset);
}

static void ask(struct request *r, struct position *p, Weir__PositionType type, uint64_t time_ms)
{
    Weir__Resolve *message = arena_take(&r->arena, sizeof(*message));
    struct reach *reach = arena_take(&r->arena, sizeof(*reach));
    if (message == NULL || reach == NULL) {
        answer_status(r, STATUS_NO_MEMORY, NULL);
        return;
    }
    weir__resolve__init(message);
    message->shard = p->shard;
    message->type = type;
    message->timestamp_ms = time_ms;
    *reach = (struct reach){
        .r = r, .shard = p->shard, .method = RPC_RESOLVE, .done = resolved, .owner = p};
    reach_start(reach, &message->base, (struct bytes){0});
}

static void from_timestamp(struct request *r, struct position *p, const struct route_shard *shard)
{
    int64_t now_ms = (int64_t)request_wall_ms(r);
    if (p->timestamp == NULL) {
        answer_refuse(r, TEXT_ITERATOR_NO_TIMESTAMP);
        return;
    }
    int64_t at_ms = p->timestamp->number;
    if (at_ms > now_ms) {
        answer_refuse(r, TEXT_ITERATOR_FUTURE, (long long)at_ms, (long long)now_ms);
    } else if (shard->closed_ms != 0 && at_ms > (int64_t)shard->closed_ms) {
        p->done(r, ITERATOR_OFFSET, shard->final_offset);
    } else if (at_ms <= 0) {
        p->done(r, ITERATOR_TRIM_HORIZON, 0);
    } else {
        ask(r, p, WEIR__POSITION_TYPE__POSITION_AT_TIMESTAMP, (uint64_t)at_ms);
    }
}

void position_resolve(struct request *r, struct position *p, const struct route_shard *shard)
{
    bool by_number = is_type(p, "AT_SEQUENCE_NUMBER") || is_type(p, "AFTER_SEQUENCE_NUMBER");
    bool by_time = is_type(p, "AT_TIMESTAMP");
    p->shard = shard->shard;
    if (!by_time && by_number != (p->sequence.size > 0)) {
        answer_refuse(r, TEXT_ITERATOR_NUMBER, p->type,
                      by_number ? "no StartingSequenceNumber" : "also a StartingSequenceNumber");
    } else if (by_number) {
        from_sequence(r, p, shard);
    } else if (by_time) {
        from_timestamp(r, p, shard);
    } else if (is_type(p, "TRIM_HORIZON")) {
        p->done(r, ITERATOR_TRIM_HORIZON, 0);
    } else if (shard->phase == WEIR__SHARD_PHASE__SHARD_SEALED) {
        p->done(r, ITERATOR_OFFSET, shard->final_offset);
    } else {
        ask(r, p, WEIR__POSITION_TYPE__POSITION_LATEST, 0);
    }
}

/* ---- GetShardIterator ---- */

static void give_iterator(struct request *r, enum iterator_position position, uint64_t at)
{
    const struct position *p = r->state;
    const struct token_keys *keys = r->k->options.token_keys(r->k->options.context);
    const struct iterator iterator = {.stream = (uint32_t)(p->shard >> 32),
                                      .shard = (uint32_t)p->shard,
                                      .position = position,
                                      .at = at,
                                      .issued_ms = request_wall_ms(r)};
    char text[ITERATOR_TEXT_BYTES];
    enum status status = keys == NULL ? STATUS_UNAVAILABLE : iterator_seal(keys, &iterator, text);
    if (status != STATUS_OK) {
        answer_status(r, status, NULL);
        return;
    }
    struct value *output = value_new(&r->arena, VALUE_STRUCT);
    value_add_text(&r->arena, output, "ShardIterator", text);
    answer(r, output);
}

void handle_get_shard_iterator(struct request *r)
{
    const struct route_stream *stream = request_data_stream(r);
    const struct route_shard *shard =
        stream == NULL ? NULL : request_shard(r, stream, value_bytes(r->input, "ShardId"));
    if (shard == NULL) {
        return;
    }
    struct position *p = arena_take(&r->arena, sizeof(*p));
    if (p == NULL) {
        answer_status(r, STATUS_NO_MEMORY, NULL);
        return;
    }
    if (value_bool(r->input, "DryRun", false)) {
        answer_refuse(r, EXCEPTION_DRY_RUN, "The request would have succeeded.");
        return;
    }
    if (!api_may_iterate(r->k->options.api, shard->shard)) {
        refuse_throttled(r, shard->shard, stream->name);
        return;
    }
    (void)snprintf(p->stream, sizeof(p->stream), "%s", stream->name);
    p->type = value_text(&r->arena, r->input, "ShardIteratorType");
    p->sequence = value_bytes(r->input, "StartingSequenceNumber");
    p->timestamp = value_get(r->input, "Timestamp");
    p->done = give_iterator;
    r->state = p;
    position_resolve(r, p, shard);
}
