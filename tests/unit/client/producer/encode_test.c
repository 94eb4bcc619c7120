/* What is sent of a gathered batch, and where each of its records is then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/producer/encode.h"

static void gather(struct batch_builder *b, uint32_t count, uint32_t large_at)
{
    static uint8_t large[3000];
    for (uint32_t i = 0; i < count; i++) {
        char key[16], data[64];
        (void)snprintf(key, sizeof(key), "key-%u", i % 5);
        (void)snprintf(data, sizeof(data), "record %u of many, all of them alike", i);
        struct record record = {.key = bytes_of_string(key), .data = bytes_of_string(data)};
        if (i == large_at) {
            record.data = bytes_of(large, sizeof(large));
        }
        assert_int_equal(batch_builder_add(b, &record), STATUS_OK);
    }
}

/* Opens what would be sent; the user records in order must be those that were gathered. */
static void expect_all(struct encoded *encoded, struct batch_builder *b, uint32_t large_at)
{
    struct coder coder = {0};
    struct batch_header h;
    struct error error;
    struct bytes batch = encoded_finish(encoded, b, 7, 1, 100);
    assert_int_equal(batch_decode(batch, &h), STATUS_OK);
    assert_int_equal(h.count, encoded->count);
    assert_int_equal(h.producer_seq, 100);
    struct bytes payload = bytes_of(batch.data + BATCH_HEADER_BYTES, h.payload_bytes), rest;
    assert_int_equal(codec_open(&coder, &h, payload, &rest), STATUS_OK);
    assert_int_equal(batch_check_records(&h, rest, &error), STATUS_OK);
    uint32_t user = 0, wire_at = 0;
    for (uint32_t wire = 0; wire < h.count; wire++) {
        struct record record;
        struct kpl_view view;
        struct kpl_record one = {0};
        assert_int_equal(record_next(&rest, &record), STATUS_OK);
        bool aggregated = kpl_open(record.data, &view) == STATUS_OK;
        uint32_t count = aggregated ? view.count : 1;
        assert_int_equal(record.has_hash_key, aggregated);
        for (uint32_t sub = 0; sub < count; sub++, user++) {
            char data[64];
            (void)snprintf(data, sizeof(data), "record %u of many, all of them alike", user);
            assert_true(!aggregated || kpl_next(&view, &one));
            struct bytes got = aggregated ? one.data : record.data;
            assert_true(user == large_at ? got.size == 3000
                                         : bytes_equal(got, bytes_of_string(data)));
            struct encoded_place place = encoded_place(encoded, b->count, user, &wire_at);
            assert_int_equal(place.index, wire);
            assert_int_equal(place.aggregated, aggregated);
            assert_int_equal(place.sub_sequence, sub);
        }
        if (aggregated) {
            kpl_release(&view);
        }
    }
    assert_int_equal(user, b->count);
    coder_release(&coder);
}

static void check(struct encoding encoding, uint32_t count, uint32_t large_at, uint32_t expected)
{
    struct encoder encoder = {0};
    for (int turn = 0; turn < 2; turn++) {
        struct batch_builder b = {0};
        struct encoded encoded = {0};
        gather(&b, count, large_at);
        encode_batch(&encoder, &encoding, &b, &encoded);
        assert_int_equal(encoded.count, expected);
        expect_all(&encoded, &b, large_at);
        encoded_release(&encoded);
        batch_builder_release(&b);
    }
    encoder_release(&encoder);
}

static void without_options_a_batch_is_sent_as_it_was_gathered(void **state)
{
    (void)state;
    check((struct encoding){0}, 50, UINT32_MAX, 50);
}

static void a_batch_is_compressed_or_stays_as_it_is(void **state)
{
    (void)state;
    check((struct encoding){.codec = CODEC_ZSTD}, 200, UINT32_MAX, 200);
    check((struct encoding){.codec = CODEC_LZ4}, 200, 10, 200);
    check((struct encoding){.codec = CODEC_LZ4}, 1, UINT32_MAX, 1);
    struct encoder encoder = {0};
    struct batch_builder b = {0};
    struct encoded encoded = {0};
    struct encoding encoding = {.codec = CODEC_ZSTD};
    struct record tiny = {.key = bytes_of("k", 1), .data = bytes_of("d", 1)};
    assert_int_equal(batch_builder_add(&b, &tiny), STATUS_OK);
    encode_batch(&encoder, &encoding, &b, &encoded);
    assert_int_equal(encoded.codec, CODEC_NONE);
    assert_int_equal(encoded.bytes.size, 0);
    batch_builder_release(&b);
    encoded_release(&encoded);
    encoder_release(&encoder);
}

static void records_are_aggregated_in_their_order(void **state)
{
    (void)state;
    check((struct encoding){.aggregate_bytes = 51200}, 100, UINT32_MAX, 1);
    check((struct encoding){.aggregate_bytes = 51200}, 1, UINT32_MAX, 1);
    check((struct encoding){.aggregate_bytes = 51200, .codec = CODEC_LZ4}, 300, UINT32_MAX, 1);
}

static void a_record_too_large_for_an_aggregated_one_goes_alone(void **state)
{
    (void)state;
    check((struct encoding){.aggregate_bytes = 2048}, 40, 0, 2);
    check((struct encoding){.aggregate_bytes = 2048}, 40, 20, 3);
    check((struct encoding){.aggregate_bytes = 2048, .codec = CODEC_ZSTD}, 40, 39, 2);
}

static void aggregated_records_stay_below_their_size(void **state)
{
    (void)state;
    struct encoder encoder = {0};
    struct batch_builder b = {0};
    struct encoded encoded = {0};
    struct encoding encoding = {.aggregate_bytes = 2048};
    gather(&b, 500, UINT32_MAX);
    encode_batch(&encoder, &encoding, &b, &encoded);
    assert_true(encoded.count > 10 && encoded.count < 20);
    expect_all(&encoded, &b, UINT32_MAX);
    struct bytes rest =
        bytes_of(encoded.bytes.data + BATCH_HEADER_BYTES, encoded.bytes.size - BATCH_HEADER_BYTES);
    struct record record;
    while (rest.size > 0) {
        assert_int_equal(record_next(&rest, &record), STATUS_OK);
        assert_true(record.data.size <= 2048);
        assert_true(bytes_equal(record.key, bytes_of("a", 1)));
    }
    encoded_release(&encoded);
    batch_builder_release(&b);
    encoder_release(&encoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_options_a_batch_is_sent_as_it_was_gathered),
        cmocka_unit_test(a_batch_is_compressed_or_stays_as_it_is),
        cmocka_unit_test(records_are_aggregated_in_their_order),
        cmocka_unit_test(a_record_too_large_for_an_aggregated_one_goes_alone),
        cmocka_unit_test(aggregated_records_stay_below_their_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
