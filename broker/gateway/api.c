#include "broker/gateway/api.h"

#include <stdio.h>
#include <strings.h>

#include "broker/gateway/api_decode.h"
#include "broker/gateway/api_text.h"
#include "broker/gateway/cbor.h"
#include "broker/gateway/json.h"
#include "broker/gateway/validate.h"

static const char *const content_types[] = {
    [API_JSON] = "application/x-amz-json-1.1",
    [API_CBOR] = "application/x-amz-cbor-1.1",
};

const char *api_content_type(enum api_encoding encoding)
{
    return content_types[encoding];
}

bool api_encoding_of(struct bytes content_type, enum api_encoding *out)
{
    const uint8_t *end =
        content_type.size ? memchr(content_type.data, ';', content_type.size) : NULL;
    size_t size = end ? (size_t)(end - content_type.data) : content_type.size;
    while (size && (content_type.data[size - 1] == ' ' || content_type.data[size - 1] == '\t')) {
        size--;
    }
    for (unsigned i = 0; i < sizeof content_types / sizeof *content_types; i++) {
        if (size == strlen(content_types[i]) &&
            strncasecmp((const char *)content_type.data, content_types[i], size) == 0) {
            *out = (enum api_encoding)i;
            return true;
        }
    }
    return false;
}

enum status api_decode(const struct shape *shape, enum api_encoding encoding, struct bytes body,
                       struct arena *arena, const struct value **out, struct api_error *error)
{
    return encoding == API_JSON ? json_decode(shape, body, arena, out, error)
                                : cbor_decode(shape, body, arena, out, error);
}

enum status api_parse(const struct shape *shape, enum api_encoding encoding, struct bytes body,
                      struct arena *arena, const struct value **out, struct api_error *error)
{
    const struct value *value = NULL;
    enum status status = api_decode(shape, encoding, body, arena, &value, error);
    if (status == STATUS_OK) {
        status = validate(shape, value, arena, error);
    }
    if (status == STATUS_OK) {
        *out = value;
    }
    return status;
}

enum status api_encode(enum api_encoding encoding, const struct value *value, struct buf *out)
{
    if (!value) {
        return STATUS_NO_MEMORY;
    }
    return encoding == API_JSON ? json_encode(value, out) : cbor_encode(value, out);
}

enum status api_encode_error(enum api_encoding encoding, const struct api_error *error,
                             struct buf *out)
{
    struct arena arena = {0};
    struct value *body = value_new(&arena, VALUE_STRUCT);
    value_add_bytes(&arena, body, "__type", bytes_of_string(exception_name(error->exception)));
    if (error->text.size) {
        bool capital = encoding == API_JSON && error->exception == EXCEPTION_SERIALIZATION;
        value_add_bytes(&arena, body, capital ? "Message" : "message", error->text);
    }
    enum status status = arena.failed ? STATUS_NO_MEMORY : api_encode(encoding, body, out);
    arena_release(&arena);
    return status;
}

/* ---- types that do not fit ---- */

enum status decode_malformed(struct api_error *error)
{
    *error = (struct api_error){.exception = EXCEPTION_SERIALIZATION};
    return STATUS_INVALID;
}

enum status decode_no_memory(struct api_error *error)
{
    return api_error_of_status(error, STATUS_NO_MEMORY);
}

int64_t decode_clamp(const struct shape *shape, int64_t number)
{
    if (shape->type != SHAPE_INTEGER) {
        return number;
    }
    return number > INT32_MAX ? INT32_MAX : number < INT32_MIN ? INT32_MIN : number;
}

bool decode_boolean_text(struct bytes text, bool *out)
{
    static const struct {
        const char *text;
        bool truth;
    } words[] = {
        {"true",  true },
        {"yes",   true },
        {"1",     true },
        {"false", false},
        {"no",    false},
        {"0",     false}
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (text.size == strlen(words[i].text) &&
            strncasecmp((const char *)text.data, words[i].text, text.size) == 0) {
            *out = words[i].truth;
            return true;
        }
    }
    return false;
}

static const char *wanted(enum shape_type type)
{
    switch (type) {
    case SHAPE_STRING:
        return "an String";
    case SHAPE_BLOB:
        return "a Blob";
    case SHAPE_INTEGER:
        return "an Integer";
    case SHAPE_LONG:
        return "an Long";
    case SHAPE_BOOLEAN:
        return "an Boolean";
    case SHAPE_TIMESTAMP:
        return "milliseconds since epoch";
    case SHAPE_STRUCTURE:
    case SHAPE_LIST:
    case SHAPE_MAP:
        break;
    }
    return "null";
}

static const char *class_of(enum token token)
{
    switch (token) {
    case TOKEN_NUMBER:
        return "com.amazon.coral.value.json.numbers.TruncatingBigNumber";
    case TOKEN_BOOLEAN:
        return "java.lang.Boolean";
    case TOKEN_BYTES:
        return "java.nio.HeapByteBuffer";
    case TOKEN_STRING:
    case TOKEN_LIST:
    case TOKEN_MAP:
        break;
    }
    return "java.lang.String";
}

enum status decode_type_error(const struct shape *shape, enum token token, struct bytes text,
                              struct arena *arena, struct api_error *error)
{
    const char *sentence = NULL;
    if (token == TOKEN_LIST) {
        sentence = "Start of list found where not expected";
    } else if (token == TOKEN_MAP) {
        sentence = "Start of structure or map found where not expected.";
    } else if (shape->type == SHAPE_LIST) {
        sentence = "Expected list or null";
    } else if (shape->type == SHAPE_MAP) {
        sentence = "Expected map or null";
    } else if (shape->type == SHAPE_STRUCTURE) {
        sentence = "Expected null";
    }
    if (sentence) {
        return api_error_set(error, arena, EXCEPTION_SERIALIZATION, "%s", sentence);
    }
    if (token == TOKEN_STRING && shape->type == SHAPE_BOOLEAN) {
        struct bytes shown = utf8_cut(text, 256);
        return api_error_set(error, arena, EXCEPTION_SERIALIZATION,
                             "'%.*s' can not be converted to an Boolean", PRINT_BYTES(shown));
    }
    return api_error_set(error, arena, EXCEPTION_SERIALIZATION,
                         "class %s can not be converted to %s", class_of(token),
                         wanted(shape->type));
}

/* ---- answers ---- */

static bool kind_fits(enum value_kind kind, enum shape_type type)
{
    static const enum value_kind kinds[] = {
        [SHAPE_STRUCTURE] = VALUE_STRUCT, [SHAPE_LIST] = VALUE_LIST,
        [SHAPE_MAP] = VALUE_MAP,          [SHAPE_STRING] = VALUE_STRING,
        [SHAPE_BLOB] = VALUE_BLOB,        [SHAPE_INTEGER] = VALUE_INT,
        [SHAPE_LONG] = VALUE_INT,         [SHAPE_BOOLEAN] = VALUE_BOOL,
        [SHAPE_TIMESTAMP] = VALUE_TIME,
    };
    return kinds[type] == kind;
}

static bool fault(char *where, size_t size, const char *what, struct bytes name)
{
    if (where) {
        (void)snprintf(where, size, "%s %.*s", what, PRINT_BYTES(name));
    }
    return false;
}

bool api_conforms(const struct shape *shape, const struct value *value, char *where,
                  size_t where_size)
{
    if (!value || !kind_fits(value->kind, shape->type)) {
        return fault(where, where_size, "another kind of value than", bytes_of_string(shape->name));
    }
    if (shape->type != SHAPE_STRUCTURE && shape->type != SHAPE_LIST && shape->type != SHAPE_MAP) {
        return true;
    }
    VALUE_FOR_EACH(item, value)
    {
        const struct shape *of = shape->element;
        if (shape->type == SHAPE_STRUCTURE) {
            const struct shape_member *member = shape_member(shape, item->name);
            if (!member) {
                return fault(where, where_size, "unknown member", item->name);
            }
            of = member->shape;
        }
        if (!api_conforms(of, item, where, where_size)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < shape->member_count; i++) {
        const struct shape_member *member = &shape->members[i];
        if (member->required && !value_has(value, member->name)) {
            return fault(where, where_size, "missing member", bytes_of_string(member->name));
        }
    }
    return true;
}
