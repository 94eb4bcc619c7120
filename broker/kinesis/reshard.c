/* SplitShard, MergeShards, UpdateShardCount: done by the controllers; here is checked what needs
 * the names that clients use. */
#include <string.h>

#include "broker/kinesis/internal.h"

static void made(struct request *r, const Weir__StreamReply *reply)
{
    (void)reply;
    answer_empty(r);
}

/* NULL: out of memory. */
static Weir__Reshard *reshard_new(struct request *r, const struct route_stream *stream)
{
    Weir__Reshard *m = arena_take(&r->arena, sizeof(*m));
    if (m != NULL) {
        weir__reshard__init(m);
        m->name = (char *)(uintptr_t)arena_copy(&r->arena, bytes_of_string(stream->name)).data;
        m->stream = stream->id;
        m->request = control_request_id(r);
        m->limited = true;
    }
    return m;
}

static void send(struct request *r, const Weir__Reshard *m,
                 void (*done)(struct request *r, const Weir__StreamReply *reply))
{
    if (r->arena.failed) {
        answer_status(r, STATUS_NO_MEMORY, NULL);
    } else {
        control_change(r, RPC_RESHARD, &m->base, done);
    }
}

/* A stream whose shards its owner counts. NULL: answered, or it goes on later. */
static const struct route_stream *find(struct request *r)
{
    const struct route_stream *stream = request_active_stream(r);
    if (stream != NULL && stream->state == WEIR__STREAM_STATE__STREAM_UPDATING) {
        answer_refuse(r, TEXT_STREAM_NOT_ACTIVE, PRINT_BYTES(bytes_of_string(stream->name)),
                      kinesis_account(r->k), stream_state_text(stream->state));
        return NULL;
    }
    if (stream != NULL && stream->attributes->mode == WEIR__STREAM_MODE__STREAM_ON_DEMAND) {
        answer_refuse(r, EXCEPTION_VALIDATION,
                      "Request is invalid. Stream %s under account %s is in On-Demand mode.",
                      stream->name, kinesis_account(r->k));
        return NULL;
    }
    return stream;
}

static bool is_open(struct request *r, const struct route_stream *stream,
                    const struct route_shard *shard)
{
    if (!shard->open) {
        char id[SHARD_ID_BYTES];
        shard_id_text((uint32_t)shard->shard, id);
        answer_refuse(r, TEXT_SHARD_NOT_OPEN, id, PRINT_BYTES(bytes_of_string(stream->name)),
                      kinesis_account(r->k));
    }
    return shard->open;
}

/* AWS wants each child to have at least two keys on the left: greater than first + 1. */
static bool is_inside(struct hash_range range, struct hash_key at)
{
    struct hash_key above = range.first;
    above.low++;
    above.high += above.low == 0;
    return hash_key_compare(at, above) > 0 && hash_key_compare(at, range.last) < 0;
}

void handle_split_shard(struct request *r)
{
    const struct route_stream *stream = find(r);
    const struct route_shard *shard =
        stream == NULL ? NULL : request_shard(r, stream, value_bytes(r->input, "ShardToSplit"));
    if (shard == NULL || !is_open(r, stream, shard)) {
        return;
    }
    const char *text = value_text(&r->arena, r->input, "NewStartingHashKey");
    struct hash_key at;
    if (text == NULL || hash_key_from_decimal(text, &at) != STATUS_OK ||
        !is_inside(shard->range, at)) {
        char id[SHARD_ID_BYTES], first[HASH_KEY_DECIMAL_BYTES], last[HASH_KEY_DECIMAL_BYTES];
        shard_id_text((uint32_t)shard->shard, id);
        hash_key_to_decimal(shard->range.first, first);
        hash_key_to_decimal(shard->range.last, last);
        answer_refuse(r, TEXT_SPLIT_POINT, PRINT_BYTES(value_bytes(r->input, "NewStartingHashKey")),
                      id, PRINT_BYTES(bytes_of_string(stream->name)), kinesis_account(r->k), first,
                      last);
        return;
    }
    Weir__Reshard *m = reshard_new(r, stream);
    Weir__Reshard__Split *part = arena_take(&r->arena, sizeof(*part));
    uint8_t *bytes = arena_take(&r->arena, HASH_KEY_BYTES);
    if (m != NULL && part != NULL && bytes != NULL) {
        weir__reshard__split__init(part);
        part->shard = (uint32_t)shard->shard;
        hash_key_to_bytes(at, bytes);
        part->at = (ProtobufCBinaryData){.len = HASH_KEY_BYTES, .data = bytes};
        m->kind_case = WEIR__RESHARD__KIND_SPLIT;
        m->split = part;
    }
    send(r, m, made);
}

void handle_merge_shards(struct request *r)
{
    const struct route_stream *stream = find(r);
    const struct route_shard *shard =
        stream == NULL ? NULL : request_shard(r, stream, value_bytes(r->input, "ShardToMerge"));
    const struct route_shard *with =
        shard == NULL ? NULL
                      : request_shard(r, stream, value_bytes(r->input, "AdjacentShardToMerge"));
    if (with == NULL || !is_open(r, stream, shard) || !is_open(r, stream, with)) {
        return;
    }
    struct hash_key next = shard->range.last;
    next.low++;
    next.high += next.low == 0;
    if (hash_key_compare(next, with->range.first) != 0 ||
        hash_key_compare(shard->range.last, with->range.first) > 0) {
        char a[SHARD_ID_BYTES], b[SHARD_ID_BYTES];
        shard_id_text((uint32_t)shard->shard, a);
        shard_id_text((uint32_t)with->shard, b);
        answer_refuse(r, TEXT_SHARDS_NOT_ADJACENT, a, b, PRINT_BYTES(bytes_of_string(stream->name)),
                      kinesis_account(r->k));
        return;
    }
    Weir__Reshard *m = reshard_new(r, stream);
    Weir__Reshard__Merge *part = arena_take(&r->arena, sizeof(*part));
    if (m != NULL && part != NULL) {
        weir__reshard__merge__init(part);
        part->shard = (uint32_t)shard->shard;
        part->with = (uint32_t)with->shard;
        m->kind_case = WEIR__RESHARD__KIND_MERGE;
        m->merge = part;
    }
    send(r, m, made);
}

struct counts {
    struct bytes name;
    uint32_t before;
};

static void counted(struct request *r, const Weir__StreamReply *reply)
{
    (void)reply;
    const struct counts *counts = r->state;
    struct value *output = value_new(&r->arena, VALUE_STRUCT);
    value_add_bytes(&r->arena, output, "StreamName", counts->name);
    value_add_format(&r->arena, output, "StreamARN", "arn:aws:kinesis:%s:%s:stream/%.*s",
                     kinesis_region(r->k), kinesis_account(r->k), PRINT_BYTES(counts->name));
    value_add_int(&r->arena, output, "CurrentShardCount", counts->before);
    value_add_int(&r->arena, output, "TargetShardCount",
                  value_int(r->input, "TargetShardCount", 0));
    answer(r, output);
}

void handle_update_shard_count(struct request *r)
{
    const struct route_stream *stream = find(r);
    if (stream == NULL) {
        return;
    }
    Weir__Reshard *m = reshard_new(r, stream);
    Weir__Reshard__Count *part = arena_take(&r->arena, sizeof(*part));
    struct counts *counts = arena_take(&r->arena, sizeof(*counts));
    if (m != NULL && part != NULL && counts != NULL) {
        weir__reshard__count__init(part);
        part->shards = (uint32_t)value_int(r->input, "TargetShardCount", 0);
        part->within_double = true;
        m->kind_case = WEIR__RESHARD__KIND_COUNT;
        m->count = part;
        counts->name = arena_copy(&r->arena, bytes_of_string(stream->name));
        counts->before = open_shards(stream);
        r->state = counts;
    }
    send(r, m, counted);
}
