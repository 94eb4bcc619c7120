#include "broker/gateway/event_stream.h"

#include <zlib.h>

#include "broker/gateway/api.h"

enum {
    PRELUDE_BYTES = 12, /* both lengths and their CRC */
    CRC_BYTES = 4,
    HEADERS_BYTES_MAX = 128 * 1024,
    TYPE_STRING = 7,
};

static void put_big_u16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put_big_u32(uint8_t *at, size_t value)
{
    put_big_u16(at, value >> 16);
    put_big_u16(at + 2, value);
}

static uint32_t get_big_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t crc(const uint8_t *data, size_t size)
{
    return (uint32_t)crc32_z(0, data, size);
}

enum status event_stream_message(const struct event_header *headers, uint32_t count,
                                 struct bytes payload, struct buf *out)
{
    size_t headers_size = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (headers[i].name.size > UINT8_MAX || headers[i].value.size > INT16_MAX) {
            return STATUS_TOO_LARGE;
        }
        headers_size += 4 + headers[i].name.size + headers[i].value.size;
    }
    if (headers_size > HEADERS_BYTES_MAX ||
        payload.size > EVENT_STREAM_MESSAGE_MAX - PRELUDE_BYTES - CRC_BYTES - headers_size) {
        return STATUS_TOO_LARGE;
    }
    size_t size = PRELUDE_BYTES + headers_size + payload.size + CRC_BYTES;
    enum status status = buf_reserve(out, size);
    if (status != STATUS_OK) {
        return status;
    }
    uint8_t *start = out->data + out->size;
    put_big_u32(start, size);
    put_big_u32(start + 4, headers_size);
    put_big_u32(start + 8, crc(start, 8));
    uint8_t *at = start + PRELUDE_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        struct bytes name = headers[i].name;
        struct bytes value = headers[i].value;
        *at = (uint8_t)name.size;
        memcpy(at + 1, name.data, name.size);
        at += 1 + name.size;
        *at = TYPE_STRING;
        put_big_u16(at + 1, value.size);
        memcpy(at + 3, value.data, value.size);
        at += 3 + value.size;
    }
    if (payload.size) {
        memcpy(at, payload.data, payload.size);
        at += payload.size;
    }
    put_big_u32(at, crc(start, (size_t)(at - start)));
    out->size += size;
    return STATUS_OK;
}

static enum status json_message(const char *message_type, const char *type_name, const char *type,
                                struct bytes payload, struct buf *out)
{
    const struct event_header headers[] = {
        {bytes_of_string(":message-type"), bytes_of_string(message_type)              },
        {bytes_of_string(type_name),       bytes_of_string(type)                      },
        {bytes_of_string(":content-type"), bytes_of_string(api_content_type(API_JSON))},
    };
    return event_stream_message(headers, sizeof headers / sizeof *headers, payload, out);
}

enum status event_stream_initial(struct buf *out)
{
    return json_message("event", ":event-type", "initial-response", bytes_of_string("{}"), out);
}

enum status event_stream_event(const char *type, struct bytes payload, struct buf *out)
{
    return json_message("event", ":event-type", type, payload, out);
}

enum status event_stream_exception(const struct api_error *error, struct buf *out)
{
    struct arena arena = {0};
    struct buf payload = {0};
    struct value *body = value_new(&arena, VALUE_STRUCT);
    value_add_bytes(&arena, body, "message", error->text);
    enum status status = arena.failed ? STATUS_NO_MEMORY : api_encode(API_JSON, body, &payload);
    if (status == STATUS_OK) {
        status = json_message("exception", ":exception-type", exception_name(error->exception),
                              buf_bytes(&payload), out);
    }
    buf_release(&payload);
    arena_release(&arena);
    return status;
}

/* ---- reading ---- */

static enum status read_headers(struct bytes bytes, struct event_message *message)
{
    struct reader in = reader_of(bytes);
    while (in.rest.size) {
        struct event_header header;
        header.name = reader_take(&in, reader_u8(&in));
        uint8_t type = reader_u8(&in);
        size_t size = (size_t)reader_u8(&in) << 8;
        size |= reader_u8(&in);
        header.value = reader_take(&in, size);
        if (in.failed || !header.name.size) {
            return STATUS_CORRUPT;
        }
        if (type != TYPE_STRING || message->header_count == EVENT_HEADERS_MAX) {
            return STATUS_UNSUPPORTED;
        }
        message->headers[message->header_count++] = header;
    }
    return STATUS_OK;
}

enum status event_stream_decode(struct bytes input, struct event_message *out)
{
    if (input.size < PRELUDE_BYTES) {
        return STATUS_MORE;
    }
    const uint8_t *start = input.data;
    size_t size = get_big_u32(start);
    size_t headers_size = get_big_u32(start + 4);
    if (get_big_u32(start + 8) != crc(start, 8) || size > EVENT_STREAM_MESSAGE_MAX ||
        size < PRELUDE_BYTES + CRC_BYTES || headers_size > size - PRELUDE_BYTES - CRC_BYTES) {
        return STATUS_CORRUPT;
    }
    if (input.size < size) {
        return STATUS_MORE;
    }
    if (get_big_u32(start + size - CRC_BYTES) != crc(start, size - CRC_BYTES)) {
        return STATUS_CORRUPT;
    }
    struct event_message message = {.size = size};
    message.payload = bytes_of(start + PRELUDE_BYTES + headers_size,
                               size - PRELUDE_BYTES - CRC_BYTES - headers_size);
    enum status status = read_headers(bytes_of(start + PRELUDE_BYTES, headers_size), &message);
    if (status == STATUS_OK) {
        *out = message;
    }
    return status;
}
