/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "base/hash_key.h"
#include "base/rng.h"

static void assert_decimal(struct hash_key key, const char *expected)
{
    char text[HASH_KEY_DECIMAL_BYTES];
    hash_key_to_decimal(key, text);
    assert_string_equal(text, expected);
}

static void a_partition_key_hashes_to_its_md5(void **state)
{
    (void)state;
    struct hash_key key;
    assert_int_equal(hash_key_of_partition_key(bytes_of_string("a"), &key), STATUS_OK);
    assert_decimal(key, "16955237001963240173058271559858726497");
    assert_int_equal(hash_key_of_partition_key(bytes_of(NULL, 0), &key), STATUS_OK);
    assert_decimal(key, "281949768489412648962353822266799178366");
}

static void three_ranges_are_where_kinesis_has_them(void **state)
{
    (void)state;
    static const char *const ends[3][2] = {
        {"0",                                       "113427455640312821154458202477256070484"},
        {"113427455640312821154458202477256070485", "226854911280625642308916404954512140969"},
        {"226854911280625642308916404954512140970", "340282366920938463463374607431768211455"},
    };
    for (uint32_t i = 0; i < 3; i++) {
        struct hash_range range = hash_range_of(i, 3);
        assert_decimal(range.first, ends[i][0]);
        assert_decimal(range.last, ends[i][1]);
    }
}

/* The key after `key`; {0, 0} after the last. */
static struct hash_key next_key(struct hash_key key)
{
    key.low++;
    key.high += key.low == 0;
    return key;
}

static void ranges_of_any_count_have_no_hole_and_no_overlap(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, 3, 4, 5, 7, 12, 16, 100, 255, 1000, 10000};
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        struct hash_key expected = {0};
        for (uint32_t i = 0; i < counts[c]; i++) {
            struct hash_range range = hash_range_of(i, counts[c]);
            assert_int_equal(hash_key_compare(range.first, expected), 0);
            assert_true(hash_key_compare(range.first, range.last) <= 0);
            assert_true(hash_range_has(range, range.first) && hash_range_has(range, range.last));
            expected = next_key(range.last);
            assert_int_equal(hash_range_has(range, expected), counts[c] == 1); /* it wraps */
        }
        assert_int_equal(hash_key_compare(expected, (struct hash_key){0}), 0);
    }
}

static void decimal_and_bytes_go_both_ways(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 5000; i++) {
        struct hash_key key = {rng_next(&rng) >> rng_below(&rng, 64), rng_next(&rng)}, back;
        char text[HASH_KEY_DECIMAL_BYTES];
        uint8_t bytes[HASH_KEY_BYTES];
        hash_key_to_decimal(key, text);
        assert_int_equal(hash_key_from_decimal(text, &back), STATUS_OK);
        assert_int_equal(hash_key_compare(key, back), 0);
        hash_key_to_bytes(key, bytes);
        assert_int_equal(hash_key_compare(key, hash_key_from_bytes(bytes)), 0);
    }
}

static void what_is_no_number_below_2_to_the_128_is_refused(void **state)
{
    (void)state;
    struct hash_key key;
    assert_int_equal(hash_key_from_decimal("340282366920938463463374607431768211455", &key),
                     STATUS_OK);
    static const char *const bad[] = {
        "340282366920938463463374607431768211456",
        "999999999999999999999999999999999999999",
        "1000000000000000000000000000000000000000",
        "",
        "-1",
        "+1",
        " 1",
        "1 ",
        "0x10",
        "12a",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(hash_key_from_decimal(bad[i], &key), STATUS_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_partition_key_hashes_to_its_md5),
        cmocka_unit_test(three_ranges_are_where_kinesis_has_them),
        cmocka_unit_test(ranges_of_any_count_have_no_hole_and_no_overlap),
        cmocka_unit_test(decimal_and_bytes_go_both_ways),
        cmocka_unit_test(what_is_no_number_below_2_to_the_128_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
