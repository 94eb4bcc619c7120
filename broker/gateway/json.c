#include "broker/gateway/json.h"

#include "broker/gateway/api_decode.h"
#include "broker/gateway/api_text.h"

struct json {
    const uint8_t *at, *end;
    struct arena *arena;
    struct api_error *error;
    unsigned depth; /* containers around `at` */
};

static enum status malformed(struct json *json)
{
    return decode_malformed(json->error);
}

static void skip_blanks(struct json *json)
{
    while (json->at < json->end &&
           (*json->at == ' ' || *json->at == '\n' || *json->at == '\r' || *json->at == '\t')) {
        json->at++;
    }
}

/* The byte after any blanks, 0 at the end. */
static uint8_t peek(struct json *json)
{
    skip_blanks(json);
    return json->at < json->end ? *json->at : 0;
}

/* Consumes that byte after any blanks, if it is there. */
static bool take(struct json *json, uint8_t byte)
{
    if (peek(json) != byte) {
        return false;
    }
    json->at++;
    return true;
}

static bool take_word(struct json *json, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(json->end - json->at) < size || memcmp(json->at, word, size) != 0) {
        return false;
    }
    json->at += size;
    return true;
}

/* ---- strings ---- */

/* What is between the quotes, as it stands; `at` was on the first quote and is behind the last. */
static enum status read_raw(struct json *json, struct bytes *out, bool *out_escaped)
{
    const uint8_t *start = json->at + 1;
    const uint8_t *from = start;
    const uint8_t *quote;
    bool escaped = false;
    for (;;) {
        quote = from < json->end ? memchr(from, '"', (size_t)(json->end - from)) : NULL;
        if (!quote) {
            return malformed(json);
        }
        const uint8_t *escape = memchr(from, '\\', (size_t)(quote - from));
        if (!escape) {
            break;
        }
        escaped = true;
        from = escape + 2; /* what is escaped may be the quote */
        while (from < quote && (escape = memchr(from, '\\', (size_t)(quote - from))) != NULL) {
            from = escape + 2;
        }
        if (from <= quote) {
            break;
        }
    }
    json->at = quote + 1;
    *out = bytes_of(start, (size_t)(quote - start));
    *out_escaped = escaped;
    return STATUS_OK;
}

static bool has_controls(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < 0x20) {
            return true;
        }
    }
    return false;
}

/* Four hexadecimal digits; false when they are not. */
static bool hex4(const uint8_t *at, const uint8_t *end, uint32_t *out)
{
    uint32_t value = 0;
    if (end - at < 4) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        uint8_t c = at[i];
        uint8_t lower = c | 0x20;
        if (c >= '0' && c <= '9') {
            value = value << 4 | (uint32_t)(c - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            value = value << 4 | (uint32_t)(lower - 'a' + 10);
        } else {
            return false;
        }
    }
    *out = value;
    return true;
}

static size_t put_character(uint8_t *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

/* The escape whose letter is at *at; false when it is none, or half a surrogate pair. */
static bool read_escape(const uint8_t **at, const uint8_t *end, uint32_t *out)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    uint8_t letter = *(*at)++;
    const char *found = letter ? strchr(letters, letter) : NULL;
    if (found) {
        *out = (uint8_t)meanings[found - letters];
        return true;
    }
    uint32_t first;
    if (letter != 'u' || !hex4(*at, end, &first) || (first >= 0xdc00 && first < 0xe000)) {
        return false;
    }
    *at += 4;
    *out = first;
    if (first < 0xd800 || first >= 0xdc00) {
        return true;
    }
    uint32_t second;
    if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u' || !hex4(*at + 2, end, &second) ||
        second < 0xdc00 || second >= 0xe000) {
        return false;
    }
    *at += 6;
    *out = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    return true;
}

/* An escape is never shorter than what it stands for. */
static enum status unescape(struct json *json, struct bytes raw, struct bytes *out)
{
    uint8_t *data = arena_take_bytes(json->arena, raw.size);
    if (!data) {
        return decode_no_memory(json->error);
    }
    const uint8_t *at = raw.data;
    const uint8_t *end = raw.data + raw.size;
    size_t size = 0;
    while (at < end) {
        const uint8_t *escape = memchr(at, '\\', (size_t)(end - at));
        size_t run = (size_t)((escape ? escape : end) - at);
        memcpy(data + size, at, run);
        size += run;
        at += run;
        if (escape) {
            uint32_t character;
            at++;
            if (at == end || !read_escape(&at, end, &character)) {
                return malformed(json);
            }
            size += put_character(data + size, character);
        }
    }
    *out = bytes_of(data, size);
    return STATUS_OK;
}

static enum status read_string(struct json *json, struct bytes *out)
{
    struct bytes raw;
    bool escaped;
    enum status status = read_raw(json, &raw, &escaped);
    if (status != STATUS_OK) {
        return status;
    }
    if (has_controls(raw) || !utf8_is_valid(raw)) {
        return malformed(json);
    }
    if (!escaped) {
        *out = raw;
        return STATUS_OK;
    }
    return unescape(json, raw, out);
}

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
    struct bytes text;
    bool escaped;
    enum status status = read_raw(json, &text, &escaped);
    if (status == STATUS_OK && escaped) {
        status = unescape(json, text, &text);
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
        return has_controls(text) || !utf8_is_valid(text) ? malformed(json)
                                                          : blob_error(json, text, result, size);
    }
    *out = bytes_of(data, size);
    return STATUS_OK;
}

/* ---- numbers ---- */

struct number {
    bool negative;
    uint64_t digits; /* the first 19 */
    int exponent;    /* of ten, for the last of them */
};

enum { DIGITS_MAX = 19, EXPONENT_MAX = 100000 };

static bool is_digit(const struct json *json)
{
    return json->at < json->end && *json->at >= '0' && *json->at <= '9';
}

/* Digits before (`step` 0) or behind the point (-1). False when there are none. */
static bool read_digits(struct json *json, struct number *number, unsigned *count, int step)
{
    if (!is_digit(json)) {
        return false;
    }
    for (; is_digit(json); json->at++) {
        unsigned digit = (unsigned)(*json->at - '0');
        if (*count < DIGITS_MAX) {
            number->digits = number->digits * 10 + digit;
            *count += number->digits != 0;
            number->exponent += step;
        } else if (number->exponent < EXPONENT_MAX) {
            number->exponent += step + 1;
        }
    }
    return true;
}

static bool read_exponent(struct json *json, struct number *number)
{
    json->at++;
    bool negative = json->at < json->end && *json->at == '-';
    if (negative || (json->at < json->end && *json->at == '+')) {
        json->at++;
    }
    if (!is_digit(json)) {
        return false;
    }
    int exponent = 0;
    for (; is_digit(json); json->at++) {
        if (exponent < EXPONENT_MAX) {
            exponent = exponent * 10 + (*json->at - '0');
        }
    }
    number->exponent += negative ? -exponent : exponent;
    return true;
}

static enum status read_number(struct json *json, struct number *out)
{
    struct number number = {.negative = *json->at == '-'};
    unsigned count = 0;
    json->at += number.negative;
    bool zero = is_digit(json) && *json->at == '0';
    if (zero) {
        json->at++;
        if (is_digit(json)) {
            return malformed(json);
        }
    } else if (!read_digits(json, &number, &count, 0)) {
        return malformed(json);
    }
    if (json->at < json->end && *json->at == '.') {
        json->at++;
        if (!read_digits(json, &number, &count, -1)) {
            return malformed(json);
        }
    }
    if (json->at < json->end && (*json->at | 0x20) == 'e' && !read_exponent(json, &number)) {
        return malformed(json);
    }
    *out = number;
    return STATUS_OK;
}

/* number * 10^scale without what is behind the point; beyond 64 bits the largest or smallest. */
static int64_t to_integer(const struct number *number, int scale)
{
    uint64_t magnitude = number->digits;
    int exponent = number->exponent + scale;
    for (; exponent > 0 && magnitude && magnitude <= INT64_MAX; exponent--) {
        magnitude = magnitude > UINT64_MAX / 10 ? UINT64_MAX : magnitude * 10;
    }
    for (; exponent < 0 && magnitude; exponent++) {
        magnitude /= 10;
    }
    if (number->negative) {
        return magnitude > INT64_MAX ? INT64_MIN : -(int64_t)magnitude;
    }
    return magnitude > INT64_MAX ? INT64_MAX : (int64_t)magnitude;
}

/* ---- what nobody knows ---- */

static enum status skip_scalar(struct json *json)
{
    uint8_t first = peek(json);
    if (first == '"') {
        struct bytes ignored;
        return read_string(json, &ignored);
    }
    if (first == '-' || (first >= '0' && first <= '9')) {
        struct number ignored;
        return read_number(json, &ignored);
    }
    if (take_word(json, "true") || take_word(json, "false") || take_word(json, "null")) {
        return STATUS_OK;
    }
    return malformed(json);
}

/* A member's name and its colon. */
static enum status read_name(struct json *json, struct bytes *out)
{
    if (peek(json) != '"') {
        return malformed(json);
    }
    enum status status = read_string(json, out);
    if (status == STATUS_OK && !take(json, ':')) {
        status = malformed(json);
    }
    return status;
}

/* The value at `at`, whatever it is. A loop, not a recursion: a stranger decides how deep it is.
 * `maps` has a bit for each open container, set for a map. */
static enum status skip_value(struct json *json)
{
    uint32_t maps = 0;
    unsigned open = 0;
    struct bytes name;
    for (;;) {
        uint8_t first = peek(json);
        bool empty = false;
        if (first == '{' || first == '[') {
            if (++open + json->depth > API_DEPTH_MAX) {
                return malformed(json);
            }
            maps = maps << 1 | (first == '{');
            json->at++;
            empty = peek(json) == (first == '{' ? '}' : ']');
        }
        enum status status = STATUS_OK;
        if (first != '{' && first != '[') {
            status = skip_scalar(json);
        } else if (!empty) {
            status = first == '{' ? read_name(json, &name) : STATUS_OK;
        }
        if (status != STATUS_OK) {
            return status;
        }
        if (!empty && (first == '{' || first == '[')) {
            continue;
        }
        while (open && take(json, maps & 1 ? '}' : ']')) {
            maps >>= 1;
            open--;
        }
        if (!open) {
            return STATUS_OK;
        }
        status = !take(json, ',') ? malformed(json) : maps & 1 ? read_name(json, &name) : STATUS_OK;
        if (status != STATUS_OK) {
            return status;
        }
    }
}

/* ---- what a shape wants ---- */

static enum status read_value(struct json *json, const struct shape *shape, struct value **out);

static enum status read_list(struct json *json, const struct shape *shape, struct value *list)
{
    json->at++;
    if (take(json, ']')) {
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
            status = malformed(json);
        }
        if (status != STATUS_OK) {
            return status;
        }
        value_append(list, bytes_of(NULL, 0), item);
    } while (take(json, ','));
    return take(json, ']') ? STATUS_OK : malformed(json);
}

static enum status read_map_item(struct json *json, const struct shape *shape, struct value *map)
{
    struct bytes name;
    struct value *item = NULL;
    enum status status = read_name(json, &name);
    if (status == STATUS_OK) {
        status = read_value(json, shape->element, &item);
    }
    if (status == STATUS_OK && !item) {
        item = value_new(json->arena, VALUE_NULL);
        status = item ? STATUS_OK : decode_no_memory(json->error);
    }
    if (status == STATUS_OK && map->count >= API_MAP_ITEMS_MAX) {
        status = malformed(json);
    }
    if (status == STATUS_OK) {
        (void)value_put(map, name, item);
    }
    return status;
}

static enum status read_member(struct json *json, const struct shape *shape, struct value *into)
{
    struct bytes name;
    enum status status = read_name(json, &name);
    if (status != STATUS_OK) {
        return status;
    }
    const struct shape_member *member = shape_member(shape, name);
    if (!member) {
        return skip_value(json);
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
    if (take(json, '}')) {
        return STATUS_OK;
    }
    do {
        enum status status = shape->type == SHAPE_MAP ? read_map_item(json, shape, into)
                                                      : read_member(json, shape, into);
        if (status != STATUS_OK) {
            return status;
        }
    } while (take(json, ','));
    return take(json, '}') ? STATUS_OK : malformed(json);
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
    struct bytes text;
    enum status status = read_string(json, &text);
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
    struct number number;
    enum status status = read_number(json, &number);
    if (status != STATUS_OK) {
        return status;
    }
    if (shape->type == SHAPE_TIMESTAMP) {
        value->kind = VALUE_TIME;
        value->number = to_integer(&number, 3);
        return STATUS_OK;
    }
    if (shape->type != SHAPE_INTEGER && shape->type != SHAPE_LONG) {
        return type_error(json, shape, TOKEN_NUMBER);
    }
    value->kind = VALUE_INT;
    value->number = decode_clamp(shape, to_integer(&number, 0));
    return STATUS_OK;
}

static enum status read_truth(struct json *json, const struct shape *shape, struct value *value)
{
    value->kind = VALUE_BOOL;
    value->truth = *json->at == 't';
    if (!take_word(json, value->truth ? "true" : "false")) {
        return malformed(json);
    }
    return shape->type == SHAPE_BOOLEAN ? STATUS_OK : type_error(json, shape, TOKEN_BOOLEAN);
}

/* *out stays NULL for null. As deep as the shape, which is not recursive. */
static enum status read_value(struct json *json, const struct shape *shape, struct value **out)
{
    uint8_t first = peek(json);
    if (first == '{' || first == '[') {
        return read_container(json, shape, out);
    }
    if (first == 'n') {
        return take_word(json, "null") ? STATUS_OK : malformed(json);
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
        status = malformed(json);
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
    if (status == STATUS_OK && (peek(&json) != 0 || json.at != json.end || !value)) {
        status = malformed(&json);
    }
    if (status == STATUS_OK) {
        *out = value;
    }
    return status;
}
