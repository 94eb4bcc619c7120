/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "base/bytes.h"

static void a_buffer_grows_and_keeps_its_bytes(void **state)
{
    (void)state;
    struct buf buf = {0};
    for (unsigned i = 0; i < 10000; i++) {
        uint8_t byte = (uint8_t)i;
        assert_int_equal(buf_append(&buf, &byte, 1), STATUS_OK);
    }
    assert_int_equal(buf_append(&buf, NULL, 0), STATUS_OK);
    assert_int_equal(buf.size, 10000);
    for (unsigned i = 0; i < 10000; i++) {
        assert_int_equal(buf.data[i], (uint8_t)i);
    }
    buf_consume(&buf, 9000);
    assert_int_equal(buf.size, 1000);
    assert_int_equal(buf.data[0], (uint8_t)9000);
    buf_consume(&buf, 5000);
    assert_int_equal(buf.size, 0);
    buf_release(&buf);
    buf_release(&buf);
    assert_null(buf.data);
}

static void an_impossible_size_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    struct buf buf = {0};
    assert_int_equal(buf_append(&buf, "abc", 3), STATUS_OK);
    assert_int_equal(buf_reserve(&buf, SIZE_MAX), STATUS_NO_MEMORY);
    assert_int_equal(buf_reserve(&buf, SIZE_MAX / 2), STATUS_NO_MEMORY);
    assert_true(bytes_equal(buf_bytes(&buf), bytes_of_string("abc")));
    buf_release(&buf);
}

static void numbers_are_little_endian_both_ways(void **state)
{
    (void)state;
    uint8_t at[8];
    put_u64(at, 0x0123456789abcdef);
    static const uint8_t expected[] = {0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01};
    assert_memory_equal(at, expected, 8);
    assert_true(get_u64(at) == 0x0123456789abcdef);
    assert_int_equal(get_u32(at), 0x89abcdef);
    assert_int_equal(get_u16(at), 0xcdef);
    put_u16(at, 0xffff);
    assert_int_equal(get_u16(at), 0xffff);
}

static void a_reader_fails_once_and_for_all(void **state)
{
    (void)state;
    static const uint8_t data[] = {1, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 'x', 'y'};
    struct reader reader = reader_of(bytes_of(data, sizeof(data)));
    assert_int_equal(reader_u8(&reader), 1);
    assert_int_equal(reader_u16(&reader), 2);
    assert_int_equal(reader_u32(&reader), 3);
    assert_int_equal(reader_u64(&reader), 4);
    assert_true(bytes_equal(reader_take(&reader, 2), bytes_of_string("xy")));
    assert_false(reader.failed);
    assert_int_equal(reader_take(&reader, 0).size, 0);
    assert_false(reader.failed);

    reader = reader_of(bytes_of(data, 3));
    assert_int_equal(reader_u32(&reader), 0);
    assert_true(reader.failed);
    assert_int_equal(reader_u8(&reader), 0); /* though a byte is there */
}

static void bytes_compare_by_content(void **state)
{
    (void)state;
    assert_true(bytes_equal(bytes_of(NULL, 0), bytes_of("", 0)));
    assert_false(bytes_equal(bytes_of_string("a"), bytes_of_string("ab")));
    assert_false(bytes_equal(bytes_of_string("a"), bytes_of_string("b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_grows_and_keeps_its_bytes),
        cmocka_unit_test(an_impossible_size_leaves_the_buffer_as_it_was),
        cmocka_unit_test(numbers_are_little_endian_both_ways),
        cmocka_unit_test(a_reader_fails_once_and_for_all),
        cmocka_unit_test(bytes_compare_by_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
