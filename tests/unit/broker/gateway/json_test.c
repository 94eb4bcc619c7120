#include "broker/gateway/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena arena;

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static const struct value *decoded(const struct shape *shape, const char *body)
{
    struct api_error error = {0};
    const struct value *value = NULL;
    enum status status = json_decode(shape, bytes_of_string(body), &arena, &value, &error);
    if (status != STATUS_OK) {
        fail_msg("%s: %.*s", body, PRINT_BYTES(error.text));
    }
    return value;
}

static void expect_refused(const struct shape *shape, struct bytes body, const char *text)
{
    struct api_error error = {0};
    const struct value *value = NULL;
    enum status status = json_decode(shape, body, &arena, &value, &error);
    if (status != STATUS_INVALID || error.exception != EXCEPTION_SERIALIZATION ||
        !bytes_equal(error.text, bytes_of_string(text))) {
        fail_msg("%.*s: status %d, '%.*s'", PRINT_BYTES(body), (int)status,
                 PRINT_BYTES(error.text));
    }
}

#define INPUT(operation) api_operations[API_##operation].input

static void wrong_types_have_aws_texts(void **state)
{
    (void)state;
#define NUMBER \
    "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to "
    static const struct {
        enum api_operation_id operation;
        const char *body, *text;
    } cases[] = {
        {API_DescribeStream,   "{\"StreamName\":23}",                     NUMBER "an String"                                   },
        {API_DescribeStream,   "{\"StreamName\":true}",
         "class java.lang.Boolean can not be converted to an String"                                                           },
        {API_DescribeStream,   "{\"StreamName\":[]}",                     "Start of list found where not expected"             },
        {API_DescribeStream,   "{\"StreamName\":{}}",
         "Start of structure or map found where not expected."                                                                 },
        {API_CreateStream,     "{\"ShardCount\":\"1\"}",
         "class java.lang.String can not be converted to an Integer"                                                           },
        {API_CreateStream,     "{\"ShardCount\":true}",
         "class java.lang.Boolean can not be converted to an Integer"                                                          },
        {API_CreateStream,     "{\"StreamModeDetails\":\"x\"}",           "Expected null"                                      },
        {API_CreateStream,     "{\"StreamModeDetails\":[]}",              "Start of list found where not expected"             },
        {API_PutRecords,       "{\"Records\":\"y\"}",                     "Expected list or null"                              },
        {API_PutRecords,       "{\"Records\":{}}",                        "Start of structure or map found where not expected."},
        {API_PutRecords,       "{\"Records\":[1]}",                       "Expected null"                                      },
        {API_AddTagsToStream,  "{\"Tags\":\"y\"}",                        "Expected map or null"                               },
        {API_AddTagsToStream,  "{\"Tags\":[]}",                           "Start of list found where not expected"             },
        {API_AddTagsToStream,  "{\"Tags\":{\"a\":1}}",                    NUMBER "an String"                                   },
        {API_PutRecord,        "{\"Data\":1}",                            NUMBER "a Blob"                                      },
        {API_PutRecord,        "{\"Data\":false}",
         "class java.lang.Boolean can not be converted to a Blob"                                                              },
        {API_PutRecord,        "{\"Data\":\"abcde\"}",
         "'abcde' can not be converted to a Blob: Base64 encoded length is expected a multiple of "
         "4 bytes but found: 5"                                                                                                },
        {API_PutRecord,        "{\"Data\":\"ab*d\"}",
         "'ab*d' can not be converted to a Blob: Invalid Base64 character: '*'"                                                },
        {API_PutRecord,        "{\"Data\":\"a=bc\"}",
         "'a=bc' can not be converted to a Blob: Invalid Base64 character: '='"                                                },
        {API_PutRecord,        "{\"Data\":\"YR==\"}",
         "'YR==' can not be converted to a Blob: Invalid last non-pad Base64 character dectected"                              },
        {API_GetShardIterator, "{\"Timestamp\":\"now\"}",
         "class java.lang.String can not be converted to milliseconds since epoch"                                             },
        {API_DeleteStream,     "{\"EnforceConsumerDeletion\":1}",         NUMBER "an Boolean"                                  },
        {API_DeleteStream,     "{\"EnforceConsumerDeletion\":\"maybe\"}",
         "'maybe' can not be converted to an Boolean"                                                                          },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_refused(api_operations[cases[i].operation].input, bytes_of_string(cases[i].body),
                       cases[i].text);
    }
}

static void what_is_no_json_is_refused_without_a_text(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        " ",
        "{",
        "hello",
        "\xff\xfe",
        "null",
        "{\"Limit\":1,}",
        "{\"Limit\":01}",
        "{,}",
        "{\"Limit\":+1}",
        "{\"Limit\":1.}",
        "{\"Limit\":.5}",
        "{\"Limit\":1e}",
        "{\"Limit\":-}",
        "{\"Limit\" 1}",
        "{\"Limit\":1}x",
        "{\"Limit\":1}{}",
        "{Limit:1}",
        "{\"x\":tru}",
        "{\"x\":nul}",
        "{\"x\":[1,]}",
        "{\"x\":[1 2]}",
        "{\"x\":{\"a\"}}",
        "{\"x\":{\"a\":1,}}",
        "{\"x\":[}",
        "{\"x\":{]}",
        "{\"x\":[1}}",
        "{\"NextToken\":\"\n\"}",
        "{\"NextToken\":\"\\x\"}",
        "{\"NextToken\":\"\\u12\"}",
        "{\"NextToken\":\"\\ud83d\"}",
        "{\"NextToken\":\"\\udd11\"}",
        "{\"NextToken\":\"\\ud83d\\u0041\"}",
        "{\"NextToken\":\"\xc0\x80\"}",
        "{\"NextToken\":\"\xed\xa0\x80\"}",
        "{\"x\":\"\xff\"}",
        "{\"x\":\"\xe0\x80\x80\"}",
        "{\"NextToken\":\"\\ud83d\\ud83d\"}",
        "{\"NextToken\":\"\\",
        "{\"NextToken\":\"\\\"",
        "{\"NextToken\":\"a\\\\\\\"}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        expect_refused(INPUT(ListStreams), bytes_of_string(bodies[i]), "");
    }
    expect_refused(INPUT(ListStreams), bytes_of("{}\0", 3), "");
    expect_refused(INPUT(ListStreams), bytes_of("{\"NextToken\":\"\0\"}", 17), "");
    expect_refused(INPUT(ListStreams), bytes_of_string("[1]"),
                   "Start of list found where not expected");
    expect_refused(INPUT(ListStreams), bytes_of_string("\"x\""), "Expected null");
}

static void unknown_members_are_passed_over_and_null_ones_absent(void **state)
{
    (void)state;
    const struct value *got = decoded(
        INPUT(ListStreams),
        " { \"A\" : [ ] , \"B\":{\"C\":[{},[1,{\"D\":null}],true,-1.5e-7,\"\\u00e9\"]}, \"E\":{},"
        "\"Limit\" : null, \"limit\":3, \"NextToken\":\"t\" , \"F\":false}\r\n");
    assert_int_equal(value_count(got), 1);
    assert_false(value_has(got, "Limit"));
    assert_true(value_is(got, "NextToken", "t"));
}

static void the_last_of_two_members_counts(void **state)
{
    (void)state;
    const struct value *got =
        decoded(INPUT(ListStreams), "{\"Limit\":1,\"NextToken\":\"a\",\"Limit\":2,"
                                    "\"NextToken\":null}");
    assert_int_equal(value_int(got, "Limit", 0), 2);
    assert_false(value_has(got, "NextToken"));
    got = decoded(INPUT(AddTagsToStream), "{\"Tags\":{\"a\":\"1\",\"b\":\"2\",\"a\":\"3\"}}");
    const struct value *tags = value_get(got, "Tags");
    assert_int_equal(value_count(tags), 2);
    assert_true(value_is(tags, "a", "3"));
    assert_true(value_is(tags, "b", "2"));
}

static void escapes_stand_for_their_characters(void **state)
{
    (void)state;
    const struct value *got = decoded(
        INPUT(PutRecord), "{\"PartitionKey\":\"\\u00e9\\ud83d\\udd11\\\"\\\\\\/\\n\\u0000"
                          "\\u20AC\",\"Data\":\"\\/+\\u0038=\",\"Stream\\u004eame\":\"s\"}");
    assert_true(bytes_equal(value_bytes(got, "PartitionKey"),
                            bytes_of("\xc3\xa9\xf0\x9f\x94\x91\"\\/\n\0\xe2\x82\xac", 14)));
    assert_true(bytes_equal(value_bytes(got, "Data"), bytes_of("\xff\xef", 2)));
    assert_true(value_is(got, "StreamName", "s"));
}

static void numbers_are_exact_and_cut_at_their_ends(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t number;
    } cases[] = {
        {"0",                                      0                 },
        {"-0",                                     0                 },
        {"1",                                      1                 },
        {"-1",                                     -1                },
        {"1.9",                                    1                 },
        {"-1.9",                                   -1                },
        {"12e2",                                   1200              },
        {"1200E-2",                                12                },
        {"0.00012e5",                              12                },
        {"9223372036854775807",                    INT64_MAX         },
        {"9223372036854775806",                    INT64_MAX - 1     },
        {"-9223372036854775808",                   INT64_MIN         },
        {"9223372036854775808",                    INT64_MAX         },
        {"99999999999999999999999",                INT64_MAX         },
        {"-1e5000",                                INT64_MIN         },
        {"1e999999999999",                         INT64_MAX         },
        {"1e-999999999999",                        0                 },
        {"0e999999",                               0                 },
        {"9007199254740993",                       9007199254740993  },
        {"123456789012345678.9999999999999999999", 123456789012345678},
        {"0.000000000000000000000000001e27",       1                 },
        {"10000000000000000000000000000e-28",      1                 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[96];
        (void)snprintf(body, sizeof body, "{\"MillisBehindLatest\":%s}", cases[i].text);
        const struct value *got = decoded(api_operations[API_GetRecords].output, body);
        if (value_int(got, "MillisBehindLatest", 7) != cases[i].number) {
            fail_msg("%s: %lld", cases[i].text, (long long)value_int(got, "MillisBehindLatest", 7));
        }
    }
    const struct value *got = decoded(INPUT(ListStreams), "{\"Limit\":4294967297}");
    assert_int_equal(value_int(got, "Limit", 0), INT32_MAX);
    got = decoded(INPUT(ListStreams), "{\"Limit\":-4294967297}");
    assert_int_equal(value_int(got, "Limit", 0), INT32_MIN);
}

static void times_are_seconds_with_a_fraction(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"1577836800",        1577836800000},
        {"1577836800.123456", 1577836800123},
        {"1548118964.772",    1548118964772},
        {"1.548118964772E9",  1548118964772},
        {"-1.5",              -1500        },
        {"0.001",             1            },
        {"1577836800.999999", 1577836800999}
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[96];
        (void)snprintf(body, sizeof body, "{\"Timestamp\":%s}", cases[i].text);
        const struct value *got = decoded(INPUT(GetShardIterator), body);
        assert_int_equal(value_get(got, "Timestamp")->kind, VALUE_TIME);
        assert_int_equal(value_int(got, "Timestamp", 0), cases[i].ms);
    }
}

static void times_are_written_as_short_as_they_are(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {1548118964772, "1548118964.772"},
        {1548118964700, "1548118964.7"  },
        {1548118964000, "1548118964"    },
        {0,             "0"             },
        {10,            "0.01"          },
        {-1500,         "-1.5"          },
        {20000,         "20"            }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        struct value value = {.kind = VALUE_TIME, .number = cases[i].ms};
        assert_int_equal(json_encode(&value, &out), STATUS_OK);
        assert_true(bytes_equal(buf_bytes(&out), bytes_of_string(cases[i].text)));
        buf_release(&out);
    }
}

static void answers_are_plain_json(void **state)
{
    (void)state;
    struct value *root = value_new(&arena, VALUE_STRUCT);
    struct value *list = value_add_list(&arena, root, "L");
    value_append(list, bytes_of(NULL, 0), value_new(&arena, VALUE_NULL));
    value_add_blob(&arena, list, NULL, bytes_of(NULL, 0));
    value_add_blob(&arena, list, NULL, bytes_of_string("f"));
    value_add_blob(&arena, list, NULL, bytes_of_string("fo"));
    value_add_blob(&arena, list, NULL, bytes_of_string("foo"));
    (void)value_put(root, bytes_of_string("N"), value_new(&arena, VALUE_NULL));
    value_add_text(&arena, root, "T", "\"\\/\t\x1f\x7f\xe2\x82\xac");
    value_add_int(&arena, root, "I", INT64_MIN);
    value_add_bool(&arena, root, "B", false);
    (void)value_add_map(&arena, root, "M");
    struct buf out = {0};
    assert_int_equal(json_encode(root, &out), STATUS_OK);
    static const char want[] =
        "{\"L\":[null,\"\",\"Zg==\",\"Zm8=\",\"Zm9v\"],\"T\":\"\\\"\\\\/\\u0009\\u001f\x7f"
        "\xe2\x82\xac\",\"I\":-9223372036854775808,\"B\":false,\"M\":{}}";
    assert_true(bytes_equal(buf_bytes(&out), bytes_of_string(want)));
    buf_release(&out);
}

/* Strings are looked at eight bytes at a time. */
static void what_needs_an_escape_has_one_wherever_it_is(void **state)
{
    (void)state;
    enum { SIZE = 21 };
    for (size_t place = 0; place < SIZE; place++) {
        for (unsigned c = 0; c < 256; c++) {
            char text[SIZE], escape[8], want[SIZE + 16];
            memset(text, '!', SIZE);
            text[place] = (char)c;
            if (c < 0x20) {
                (void)snprintf(escape, sizeof(escape), "\\u%04x", c);
            } else if (c == '"' || c == '\\') {
                (void)snprintf(escape, sizeof(escape), "\\%c", (char)c);
            } else {
                memcpy(escape, "\xef\xbf\xbd", 4);
            }
            if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
                (void)snprintf(escape, sizeof(escape), "%c", (char)c);
            }
            int size = snprintf(want, sizeof(want), "\"%.*s%s%.*s\"", (int)place, text, escape,
                                (int)(SIZE - 1 - place), text + place + 1);
            struct value *value = value_new(&arena, VALUE_STRING);
            value->bytes = bytes_of(text, SIZE);
            struct buf out = {0};
            assert_int_equal(json_encode(value, &out), STATUS_OK);
            assert_true(bytes_equal(buf_bytes(&out), bytes_of(want, (size_t)size)));
            buf_release(&out);
        }
    }
}

/* `head`, `middle` `count` times, `tail`. */
static struct bytes repeated(const char *head, const char *middle, size_t count, const char *tail)
{
    struct buf body = {0};
    assert_int_equal(buf_append(&body, head, strlen(head)), STATUS_OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(buf_append(&body, middle, strlen(middle)), STATUS_OK);
    }
    assert_int_equal(buf_append(&body, tail, strlen(tail)), STATUS_OK);
    struct bytes copy = arena_copy(&arena, buf_bytes(&body));
    buf_release(&body);
    return copy;
}

static void depth_and_counts_are_bounded(void **state)
{
    (void)state;
    const struct shape *shape = INPUT(ListStreams);
    (void)decoded(shape, "{\"a\":[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]}");
    expect_refused(shape, bytes_of_string("{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}"), "");
    expect_refused(shape, repeated("{", "\"a\":{", 100000, ""), "");
    expect_refused(shape, repeated("{\"a\":", "[", 1000000, ""), "");
    const struct shape *put = INPUT(PutRecords);
    expect_refused(put, repeated("{\"Records\":[{}", ",{}", 10000, "]}"), "");
    struct api_error error;
    const struct value *got = NULL;
    assert_int_equal(
        json_decode(put, repeated("{\"Records\":[{}", ",null", 9999, "]}"), &arena, &got, &error),
        STATUS_OK);
    assert_int_equal(value_count(value_get(got, "Records")), 10000);
    expect_refused(shape, repeated("{\"a\":1", "0", 1000000, ",}"), "");
}

static void many_tags_cost_no_more_than_their_bound(void **state)
{
    (void)state;
    struct buf body = {0};
    const char *head = "{\"Tags\":{";
    assert_int_equal(buf_append(&body, head, strlen(head)), STATUS_OK);
    for (unsigned i = 0; i < 2000; i++) {
        char tag[32];
        int size = snprintf(tag, sizeof tag, "%s\"%u\":\"\"", i ? "," : "", i);
        assert_int_equal(buf_append(&body, tag, (size_t)size), STATUS_OK);
    }
    assert_int_equal(buf_append(&body, "}}", 2), STATUS_OK);
    expect_refused(INPUT(AddTagsToStream), buf_bytes(&body), "");
    buf_release(&body);
}

static void booleans_may_be_words(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool truth;
    } cases[] = {
        {"true",      true },
        {"false",     false},
        {"\"true\"",  true },
        {"\"FALSE\"", false},
        {"\"yes\"",   true },
        {"\"no\"",    false},
        {"\"1\"",     true },
        {"\"0\"",     false}
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[64];
        (void)snprintf(body, sizeof body, "{\"EnforceConsumerDeletion\":%s}", cases[i].text);
        const struct value *got = decoded(INPUT(DeleteStream), body);
        assert_int_equal(value_bool(got, "EnforceConsumerDeletion", !cases[i].truth),
                         cases[i].truth);
    }
}

static void strings_are_borrowed_and_blobs_decoded(void **state)
{
    (void)state;
    static const char body[] = "{\"PartitionKey\":\"key\",\"Data\":\"AP8=\"}";
    const struct value *got = decoded(INPUT(PutRecord), body);
    struct bytes key = value_bytes(got, "PartitionKey");
    assert_true((const char *)key.data > body && (const char *)key.data < body + sizeof body);
    assert_true(bytes_equal(value_bytes(got, "Data"), bytes_of("\0\xff", 2)));
    got = decoded(INPUT(PutRecord), "{\"Data\":\"\"}");
    assert_true(value_has(got, "Data"));
    assert_int_equal(value_bytes(got, "Data").size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(wrong_types_have_aws_texts, teardown),
        cmocka_unit_test_teardown(what_is_no_json_is_refused_without_a_text, teardown),
        cmocka_unit_test_teardown(unknown_members_are_passed_over_and_null_ones_absent, teardown),
        cmocka_unit_test_teardown(the_last_of_two_members_counts, teardown),
        cmocka_unit_test_teardown(escapes_stand_for_their_characters, teardown),
        cmocka_unit_test_teardown(numbers_are_exact_and_cut_at_their_ends, teardown),
        cmocka_unit_test_teardown(times_are_seconds_with_a_fraction, teardown),
        cmocka_unit_test_teardown(times_are_written_as_short_as_they_are, teardown),
        cmocka_unit_test_teardown(answers_are_plain_json, teardown),
        cmocka_unit_test_teardown(what_needs_an_escape_has_one_wherever_it_is, teardown),
        cmocka_unit_test_teardown(depth_and_counts_are_bounded, teardown),
        cmocka_unit_test_teardown(many_tags_cost_no_more_than_their_bound, teardown),
        cmocka_unit_test_teardown(booleans_may_be_words, teardown),
        cmocka_unit_test_teardown(strings_are_borrowed_and_blobs_decoded, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
