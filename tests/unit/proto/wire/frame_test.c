/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "base/rng.h"
#include "proto/wire/frame.h"

static const struct frame_header sound[] = {
    {.kind = FRAME_CALL,
     .call = 7,
     .method = 40,
     .body_bytes = 10,
     .attachment_bytes = 20,
     .timeout_ms = 5000},
    {.kind = FRAME_REPLY,   .call = 7,    .method = 40, .flags = 1, .body_bytes = FRAME_BODY_MAX},
    {.kind = FRAME_REPLY,                  .call = UINT64_MAX,     .status = 22, .body_bytes = 3},
    {.kind = FRAME_MESSAGE,      .method = 60,.attachment_bytes = FRAME_ATTACHMENT_MAX},
    {.kind = FRAME_CANCEL,                  .call = 9    },
};

static enum status parse(const uint8_t *at)
{
    struct frame_header h;
    return frame_parse(bytes_of(at, FRAME_HEADER_BYTES), &h);
}

static void a_sound_header_survives_the_way_there_and_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sound) / sizeof(sound[0]); i++) {
        uint8_t at[FRAME_HEADER_BYTES];
        struct frame_header h = {0};
        frame_encode(&sound[i], at);
        assert_int_equal(frame_parse(bytes_of(at, sizeof(at)), &h), STATUS_OK);
        assert_int_equal(h.kind, sound[i].kind);
        assert_int_equal(h.flags, sound[i].flags);
        assert_true(h.call == sound[i].call);
        assert_int_equal(h.method, sound[i].method);
        assert_int_equal(h.status, sound[i].status);
        assert_int_equal(h.timeout_ms, sound[i].timeout_ms);
        assert_int_equal(frame_bytes(&h), get_u32(at));
        for (size_t size = 0; size < FRAME_HEADER_BYTES; size++) {
            assert_int_equal(frame_parse(bytes_of(at, size), &h), STATUS_MORE);
        }
    }
}

/* A sound call with one byte replaced. */
static enum status parse_with(size_t offset, uint8_t byte)
{
    uint8_t at[FRAME_HEADER_BYTES];
    frame_encode(&sound[0], at);
    at[offset] = byte;
    return parse(at);
}

static void each_malformed_field_is_refused(void **state)
{
    (void)state;
    uint8_t at[FRAME_HEADER_BYTES];
    assert_int_equal(parse_with(4, 'X'), STATUS_CORRUPT);
    assert_int_equal(parse_with(5, 2), STATUS_UNSUPPORTED);
    assert_int_equal(parse_with(6, 0), STATUS_CORRUPT);
    assert_int_equal(parse_with(6, 5), STATUS_CORRUPT);
    assert_int_equal(parse_with(6, FRAME_MESSAGE), STATUS_CORRUPT); /* with a call id */
    assert_int_equal(parse_with(6, FRAME_CANCEL), STATUS_CORRUPT);  /* with a body */
    assert_int_equal(parse_with(6, FRAME_REPLY), STATUS_CORRUPT);   /* with a timeout */
    assert_int_equal(parse_with(7, 1), STATUS_CORRUPT);             /* more calls? */
    assert_int_equal(parse_with(8, 0), STATUS_CORRUPT);             /* no call id */
    assert_int_equal(parse_with(18, 1), STATUS_CORRUPT);            /* a call with a status */
    assert_int_equal(parse_with(31, 1), STATUS_CORRUPT);            /* reserved */
    assert_int_equal(parse_with(0, 31), STATUS_CORRUPT);            /* shorter than itself */
    assert_int_equal(parse_with(0, 41), STATUS_CORRUPT);            /* shorter than its body */
    assert_int_equal(parse_with(3, 0xff), STATUS_TOO_LARGE);
    frame_encode(&sound[1], at);
    at[7] = 2;
    assert_int_equal(parse(at), STATUS_CORRUPT); /* an unknown flag */
    at[7] = 1;
    at[18] = 3;
    assert_int_equal(parse(at), STATUS_CORRUPT); /* more replies after an error */
}

static void limits_hold_to_the_byte(void **state)
{
    (void)state;
    uint8_t at[FRAME_HEADER_BYTES];
    struct frame_header h = {.kind = FRAME_MESSAGE, .body_bytes = FRAME_BODY_MAX + 1};
    frame_encode(&h, at);
    assert_int_equal(parse(at), STATUS_TOO_LARGE);
    h.body_bytes = FRAME_BODY_MAX;
    h.attachment_bytes = FRAME_ATTACHMENT_MAX;
    frame_encode(&h, at);
    assert_int_equal(parse(at), STATUS_OK);
    h.attachment_bytes++;
    frame_encode(&h, at);
    assert_int_equal(parse(at), STATUS_TOO_LARGE);
}

static void any_bytes_are_parsed_without_harm(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 99);
    for (int i = 0; i < 200000; i++) {
        uint8_t at[FRAME_HEADER_BYTES];
        frame_encode(&sound[rng_below(&rng, 5)], at);
        for (uint64_t n = rng_below(&rng, 6); n > 0; n--) {
            at[rng_below(&rng, sizeof(at))] = (uint8_t)rng_next(&rng);
        }
        struct frame_header h;
        if (frame_parse(bytes_of(at, sizeof(at)), &h) == STATUS_OK) {
            uint8_t again[FRAME_HEADER_BYTES];
            frame_encode(&h, again);
            assert_memory_equal(at, again, sizeof(at));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_header_survives_the_way_there_and_back),
        cmocka_unit_test(each_malformed_field_is_refused),
        cmocka_unit_test(limits_hold_to_the_byte),
        cmocka_unit_test(any_bytes_are_parsed_without_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
