/* Registered consumers. */
#include <string.h>

#include "broker/kinesis/change.h"

enum { CONSUMERS_SHOWN_MAX = 100 };

static const char *state_text(Weir__ConsumerState state)
{
    return state == WEIR__CONSUMER_STATE__CONSUMER_CREATING   ? "CREATING"
           : state == WEIR__CONSUMER_STATE__CONSUMER_DELETING ? "DELETING"
                                                              : "ACTIVE";
}

static void add_consumer(struct request *r, struct value *v, const char *stream_name,
                         const Weir__Consumer *consumer)
{
    struct arena *arena = &r->arena;
    value_add_text(arena, v, "ConsumerName", consumer->name);
    value_add_format(arena, v, "ConsumerARN", "arn:aws:kinesis:%s:%s:stream/%s/consumer/%s:%llu",
                     kinesis_region(r->k), kinesis_account(r->k), stream_name, consumer->name,
                     (unsigned long long)consumer->created_s);
    value_add_text(arena, v, "ConsumerStatus", state_text(consumer->state));
    value_add_time(arena, v, "ConsumerCreationTimestamp", (int64_t)consumer->created_s * 1000);
}

/* ---- RegisterStreamConsumer ---- */

static void registered(struct request *r, const Weir__StreamReply *reply)
{
    if (reply->consumer == NULL || reply->stream == NULL) {
        answer_status(r, STATUS_INTERNAL, "the controllers' reply names no consumer");
        return;
    }
    struct value *output = value_new(&r->arena, VALUE_STRUCT);
    struct value *v = value_add_struct(&r->arena, output, "Consumer");
    add_consumer(r, v, reply->stream->name, reply->consumer);
    answer(r, output);
}

void handle_register_stream_consumer(struct request *r)
{
    const struct route_stream *stream = request_active_stream(r);
    if (stream == NULL) {
        return;
    }
    Weir__StreamControl *c = change_new(r, stream);
    Weir__StreamControl__Register *part = change_part(r, sizeof(*part));
    if (c != NULL && part != NULL) {
        weir__stream_control__register__init(part);
        part->consumer = change_text(r, "ConsumerName");
        part->n_tags = change_tags(r, value_get(r->input, "Tags"), &part->tags);
        c->kind_case = WEIR__STREAM_CONTROL__KIND_REGISTER_CONSUMER;
        c->register_consumer = part;
    }
    change_send(r, c, registered);
}

/* ---- one consumer ---- */

/* By ConsumerARN, or by StreamARN and ConsumerName; both must agree. NULL: answered, or it goes on
 * later. */
static const struct route_stream *find(struct request *r, const Weir__Consumer **out_consumer)
{
    struct bytes arn = value_bytes(r->input, "ConsumerARN");
    struct bytes name = value_bytes(r->input, "ConsumerName");
    if (arn.size == 0 && (!value_has(r->input, "StreamARN") || name.size == 0)) {
        answer_refuse(r, EXCEPTION_INVALID_ARGUMENT,
                      "Either ConsumerARN, or both StreamARN and ConsumerName must be provided.");
        return NULL;
    }
    const Weir__Consumer *consumer = NULL;
    const struct route_stream *stream =
        arn.size > 0 ? request_resource(r, arn, &consumer) : request_stream(r);
    if (stream == NULL) {
        return NULL;
    }
    if (arn.size == 0) {
        consumer = stream_consumer(stream, name);
        if (consumer == NULL) {
            if (!request_refresh(r, bytes_of_string(stream->name))) {
                answer_refuse(r, EXCEPTION_RESOURCE_NOT_FOUND,
                              "Consumer %.*s of stream %s under account %s not found.",
                              PRINT_BYTES(name), stream->name, kinesis_account(r->k));
            }
            return NULL;
        }
    } else if (consumer == NULL ||
               (name.size > 0 && !bytes_equal(name, bytes_of_string(consumer->name)))) {
        answer_refuse(r, EXCEPTION_INVALID_ARGUMENT, "%.*s is not the ARN of the consumer %.*s.",
                      PRINT_BYTES(arn), PRINT_BYTES(name));
        return NULL;
    }
    *out_consumer = consumer;
    return stream;
}

void handle_describe_stream_consumer(struct request *r)
{
    const Weir__Consumer *consumer = NULL;
    const struct route_stream *stream = find(r, &consumer);
    if (stream != NULL) {
        struct value *output = value_new(&r->arena, VALUE_STRUCT);
        struct value *v = value_add_struct(&r->arena, output, "ConsumerDescription");
        add_consumer(r, v, stream->name, consumer);
        value_add_text(&r->arena, v, "StreamARN", stream_arn(r, stream));
        answer(r, output);
    }
}

void handle_deregister_stream_consumer(struct request *r)
{
    const Weir__Consumer *consumer = NULL;
    const struct route_stream *stream = find(r, &consumer);
    if (stream == NULL) {
        return;
    }
    Weir__StreamControl *c = change_new(r, stream);
    Weir__StreamControl__Deregister *part = change_part(r, sizeof(*part));
    if (c != NULL && part != NULL) {
        weir__stream_control__deregister__init(part);
        part->consumer =
            (char *)(uintptr_t)arena_copy(&r->arena, bytes_of_string(consumer->name)).data;
        c->consumer_s = consumer->created_s;
        c->kind_case = WEIR__STREAM_CONTROL__KIND_DEREGISTER_CONSUMER;
        c->deregister_consumer = part;
    }
    change_send(r, c, NULL);
}

/* ---- ListStreamConsumers ---- */

void handle_list_stream_consumers(struct request *r)
{
    const struct route_stream *stream = request_active_stream(r);
    struct bytes token = value_bytes(r->input, "NextToken"), after = {0};
    if (stream == NULL ||
        (token.size > 0 && !request_token(r, "ListStreamConsumers", token, &after))) {
        return;
    }
    const struct value *created = value_get(r->input, "StreamCreationTimestamp");
    if (created != NULL && created->number / 1000 != (int64_t)stream->created_ms / 1000) {
        refuse_not_found(r, bytes_of_string(stream->name));
        return;
    }
    const Weir__StreamAttributes *a = stream->attributes;
    const char *after_text = (const char *)arena_copy(&r->arena, after).data;
    int64_t left = value_int(r->input, "MaxResults", CONSUMERS_SHOWN_MAX);
    left = left < CONSUMERS_SHOWN_MAX ? left : CONSUMERS_SHOWN_MAX;
    struct value *output = value_new(&r->arena, VALUE_STRUCT);
    struct value *list = value_add_list(&r->arena, output, "Consumers");
    const Weir__Consumer *last = NULL;
    for (size_t i = 0; i < a->n_consumers; i++) {
        const Weir__Consumer *c = a->consumers[i];
        if (after_text != NULL && after.size > 0 && strcmp(c->name, after_text) <= 0) {
            continue;
        }
        if (left == 0) {
            if (!add_token(r, output, "ListStreamConsumers",
                           bytes_of_string(last == NULL ? "" : last->name))) {
                return;
            }
            break;
        }
        add_consumer(r, value_add_struct(&r->arena, list, NULL), stream->name, c);
        last = c;
        left--;
    }
    answer(r, output);
}
