/* Event streams: what is read as a message is written as the same bytes, and what is written is
 * read. */
#include <string.h>

#include "broker/gateway/event_stream.h"
#include "tests/fuzz/fuzz.h"

static void check_written(struct bytes name, struct bytes value, struct bytes payload)
{
    struct buf out = {0};
    struct event_message message;
    const struct event_header header = {.name = name, .value = value};
    CHECK(event_stream_message(&header, 1, payload, &out) == STATUS_OK);
    CHECK(event_stream_decode(buf_bytes(&out), &message) == STATUS_OK);
    CHECK(message.size == out.size && message.header_count == 1 &&
          bytes_equal(message.headers[0].name, name) &&
          bytes_equal(message.headers[0].value, value) && bytes_equal(message.payload, payload));
    for (size_t cut = 0; cut < out.size; cut += 1 + out.size / 16) {
        CHECK(event_stream_decode(bytes_of(out.data, cut), &message) == STATUS_MORE);
    }
    out.data[payload.size % out.size] ^= 1;
    CHECK(event_stream_decode(buf_bytes(&out), &message) != STATUS_OK);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct event_message message;
    struct bytes in = bytes_of(data, size);
    while (in.size > 0 && event_stream_decode(in, &message) == STATUS_OK) {
        CHECK(message.size <= in.size && message.size > 0);
        struct buf again = {0};
        CHECK(event_stream_message(message.headers, message.header_count, message.payload,
                                   &again) == STATUS_OK);
        CHECK(again.size == message.size && memcmp(again.data, in.data, again.size) == 0);
        buf_release(&again);
        in = bytes_of(in.data + message.size, in.size - message.size);
    }
    if (size >= 2) {
        size_t name = 1 + data[0] % 8, value = data[1];
        if (size >= 2 + name + value) {
            check_written(bytes_of(data + 2, name), bytes_of(data + 2 + name, value),
                          bytes_of(data + 2 + name + value, size - 2 - name - value));
        }
    }
    return 0;
}
