#include "broker/gateway/json_private.h"

#include "broker/gateway/api_decode.h"
#include "broker/gateway/api_text.h"

enum status json_malformed(struct json *json)
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
uint8_t json_peek(struct json *json)
{
    skip_blanks(json);
    return json->at < json->end ? *json->at : 0;
}

/* Consumes that byte after any blanks, if it is there. */
bool json_take(struct json *json, uint8_t byte)
{
    if (json_peek(json) != byte) {
        return false;
    }
    json->at++;
    return true;
}

bool json_take_word(struct json *json, const char *word)
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
enum status json_raw(struct json *json, struct bytes *out, bool *out_escaped)
{
    const uint8_t *start = json->at + 1;
    const uint8_t *from = start;
    const uint8_t *quote;
    bool escaped = false;
    for (;;) {
        quote = from < json->end ? memchr(from, '"', (size_t)(json->end - from)) : NULL;
        if (!quote) {
            return json_malformed(json);
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

bool json_has_controls(struct bytes text)
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
enum status json_unescape(struct json *json, struct bytes raw, struct bytes *out)
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
                return json_malformed(json);
            }
            size += put_character(data + size, character);
        }
    }
    *out = bytes_of(data, size);
    return STATUS_OK;
}

/* Names, keys and numbers in quotes: short, plain, and by far the most strings. False: look again.
 */
static bool short_string(struct json *json, struct bytes *out)
{
    enum { SHORT_BYTES = 48 };
    const uint8_t *start = json->at + 1;
    size_t left = (size_t)(json->end - start), size = 0;
    size_t most = left < SHORT_BYTES ? left : SHORT_BYTES;
    while (size < most && start[size] != '"' && start[size] != '\\' && start[size] >= 0x20 &&
           start[size] < 0x80) {
        size++;
    }
    if (size == most || start[size] != '"') {
        return false;
    }
    json->at = start + size + 1;
    *out = bytes_of(start, size);
    return true;
}

enum status json_string(struct json *json, struct bytes *out)
{
    if (short_string(json, out)) {
        return STATUS_OK;
    }
    struct bytes raw = {0};
    bool escaped = false;
    enum status status = json_raw(json, &raw, &escaped);
    if (status != STATUS_OK) {
        return status;
    }
    if (json_has_controls(raw) || !utf8_is_valid(raw)) {
        return json_malformed(json);
    }
    if (!escaped) {
        *out = raw;
        return STATUS_OK;
    }
    return json_unescape(json, raw, out);
}

/* ---- numbers ---- */

enum { DIGITS_MAX = 19, EXPONENT_MAX = 100000 };

static bool is_digit(const struct json *json)
{
    return json->at < json->end && *json->at >= '0' && *json->at <= '9';
}

/* Digits before (`step` 0) or behind the point (-1). False when there are none. */
static bool read_digits(struct json *json, struct json_number *number, unsigned *count, int step)
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

static bool read_exponent(struct json *json, struct json_number *number)
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

enum status json_number(struct json *json, struct json_number *out)
{
    struct json_number number = {.negative = *json->at == '-'};
    unsigned count = 0;
    json->at += number.negative;
    if (is_digit(json) && *json->at == '0') {
        json->at++; /* a digit behind it is no part of the number, nor of anything else */
    } else if (!read_digits(json, &number, &count, 0)) {
        return json_malformed(json);
    }
    if (json->at < json->end && *json->at == '.') {
        json->at++;
        if (!read_digits(json, &number, &count, -1)) {
            return json_malformed(json);
        }
    }
    if (json->at < json->end && (*json->at | 0x20) == 'e' && !read_exponent(json, &number)) {
        return json_malformed(json);
    }
    *out = number;
    return STATUS_OK;
}

/* number * 10^scale without what is behind the point; beyond 64 bits the largest or smallest. */
int64_t json_integer(const struct json_number *number, int scale)
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
    uint8_t first = json_peek(json);
    if (first == '"') {
        struct bytes ignored = {0};
        return json_string(json, &ignored);
    }
    if (first == '-' || (first >= '0' && first <= '9')) {
        struct json_number ignored;
        return json_number(json, &ignored);
    }
    if (json_take_word(json, "true") || json_take_word(json, "false") ||
        json_take_word(json, "null")) {
        return STATUS_OK;
    }
    return json_malformed(json);
}

/* A member's name and its colon. */
enum status json_name(struct json *json, struct bytes *out)
{
    if (json_peek(json) != '"') {
        return json_malformed(json);
    }
    enum status status = json_string(json, out);
    if (status == STATUS_OK && !json_take(json, ':')) {
        status = json_malformed(json);
    }
    return status;
}

/* The value at `at`, whatever it is. A loop, not a recursion: a stranger decides how deep it is.
 * `maps` has a bit for each open container, set for a map. */
enum status json_skip(struct json *json)
{
    uint32_t maps = 0;
    unsigned open = 0;
    struct bytes name = {0};
    for (;;) {
        uint8_t first = json_peek(json);
        bool empty = false;
        if (first == '{' || first == '[') {
            if (++open + json->depth > API_DEPTH_MAX) {
                return json_malformed(json);
            }
            maps = maps << 1 | (first == '{');
            json->at++;
            empty = json_peek(json) == (first == '{' ? '}' : ']');
        }
        enum status status = STATUS_OK;
        if (first != '{' && first != '[') {
            status = skip_scalar(json);
        } else if (!empty) {
            status = first == '{' ? json_name(json, &name) : STATUS_OK;
        }
        if (status != STATUS_OK) {
            return status;
        }
        if (!empty && (first == '{' || first == '[')) {
            continue;
        }
        while (open && json_take(json, maps & 1 ? '}' : ']')) {
            maps >>= 1;
            open--;
        }
        if (!open) {
            return STATUS_OK;
        }
        status = !json_take(json, ',') ? json_malformed(json)
                 : maps & 1            ? json_name(json, &name)
                                       : STATUS_OK;
        if (status != STATUS_OK) {
            return status;
        }
    }
}
