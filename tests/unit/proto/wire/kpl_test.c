/* Aggregated records: those of others, ours, and what only looks like one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/wire/kpl.h"

/* "hello" with the key "k1", and "world" with "k2". */
static const char two[] = "f3899ac20a026b310a026b321a0908001a0568656c6c6f1a0908011a05776f726c64c4b2"
                          "34c121650f4512d22bf67dca9de2";

/* By the Python package aws-kinesis-agg 1.2.3: "hello" with "k1", "world" with "k2" and the
 * explicit hash key 2^127, and nothing with "k1". */
static const char reference[] =
    "f3899ac20a026b310a026b3212273137303134313138333436303436393233313733313638373330333731353838"
    "343130353732381a0908001a0568656c6c6f1a0b080110001a05776f726c641a0408001a0000842b64840401ee45"
    "df4137dc913d3a";

static struct bytes from_hex(const char *hex, uint8_t *out)
{
    size_t size = strlen(hex) / 2;
    for (size_t i = 0; i < size; i++) {
        unsigned value;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &value), 1);
        out[i] = (uint8_t)value;
    }
    return bytes_of(out, size);
}

static void expect_next(struct kpl_view *view, uint32_t number, const char *key, const char *data)
{
    struct kpl_record record;
    assert_true(kpl_next(view, &record));
    assert_int_equal(record.sub_sequence, number);
    assert_true(bytes_equal(record.key, bytes_of_string(key)));
    assert_true(bytes_equal(record.data, bytes_of_string(data)));
}

static void records_of_the_reference_are_taken_apart(void **state)
{
    (void)state;
    uint8_t bytes[256];
    struct kpl_view view;
    struct kpl_record record;
    assert_int_equal(kpl_open(from_hex(two, bytes), &view), STATUS_OK);
    assert_int_equal(view.count, 2);
    expect_next(&view, 0, "k1", "hello");
    expect_next(&view, 1, "k2", "world");
    assert_false(kpl_next(&view, &record));
    kpl_release(&view);

    assert_int_equal(kpl_open(from_hex(reference, bytes), &view), STATUS_OK);
    expect_next(&view, 0, "k1", "hello");
    assert_true(kpl_next(&view, &record));
    assert_true(record.has_hash_key);
    assert_true(record.hash_key.high == UINT64_C(1) << 63 && record.hash_key.low == 0);
    assert_true(kpl_in_range(&record, hash_range_of(1, 2)));
    assert_false(kpl_in_range(&record, hash_range_of(0, 2)));
    expect_next(&view, 2, "k1", "");
    kpl_release(&view);
}

static void add(struct kpl_builder *b, const char *key, const char *data, const char *hash_key)
{
    struct record record = {.key = bytes_of_string(key), .data = bytes_of_string(data)};
    if (hash_key != NULL) {
        record.has_hash_key = true;
        assert_int_equal(hash_key_from_decimal(hash_key, &record.hash_key), STATUS_OK);
    }
    assert_int_equal(kpl_builder_add(b, &record, 1000), STATUS_OK);
}

static void ours_are_byte_for_byte_those_of_the_reference(void **state)
{
    (void)state;
    struct kpl_builder b = {0};
    struct bytes out;
    uint8_t bytes[256];
    for (int turn = 0; turn < 2; turn++) {
        add(&b, "k1", "hello", NULL);
        add(&b, "k2", "world", "170141183460469231731687303715884105728");
        add(&b, "k1", "", NULL);
        size_t size = kpl_builder_size(&b);
        assert_int_equal(kpl_builder_finish(&b, &out), STATUS_OK);
        assert_int_equal(out.size, size);
        assert_true(bytes_equal(out, from_hex(reference, bytes)));
        kpl_builder_reset(&b);
    }
    kpl_builder_release(&b);
}

static void a_builder_stops_at_its_size_and_not_before(void **state)
{
    (void)state;
    struct kpl_builder b = {0};
    struct bytes out;
    char key[16];
    uint32_t count = 0;
    for (;; count++) {
        (void)snprintf(key, sizeof(key), "key-%u", count % 300);
        struct record record = {.key = bytes_of_string(key), .data = bytes_of("0123456789", 10)};
        if (kpl_builder_add(&b, &record, 51200) == STATUS_BUSY) {
            break;
        }
    }
    assert_true(kpl_builder_size(&b) > 51150 && kpl_builder_size(&b) <= 51200);
    assert_int_equal(kpl_builder_finish(&b, &out), STATUS_OK);
    struct kpl_view view;
    struct kpl_record record;
    assert_int_equal(kpl_open(out, &view), STATUS_OK);
    assert_int_equal(view.count, count);
    assert_int_equal(view.key_count, 300);
    uint32_t seen = 0;
    while (kpl_next(&view, &record)) {
        (void)snprintf(key, sizeof(key), "key-%u", seen % 300);
        assert_true(bytes_equal(record.key, bytes_of_string(key)));
        seen++;
    }
    assert_int_equal(seen, count);
    kpl_release(&view);
    kpl_builder_release(&b);
}

/* ---- what only looks like one ---- */

static void any_changed_byte_makes_it_a_plain_record(void **state)
{
    (void)state;
    uint8_t bytes[256];
    struct bytes good = from_hex(reference, bytes);
    struct kpl_view view;
    for (size_t i = 0; i < good.size; i++) {
        bytes[i] ^= 0x10;
        assert_int_equal(kpl_open(good, &view), STATUS_INVALID);
        bytes[i] ^= 0x10;
    }
    for (size_t size = 0; size < good.size; size++) {
        assert_int_equal(kpl_open(bytes_of(bytes, size), &view), STATUS_INVALID);
    }
}

/* The message with the right magic and MD5. */
static struct bytes sealed(const uint8_t *message, size_t size, uint8_t *out)
{
    struct hash_key md5;
    memcpy(out, "\xf3\x89\x9a\xc2", 4);
    memcpy(out + 4, message, size);
    assert_int_equal(hash_key_of_partition_key(bytes_of(message, size), &md5), STATUS_OK);
    hash_key_to_bytes(md5, out + 4 + size);
    return bytes_of(out, 4 + size + 16);
}

static void a_right_checksum_over_nonsense_is_a_plain_record(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        size_t size;
    } bad[] = {
        {"\x0a\x01k",                                   3 }, /* no records */
        {"\x1a\x05\x08\x00\x1a\x01x",                   7 }, /* no keys */
        {"\x0a\x01k\x1a\x05\x08\x01\x1a\x01x",          10}, /* a key beyond the table */
        {"\x0a\x01k\x1a\x03\x1a\x01x",                  8 }, /* a record without a key */
        {"\x0a\x01k\x1a\x02\x08\x00",                   7 }, /* ... without data */
        {"\x0a\x01k\x1a\x07\x08\x00\x10\x00\x1a\x01x",  12}, /* a hash key beyond its table */
        {"\x0a\x01k\x12\x01z\x1a\x05\x08\x00\x1a\x01x", 13}, /* a hash key that is no number */
        {"\x0a\x01k\x1a\x05\x08\x00\x1a\x7fx",          10}, /* data beyond the end */
        {"\x0a\x01k\x1a\x7f\x08\x00\x1a\x01x",          10}, /* a record beyond the end */
        {"\x08\x01\x1a\x05\x08\x00\x1a\x01x",           9 }, /* a key that is a number */
        {"\x0a\x01k\x1a\x05\x08\x00\x1a\x01x\x07",      11}, /* a wire type that does not exist */
        {"\x0a\x01k\x1a\x05\x08\x00\x1a\x01x\x80\x80",  12}, /* a tag that does not end */
        {"\x0a\x01k\x1a\x05\x08\x00\x1a\x01x\x00\x00",  12}, /* field 0 */
    };
    uint8_t bytes[64];
    struct kpl_view view;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct bytes record = sealed((const uint8_t *)bad[i].message, bad[i].size, bytes);
        assert_int_equal(kpl_open(record, &view), STATUS_INVALID);
    }
    static const char good[] = "\x0a\x01k\x1a\x05\x08\x00\x1a\x01x\x22\x01?\x29"
                               "12345678";
    struct bytes record = sealed((const uint8_t *)good, sizeof(good) - 1, bytes);
    assert_int_equal(kpl_open(record, &view), STATUS_OK); /* unknown fields are passed over */
    assert_int_equal(view.count, 1);
    kpl_release(&view);
}

static void random_messages_are_never_more_than_refused(void **state)
{
    (void)state;
    uint8_t message[40], bytes[64];
    uint32_t seed = 7;
    for (int i = 0; i < 20000; i++) {
        for (size_t k = 0; k < sizeof(message); k++) {
            static const uint8_t likely[] = {0x0a, 0x12, 0x1a, 0x08, 0x10, 0, 1, 2, 5, 0x22};
            seed = seed * 1664525 + 1013904223;
            uint8_t any = (uint8_t)(seed >> 24);
            message[k] = (seed >> 20) % 4 == 0 ? any : likely[any % sizeof(likely)];
        }
        struct kpl_view view;
        struct kpl_record record;
        size_t size = 1 + (seed >> 16) % (sizeof(message) - 1);
        if (kpl_open(sealed(message, size, bytes), &view) == STATUS_OK) {
            while (kpl_next(&view, &record)) {
                assert_true(record.key.size <= size && record.data.size <= size);
            }
            assert_int_equal(view.next, view.count);
            kpl_release(&view);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_of_the_reference_are_taken_apart),
        cmocka_unit_test(ours_are_byte_for_byte_those_of_the_reference),
        cmocka_unit_test(a_builder_stops_at_its_size_and_not_before),
        cmocka_unit_test(any_changed_byte_makes_it_a_plain_record),
        cmocka_unit_test(a_right_checksum_over_nonsense_is_a_plain_record),
        cmocka_unit_test(random_messages_are_never_more_than_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
