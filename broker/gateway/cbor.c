#include "broker/gateway/cbor.h"

#include <math.h>

#include "broker/gateway/api_decode.h"
#include "broker/gateway/api_text.h"

/* RFC 8949, section 3.1. */
enum major {
    MAJOR_UINT,
    MAJOR_NEGATIVE,
    MAJOR_BYTES,
    MAJOR_TEXT,
    MAJOR_LIST,
    MAJOR_MAP,
    MAJOR_TAG,
    MAJOR_SIMPLE,
};

enum {
    INFO_INDEFINITE = 31,
    SIMPLE_FALSE = 20,
    SIMPLE_TRUE = 21,
    SIMPLE_NULL = 22,
    SIMPLE_UNDEFINED = 23,
    SIMPLE_HALF = 25,
    SIMPLE_FLOAT = 26,
    SIMPLE_DOUBLE = 27,
    BREAK = 0xff,
    TAGS_MAX = 4, /* around one value */
};

struct cbor {
    struct reader in;
    struct arena *arena;
    struct api_error *error;
    unsigned depth; /* containers around the next item */
};

struct head {
    enum major major;
    unsigned info;
    uint64_t number; /* length, value, or the bits of a floating-point number */
    bool indefinite;
};

static enum status malformed(struct cbor *cbor)
{
    return decode_malformed(cbor->error);
}

static uint64_t read_big_endian(struct reader *in, unsigned size)
{
    struct bytes bytes = reader_take(in, size);
    uint64_t number = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        number = number << 8 | bytes.data[i];
    }
    return number;
}

static enum status read_head(struct cbor *cbor, struct head *out)
{
    uint8_t first = reader_u8(&cbor->in);
    struct head head = {.major = (enum major)(first >> 5), .info = first & 31u};
    if (head.info < 24) {
        head.number = head.info;
    } else if (head.info < 28) {
        head.number = read_big_endian(&cbor->in, 1u << (head.info - 24));
    } else if (head.info == INFO_INDEFINITE) {
        head.indefinite = true;
    } else {
        return malformed(cbor);
    }
    bool may_be_indefinite = head.major >= MAJOR_BYTES && head.major <= MAJOR_MAP;
    if (cbor->in.failed || (head.indefinite && !may_be_indefinite)) {
        return malformed(cbor);
    }
    *out = head;
    return STATUS_OK;
}

static bool take_break(struct cbor *cbor)
{
    if (!cbor->in.rest.size || cbor->in.rest.data[0] != BREAK) {
        return false;
    }
    (void)reader_u8(&cbor->in);
    return true;
}

/* Whether a container has another item; `left` counts down, or the break ends it. False also when
 * the input ends: the next read tells. */
static bool has_more(struct cbor *cbor, const struct head *head, uint64_t *left)
{
    if (head->indefinite) {
        return !take_break(cbor);
    }
    return (*left)-- > 0;
}

/* ---- strings ---- */

/* The chunks of an indefinite string, joined. */
static enum status read_chunks(struct cbor *cbor, enum major major, struct bytes *out)
{
    struct reader start = cbor->in;
    uint8_t *data = NULL;
    size_t size = 0;
    /* Once to add the sizes up, once to copy. */
    for (int pass = 0; pass < 2; pass++) {
        cbor->in = start;
        size_t at = 0;
        while (!take_break(cbor)) {
            struct head head = {0};
            enum status status = read_head(cbor, &head);
            if (status != STATUS_OK) {
                return status;
            }
            if (head.major != major || head.indefinite || head.number > cbor->in.rest.size) {
                return malformed(cbor);
            }
            struct bytes chunk = reader_take(&cbor->in, (size_t)head.number);
            if (data && chunk.size) {
                memcpy(data + at, chunk.data, chunk.size);
            }
            at += chunk.size;
        }
        size = at;
        if (!data) {
            data = arena_take_bytes(cbor->arena, size + 1);
        }
        if (!data) {
            return decode_no_memory(cbor->error);
        }
    }
    *out = bytes_of(data, size);
    return STATUS_OK;
}

static enum status read_string(struct cbor *cbor, const struct head *head, struct bytes *out)
{
    if (head->indefinite) {
        enum status status = read_chunks(cbor, head->major, out);
        if (status != STATUS_OK) {
            return status;
        }
    } else {
        if (head->number > cbor->in.rest.size) {
            return malformed(cbor);
        }
        *out = reader_take(&cbor->in, (size_t)head->number);
    }
    return head->major == MAJOR_TEXT && !utf8_is_valid(*out) ? malformed(cbor) : STATUS_OK;
}

static enum status read_name(struct cbor *cbor, struct bytes *out)
{
    struct head head = {0};
    enum status status = read_head(cbor, &head);
    if (status != STATUS_OK) {
        return status;
    }
    return head.major == MAJOR_TEXT ? read_string(cbor, &head, out) : malformed(cbor);
}

/* ---- what nobody knows ---- */

/* An item that is no container (or an empty string of chunks), behind its head. */
static enum status skip_scalar(struct cbor *cbor, const struct head *head)
{
    if (head->major == MAJOR_BYTES || head->major == MAJOR_TEXT) {
        struct bytes ignored = {0};
        return read_string(cbor, head, &ignored);
    }
    return STATUS_OK;
}

/* The item whose head has been read. A loop with its own stack of what is left to read: a stranger
 * decides how deep it is. */
static enum status skip_item(struct cbor *cbor, struct head head)
{
    struct {
        uint64_t left; /* items; for an indefinite map: whether a value is due */
        bool indefinite, map;
    } stack[API_DEPTH_MAX];
    unsigned open = 0;
    for (;;) {
        enum status status = STATUS_OK;
        if (head.major == MAJOR_LIST || head.major == MAJOR_MAP) {
            bool map = head.major == MAJOR_MAP;
            if (open + cbor->depth >= API_DEPTH_MAX || head.number > cbor->in.rest.size) {
                return malformed(cbor);
            }
            stack[open].left = head.indefinite ? 0 : head.number * (map ? 2 : 1);
            stack[open].indefinite = head.indefinite;
            stack[open].map = map;
            open++;
        } else if (head.major != MAJOR_TAG) {
            status = skip_scalar(cbor, &head);
        }
        bool tag = head.major == MAJOR_TAG; /* its item follows */
        while (status == STATUS_OK && !tag && open) {
            if (!stack[open - 1].indefinite) {
                if (stack[open - 1].left) {
                    stack[open - 1].left--;
                    break;
                }
            } else if (stack[open - 1].left || !take_break(cbor)) {
                /* A map's break may not stand where a value is due. */
                stack[open - 1].left = stack[open - 1].map && !stack[open - 1].left;
                break;
            }
            open--;
        }
        if (status != STATUS_OK || (!open && !tag)) {
            return status;
        }
        status = read_head(cbor, &head);
        if (status != STATUS_OK) {
            return status;
        }
    }
}

/* ---- numbers ---- */

static double double_of(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static double float_of(uint32_t bits)
{
    float number;
    memcpy(&number, &bits, sizeof number);
    return (double)number;
}

/* RFC 8949, appendix D. */
static double half_of(unsigned half)
{
    unsigned exponent = half >> 10 & 0x1f;
    unsigned mantissa = half & 0x3ff;
    double number;
    if (exponent == 0) {
        number = ldexp(mantissa, -24);
    } else if (exponent != 31) {
        number = ldexp(mantissa + 1024, (int)exponent - 25);
    } else {
        number = mantissa == 0 ? INFINITY : NAN;
    }
    return half & 0x8000 ? -number : number;
}

/* False: not a number at all. */
static bool to_integer(const struct head *head, int64_t *out)
{
    if (head->major == MAJOR_UINT) {
        *out = head->number > INT64_MAX ? INT64_MAX : (int64_t)head->number;
        return true;
    }
    if (head->major == MAJOR_NEGATIVE) {
        *out = head->number > INT64_MAX ? INT64_MIN : -1 - (int64_t)head->number;
        return true;
    }
    double number = head->info == SIMPLE_DOUBLE  ? double_of(head->number)
                    : head->info == SIMPLE_FLOAT ? float_of((uint32_t)head->number)
                                                 : half_of((unsigned)head->number);
    if (isnan(number)) {
        return false;
    }
    *out = number >= 0x1p63 ? INT64_MAX : number <= -0x1p63 ? INT64_MIN : (int64_t)number;
    return true;
}

static bool is_number(const struct head *head)
{
    return head->major == MAJOR_UINT || head->major == MAJOR_NEGATIVE ||
           (head->major == MAJOR_SIMPLE && head->info >= SIMPLE_HALF &&
            head->info <= SIMPLE_DOUBLE);
}

/* ---- what a shape wants ---- */

static enum status read_value(struct cbor *cbor, const struct shape *shape, struct value **out);

static enum status type_error(struct cbor *cbor, const struct shape *shape, enum token token)
{
    return decode_type_error(shape, token, bytes_of(NULL, 0), cbor->arena, cbor->error);
}

/* The value of a list or a map, where null has to be something. */
static enum status read_element(struct cbor *cbor, const struct shape *shape, struct value **out)
{
    struct value *item = NULL;
    enum status status = read_value(cbor, shape, &item);
    if (status == STATUS_OK && !item) {
        item = value_new(cbor->arena, VALUE_NULL);
        status = item ? STATUS_OK : decode_no_memory(cbor->error);
    }
    if (status == STATUS_OK) {
        *out = item;
    }
    return status;
}

static enum status read_list(struct cbor *cbor, const struct shape *shape, const struct head *head,
                             struct value *list)
{
    uint64_t left = head->number;
    while (has_more(cbor, head, &left)) {
        struct value *item = NULL;
        enum status status = read_element(cbor, shape->element, &item);
        if (status == STATUS_OK && list->count >= API_LIST_ITEMS_MAX) {
            status = malformed(cbor);
        }
        if (status != STATUS_OK) {
            return status;
        }
        value_append(list, bytes_of(NULL, 0), item);
    }
    return STATUS_OK;
}

static enum status read_map(struct cbor *cbor, const struct shape *shape, const struct head *head,
                            struct value *map)
{
    uint64_t left = head->number;
    while (has_more(cbor, head, &left)) {
        struct bytes name = {0};
        struct value *item = NULL;
        enum status status = read_name(cbor, &name);
        if (status == STATUS_OK) {
            status = read_element(cbor, shape->element, &item);
        }
        if (status == STATUS_OK && map->count >= API_MAP_ITEMS_MAX) {
            status = malformed(cbor);
        }
        if (status != STATUS_OK) {
            return status;
        }
        (void)value_put(map, name, item);
    }
    return STATUS_OK;
}

static enum status read_member(struct cbor *cbor, const struct shape *shape, struct value *into)
{
    struct bytes name = {0};
    enum status status = read_name(cbor, &name);
    if (status != STATUS_OK) {
        return status;
    }
    const struct shape_member *member = shape_member(shape, name);
    if (!member) {
        struct head head = {0};
        status = read_head(cbor, &head);
        return status == STATUS_OK ? skip_item(cbor, head) : status;
    }
    struct value *item = NULL;
    status = read_value(cbor, member->shape, &item);
    if (status == STATUS_OK && !item && value_has(into, member->name)) {
        item = value_new(cbor->arena, VALUE_NULL); /* takes back what stood before */
        status = item ? STATUS_OK : decode_no_memory(cbor->error);
    }
    if (status == STATUS_OK && item) {
        (void)value_put(into, bytes_of_string(member->name), item);
    }
    return status;
}

static enum status read_structure(struct cbor *cbor, const struct shape *shape,
                                  const struct head *head, struct value *into)
{
    uint64_t left = head->number;
    while (has_more(cbor, head, &left)) {
        enum status status = read_member(cbor, shape, into);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

static enum status read_container(struct cbor *cbor, const struct shape *shape,
                                  const struct head *head, struct value **out)
{
    bool is_list = head->major == MAJOR_LIST;
    if (is_list ? shape->type != SHAPE_LIST
                : shape->type != SHAPE_STRUCTURE && shape->type != SHAPE_MAP) {
        return type_error(cbor, shape, is_list ? TOKEN_LIST : TOKEN_MAP);
    }
    enum value_kind kind = is_list                    ? VALUE_LIST
                           : shape->type == SHAPE_MAP ? VALUE_MAP
                                                      : VALUE_STRUCT;
    struct value *value = value_new(cbor->arena, kind);
    if (!value) {
        return decode_no_memory(cbor->error);
    }
    cbor->depth++;
    enum status status = kind == VALUE_LIST  ? read_list(cbor, shape, head, value)
                         : kind == VALUE_MAP ? read_map(cbor, shape, head, value)
                                             : read_structure(cbor, shape, head, value);
    cbor->depth--;
    if (status == STATUS_OK) {
        *out = value;
    }
    return status;
}

static enum status read_bytes(struct cbor *cbor, const struct shape *shape, const struct head *head,
                              struct value *value)
{
    bool is_text = head->major == MAJOR_TEXT;
    enum status status = read_string(cbor, head, &value->bytes);
    if (status != STATUS_OK) {
        return status;
    }
    if (shape->type != (is_text ? SHAPE_STRING : SHAPE_BLOB)) {
        return decode_type_error(shape, is_text ? TOKEN_STRING : TOKEN_BYTES, value->bytes,
                                 cbor->arena, cbor->error);
    }
    value->kind = is_text ? VALUE_STRING : VALUE_BLOB;
    return STATUS_OK;
}

static enum status read_number(struct cbor *cbor, const struct shape *shape,
                               const struct head *head, struct value *value)
{
    bool is_time = shape->type == SHAPE_TIMESTAMP;
    if (!is_time && shape->type != SHAPE_INTEGER && shape->type != SHAPE_LONG) {
        return type_error(cbor, shape, TOKEN_NUMBER);
    }
    int64_t number;
    if (!to_integer(head, &number)) {
        return malformed(cbor);
    }
    value->kind = is_time ? VALUE_TIME : VALUE_INT;
    value->number = decode_clamp(shape, number);
    return STATUS_OK;
}

/* The head of the next item, behind its tags: a time's tag says what the shape says. */
static enum status read_untagged_head(struct cbor *cbor, struct head *out)
{
    enum status status = read_head(cbor, out);
    for (int tags = 0; status == STATUS_OK && out->major == MAJOR_TAG; tags++) {
        status = tags < TAGS_MAX ? read_head(cbor, out) : malformed(cbor);
    }
    return status;
}

/* *out stays NULL for null. As deep as the shape, which is not recursive. */
static enum status read_value(struct cbor *cbor, const struct shape *shape, struct value **out)
{
    struct head head = {0};
    enum status status = read_untagged_head(cbor, &head);
    if (status != STATUS_OK) {
        return status;
    }
    if (head.major == MAJOR_LIST || head.major == MAJOR_MAP) {
        return read_container(cbor, shape, &head, out);
    }
    bool simple = head.major == MAJOR_SIMPLE;
    if (simple && (head.info == SIMPLE_NULL || head.info == SIMPLE_UNDEFINED)) {
        return STATUS_OK;
    }
    struct value *value = value_new(cbor->arena, VALUE_NULL);
    if (!value) {
        return decode_no_memory(cbor->error);
    }
    if (head.major == MAJOR_BYTES || head.major == MAJOR_TEXT) {
        status = read_bytes(cbor, shape, &head, value);
    } else if (is_number(&head)) {
        status = read_number(cbor, shape, &head, value);
    } else if (simple && (head.info == SIMPLE_FALSE || head.info == SIMPLE_TRUE)) {
        value->kind = VALUE_BOOL;
        value->truth = head.info == SIMPLE_TRUE;
        status = shape->type == SHAPE_BOOLEAN ? STATUS_OK : type_error(cbor, shape, TOKEN_BOOLEAN);
    } else {
        status = malformed(cbor);
    }
    if (status == STATUS_OK) {
        *out = value;
    }
    return status;
}

enum status cbor_decode(const struct shape *shape, struct bytes body, struct arena *arena,
                        const struct value **out, struct api_error *error)
{
    struct cbor cbor = {.in = reader_of(body), .arena = arena, .error = error};
    struct value *value = NULL;
    enum status status = read_value(&cbor, shape, &value);
    if (status == STATUS_OK && (cbor.in.rest.size || !value)) {
        status = malformed(&cbor);
    }
    if (status == STATUS_OK) {
        *out = value;
    }
    return status;
}
