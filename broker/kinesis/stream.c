/* Which stream, shard or consumer a request is about, and how answers name them. */
#include <stdio.h>
#include <string.h>

#include "broker/kinesis/internal.h"

/* ---- names ---- */

void shard_id_text(uint32_t number, char out[SHARD_ID_BYTES])
{
    (void)snprintf(out, SHARD_ID_BYTES, "shardId-%012u", number);
}

bool shard_id_parse(struct bytes text, uint32_t *out)
{
    static const char prefix[] = "shardId-";
    size_t skip = sizeof(prefix) - 1;
    if (text.size <= skip || text.size > skip + 12 || memcmp(text.data, prefix, skip) != 0) {
        return false;
    }
    uint64_t number = 0;
    for (size_t i = skip; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
    return true;
}

const char *stream_state_text(Weir__StreamState state)
{
    switch ((int)state) {
    case WEIR__STREAM_STATE__STREAM_CREATING:
        return "CREATING";
    case WEIR__STREAM_STATE__STREAM_DELETING:
        return "DELETING";
    case WEIR__STREAM_STATE__STREAM_UPDATING:
        return "UPDATING";
    default:
        return "ACTIVE";
    }
}

/* Up to the next `end` character, which is dropped; all of it when there is none. */
static struct bytes cut(struct bytes *text, char end)
{
    const uint8_t *at = text->size == 0 ? NULL : memchr(text->data, end, text->size);
    size_t size = at == NULL ? text->size : (size_t)(at - text->data);
    struct bytes part = bytes_of(text->data, size);
    size_t skip = at == NULL ? size : size + 1;
    *text = bytes_of(text->data + skip, text->size - skip);
    return part;
}

bool arn_parse(struct bytes text, struct arn *out)
{
    struct arn arn = {0};
    struct bytes parts[5];
    for (int i = 0; i < 5; i++) {
        parts[i] = cut(&text, ':');
    }
    arn.account = parts[4];
    struct bytes kind = cut(&text, '/');
    if (!bytes_equal(kind, bytes_of_string("stream"))) {
        return false;
    }
    arn.stream = cut(&text, '/');
    if (text.size > 0) {
        kind = cut(&text, '/');
        arn.consumer = cut(&text, ':');
        if (!bytes_equal(kind, bytes_of_string("consumer")) || text.size == 0 || text.size > 18) {
            return false;
        }
        for (size_t i = 0; i < text.size; i++) {
            if (text.data[i] < '0' || text.data[i] > '9') {
                return false;
            }
            arn.consumer_created_s = arn.consumer_created_s * 10 + (uint64_t)(text.data[i] - '0');
        }
    }
    if (arn.stream.size == 0 || arn.stream.size > STREAM_NAME_MAX) {
        return false;
    }
    *out = arn;
    return true;
}

const char *stream_arn(struct request *r, const struct route_stream *stream)
{
    struct bytes text = arena_format(&r->arena, "arn:aws:kinesis:%s:%s:stream/%s",
                                     kinesis_region(r->k), kinesis_account(r->k), stream->name);
    return (const char *)text.data;
}

const char *consumer_arn(struct request *r, const struct route_stream *stream,
                         const Weir__Consumer *consumer)
{
    struct bytes text = arena_format(&r->arena, "arn:aws:kinesis:%s:%s:stream/%s/consumer/%s:%llu",
                                     kinesis_region(r->k), kinesis_account(r->k), stream->name,
                                     consumer->name, (unsigned long long)consumer->created_s);
    return (const char *)text.data;
}

/* ---- refusals ---- */

void refuse_not_found(struct request *r, struct bytes stream)
{
    answer_refuse(r, TEXT_STREAM_NOT_FOUND, PRINT_BYTES(stream), kinesis_account(r->k));
}

void refuse_throttled(struct request *r, uint64_t shard, const char *stream)
{
    char id[SHARD_ID_BYTES];
    shard_id_text((uint32_t)shard, id);
    answer_refuse(r, TEXT_THROTTLED, id, PRINT_BYTES(bytes_of_string(stream)),
                  kinesis_account(r->k));
}

/* ---- streams ---- */

static const struct route_stream *by_name(const struct request *r, struct bytes name)
{
    char text[STREAM_NAME_MAX + 1];
    if (name.size > STREAM_NAME_MAX) {
        return NULL;
    }
    memcpy(text, name.data, name.size);
    text[name.size] = '\0';
    return route_stream_by_name(r->k->options.route, text);
}

static const struct route_stream *by_id(const struct request *r, struct bytes id)
{
    const struct route *route = r->k->options.route;
    for (uint32_t i = 0; i < route_stream_count(route); i++) {
        const struct route_stream *s = route_stream_at(route, i);
        if (id.size > 0 && bytes_equal(id, bytes_of_string(s->attributes->stream_id))) {
            return s;
        }
    }
    return NULL;
}

/* Looks it up, after asking the controllers when it is not in the image. */
static const struct route_stream *find(struct request *r, struct bytes name)
{
    const struct route_stream *s = by_name(r, name);
    if (s == NULL && !request_refresh(r, name)) {
        refuse_not_found(r, name);
    }
    return s;
}

/* An ARN of our account. False: answered. */
static bool parse_own(struct request *r, struct bytes text, struct arn *out)
{
    if (!arn_parse(text, out)) {
        answer_refuse(r, EXCEPTION_INVALID_ARGUMENT, "%.*s is not the ARN of a stream or consumer.",
                      PRINT_BYTES(text));
        return false;
    }
    if (!bytes_equal(out->account, bytes_of_string(kinesis_account(r->k)))) {
        answer_refuse(r, EXCEPTION_RESOURCE_NOT_FOUND, "Stream %.*s under account %.*s not found.",
                      PRINT_BYTES(out->stream), PRINT_BYTES(out->account));
        return false;
    }
    return true;
}

const struct route_stream *request_stream(struct request *r)
{
    struct bytes name = value_bytes(r->input, "StreamName");
    struct bytes arn_text = value_bytes(r->input, "StreamARN");
    if (arn_text.size > 0) {
        struct arn arn;
        if (!parse_own(r, arn_text, &arn)) {
            return NULL;
        }
        if (arn.consumer.size > 0 || (name.size > 0 && !bytes_equal(name, arn.stream))) {
            answer_refuse(r, EXCEPTION_INVALID_ARGUMENT,
                          "StreamARN %.*s and StreamName %.*s do not name the same stream.",
                          PRINT_BYTES(arn_text), PRINT_BYTES(name));
            return NULL;
        }
        name = arn.stream;
    }
    if (name.size > 0) {
        return find(r, name);
    }
    const struct route_stream *s = by_id(r, value_bytes(r->input, "StreamId"));
    if (s == NULL) {
        answer_refuse(r, EXCEPTION_INVALID_ARGUMENT,
                      "Either StreamName or StreamARN should be provided.");
    }
    return s;
}

const struct route_stream *request_active_stream(struct request *r)
{
    const struct route_stream *s = request_stream(r);
    if (s == NULL || s->state == WEIR__STREAM_STATE__STREAM_ACTIVE ||
        s->state == WEIR__STREAM_STATE__STREAM_UPDATING) {
        return s;
    }
    answer_refuse(r, TEXT_STREAM_NOT_ACTIVE, PRINT_BYTES(bytes_of_string(s->name)),
                  kinesis_account(r->k), stream_state_text(s->state));
    return NULL;
}

const struct route_stream *request_data_stream(struct request *r)
{
    const struct route_stream *s = request_stream(r);
    if (s == NULL || s->state == WEIR__STREAM_STATE__STREAM_ACTIVE ||
        s->state == WEIR__STREAM_STATE__STREAM_UPDATING) {
        return s;
    }
    struct bytes name = bytes_of_string(s->name);
    if (s->state == WEIR__STREAM_STATE__STREAM_DELETING || !request_refresh(r, name)) {
        refuse_not_found(r, name);
    }
    return NULL;
}

/* ---- consumers ---- */

const Weir__Consumer *stream_consumer(const struct route_stream *stream, struct bytes name)
{
    const Weir__StreamAttributes *a = stream->attributes;
    for (size_t i = 0; i < a->n_consumers; i++) {
        if (bytes_equal(name, bytes_of_string(a->consumers[i]->name))) {
            return a->consumers[i];
        }
    }
    return NULL;
}

const struct route_stream *request_resource(struct request *r, struct bytes arn_text,
                                            const Weir__Consumer **out_consumer)
{
    struct arn arn;
    if (!parse_own(r, arn_text, &arn)) {
        return NULL;
    }
    const struct route_stream *s = find(r, arn.stream);
    if (s == NULL || arn.consumer.size == 0) {
        *out_consumer = NULL;
        return s;
    }
    const Weir__Consumer *c = stream_consumer(s, arn.consumer);
    if (c == NULL || c->created_s != arn.consumer_created_s) {
        if (!request_refresh(r, arn.stream)) {
            answer_refuse(r, EXCEPTION_RESOURCE_NOT_FOUND, "Consumer %.*s not found.",
                          PRINT_BYTES(arn_text));
        }
        return NULL;
    }
    *out_consumer = c;
    return s;
}

/* ---- shards ---- */

static const struct route_shard *shard_at(const struct route_stream *stream, uint32_t number)
{
    const struct route_shard *s = number < stream->shard_count ? &stream->shards[number] : NULL;
    return s == NULL || s->shard == 0 || s->waiting || s->phase == WEIR__SHARD_PHASE__SHARD_DELETED
               ? NULL
               : s;
}

const struct route_shard *request_shard(struct request *r, const struct route_stream *stream,
                                        struct bytes name)
{
    uint32_t number = 0;
    struct bytes of = bytes_of_string(stream->name);
    if (!shard_id_parse(name, &number)) {
        answer_refuse(r, TEXT_SHARD_NOT_PARSED, PRINT_BYTES(name), PRINT_BYTES(of),
                      kinesis_account(r->k));
        return NULL;
    }
    const struct route_shard *s = shard_at(stream, number);
    if (s == NULL && !request_refresh(r, of)) {
        char id[SHARD_ID_BYTES];
        shard_id_text(number, id);
        if (r->operation == API_SplitShard || r->operation == API_MergeShards) {
            answer_refuse(r, TEXT_SHARD_NOT_PARSED, PRINT_BYTES(bytes_of_string(id)),
                          PRINT_BYTES(of), kinesis_account(r->k));
        } else {
            answer_refuse(r, TEXT_SHARD_NOT_FOUND, id, PRINT_BYTES(of), kinesis_account(r->k));
        }
    }
    return s;
}

uint32_t open_shards(const struct route_stream *stream)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        count += stream->shards[i].shard != 0 && stream->shards[i].open;
    }
    return count;
}

void add_hash_range(struct request *r, struct value *to, const struct hash_range *range)
{
    char first[HASH_KEY_DECIMAL_BYTES], last[HASH_KEY_DECIMAL_BYTES];
    hash_key_to_decimal(range->first, first);
    hash_key_to_decimal(range->last, last);
    struct value *v = value_add_struct(&r->arena, to, "HashKeyRange");
    value_add_text(&r->arena, v, "StartingHashKey", first);
    value_add_text(&r->arena, v, "EndingHashKey", last);
}

void add_shard(struct request *r, struct value *list, const struct route_shard *shard)
{
    struct arena *arena = &r->arena;
    uint32_t number = (uint32_t)shard->shard;
    char id[SHARD_ID_BYTES], sequence[SEQNUM_DECIMAL_BYTES];
    struct value *v = value_add_struct(arena, list, NULL);
    shard_id_text(number, id);
    value_add_text(arena, v, "ShardId", id);
    static const char *const names[] = {"ParentShardId", "AdjacentParentShardId"};
    for (uint32_t i = 0; i < shard->parent_count && i < 2; i++) {
        shard_id_text(shard->parents[i], id);
        value_add_text(arena, v, names[i], id);
    }
    add_hash_range(r, v, &shard->range);
    struct value *range = value_add_struct(arena, v, "SequenceNumberRange");
    const struct seqnum first = {
        .created_s = shard->created_s, .shard_number = number, .record_s = shard->created_s};
    seqnum_to_decimal(&first, sequence);
    value_add_text(arena, range, "StartingSequenceNumber", sequence);
    if (shard->phase == WEIR__SHARD_PHASE__SHARD_SEALED) {
        const struct seqnum last =
            seqnum_closing(shard->created_s, number, shard->closed_ms / 1000);
        seqnum_to_decimal(&last, sequence);
        value_add_text(arena, range, "EndingSequenceNumber", sequence);
    }
}

void add_children(struct request *r, struct value *to, const struct route_stream *stream,
                  uint32_t parent)
{
    struct value *list = value_add_list(&r->arena, to, "ChildShards");
    for (const struct route_shard *child = route_next_child(stream, parent, NULL); child != NULL;
         child = route_next_child(stream, parent, child)) {
        struct value *v = value_add_struct(&r->arena, list, NULL);
        char id[SHARD_ID_BYTES];
        shard_id_text((uint32_t)child->shard, id);
        value_add_text(&r->arena, v, "ShardId", id);
        struct value *parents = value_add_list(&r->arena, v, "ParentShards");
        for (uint32_t i = 0; i < child->parent_count; i++) {
            shard_id_text(child->parents[i], id);
            value_add_text(&r->arena, parents, NULL, id);
        }
        add_hash_range(r, v, &child->range);
    }
}

/* ---- what all descriptions of a stream have ---- */

void add_monitoring(struct request *r, struct value *to, const char *name, uint32_t bits)
{
    static const char *const names[] = {"IncomingBytes",
                                        "IncomingRecords",
                                        "OutgoingBytes",
                                        "OutgoingRecords",
                                        "WriteProvisionedThroughputExceeded",
                                        "ReadProvisionedThroughputExceeded",
                                        "IteratorAgeMilliseconds"};
    struct value *list = value_add_list(&r->arena, to, name);
    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((bits & 1U << i) != 0) {
            value_add_text(&r->arena, list, NULL, names[i]);
        }
    }
}

void add_mode(struct request *r, struct value *to, const struct route_stream *stream)
{
    struct value *mode = value_add_struct(&r->arena, to, "StreamModeDetails");
    value_add_text(&r->arena, mode, "StreamMode",
                   stream->attributes->mode == WEIR__STREAM_MODE__STREAM_ON_DEMAND ? "ON_DEMAND"
                                                                                   : "PROVISIONED");
}

void add_common(struct request *r, struct value *to, const struct route_stream *stream)
{
    struct arena *arena = &r->arena;
    const Weir__StreamAttributes *a = stream->attributes;
    value_add_text(arena, to, "StreamName", stream->name);
    value_add_text(arena, to, "StreamARN", stream_arn(r, stream));
    value_add_text(arena, to, "StreamStatus", stream_state_text(stream->state));
    add_mode(r, to, stream);
    value_add_int(arena, to, "RetentionPeriodHours", stream->retention_hours);
    value_add_time(arena, to, "StreamCreationTimestamp", (int64_t)stream->created_ms);
    struct value *monitoring = value_add_list(arena, to, "EnhancedMonitoring");
    struct value *one = value_add_struct(arena, monitoring, NULL);
    add_monitoring(r, one, "ShardLevelMetrics", a->monitoring);
    value_add_text(arena, to, "EncryptionType", a->encrypted ? "KMS" : "NONE");
    if (a->encrypted) {
        value_add_text(arena, to, "KeyId", a->key_id);
    }
}
