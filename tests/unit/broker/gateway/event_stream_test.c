#include "broker/gateway/event_stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void the_initial_response_is_the_known_bytes(void **state)
{
    (void)state;
    /* As botocore accepts it. */
    static const char want[] =
        "0000007200000060ab820d9e0d3a6d6573736167652d747970650700056576656e740b3a6576656e742d747970"
        "65070010696e697469616c2d726573706f6e73650d3a636f6e74656e742d7479706507001a6170706c69636174"
        "696f6e2f782d616d7a2d6a736f6e2d312e317b7de16e66e4";
    struct buf out = {0};
    assert_int_equal(event_stream_initial(&out), STATUS_OK);
    assert_int_equal(out.size, 114);
    for (size_t i = 0; i < out.size; i++) {
        unsigned byte;
        assert_int_equal(sscanf(want + 2 * i, "%2x", &byte), 1);
        assert_int_equal(out.data[i], byte);
    }
    buf_release(&out);
}

static void expect_header(const struct event_message *message, const char *name, const char *value)
{
    for (uint32_t i = 0; i < message->header_count; i++) {
        if (bytes_equal(message->headers[i].name, bytes_of_string(name))) {
            assert_true(bytes_equal(message->headers[i].value, bytes_of_string(value)));
            return;
        }
    }
    fail_msg("no header %s", name);
}

static void messages_follow_each_other_and_come_back(void **state)
{
    (void)state;
    struct buf out = {0};
    const struct api_error error = {EXCEPTION_RESOURCE_IN_USE, bytes_of_string("in \"use\"")};
    assert_int_equal(event_stream_initial(&out), STATUS_OK);
    assert_int_equal(
        event_stream_event("SubscribeToShardEvent", bytes_of_string("{\"Records\":[]}"), &out),
        STATUS_OK);
    assert_int_equal(event_stream_exception(&error, &out), STATUS_OK);
    struct bytes rest = buf_bytes(&out);
    struct event_message message;
    static const struct {
        const char *type, *name, *value, *payload;
    } want[] = {
        {"event",     ":event-type",     "initial-response",       "{}"              },
        {"event",     ":event-type",     "SubscribeToShardEvent",  "{\"Records\":[]}"},
        {"exception", ":exception-type", "ResourceInUseException",
         "{\"message\":\"in \\\"use\\\"\"}"                                          },
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_int_equal(event_stream_decode(rest, &message), STATUS_OK);
        assert_int_equal(message.header_count, 3);
        expect_header(&message, ":message-type", want[i].type);
        expect_header(&message, want[i].name, want[i].value);
        expect_header(&message, ":content-type", "application/x-amz-json-1.1");
        assert_true(bytes_equal(message.payload, bytes_of_string(want[i].payload)));
        assert_in_range(message.size - message.payload.size, 1, EVENT_STREAM_OVERHEAD_MAX);
        rest = bytes_of(rest.data + message.size, rest.size - message.size);
    }
    assert_int_equal(rest.size, 0);
    buf_release(&out);
}

static void every_changed_or_missing_byte_is_found(void **state)
{
    (void)state;
    struct buf out = {0};
    assert_int_equal(event_stream_event("E", bytes_of_string("{\"a\":1}"), &out), STATUS_OK);
    struct event_message message;
    for (size_t i = 0; i < out.size; i++) {
        assert_int_equal(event_stream_decode(bytes_of(out.data, i), &message), STATUS_MORE);
        out.data[i] ^= 0x20;
        assert_int_equal(event_stream_decode(buf_bytes(&out), &message), STATUS_CORRUPT);
        out.data[i] ^= 0x20;
    }
    buf_release(&out);
}

static void what_is_too_large_is_refused(void **state)
{
    (void)state;
    size_t size = EVENT_STREAM_MESSAGE_MAX;
    uint8_t *data = calloc(1, size);
    assert_non_null(data);
    struct buf out = {0};
    assert_int_equal(event_stream_event("E", bytes_of(data, size), &out), STATUS_TOO_LARGE);
    assert_int_equal(out.size, 0);
    assert_int_equal(
        event_stream_event("E", bytes_of(data, size - EVENT_STREAM_OVERHEAD_MAX), &out), STATUS_OK);
    const struct event_header header = {bytes_of_string("n"), bytes_of(data, 32768)};
    assert_int_equal(event_stream_message(&header, 1, bytes_of(NULL, 0), &out), STATUS_TOO_LARGE);
    const struct event_header name = {bytes_of(data, 256), bytes_of_string("v")};
    assert_int_equal(event_stream_message(&name, 1, bytes_of(NULL, 0), &out), STATUS_TOO_LARGE);
    buf_release(&out);
    free(data);
}

static void a_message_without_headers_is_a_message(void **state)
{
    (void)state;
    /* The empty message of the format's description: CRCs of zlib's kind. */
    static const uint8_t empty[] = {0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00,
                                    0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff};
    struct buf out = {0};
    assert_int_equal(event_stream_message(NULL, 0, bytes_of(NULL, 0), &out), STATUS_OK);
    assert_int_equal(out.size, sizeof empty);
    assert_memory_equal(out.data, empty, sizeof empty);
    struct event_message message;
    assert_int_equal(event_stream_decode(buf_bytes(&out), &message), STATUS_OK);
    assert_int_equal(message.header_count, 0);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_initial_response_is_the_known_bytes),
        cmocka_unit_test(messages_follow_each_other_and_come_back),
        cmocka_unit_test(every_changed_or_missing_byte_is_found),
        cmocka_unit_test(what_is_too_large_is_refused),
        cmocka_unit_test(a_message_without_headers_is_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
