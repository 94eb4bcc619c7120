#include <inttypes.h>
#include <stdio.h>

#include "broker/gateway/api_text.h"
#include "broker/gateway/json.h"

/* Appends until something fails, and then no more. */
struct writer {
    struct buf *out;
    bool failed;
};

static void put(struct writer *writer, const void *data, size_t size)
{
    if (!writer->failed && buf_append(writer->out, data, size) != STATUS_OK) {
        writer->failed = true;
    }
}

static void put_text(struct writer *writer, const char *text)
{
    put(writer, text, strlen(text));
}

/* Characters that are whole and valid. */
static void put_escaped(struct writer *writer, struct bytes text)
{
    size_t from = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        char escape[8];
        if (c < 0x20) {
            (void)snprintf(escape, sizeof escape, "\\u%04x", c);
        } else {
            (void)snprintf(escape, sizeof escape, "\\%c", c);
        }
        put(writer, text.data + from, i - from);
        put_text(writer, escape);
        from = i + 1;
    }
    put(writer, text.data + from, text.size - from);
}

/* Whether one of eight bytes is a control character, a quote, a backslash, or beyond ASCII. True
 * too often, when a borrow reaches the byte above, never too seldom. */
static bool is_special(uint64_t eight)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t quote = eight ^ ones * '"', backslash = eight ^ ones * '\\';
    return ((eight | (eight - ones * 0x20) | (quote - ones) | (backslash - ones)) & tops) != 0;
}

/* Whether the text can stand between quotes as it is. */
static bool is_plain(struct bytes text)
{
    size_t at = 0;
    for (; text.size - at >= 8; at += 8) {
        uint64_t eight;
        memcpy(&eight, text.data + at, sizeof eight);
        if (is_special(eight)) {
            return false;
        }
    }
    for (; at < text.size; at++) {
        uint8_t c = text.data[at];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') {
            return false;
        }
    }
    return true;
}

static void put_string(struct writer *writer, struct bytes text)
{
    if (is_plain(text) && !writer->failed && buf_reserve(writer->out, text.size + 2) == STATUS_OK) {
        uint8_t *to = writer->out->data + writer->out->size;
        to[0] = '"';
        if (text.size > 0) {
            memcpy(to + 1, text.data, text.size);
        }
        to[text.size + 1] = '"';
        writer->out->size += text.size + 2;
        return;
    }
    put(writer, "\"", 1);
    size_t at = 0;
    while (at < text.size) {
        struct bytes rest = bytes_of(text.data + at, text.size - at);
        size_t valid = utf8_valid(rest);
        put_escaped(writer, bytes_of(rest.data, valid));
        at += valid;
        if (at < text.size) {
            put_text(writer, "\xef\xbf\xbd"); /* U+FFFD */
            at++;
        }
    }
    put(writer, "\"", 1);
}

static void put_blob(struct writer *writer, struct bytes blob)
{
    put(writer, "\"", 1);
    size_t size = base64_encoded_size(blob.size);
    if (writer->failed || buf_reserve(writer->out, size) != STATUS_OK) {
        writer->failed = true;
        return;
    }
    if (size) {
        base64_encode(blob, writer->out->data + writer->out->size);
        writer->out->size += size;
    }
    put(writer, "\"", 1);
}

/* Seconds with as much of a fraction as there is. */
static void put_time(struct writer *writer, int64_t ms)
{
    uint64_t magnitude = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    char text[32];
    int size = snprintf(text, sizeof text, "%s%" PRIu64 ".%03u", ms < 0 ? "-" : "",
                        magnitude / 1000, (unsigned)(magnitude % 1000));
    while (text[size - 1] == '0') {
        size--;
    }
    put(writer, text, (size_t)(text[size - 1] == '.' ? size - 1 : size));
}

static void put_value(struct writer *writer, const struct value *value);

/* Members that are null are left out; items of a list and a map are not. */
static void put_items(struct writer *writer, const struct value *container)
{
    bool is_list = container->kind == VALUE_LIST;
    bool first = true;
    put(writer, is_list ? "[" : "{", 1);
    VALUE_FOR_EACH(item, container)
    {
        if (container->kind == VALUE_STRUCT && item->kind == VALUE_NULL) {
            continue;
        }
        if (!first) {
            put(writer, ",", 1);
        }
        first = false;
        if (!is_list) {
            put_string(writer, item->name);
            put(writer, ":", 1);
        }
        put_value(writer, item);
    }
    put(writer, is_list ? "]" : "}", 1);
}

static void put_value(struct writer *writer, const struct value *value)
{
    char number[24];
    switch (value->kind) {
    case VALUE_NULL:
        put_text(writer, "null");
        return;
    case VALUE_BOOL:
        put_text(writer, value->truth ? "true" : "false");
        return;
    case VALUE_INT:
        (void)snprintf(number, sizeof number, "%" PRId64, value->number);
        put_text(writer, number);
        return;
    case VALUE_STRING:
        put_string(writer, value->bytes);
        return;
    case VALUE_BLOB:
        put_blob(writer, value->bytes);
        return;
    case VALUE_TIME:
        put_time(writer, value->number);
        return;
    case VALUE_LIST:
    case VALUE_MAP:
    case VALUE_STRUCT:
        put_items(writer, value);
        return;
    }
}

enum status json_encode(const struct value *value, struct buf *out)
{
    size_t before = out->size;
    struct writer writer = {.out = out};
    put_value(&writer, value);
    if (writer.failed) {
        out->size = before;
        return STATUS_NO_MEMORY;
    }
    return STATUS_OK;
}
