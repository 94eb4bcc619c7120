/* Changes of streams and of the account: judged and made by the controllers. */
#include <string.h>

#include "broker/kinesis/change.h"

enum { SHARDS_DEFAULT = 4, SHARD_LIMIT = 20000, CREATION_MS = 1000 };

static char *text_of(struct request *r, struct bytes text)
{
    return (char *)(uintptr_t)arena_copy(&r->arena, text).data;
}

char *change_text(struct request *r, const char *name)
{
    struct bytes text = value_bytes(r->input, name);
    return text_of(r, text);
}

Weir__StreamControl *change_new(struct request *r, const struct route_stream *stream)
{
    Weir__StreamControl *c = arena_take(&r->arena, sizeof(*c));
    if (c == NULL) {
        return NULL;
    }
    weir__stream_control__init(c);
    if (stream != NULL) {
        c->name = text_of(r, bytes_of_string(stream->name));
        c->stream = stream->id;
    }
    c->request = control_request_id(r);
    return c;
}

void *change_part(struct request *r, size_t size)
{
    return arena_take(&r->arena, size);
}

static void made(struct request *r, const Weir__StreamReply *reply)
{
    (void)reply;
    answer_empty(r);
}

void change_send(struct request *r, const Weir__StreamControl *c,
                 void (*done)(struct request *r, const Weir__StreamReply *reply))
{
    if (r->arena.failed) {
        answer_status(r, STATUS_NO_MEMORY, NULL);
    } else {
        control_change(r, RPC_STREAM_CONTROL, &c->base, done == NULL ? made : done);
    }
}

/* ---- tags ---- */

size_t change_tags(struct request *r, const struct value *map, Weir__Tag ***out)
{
    size_t count = 0;
    Weir__Tag **tags = arena_take(&r->arena, (value_count(map) + 1) * sizeof(Weir__Tag *));
    VALUE_FOR_EACH(item, map)
    {
        Weir__Tag *tag = arena_take(&r->arena, sizeof(*tag));
        if (tags == NULL || tag == NULL) {
            return 0;
        }
        weir__tag__init(tag);
        tag->key = text_of(r, item->name);
        tag->value = text_of(r, value_own_bytes(item));
        tags[count++] = tag;
    }
    *out = tags;
    return count;
}

/* ---- CreateStream, DeleteStream ---- */

/* Creation takes a few milliseconds: a client that is told when it is over need not ask. */
static void created(struct request *r)
{
    const struct route_stream *s =
        route_stream_by_name(r->k->options.route, value_text(&r->arena, r->input, "StreamName"));
    uint64_t now_ms = request_now_ms(r), until_ms = r->deadline_ms - REQUEST_MS + CREATION_MS;
    if (s != NULL && s->state == WEIR__STREAM_STATE__STREAM_CREATING && now_ms < until_ms) {
        request_wait(r, route_version(r->k->options.route) + 1, until_ms - now_ms, created);
    } else {
        answer_empty(r);
    }
}

static void is_creating(struct request *r, const Weir__StreamReply *reply)
{
    (void)reply;
    created(r);
}

/* What no account may have at all; what this one may have besides, the controllers judge. True:
 * answered. */
static bool is_over_shard_limit(struct request *r, int64_t shards)
{
    uint32_t limit = route_settings(r->k->options.route)->shard_limit;
    limit = limit == 0 ? SHARD_LIMIT : limit;
    if (shards <= limit) {
        return false;
    }
    answer_refuse(r, TEXT_SHARD_LIMIT, kinesis_account(r->k), limit, 0U, (unsigned)shards);
    return true;
}

void handle_create_stream(struct request *r)
{
    Weir__CreateStream *c = arena_take(&r->arena, sizeof(*c));
    if (c == NULL) {
        answer_status(r, STATUS_NO_MEMORY, NULL);
        return;
    }
    weir__create_stream__init(c);
    bool on_demand = value_is(value_get(r->input, "StreamModeDetails"), "StreamMode", "ON_DEMAND");
    if (on_demand && value_has(r->input, "ShardCount")) {
        answer_refuse(r, EXCEPTION_VALIDATION,
                      "ShardCount must not be provided for a stream in ON_DEMAND mode.");
        return;
    }
    if (is_over_shard_limit(r, value_int(r->input, "ShardCount", 0))) {
        return;
    }
    c->name = change_text(r, "StreamName");
    c->shards = (uint32_t)value_int(r->input, "ShardCount", SHARDS_DEFAULT);
    c->request = control_request_id(r);
    c->limited = true;
    c->mode =
        on_demand ? WEIR__STREAM_MODE__STREAM_ON_DEMAND : WEIR__STREAM_MODE__STREAM_PROVISIONED;
    c->max_record_kib = (uint32_t)value_int(r->input, "MaxRecordSizeInKiB", 0);
    c->warm_mibps = (uint32_t)value_int(r->input, "WarmThroughputMiBps", 0);
    c->n_tags = change_tags(r, value_get(r->input, "Tags"), &c->tags);
    if (r->arena.failed) {
        answer_status(r, STATUS_NO_MEMORY, NULL);
    } else {
        control_change(r, RPC_CREATE_STREAM, &c->base, is_creating);
    }
}

void handle_delete_stream(struct request *r)
{
    const struct route_stream *stream = request_stream(r);
    if (stream == NULL) {
        return;
    }
    if (stream->state == WEIR__STREAM_STATE__STREAM_DELETING) {
        answer_empty(r);
        return;
    }
    Weir__StreamControl *c = change_new(r, stream);
    Weir__StreamControl__Delete *part = change_part(r, sizeof(*part));
    if (c != NULL && part != NULL) {
        weir__stream_control__delete__init(part);
        part->enforce_consumer_deletion = value_bool(r->input, "EnforceConsumerDeletion", false);
        c->kind_case = WEIR__STREAM_CONTROL__KIND_DELETE_STREAM;
        c->delete_stream = part;
    }
    change_send(r, c, NULL);
}

/* ---- retention ---- */

static void change_retention(struct request *r, Weir__StreamControl__Direction direction)
{
    const struct route_stream *stream = request_active_stream(r);
    if (stream == NULL) {
        return;
    }
    int64_t hours = value_int(r->input, "RetentionPeriodHours", 0);
    if (hours < 24) {
        answer_refuse(r, TEXT_RETENTION_TOO_SHORT, (long long)hours);
        return;
    }
    if (hours > 8760) {
        answer_refuse(r, TEXT_RETENTION_TOO_LONG, (long long)hours);
        return;
    }
    Weir__StreamControl *c = change_new(r, stream);
    Weir__StreamControl__Retention *part = change_part(r, sizeof(*part));
    if (c != NULL && part != NULL) {
        weir__stream_control__retention__init(part);
        part->hours = (uint32_t)hours;
        part->direction = direction;
        c->kind_case = WEIR__STREAM_CONTROL__KIND_RETENTION;
        c->retention = part;
    }
    change_send(r, c, NULL);
}

void handle_increase_stream_retention_period(struct request *r)
{
    change_retention(r, WEIR__STREAM_CONTROL__DIRECTION__INCREASE);
}

void handle_decrease_stream_retention_period(struct request *r)
{
    change_retention(r, WEIR__STREAM_CONTROL__DIRECTION__DECREASE);
}

/* ---- monitoring ---- */

static uint32_t metrics_of(const struct value *list)
{
    static const char *const names[] = {"IncomingBytes",
                                        "IncomingRecords",
                                        "OutgoingBytes",
                                        "OutgoingRecords",
                                        "WriteProvisionedThroughputExceeded",
                                        "ReadProvisionedThroughputExceeded",
                                        "IteratorAgeMilliseconds"};
    enum { NAMES = sizeof(names) / sizeof(names[0]) };
    uint32_t bits = 0;
    VALUE_FOR_EACH(item, list)
    {
        struct bytes name = value_own_bytes(item);
        if (bytes_equal(name, bytes_of_string("ALL"))) {
            bits |= (1U << NAMES) - 1;
        }
        for (uint32_t i = 0; i < NAMES; i++) {
            bits |= bytes_equal(name, bytes_of_string(names[i])) ? 1U << i : 0;
        }
    }
    return bits;
}

static void monitoring_changed(struct request *r, const Weir__StreamReply *reply)
{
    struct value *output = value_new(&r->arena, VALUE_STRUCT);
    const Weir__StreamInfo *info = reply->stream;
    uint32_t before = reply->before == NULL ? 0 : reply->before->monitoring;
    uint32_t after =
        info == NULL || info->attributes == NULL ? before : info->attributes->monitoring;
    if (info != NULL) {
        value_add_text(&r->arena, output, "StreamName", info->name);
        value_add_format(&r->arena, output, "StreamARN", "arn:aws:kinesis:%s:%s:stream/%s",
                         kinesis_region(r->k), kinesis_account(r->k), info->name);
    }
    add_monitoring(r, output, "CurrentShardLevelMetrics", before);
    add_monitoring(r, output, "DesiredShardLevelMetrics", after);
    answer(r, output);
}

static void change_monitoring(struct request *r, bool enable)
{
    const struct route_stream *stream = request_active_stream(r);
    if (stream == NULL) {
        return;
    }
    uint32_t bits = metrics_of(value_get(r->input, "ShardLevelMetrics"));
    Weir__StreamControl *c = change_new(r, stream);
    Weir__StreamControl__Monitoring *part = change_part(r, sizeof(*part));
    if (c != NULL && part != NULL) {
        weir__stream_control__monitoring__init(part);
        part->enable = enable ? bits : 0;
        part->disable = enable ? 0 : bits;
        c->kind_case = WEIR__STREAM_CONTROL__KIND_MONITORING;
        c->monitoring = part;
    }
    change_send(r, c, monitoring_changed);
}

void handle_enable_enhanced_monitoring(struct request *r)
{
    change_monitoring(r, true);
}

void handle_disable_enhanced_monitoring(struct request *r)
{
    change_monitoring(r, false);
}

/* ---- encryption ---- */

static void change_encryption(struct request *r, bool encrypt)
{
    const struct route_stream *stream = request_active_stream(r);
    if (stream == NULL) {
        return;
    }
    if (!value_is(r->input, "EncryptionType", "KMS")) {
        answer_refuse(r, EXCEPTION_INVALID_ARGUMENT, "EncryptionType must be KMS.");
        return;
    }
    Weir__StreamControl *c = change_new(r, stream);
    Weir__StreamControl__Encryption *part = change_part(r, sizeof(*part));
    if (c != NULL && part != NULL) {
        weir__stream_control__encryption__init(part);
        part->encrypt = encrypt;
        part->key_id = change_text(r, "KeyId");
        c->kind_case = WEIR__STREAM_CONTROL__KIND_ENCRYPTION;
        c->encryption = part;
    }
    change_send(r, c, NULL);
}

void handle_start_stream_encryption(struct request *r)
{
    change_encryption(r, true);
}

void handle_stop_stream_encryption(struct request *r)
{
    change_encryption(r, false);
}

/* ---- mode, sizes, throughput ---- */

void handle_update_stream_mode(struct request *r)
{
    const struct route_stream *stream = request_active_stream(r);
    if (stream == NULL) {
        return;
    }
    Weir__StreamControl *c = change_new(r, stream);
    Weir__StreamControl__Mode *part = change_part(r, sizeof(*part));
    if (c != NULL && part != NULL) {
        weir__stream_control__mode__init(part);
        part->mode = value_is(value_get(r->input, "StreamModeDetails"), "StreamMode", "ON_DEMAND")
                         ? WEIR__STREAM_MODE__STREAM_ON_DEMAND
                         : WEIR__STREAM_MODE__STREAM_PROVISIONED;
        part->has_warm = value_has(r->input, "WarmThroughputMiBps");
        part->warm_mibps = (uint32_t)value_int(r->input, "WarmThroughputMiBps", 0);
        c->kind_case = WEIR__STREAM_CONTROL__KIND_MODE;
        c->mode = part;
    }
    change_send(r, c, NULL);
}

void handle_update_max_record_size(struct request *r)
{
    const struct route_stream *stream = request_active_stream(r);
    if (stream == NULL) {
        return;
    }
    Weir__StreamControl *c = change_new(r, stream);
    Weir__StreamControl__MaxRecord *part = change_part(r, sizeof(*part));
    if (c != NULL && part != NULL) {
        weir__stream_control__max_record__init(part);
        part->kib = (uint32_t)value_int(r->input, "MaxRecordSizeInKiB", 0);
        c->kind_case = WEIR__STREAM_CONTROL__KIND_MAX_RECORD;
        c->max_record = part;
    }
    change_send(r, c, NULL);
}

static void warm_changed(struct request *r, const Weir__StreamReply *reply)
{
    struct value *output = value_new(&r->arena, VALUE_STRUCT);
    const Weir__StreamInfo *info = reply->stream;
    if (info != NULL) {
        value_add_text(&r->arena, output, "StreamName", info->name);
        value_add_format(&r->arena, output, "StreamARN", "arn:aws:kinesis:%s:%s:stream/%s",
                         kinesis_region(r->k), kinesis_account(r->k), info->name);
    }
    struct value *warm = value_add_struct(&r->arena, output, "WarmThroughput");
    value_add_int(&r->arena, warm, "TargetMiBps", value_int(r->input, "WarmThroughputMiBps", 0));
    value_add_int(&r->arena, warm, "CurrentMiBps",
                  reply->before == NULL ? 0 : reply->before->warm_mibps);
    answer(r, output);
}

void handle_update_stream_warm_throughput(struct request *r)
{
    const struct route_stream *stream = request_active_stream(r);
    if (stream == NULL) {
        return;
    }
    Weir__StreamControl *c = change_new(r, stream);
    Weir__StreamControl__Warm *part = change_part(r, sizeof(*part));
    if (c != NULL && part != NULL) {
        weir__stream_control__warm__init(part);
        part->mibps = (uint32_t)value_int(r->input, "WarmThroughputMiBps", 0);
        c->kind_case = WEIR__STREAM_CONTROL__KIND_WARM;
        c->warm = part;
    }
    change_send(r, c, warm_changed);
}

static void account_changed(struct request *r, const Weir__StreamReply *reply)
{
    (void)reply;
    struct value *output = value_new(&r->arena, VALUE_STRUCT);
    add_commitment(r, output);
    answer(r, output);
}

void handle_update_account_settings(struct request *r)
{
    Weir__StreamControl *c = change_new(r, NULL);
    Weir__StreamControl__Account *part = change_part(r, sizeof(*part));
    if (c != NULL && part != NULL) {
        weir__stream_control__account__init(part);
        part->commit = value_is(value_get(r->input, "MinimumThroughputBillingCommitment"), "Status",
                                "ENABLED");
        c->kind_case = WEIR__STREAM_CONTROL__KIND_ACCOUNT;
        c->account = part;
    }
    change_send(r, c, account_changed);
}
