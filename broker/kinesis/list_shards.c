/* ListShards: every filter, in pages. */
#include <string.h>

#include "broker/kinesis/internal.h"

enum { LIST_SHARDS_MAX = 1000, TOKEN_BYTES = 21 };

enum filter {
    FILTER_FROM_TRIM_HORIZON,
    FILTER_AT_TRIM_HORIZON,
    FILTER_AT_LATEST,
    FILTER_AT_TIMESTAMP,
    FILTER_FROM_TIMESTAMP,
    FILTER_AFTER_SHARD_ID,
    FILTERS,
};

struct listing {
    uint32_t stream;
    uint32_t first; /* number of the first shard that may be listed */
    enum filter filter;
    uint64_t at_ms;
};

static uint64_t trim_horizon_ms(const struct request *r, const struct route_stream *stream)
{
    uint64_t kept_ms = (uint64_t)stream->retention_hours * 3600 * 1000;
    uint64_t now_ms = request_wall_ms(r);
    return now_ms > kept_ms ? now_ms - kept_ms : 0;
}

bool shard_is_listed(const struct request *r, const struct route_stream *stream,
                     const struct route_shard *shard)
{
    if (shard->shard == 0 || shard->waiting || shard->phase == WEIR__SHARD_PHASE__SHARD_DELETED) {
        return false;
    }
    return shard->phase != WEIR__SHARD_PHASE__SHARD_SEALED ||
           shard->closed_ms >= trim_horizon_ms(r, stream);
}

/* When it began to take records: when the last of its parents was closed. */
static uint64_t opened_ms(const struct route_stream *stream, const struct route_shard *shard)
{
    uint64_t opened = shard->parent_count == 0 ? stream->created_ms : 0;
    for (uint32_t i = 0; i < shard->parent_count; i++) {
        uint32_t parent = shard->parents[i];
        uint64_t closed = parent < stream->shard_count ? stream->shards[parent].closed_ms : 0;
        opened = closed > opened ? closed : opened;
    }
    return opened;
}

static bool was_open(const struct route_stream *stream, const struct route_shard *shard,
                     uint64_t at_ms)
{
    return opened_ms(stream, shard) <= at_ms && (shard->open || shard->closed_ms > at_ms);
}

static bool matches(const struct request *r, const struct listing *listing,
                    const struct route_stream *stream, const struct route_shard *shard)
{
    uint64_t horizon_ms = trim_horizon_ms(r, stream);
    uint64_t at_ms = listing->filter == FILTER_AT_TRIM_HORIZON ? 0 : listing->at_ms;
    at_ms = at_ms > horizon_ms ? at_ms : horizon_ms;
    at_ms = at_ms > stream->created_ms ? at_ms : stream->created_ms;
    switch (listing->filter) {
    case FILTER_AT_LATEST:
        return shard->open;
    case FILTER_AT_TRIM_HORIZON:
    case FILTER_AT_TIMESTAMP:
        return was_open(stream, shard, at_ms);
    case FILTER_FROM_TIMESTAMP:
        return shard->open || shard->closed_ms > at_ms;
    case FILTER_FROM_TRIM_HORIZON:
    case FILTER_AFTER_SHARD_ID:
    case FILTERS:
        break;
    }
    return true;
}

/* ---- tokens ---- */

static bool from_token(struct request *r, struct bytes text, struct listing *out)
{
    static const char *const excluded[] = {"StreamName", "StreamARN", "ExclusiveStartShardId",
                                           "StreamCreationTimestamp", "ShardFilter"};
    for (size_t i = 0; i < sizeof(excluded) / sizeof(excluded[0]); i++) {
        if (value_has(r->input, excluded[i])) {
            answer_refuse(r, EXCEPTION_INVALID_ARGUMENT,
                          "NextToken and %s cannot be provided together.", excluded[i]);
            return false;
        }
    }
    struct bytes payload;
    if (!request_token(r, "ListShards", text, &payload)) {
        return false;
    }
    struct reader reader = reader_of(payload);
    out->stream = reader_u32(&reader);
    out->first = reader_u32(&reader);
    uint8_t filter = reader_u8(&reader);
    out->at_ms = reader_u64(&reader);
    out->filter = filter < FILTERS ? (enum filter)filter : FILTER_FROM_TRIM_HORIZON;
    if (reader.failed) {
        answer_refuse(r, EXCEPTION_INVALID_ARGUMENT, "Invalid NextToken.");
    }
    return !reader.failed;
}

static bool add_next(struct request *r, struct value *output, const struct listing *listing)
{
    uint8_t payload[TOKEN_BYTES] = {0};
    put_u32(payload, listing->stream);
    put_u32(payload + 4, listing->first);
    payload[8] = (uint8_t)listing->filter;
    put_u64(payload + 9, listing->at_ms);
    return add_token(r, output, "ListShards", bytes_of(payload, sizeof(payload)));
}

/* ---- the request ---- */

static const char *const filter_names[FILTERS] = {
    "FROM_TRIM_HORIZON", "AT_TRIM_HORIZON", "AT_LATEST",
    "AT_TIMESTAMP",      "FROM_TIMESTAMP",  "AFTER_SHARD_ID",
};

/* The number behind a shard's. False: answered. */
static bool number_after(struct request *r, const struct route_stream *stream, struct bytes id,
                         uint32_t *out)
{
    uint32_t number;
    if (!shard_id_parse(id, &number)) {
        answer_refuse(r, TEXT_SHARD_NOT_PARSED, PRINT_BYTES(id),
                      PRINT_BYTES(bytes_of_string(stream->name)), kinesis_account(r->k));
        return false;
    }
    number += number != UINT32_MAX;
    *out = number > *out ? number : *out;
    return true;
}

/* False: answered. */
static bool take_filter(struct request *r, const struct route_stream *stream, struct listing *out)
{
    const struct value *filter = value_get(r->input, "ShardFilter");
    if (filter == NULL) {
        return true;
    }
    for (uint32_t i = 0; i < FILTERS; i++) {
        if (value_is(filter, "Type", filter_names[i])) {
            out->filter = (enum filter)i;
        }
    }
    if (out->filter == FILTER_AFTER_SHARD_ID) {
        if (!value_has(filter, "ShardId")) {
            answer_refuse(r, EXCEPTION_INVALID_ARGUMENT,
                          "ShardId must be provided when ShardFilter type is AFTER_SHARD_ID.");
            return false;
        }
        return number_after(r, stream, value_bytes(filter, "ShardId"), &out->first);
    }
    if (out->filter != FILTER_AT_TIMESTAMP && out->filter != FILTER_FROM_TIMESTAMP) {
        return true;
    }
    const struct value *timestamp = value_get(filter, "Timestamp");
    if (timestamp == NULL) {
        answer_refuse(r, EXCEPTION_INVALID_ARGUMENT,
                      "Timestamp must be provided when ShardFilter type is %s.",
                      filter_names[out->filter]);
        return false;
    }
    if (timestamp->number > (int64_t)request_wall_ms(r) ||
        (out->filter == FILTER_AT_TIMESTAMP &&
         timestamp->number / 1000 < (int64_t)stream->created_ms / 1000)) {
        answer_refuse(r, EXCEPTION_INVALID_ARGUMENT,
                      "The Timestamp of the ShardFilter lies before the creation of the stream or "
                      "in the future.");
        return false;
    }
    out->at_ms = timestamp->number < 0 ? 0 : (uint64_t)timestamp->number;
    return true;
}

/* NULL: answered, or it goes on later. */
static const struct route_stream *begin(struct request *r, struct listing *listing)
{
    struct bytes token = value_bytes(r->input, "NextToken");
    if (token.size > 0) {
        if (!from_token(r, token, listing)) {
            return NULL;
        }
        const struct route_stream *of = route_stream(r->k->options.route, listing->stream);
        if (of == NULL) {
            refuse_not_found(r, bytes_of_string(""));
        }
        return of;
    }
    const struct route_stream *stream = request_active_stream(r);
    if (stream == NULL) {
        return NULL;
    }
    const struct value *created = value_get(r->input, "StreamCreationTimestamp");
    if (created != NULL && created->number / 1000 != (int64_t)stream->created_ms / 1000) {
        refuse_not_found(r, bytes_of_string(stream->name));
        return NULL;
    }
    listing->stream = stream->id;
    struct bytes after = value_bytes(r->input, "ExclusiveStartShardId");
    if ((after.size > 0 && !number_after(r, stream, after, &listing->first)) ||
        !take_filter(r, stream, listing)) {
        return NULL;
    }
    return stream;
}

void handle_list_shards(struct request *r)
{
    struct listing listing = {.filter = FILTER_FROM_TRIM_HORIZON};
    const struct route_stream *stream = begin(r, &listing);
    if (stream == NULL) {
        return;
    }
    int64_t left = value_int(r->input, "MaxResults", LIST_SHARDS_MAX);
    left = left < LIST_SHARDS_MAX ? left : LIST_SHARDS_MAX;
    struct value *output = value_new(&r->arena, VALUE_STRUCT);
    struct value *list = value_add_list(&r->arena, output, "Shards");
    for (uint32_t i = listing.first; i < stream->shard_count; i++) {
        const struct route_shard *shard = &stream->shards[i];
        if (!shard_is_listed(r, stream, shard) || !matches(r, &listing, stream, shard)) {
            continue;
        }
        if (left == 0) {
            listing.first = i;
            if (!add_next(r, output, &listing)) {
                return;
            }
            break;
        }
        add_shard(r, list, shard);
        left--;
    }
    answer(r, output);
}
