/* What there is: streams, limits, settings. From the image, which this broker has in memory. */
#include <stdlib.h>
#include <string.h>

#include "broker/kinesis/internal.h"

enum {
    DESCRIBE_SHARDS_MAX = 100,
    LIST_STREAMS_MAX = 100,
    SHARD_LIMIT = 20000,
    ON_DEMAND_LIMIT = 50,
    LIMIT_SHOWN_MAX = 1000000,
    TOKEN_LIFE_MS = 300 * 1000,
    DAY_MS = 24 * 60 * 60 * 1000,
};

/* ---- DescribeStream ---- */

void handle_describe_stream(struct request *r)
{
    const struct route_stream *stream = request_stream(r);
    if (stream == NULL) {
        return;
    }
    struct bytes after = value_bytes(r->input, "ExclusiveStartShardId");
    uint32_t first = 0;
    if (after.size > 0) {
        if (!shard_id_parse(after, &first)) {
            answer_refuse(r, TEXT_SHARD_NOT_PARSED, PRINT_BYTES(after),
                          PRINT_BYTES(bytes_of_string(stream->name)), kinesis_account(r->k));
            return;
        }
        first += first != UINT32_MAX;
    }
    int64_t limit = value_int(r->input, "Limit", DESCRIBE_SHARDS_MAX);
    limit = limit < DESCRIBE_SHARDS_MAX ? limit : DESCRIBE_SHARDS_MAX;
    struct value *output = value_new(&r->arena, VALUE_STRUCT);
    struct value *d = value_add_struct(&r->arena, output, "StreamDescription");
    add_common(r, d, stream);
    struct value *list = value_add_list(&r->arena, d, "Shards");
    bool more = false;
    if (stream->state == WEIR__STREAM_STATE__STREAM_ACTIVE ||
        stream->state == WEIR__STREAM_STATE__STREAM_UPDATING) {
        for (uint32_t i = first; i < stream->shard_count && !more; i++) {
            if (!shard_is_listed(r, stream, &stream->shards[i])) {
                continue;
            }
            more = limit == 0;
            if (!more) {
                add_shard(r, list, &stream->shards[i]);
                limit--;
            }
        }
    }
    value_add_bool(&r->arena, d, "HasMoreShards", more);
    answer(r, output);
}

void handle_describe_stream_summary(struct request *r)
{
    const struct route_stream *stream = request_stream(r);
    if (stream == NULL) {
        return;
    }
    struct arena *arena = &r->arena;
    const Weir__StreamAttributes *a = stream->attributes;
    struct value *output = value_new(arena, VALUE_STRUCT);
    struct value *d = value_add_struct(arena, output, "StreamDescriptionSummary");
    add_common(r, d, stream);
    if (a->stream_id[0] != '\0') {
        value_add_text(arena, d, "StreamId", a->stream_id);
    }
    value_add_int(arena, d, "OpenShardCount", open_shards(stream));
    value_add_int(arena, d, "ConsumerCount", (int64_t)a->n_consumers);
    if (a->warm_mibps > 0) {
        struct value *warm = value_add_struct(arena, d, "WarmThroughput");
        value_add_int(arena, warm, "TargetMiBps", a->warm_mibps);
        value_add_int(arena, warm, "CurrentMiBps", a->warm_mibps);
    }
    value_add_int(arena, d, "MaxRecordSizeInKiB",
                  a->max_record_kib == 0 ? 1024 : a->max_record_kib);
    answer(r, output);
}

/* ---- ListStreams ---- */

static int by_name(const void *a, const void *b)
{
    const struct route_stream *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* False: answered. */
static bool start_of_list(struct request *r, struct bytes *out_after)
{
    struct bytes token = value_bytes(r->input, "NextToken");
    *out_after = value_bytes(r->input, "ExclusiveStartStreamName");
    if (token.size == 0) {
        return true;
    }
    if (out_after->size > 0) {
        answer_refuse(r, EXCEPTION_INVALID_ARGUMENT,
                      "NextToken and ExclusiveStartStreamName cannot be provided together.");
        return false;
    }
    return request_token(r, "ListStreams", token, out_after);
}

void handle_list_streams(struct request *r)
{
    const struct route *route = r->k->options.route;
    struct bytes after;
    uint32_t count = route_stream_count(route), shown = 0;
    if (!start_of_list(r, &after)) {
        return;
    }
    const struct route_stream **streams =
        arena_take(&r->arena, (count + 1) * sizeof(struct route_stream *));
    if (streams == NULL) {
        answer_status(r, STATUS_NO_MEMORY, NULL);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        streams[i] = route_stream_at(route, i);
    }
    qsort(streams, count, sizeof(*streams), by_name);
    int64_t limit = value_int(r->input, "Limit", LIST_STREAMS_MAX);
    limit = limit < LIST_STREAMS_MAX ? limit : LIST_STREAMS_MAX;
    const char *after_text = (const char *)arena_copy(&r->arena, after).data;
    struct value *output = value_new(&r->arena, VALUE_STRUCT);
    struct value *names = value_add_list(&r->arena, output, "StreamNames");
    struct value *summaries = value_add_list(&r->arena, output, "StreamSummaries");
    const struct route_stream *last = NULL;
    bool more = false;
    for (uint32_t i = 0; i < count && !more; i++) {
        const struct route_stream *s = streams[i];
        if (after_text != NULL && after.size > 0 && strcmp(s->name, after_text) <= 0) {
            continue;
        }
        more = shown == limit;
        if (!more) {
            value_add_text(&r->arena, names, NULL, s->name);
            struct value *v = value_add_struct(&r->arena, summaries, NULL);
            value_add_text(&r->arena, v, "StreamName", s->name);
            value_add_text(&r->arena, v, "StreamARN", stream_arn(r, s));
            value_add_text(&r->arena, v, "StreamStatus", stream_state_text(s->state));
            add_mode(r, v, s);
            value_add_time(&r->arena, v, "StreamCreationTimestamp", (int64_t)s->created_ms);
            last = s;
            shown++;
        }
    }
    value_add_bool(&r->arena, output, "HasMoreStreams", more);
    if (more && last != NULL && !add_token(r, output, "ListStreams", bytes_of_string(last->name))) {
        return;
    }
    answer(r, output);
}

/* ---- tokens ---- */

bool request_token(struct request *r, const char *purpose, struct bytes text, struct bytes *out)
{
    const struct token_keys *keys = r->k->options.token_keys(r->k->options.context);
    uint8_t *payload = arena_take_bytes(&r->arena, TOKEN_PAYLOAD_MAX);
    size_t size = 0;
    enum status status = keys == NULL || payload == NULL ? STATUS_UNAVAILABLE : STATUS_OK;
    if (status == STATUS_OK) {
        status = token_open(keys, purpose, text, request_wall_ms(r), TOKEN_LIFE_MS, payload, &size);
    }
    if (status == STATUS_EXPIRED) {
        answer_refuse(r, EXCEPTION_EXPIRED_NEXT_TOKEN, "The NextToken has expired.");
    } else if (status == STATUS_INVALID) {
        answer_refuse(r, EXCEPTION_INVALID_ARGUMENT, "Invalid NextToken.");
    } else if (status != STATUS_OK) {
        answer_status(r, status, NULL);
    } else {
        *out = bytes_of(payload, size);
    }
    return status == STATUS_OK;
}

bool add_token(struct request *r, struct value *to, const char *purpose, struct bytes payload)
{
    const struct token_keys *keys = r->k->options.token_keys(r->k->options.context);
    char *text = arena_take(&r->arena, TOKEN_TEXT_BYTES);
    enum status status = keys == NULL || text == NULL
                             ? STATUS_UNAVAILABLE
                             : token_seal(keys, purpose, request_wall_ms(r), payload, text);
    if (status != STATUS_OK) {
        answer_status(r, status, NULL);
        return false;
    }
    value_add_text(&r->arena, to, "NextToken", text);
    return true;
}

/* ---- the account ---- */

static int64_t limit_shown(uint32_t limit, uint32_t otherwise)
{
    uint32_t value = limit == 0 ? otherwise : limit;
    return value < LIMIT_SHOWN_MAX ? value : LIMIT_SHOWN_MAX;
}

void handle_describe_limits(struct request *r)
{
    const struct route *route = r->k->options.route;
    const Weir__ClusterSettings *settings = route_settings(route);
    int64_t shards = 0, on_demand = 0;
    for (uint32_t i = 0; i < route_stream_count(route); i++) {
        const struct route_stream *s = route_stream_at(route, i);
        if (s->state == WEIR__STREAM_STATE__STREAM_DELETING) {
            continue;
        }
        if (s->attributes->mode == WEIR__STREAM_MODE__STREAM_ON_DEMAND) {
            on_demand++;
        } else {
            shards += open_shards(s);
        }
    }
    struct value *output = value_new(&r->arena, VALUE_STRUCT);
    value_add_int(&r->arena, output, "ShardLimit", limit_shown(settings->shard_limit, SHARD_LIMIT));
    value_add_int(&r->arena, output, "OpenShardCount", shards);
    value_add_int(&r->arena, output, "OnDemandStreamCount", on_demand);
    value_add_int(&r->arena, output, "OnDemandStreamCountLimit",
                  limit_shown(settings->on_demand_stream_limit, ON_DEMAND_LIMIT));
    answer(r, output);
}

void add_commitment(struct request *r, struct value *output)
{
    const Weir__ClusterSettings *settings = route_settings(r->k->options.route);
    struct value *v = value_add_struct(&r->arena, output, "MinimumThroughputBillingCommitment");
    bool off = settings->commitment == WEIR__COMMITMENT__COMMITMENT_DISABLED;
    value_add_text(&r->arena, v, "Status",
                   off ? "DISABLED"
                   : settings->commitment == WEIR__COMMITMENT__COMMITMENT_ENABLED
                       ? "ENABLED"
                       : "ENABLED_UNTIL_EARLIEST_ALLOWED_END");
    if (settings->commitment_started_ms != 0) {
        value_add_time(&r->arena, v, "StartedAt", (int64_t)settings->commitment_started_ms);
        if (!off) {
            value_add_time(&r->arena, v, "EarliestAllowedEndAt",
                           (int64_t)settings->commitment_started_ms + DAY_MS);
        }
    }
    if (settings->commitment_ended_ms != 0) {
        value_add_time(&r->arena, v, "EndedAt", (int64_t)settings->commitment_ended_ms);
    }
}

void handle_describe_account_settings(struct request *r)
{
    struct value *output = value_new(&r->arena, VALUE_STRUCT);
    add_commitment(r, output);
    answer(r, output);
}
