#include "broker/gateway/api_text.h"
#include "broker/gateway/cbor.h"

/* Major types (RFC 8949, section 3.1) in their place. */
enum {
    HEAD_UINT = 0,
    HEAD_NEGATIVE = 1 << 5,
    HEAD_BYTES = 2 << 5,
    HEAD_TEXT = 3 << 5,
    HEAD_LIST = 4 << 5,
    HEAD_MAP = 5 << 5,
    HEAD_TIME = 0xc1, /* tag 1 */
    FALSE_BYTE = 0xf4,
    TRUE_BYTE = 0xf5,
    NULL_BYTE = 0xf6,
};

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

static void put_byte(struct writer *writer, unsigned byte)
{
    uint8_t one = (uint8_t)byte;
    put(writer, &one, 1);
}

/* The shortest form. */
static void put_head(struct writer *writer, unsigned major, uint64_t number)
{
    if (number < 24) {
        put_byte(writer, major | (unsigned)number);
        return;
    }
    unsigned log = number <= UINT8_MAX    ? 0
                   : number <= UINT16_MAX ? 1
                   : number <= UINT32_MAX ? 2
                                          : 3;
    uint8_t bytes[9] = {(uint8_t)(major | (24 + log))};
    unsigned size = 1u << log;
    for (unsigned i = 0; i < size; i++) {
        bytes[size - i] = (uint8_t)(number >> (8 * i));
    }
    put(writer, bytes, 1 + size);
}

static void put_int(struct writer *writer, int64_t number)
{
    if (number < 0) {
        put_head(writer, HEAD_NEGATIVE, (uint64_t)(-1 - number));
    } else {
        put_head(writer, HEAD_UINT, (uint64_t)number);
    }
}

static void put_string(struct writer *writer, struct bytes text)
{
    static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
    enum { REPLACEMENT_BYTES = sizeof replacement - 1 };
    if (utf8_is_valid(text)) {
        put_head(writer, HEAD_TEXT, text.size);
        put(writer, text.data, text.size);
        return;
    }
    size_t size = 0;
    for (int pass = 0; pass < 2; pass++) {
        if (pass) {
            put_head(writer, HEAD_TEXT, size);
        }
        for (size_t at = 0; at < text.size;) {
            struct bytes rest = bytes_of(text.data + at, text.size - at);
            size_t valid = utf8_valid(rest);
            bool broken = valid < rest.size;
            if (pass) {
                put(writer, rest.data, valid);
                put(writer, replacement, broken ? REPLACEMENT_BYTES : 0);
            } else {
                size += valid + (broken ? REPLACEMENT_BYTES : 0);
            }
            at += valid + broken;
        }
    }
}

static void put_value(struct writer *writer, const struct value *value);

/* Members that are null are left out; items of a list and a map are not. */
static void put_items(struct writer *writer, const struct value *container)
{
    uint32_t count = container->count;
    bool is_structure = container->kind == VALUE_STRUCT;
    VALUE_FOR_EACH(item, container)
    {
        count -= is_structure && item->kind == VALUE_NULL;
    }
    put_head(writer, container->kind == VALUE_LIST ? HEAD_LIST : HEAD_MAP, count);
    VALUE_FOR_EACH(item, container)
    {
        if (is_structure && item->kind == VALUE_NULL) {
            continue;
        }
        if (container->kind != VALUE_LIST) {
            put_string(writer, item->name);
        }
        put_value(writer, item);
    }
}

static void put_value(struct writer *writer, const struct value *value)
{
    switch (value->kind) {
    case VALUE_NULL:
        put_byte(writer, NULL_BYTE);
        return;
    case VALUE_BOOL:
        put_byte(writer, value->truth ? TRUE_BYTE : FALSE_BYTE);
        return;
    case VALUE_INT:
        put_int(writer, value->number);
        return;
    case VALUE_TIME:
        put_byte(writer, HEAD_TIME);
        put_int(writer, value->number);
        return;
    case VALUE_STRING:
        put_string(writer, value->bytes);
        return;
    case VALUE_BLOB:
        put_head(writer, HEAD_BYTES, value->bytes.size);
        put(writer, value->bytes.data, value->bytes.size);
        return;
    case VALUE_LIST:
    case VALUE_MAP:
    case VALUE_STRUCT:
        put_items(writer, value);
        return;
    }
}

enum status cbor_encode(const struct value *value, struct buf *out)
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
