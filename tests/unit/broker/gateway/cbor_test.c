#include "broker/gateway/cbor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena arena;

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

#define INPUT(operation)  api_operations[API_##operation].input
#define OUTPUT(operation) api_operations[API_##operation].output
#define BODY(text)        bytes_of(text, sizeof(text) - 1)

static const struct value *decoded(const struct shape *shape, struct bytes body)
{
    struct api_error error = {0};
    const struct value *value = NULL;
    assert_int_equal(cbor_decode(shape, body, &arena, &value, &error), STATUS_OK);
    return value;
}

static void expect_refused(const struct shape *shape, struct bytes body, const char *text)
{
    struct api_error error = {0};
    const struct value *value = NULL;
    assert_int_equal(cbor_decode(shape, body, &arena, &value, &error), STATUS_INVALID);
    assert_int_equal(error.exception, EXCEPTION_SERIALIZATION);
    if (!bytes_equal(error.text, bytes_of_string(text))) {
        fail_msg("%.*s", PRINT_BYTES(error.text));
    }
}

static void times_are_tagged_milliseconds(void **state)
{
    (void)state;
    /* 1,700,000,000,123 as an integer, tagged and not, and as a double. */
    static const struct {
        const char *bytes;
        size_t size;
        int64_t ms;
    } cases[] = {
        {"\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b", 10, 1700000000123},
        {"\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b",     9,  1700000000123},
        {"\xc1\xfb\x42\x78\xbc\xfe\x56\x87\xb0\x00", 10, 1700000000123},
        {"\xfb\x42\x78\xbc\xfe\x56\x87\xb0\x00",     9,  1700000000123},
        {"\xc1\x20",                                 2,  -1           },
        {"\xd9\xd9\xf7\xc1\x05",                     5,  5            }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf body = {0};
        assert_int_equal(buf_append(&body, "\xa1\x69Timestamp", 11), STATUS_OK);
        assert_int_equal(buf_append(&body, cases[i].bytes, cases[i].size), STATUS_OK);
        const struct value *got = decoded(INPUT(GetShardIterator), buf_bytes(&body));
        assert_int_equal(value_get(got, "Timestamp")->kind, VALUE_TIME);
        assert_int_equal(value_int(got, "Timestamp", 0), cases[i].ms);
        buf_release(&body);
    }
    struct value time = {.kind = VALUE_TIME, .number = 1700000000123};
    struct buf out = {0};
    assert_int_equal(cbor_encode(&time, &out), STATUS_OK);
    assert_true(bytes_equal(buf_bytes(&out), BODY("\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b")));
    buf_release(&out);
}

static void numbers_of_every_form_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        int64_t number;
    } cases[] = {
        {"\x17",                                 1, 23              },
        {"\x18\x18",                             2, 24              },
        {"\x19\x01\x00",                         3, 256             },
        {"\x1a\x00\x01\x00\x00",                 5, 65536           },
        {"\x1b\x00\x20\x00\x00\x00\x00\x00\x01", 9, 9007199254740993},
        {"\x1b\xff\xff\xff\xff\xff\xff\xff\xff", 9, INT64_MAX       },
        {"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff", 9, INT64_MIN       },
        {"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", 9, INT64_MIN       },
        {"\xf9\x3e\x00",                         3, 1               }, /* 1.5 */
        {"\xf9\x7c\x00",                         3, INT64_MAX       }, /* infinite */
        {"\xf9\x00\x01",                         3, 0               }, /* nearly 0 */
        {"\xfa\xc0\x20\x00\x00",                 5, -2              }, /* -2.5 */
        {"\xfb\xc3\xe0\x00\x00\x00\x00\x00\x00", 9, INT64_MIN       },
        {"\xfb\x43\xe0\x00\x00\x00\x00\x00\x00", 9, INT64_MAX       }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf body = {0};
        assert_int_equal(buf_append(&body, "\xa1\x72MillisBehindLatest", 20), STATUS_OK);
        assert_int_equal(buf_append(&body, cases[i].bytes, cases[i].size), STATUS_OK);
        const struct value *got = decoded(OUTPUT(GetRecords), buf_bytes(&body));
        assert_int_equal(value_int(got, "MillisBehindLatest", 7), cases[i].number);
        buf_release(&body);
    }
    expect_refused(OUTPUT(GetRecords), BODY("\xa1\x72MillisBehindLatest\xf9\x7e\x00"), "");
    const struct value *got =
        decoded(INPUT(ListStreams), BODY("\xa1\x65Limit\x1b\x00\x00\x00\x01\x00\x00\x00\x01"));
    assert_int_equal(value_int(got, "Limit", 0), INT32_MAX);
}

static void open_lengths_and_chunks_are_read(void **state)
{
    (void)state;
    const struct value *got =
        decoded(INPUT(PutRecord), BODY("\xbf\x7f\x64"
                                       "Data\xff\x5f\x42\x00\x01\x40\x41\xff\xff\x7f\x6a"
                                       "StreamName\xff\x61s\x61"
                                       "A\x9f\x01\xbf\xff\xbf\x01\x02\xff\xff\xff"));
    assert_int_equal(value_count(got), 2);
    assert_true(bytes_equal(value_bytes(got, "Data"), BODY("\x00\x01\xff")));
    assert_true(value_is(got, "StreamName", "s"));
}

static void unknown_members_are_passed_over_and_null_ones_absent(void **state)
{
    (void)state;
    const struct value *got =
        decoded(INPUT(ListStreams), BODY("\xa6\x61"
                                         "A\x82\xa1\x01\x80\xc1\xf6\x61"
                                         "B\xfb\x00\x00\x00\x00\x00\x00\x00\x00\x65Limit\xf6\x61"
                                         "C\xf7\x69NextToken\x61t\x61"
                                         "D\xf0"));
    assert_int_equal(value_count(got), 1);
    assert_true(value_is(got, "NextToken", "t"));
    got = decoded(INPUT(ListStreams), BODY("\xa3\x65Limit\x01\x65Limit\x02\x65Limit\xf7"));
    assert_false(value_has(got, "Limit"));
}

static void what_is_no_cbor_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } bodies[] = {
        {"",                                              0 },
        {"\xbf\x61",                                      2 },
        {"\xbf",                                          1 },
        {"\xf6",                                          1 },
        {"\xff",                                          1 },
        {"\xa0\x00",                                      2 }, /* something behind */
        {"\xa1\x01\x02",                                  3 }, /* a member without a text for a name */
        {"\xa1\x61x\xff",                                 4 }, /* a break for a value */
        {"\xbf\x61x\xff",                                 4 },
        {"\xa1\x61x\xbf\x01\xff",                         6 },
        {"\xa1\x61x\x1c",                                 4 }, /* reserved */
        {"\xa1\x61x\x1f",                                 4 }, /* an integer of open length */
        {"\xa1\x61x\x5f\x61y\xff",                        7 }, /* text in a byte string */
        {"\xa1\x61x\x5f\x5f\xff\xff",                     7 },
        {"\xa1\x61x\x5f\x5f\xff",                         6 },
        {"\xa1\x61x\x9b\xff\xff\xff\xff\xff\xff\xff\xff", 12},
        {"\xa1\x61x\xbb\x80\x00\x00\x00\x00\x00\x00\x00", 12},
        {"\xa1\x61x\x7b\xff\xff\xff\xff\xff\xff\xff\xff", 12},
        {"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",          9 },
        {"\xa1\x61\xff\x01",                              4 }, /* not UTF-8 */
        {"\xa1\x65Limit\xc1\xc1\xc1\xc1\xc1\xc1\x01",     14},
        {"\xa1\x65Limit\xe0",                             8 },
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        expect_refused(INPUT(ListStreams), bytes_of(bodies[i].bytes, bodies[i].size), "");
    }
}

static void wrong_types_are_refused(void **state)
{
    (void)state;
    expect_refused(INPUT(DescribeStreamSummary), BODY("\xa1\x6aStreamName\x17"),
                   "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be "
                   "converted to an String");
    expect_refused(INPUT(DescribeStreamSummary), BODY("\xa1\x6aStreamName\x41x"),
                   "class java.nio.HeapByteBuffer can not be converted to an String");
    expect_refused(INPUT(PutRecord),
                   BODY("\xa1\x64"
                        "Data\x61x"),
                   "class java.lang.String can not be converted to a Blob");
    expect_refused(INPUT(PutRecords), BODY("\xa1\x67Records\xa0"),
                   "Start of structure or map found where not expected.");
    expect_refused(INPUT(DeleteStream),
                   BODY("\xa1\x77"
                        "EnforceConsumerDeletion\x01"),
                   "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be "
                   "converted to an Boolean");
    expect_refused(INPUT(CreateStream), BODY("\xa1\x6aShardCount\xf5"),
                   "class java.lang.Boolean can not be converted to an Integer");
    expect_refused(INPUT(ListStreams), BODY("\x80"), "Start of list found where not expected");
}

static void depth_is_bounded(void **state)
{
    (void)state;
    static uint8_t body[100000] = {0xa1, 0x61, 'x'};
    for (size_t depth = 14; depth < 18; depth++) {
        memset(body + 3, 0x81, depth);
        body[3 + depth] = 1;
        struct api_error error;
        const struct value *value = NULL;
        assert_int_equal(
            cbor_decode(INPUT(ListStreams), bytes_of(body, 4 + depth), &arena, &value, &error),
            depth < 16 ? STATUS_OK : STATUS_INVALID);
    }
    memset(body + 3, 0x9f, sizeof body - 3);
    expect_refused(INPUT(ListStreams), bytes_of(body, sizeof body), "");
    memset(body + 3, 0xc1, sizeof body - 3);
    expect_refused(INPUT(ListStreams), bytes_of(body, sizeof body), "");
}

static void what_is_written_is_short(void **state)
{
    (void)state;
    static const struct {
        int64_t number;
        struct bytes bytes;
    } cases[] = {
        {0,          {(const uint8_t *)"\x00", 1}                                },
        {23,         {(const uint8_t *)"\x17", 1}                                },
        {24,         {(const uint8_t *)"\x18\x18", 2}                            },
        {255,        {(const uint8_t *)"\x18\xff", 2}                            },
        {256,        {(const uint8_t *)"\x19\x01\x00", 3}                        },
        {65536,      {(const uint8_t *)"\x1a\x00\x01\x00\x00", 5}                },
        {4294967296, {(const uint8_t *)"\x1b\x00\x00\x00\x01\x00\x00\x00\x00", 9}},
        {-1,         {(const uint8_t *)"\x20", 1}                                },
        {INT64_MIN,  {(const uint8_t *)"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff", 9}}
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct value value = {.kind = VALUE_INT, .number = cases[i].number};
        struct buf out = {0};
        assert_int_equal(cbor_encode(&value, &out), STATUS_OK);
        assert_true(bytes_equal(buf_bytes(&out), cases[i].bytes));
        buf_release(&out);
    }
    struct value *root = value_new(&arena, VALUE_STRUCT);
    (void)value_put(root, bytes_of_string("N"), value_new(&arena, VALUE_NULL));
    value_add_bool(&arena, root, "B", true);
    struct value *list = value_add_list(&arena, root, "L");
    value_append(list, bytes_of(NULL, 0), value_new(&arena, VALUE_NULL));
    value_add_blob(&arena, list, NULL, BODY("\xff"));
    struct buf out = {0};
    assert_int_equal(cbor_encode(root, &out), STATUS_OK);
    assert_true(bytes_equal(buf_bytes(&out), BODY("\xa2\x61"
                                                  "B\xf5\x61L\x82\xf6\x41\xff")));
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(times_are_tagged_milliseconds, teardown),
        cmocka_unit_test_teardown(numbers_of_every_form_are_read, teardown),
        cmocka_unit_test_teardown(open_lengths_and_chunks_are_read, teardown),
        cmocka_unit_test_teardown(unknown_members_are_passed_over_and_null_ones_absent, teardown),
        cmocka_unit_test_teardown(what_is_no_cbor_is_refused, teardown),
        cmocka_unit_test_teardown(wrong_types_are_refused, teardown),
        cmocka_unit_test_teardown(depth_is_bounded, teardown),
        cmocka_unit_test_teardown(what_is_written_is_short, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
