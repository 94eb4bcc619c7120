#include "broker/gateway/json.h"

#include "broker/gateway/api_decode.h"
#include "broker/gateway/api_text.h"
#include "broker/gateway/json_private.h"

static enum status blob_error(struct json *json, struct bytes text, enum base64_result result,
                              size_t place)
{
    struct bytes shown = utf8_cut(text, 256);
    if (result == BASE64_LENGTH) {
        return api_error_set(json->error, json->arena, EXCEPTION_SERIALIZATION,
                             "'%.*s' can not be converted to a Blob: Base64 encoded length is "
                             "expected a multiple of 4 bytes but found: %zu",
                             PRINT_BYTES(shown), text.size);
    }
    if (result == BASE64_CHARACTER) {
        struct bytes character = bytes_of(text.data + place, text.size - place);
        size_t size = 1;
        while (size < character.size && (character.data[size] & 0xc0) == 0x80) {
            size++;
        }
        return api_error_set(json->error, json->arena, EXCEPTION_SERIALIZATION,
                             "'%.*s' can not be converted to a Blob: Invalid Base64 character: "
                             "'%.*s'",
                             PRINT_BYTES(shown), (int)size, (const char *)character.data);
    }
    /* The spelling is AWS's. */
    return api_error_set(json->error, json->arena, EXCEPTION_SERIALIZATION,
                         "'%.*s' can not be converted to a Blob: Invalid last non-pad Base64 "
                         "character dectected",
                         PRINT_BYTES(shown));
}

static enum status read_blob(struct json *json, struct bytes *out)
{
    struct bytes text = {0};
    bool escaped;
    enum status status = json_raw(json, &text, &escaped);
    if (status == STATUS_OK && escaped) {
        status = json_unescape(json, text, &text);
    }
    if (status != STATUS_OK) {
        return status;
    }
    uint8_t *data = arena_take_bytes(json->arena, base64_decoded_max(text.size));
    if (!data) {
        return decode_no_memory(json->error);
    }
    size_t size = 0;
    enum base64_result result = base64_decode(text, data, &size);
    if (result != BASE64_OK) {
        /* What is not a string at all comes first. */
        return json_has_controls(text) || !utf8_is_valid(text)
                   ? json_malformed(json)
                   : blob_error(json, text, result, size);
    }
    *out = bytes_of(data, size);
    return STATUS_OK;
}

/* ---- what a shape wants ---- */

static enum status read_value(struct json *json, const struct shape *shape, struct value **out);

static enum status read_list(struct json *json, const struct shape *shape, struct value *list)
{
    json->at++;
    if (json_take(json, ']')) {
        return STATUS_OK;
    }
    do {
        struct value *item = NULL;
        enum status status = read_value(json, shape->element, &item);
        if (status == STATUS_OK && !item) {
            item = value_new(json->arena, VALUE_NULL);
            status = item ? STATUS_OK : decode_no_memory(json->error);
        }
        if (status == STATUS_OK && list->count >= API_LIST_ITEMS_MAX) {
            status = json_malformed(json);
        }
        if (status != STATUS_OK) {
            return status;
        }
        value_append(list, bytes_of(NULL, 0), item);
    } while (json_take(json, ','));
    return json_take(json, ']') ? STATUS_OK : json_malformed(json);
}

static enum status read_map_item(struct json *json, const struct shape *shape, struct value *map)
{
    struct bytes name = {0};
    struct value *item = NULL;
    enum status status = json_name(json, &name);
    if (status == STATUS_OK) {
        status = read_value(json, shape->element, &item);
    }
    if (status == STATUS_OK && !item) {
        item = value_new(json->arena, VALUE_NULL);
        status = item ? STATUS_OK : decode_no_memory(json->error);
    }
    if (status == STATUS_OK && map->count >= API_MAP_ITEMS_MAX) {
        status = json_malformed(json);
    }
    if (status == STATUS_OK) {
        (void)value_put(map, name, item);
    }
    return status;
}

static enum status read_member(struct json *json, const struct shape *shape, struct value *into)
{
    struct bytes name = {0};
    enum status status = json_name(json, &name);
    if (status != STATUS_OK) {
        return status;
    }
    const struct shape_member *member = shape_member(shape, name);
    if (!member) {
        return json_skip(json);
    }
    struct value *item = NULL;
    status = read_value(json, member->shape, &item);
    if (status == STATUS_OK && !item && value_has(into, member->name)) {
        item = value_new(json->arena, VALUE_NULL); /* takes back what stood before */
        status = item ? STATUS_OK : decode_no_memory(json->error);
    }
    if (status == STATUS_OK && item) {
        (void)value_put(into, bytes_of_string(member->name), item);
    }
    return status;
}

static enum status read_members(struct json *json, const struct shape *shape, struct value *into)
{
    json->at++;
    if (json_take(json, '}')) {
        return STATUS_OK;
    }
    do {
        enum status status = shape->type == SHAPE_MAP ? read_map_item(json, shape, into)
                                                      : read_member(json, shape, into);
        if (status != STATUS_OK) {
            return status;
        }
    } while (json_take(json, ','));
    return json_take(json, '}') ? STATUS_OK : json_malformed(json);
}

static enum status type_error(struct json *json, const struct shape *shape, enum token token)
{
    return decode_type_error(shape, token, bytes_of(NULL, 0), json->arena, json->error);
}

static enum status read_container(struct json *json, const struct shape *shape, struct value **out)
{
    bool is_list = *json->at == '[';
    if (is_list ? shape->type != SHAPE_LIST
                : shape->type != SHAPE_STRUCTURE && shape->type != SHAPE_MAP) {
        return type_error(json, shape, is_list ? TOKEN_LIST : TOKEN_MAP);
    }
    struct value *value = value_new(json->arena, is_list                    ? VALUE_LIST
                                                 : shape->type == SHAPE_MAP ? VALUE_MAP
                                                                            : VALUE_STRUCT);
    if (!value) {
        return decode_no_memory(json->error);
    }
    json->depth++;
    enum status status = is_list ? read_list(json, shape, value) : read_members(json, shape, value);
    json->depth--;
    if (status == STATUS_OK) {
        *out = value;
    }
    return status;
}

static enum status read_quoted(struct json *json, const struct shape *shape, struct value *value)
{
    if (shape->type == SHAPE_BLOB) {
        value->kind = VALUE_BLOB;
        return read_blob(json, &value->bytes);
    }
    struct bytes text = {0};
    enum status status = json_string(json, &text);
    if (status != STATUS_OK) {
        return status;
    }
    if (shape->type == SHAPE_BOOLEAN && decode_boolean_text(text, &value->truth)) {
        value->kind = VALUE_BOOL;
        return STATUS_OK;
    }
    if (shape->type != SHAPE_STRING) {
        return decode_type_error(shape, TOKEN_STRING, text, json->arena, json->error);
    }
    value->kind = VALUE_STRING;
    value->bytes = text;
    return STATUS_OK;
}

static enum status read_digital(struct json *json, const struct shape *shape, struct value *value)
{
    struct json_number number;
    enum status status = json_number(json, &number);
    if (status != STATUS_OK) {
        return status;
    }
    if (shape->type == SHAPE_TIMESTAMP) {
        value->kind = VALUE_TIME;
        value->number = json_integer(&number, 3);
        return STATUS_OK;
    }
    if (shape->type != SHAPE_INTEGER && shape->type != SHAPE_LONG) {
        return type_error(json, shape, TOKEN_NUMBER);
    }
    value->kind = VALUE_INT;
    value->number = decode_clamp(shape, json_integer(&number, 0));
    return STATUS_OK;
}

static enum status read_truth(struct json *json, const struct shape *shape, struct value *value)
{
    value->kind = VALUE_BOOL;
    value->truth = *json->at == 't';
    if (!json_take_word(json, value->truth ? "true" : "false")) {
        return json_malformed(json);
    }
    return shape->type == SHAPE_BOOLEAN ? STATUS_OK : type_error(json, shape, TOKEN_BOOLEAN);
}

/* *out stays NULL for null. As deep as the shape, which is not recursive. */
static enum status read_value(struct json *json, const struct shape *shape, struct value **out)
{
    uint8_t first = json_peek(json);
    if (first == '{' || first == '[') {
        return read_container(json, shape, out);
    }
    if (first == 'n') {
        return json_take_word(json, "null") ? STATUS_OK : json_malformed(json);
    }
    struct value *value = value_new(json->arena, VALUE_NULL);
    if (!value) {
        return decode_no_memory(json->error);
    }
    enum status status;
    if (first == '"') {
        status = read_quoted(json, shape, value);
    } else if (first == 't' || first == 'f') {
        status = read_truth(json, shape, value);
    } else if (first == '-' || (first >= '0' && first <= '9')) {
        status = read_digital(json, shape, value);
    } else {
        status = json_malformed(json);
    }
    if (status == STATUS_OK) {
        *out = value;
    }
    return status;
}

enum status json_decode(const struct shape *shape, struct bytes body, struct arena *arena,
                        const struct value **out, struct api_error *error)
{
    struct json json = {.at = body.data,
                        .end = body.size ? body.data + body.size : body.data,
                        .arena = arena,
                        .error = error};
    struct value *value = NULL;
    enum status status = read_value(&json, shape, &value);
    if (status == STATUS_OK && (json_peek(&json) != 0 || json.at != json.end || !value)) {
        status = json_malformed(&json);
    }
    if (status == STATUS_OK) {
        *out = value;
    }
    return status;
}
