/* What hangs on a stream or a consumer: tags and policies. */
#include <string.h>

#include "broker/gateway/json.h"
#include "broker/kinesis/change.h"

enum { TAGS_SHOWN_MAX = 50 };

/* ---- tags ---- */

static char *copy_text(struct request *r, const char *text)
{
    return text == NULL ? NULL
                        : (char *)(uintptr_t)arena_copy(&r->arena, bytes_of_string(text)).data;
}

/* `consumer` NULL: the stream's own. */
static void change_resource_tags(struct request *r, const struct route_stream *stream,
                                 const Weir__Consumer *consumer)
{
    Weir__StreamControl *c = change_new(r, stream);
    Weir__StreamControl__Tags *part = change_part(r, sizeof(*part));
    const struct value *keys = value_get(r->input, "TagKeys");
    char **remove = change_part(r, (value_count(keys) + 1) * sizeof(char *));
    if (c != NULL && part != NULL && remove != NULL) {
        weir__stream_control__tags__init(part);
        if (consumer != NULL) {
            part->consumer = copy_text(r, consumer->name);
            c->consumer_s = consumer->created_s;
        }
        part->n_set = change_tags(r, value_get(r->input, "Tags"), &part->set);
        VALUE_FOR_EACH(key, keys)
        {
            remove[part->n_remove++] =
                (char *)(uintptr_t)arena_copy(&r->arena, value_own_bytes(key)).data;
        }
        part->remove = remove;
        c->kind_case = WEIR__STREAM_CONTROL__KIND_TAGS;
        c->tags = part;
    }
    change_send(r, c, NULL);
}

static void change_stream_tags(struct request *r)
{
    const struct route_stream *stream = request_active_stream(r);
    if (stream != NULL) {
        change_resource_tags(r, stream, NULL);
    }
}

void handle_add_tags_to_stream(struct request *r)
{
    change_stream_tags(r);
}

void handle_remove_tags_from_stream(struct request *r)
{
    change_stream_tags(r);
}

/* The stream (and the consumer) of ResourceARN. NULL: answered, or it goes on later. */
static const struct route_stream *resource(struct request *r, const Weir__Consumer **out_consumer)
{
    return request_resource(r, value_bytes(r->input, "ResourceARN"), out_consumer);
}

static void change_tags_of_resource(struct request *r)
{
    const Weir__Consumer *consumer = NULL;
    const struct route_stream *stream = resource(r, &consumer);
    if (stream != NULL) {
        change_resource_tags(r, stream, consumer);
    }
}

void handle_tag_resource(struct request *r)
{
    change_tags_of_resource(r);
}

void handle_untag_resource(struct request *r)
{
    change_tags_of_resource(r);
}

static void add_tag(struct request *r, struct value *list, const Weir__Tag *tag)
{
    struct value *v = value_add_struct(&r->arena, list, NULL);
    value_add_text(&r->arena, v, "Key", tag->key);
    value_add_text(&r->arena, v, "Value", tag->value);
}

void handle_list_tags_for_stream(struct request *r)
{
    const struct route_stream *stream = request_stream(r);
    if (stream == NULL) {
        return;
    }
    const Weir__StreamAttributes *a = stream->attributes;
    const char *after = value_text(&r->arena, r->input, "ExclusiveStartTagKey");
    int64_t left = value_int(r->input, "Limit", TAGS_SHOWN_MAX);
    struct value *output = value_new(&r->arena, VALUE_STRUCT);
    struct value *list = value_add_list(&r->arena, output, "Tags");
    bool more = false;
    for (size_t i = 0; i < a->n_tags && !more; i++) {
        if (after != NULL && strcmp(a->tags[i]->key, after) <= 0) {
            continue;
        }
        more = left == 0;
        if (!more) {
            add_tag(r, list, a->tags[i]);
            left--;
        }
    }
    value_add_bool(&r->arena, output, "HasMoreTags", more);
    answer(r, output);
}

void handle_list_tags_for_resource(struct request *r)
{
    const Weir__Consumer *consumer = NULL;
    const struct route_stream *stream = resource(r, &consumer);
    if (stream == NULL) {
        return;
    }
    Weir__Tag **tags = consumer == NULL ? stream->attributes->tags : consumer->tags;
    size_t count = consumer == NULL ? stream->attributes->n_tags : consumer->n_tags;
    struct value *output = value_new(&r->arena, VALUE_STRUCT);
    struct value *list = value_add_list(&r->arena, output, "Tags");
    for (size_t i = 0; i < count; i++) {
        add_tag(r, list, tags[i]);
    }
    answer(r, output);
}

/* ---- policies ---- */

/* A JSON object with a Statement; what it means is not looked at here. */
static bool is_policy(struct request *r, struct bytes text)
{
    static const struct shape statement = {.name = "Statement",
                                           .type = SHAPE_LIST,
                                           .min = SHAPE_NO_LIMIT,
                                           .max = SHAPE_NO_LIMIT,
                                           .element = &api_shape_Nothing};
    static const struct shape_member members[] = {
        {"Statement", &statement, true}
    };
    static const struct shape policy = {.name = "Policy",
                                        .type = SHAPE_STRUCTURE,
                                        .min = SHAPE_NO_LIMIT,
                                        .max = SHAPE_NO_LIMIT,
                                        .members = members,
                                        .member_count = 1};
    static const struct shape_member one_member[] = {
        {"Statement", &api_shape_Nothing, true}
    };
    static const struct shape policy_of_one = {.name = "Policy",
                                               .type = SHAPE_STRUCTURE,
                                               .min = SHAPE_NO_LIMIT,
                                               .max = SHAPE_NO_LIMIT,
                                               .members = one_member,
                                               .member_count = 1};
    const struct value *value = NULL;
    struct api_error error;
    bool good = json_decode(&policy, text, &r->arena, &value, &error) == STATUS_OK ||
                json_decode(&policy_of_one, text, &r->arena, &value, &error) == STATUS_OK;
    return good && value_has(value, "Statement");
}

static void change_policy(struct request *r, const struct route_stream *stream,
                          const Weir__Consumer *consumer)
{
    Weir__StreamControl *c = change_new(r, stream);
    Weir__StreamControl__Policy *part = change_part(r, sizeof(*part));
    if (c != NULL && part != NULL) {
        weir__stream_control__policy__init(part);
        if (consumer != NULL) {
            part->consumer = copy_text(r, consumer->name);
            c->consumer_s = consumer->created_s;
        }
        if (value_has(r->input, "Policy")) {
            part->policy = change_text(r, "Policy");
        }
        c->kind_case = WEIR__STREAM_CONTROL__KIND_POLICY;
        c->policy = part;
    }
    change_send(r, c, NULL);
}

void handle_put_resource_policy(struct request *r)
{
    const Weir__Consumer *consumer = NULL;
    const struct route_stream *stream = resource(r, &consumer);
    if (stream == NULL) {
        return;
    }
    if (!is_policy(r, value_bytes(r->input, "Policy"))) {
        answer_refuse(r, EXCEPTION_INVALID_ARGUMENT, "The policy is not a valid JSON policy.");
        return;
    }
    change_policy(r, stream, consumer);
}

/* False: answered. */
static bool has_policy(struct request *r, const char *policy)
{
    if (policy != NULL && policy[0] != '\0') {
        return true;
    }
    answer_refuse(r, EXCEPTION_RESOURCE_NOT_FOUND,
                  "No resource policy found for resource ARN %.*s.",
                  PRINT_BYTES(value_bytes(r->input, "ResourceARN")));
    return false;
}

void handle_get_resource_policy(struct request *r)
{
    const Weir__Consumer *consumer = NULL;
    const struct route_stream *stream = resource(r, &consumer);
    const char *policy = stream == NULL     ? NULL
                         : consumer == NULL ? stream->attributes->policy
                                            : consumer->policy;
    if (stream != NULL && has_policy(r, policy)) {
        struct value *output = value_new(&r->arena, VALUE_STRUCT);
        value_add_text(&r->arena, output, "Policy", policy);
        answer(r, output);
    }
}

void handle_delete_resource_policy(struct request *r)
{
    const Weir__Consumer *consumer = NULL;
    const struct route_stream *stream = resource(r, &consumer);
    if (stream != NULL &&
        has_policy(r, consumer == NULL ? stream->attributes->policy : consumer->policy)) {
        change_policy(r, stream, consumer);
    }
}
