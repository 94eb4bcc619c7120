#include "client/cli/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/text.h"

static void put(struct json *json, const void *data, size_t size)
{
    json->failed |= buf_append(&json->out, data, size) != STATUS_OK;
}

static void put_text(struct json *json, const char *text)
{
    put(json, text, strlen(text));
}

static void put_escaped(struct json *json, uint8_t byte)
{
    static const char short_forms[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    const char *at = byte != 0 ? strchr(short_forms, byte) : NULL;
    char escape[8];
    if (at != NULL) {
        (void)snprintf(escape, sizeof(escape), "\\%c", letters[at - short_forms]);
    } else {
        (void)snprintf(escape, sizeof(escape), "\\u%04x", byte);
    }
    put_text(json, escape);
}

/* Runs of ordinary characters are copied as they are. */
static void put_quoted(struct json *json, struct bytes text)
{
    put_text(json, "\"");
    size_t run = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f) {
            continue;
        }
        put(json, text.data + run, i - run);
        put_escaped(json, byte);
        run = i + 1;
    }
    put(json, text.data + run, text.size - run);
    put_text(json, "\"");
}

static void begin_value(struct json *json, const char *key)
{
    if (json->needs_comma) {
        put_text(json, ", ");
    }
    json->needs_comma = true;
    if (key != NULL) {
        put_quoted(json, bytes_of_string(key));
        put_text(json, ": ");
    }
}

static void open_bracket(struct json *json, const char *key, const char *bracket)
{
    begin_value(json, key);
    put_text(json, bracket);
    json->needs_comma = false;
}

static void close_bracket(struct json *json, const char *bracket)
{
    put_text(json, bracket);
    json->needs_comma = true;
}

void json_object_begin(struct json *json, const char *key)
{
    open_bracket(json, key, "{");
}

void json_object_end(struct json *json)
{
    close_bracket(json, "}");
}

void json_array_begin(struct json *json, const char *key)
{
    open_bracket(json, key, "[");
}

void json_array_end(struct json *json)
{
    close_bracket(json, "]");
}

void json_number(struct json *json, const char *key, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    begin_value(json, key);
    put_text(json, text);
}

void json_signed(struct json *json, const char *key, int64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIi64, value);
    begin_value(json, key);
    put_text(json, text);
}

void json_bool(struct json *json, const char *key, bool value)
{
    begin_value(json, key);
    put_text(json, value ? "true" : "false");
}

void json_null(struct json *json, const char *key)
{
    begin_value(json, key);
    put_text(json, "null");
}

void json_string(struct json *json, const char *key, const char *text)
{
    json_text(json, key, bytes_of_string(text));
}

void json_text(struct json *json, const char *key, struct bytes text)
{
    begin_value(json, key);
    if (text_is_utf8(text)) {
        put_quoted(json, text);
        return;
    }
    struct buf repaired = {0};
    for (size_t i = 0; i < text.size; i++) {
        bool plain = text.data[i] < 0x80;
        json->failed |= buf_append(&repaired, plain ? (const void *)&text.data[i] : "\xef\xbf\xbd",
                                   plain ? 1 : 3) != STATUS_OK;
    }
    put_quoted(json, buf_bytes(&repaired));
    buf_release(&repaired);
}

void json_base64(struct json *json, const char *key, struct bytes bytes)
{
    begin_value(json, key);
    put_text(json, "\"");
    json->failed |= text_base64(bytes, &json->out) != STATUS_OK;
    put_text(json, "\"");
}

void json_line_end(struct json *json)
{
    put_text(json, "\n");
    json->needs_comma = false;
}

void json_release(struct json *json)
{
    buf_release(&json->out);
}
