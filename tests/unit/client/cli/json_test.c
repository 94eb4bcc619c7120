/* Writing JSON, and the texts in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "client/cli/json.h"
#include "client/cli/text.h"

static void expect(struct json *json, const char *text)
{
    assert_false(json->failed);
    assert_int_equal(json->out.size, strlen(text));
    assert_memory_equal(json->out.data, text, json->out.size);
    json_release(json);
}

static void objects_and_arrays_get_their_commas(void **state)
{
    (void)state;
    struct json json = {0};
    json_object_begin(&json, NULL);
    json_array_begin(&json, "shards");
    json_object_begin(&json, NULL);
    json_string(&json, "id", "shardId-000000000000");
    json_number(&json, "epoch", UINT64_MAX);
    json_bool(&json, "open", true);
    json_null(&json, "leader");
    json_object_end(&json);
    json_object_begin(&json, NULL);
    json_object_end(&json);
    json_array_end(&json);
    json_array_begin(&json, "none");
    json_array_end(&json);
    json_object_end(&json);
    expect(&json, "{\"shards\": [{\"id\": \"shardId-000000000000\", "
                  "\"epoch\": 18446744073709551615, \"open\": true, \"leader\": null}, {}], "
                  "\"none\": []}");
}

static void each_line_begins_afresh(void **state)
{
    (void)state;
    struct json json = {0};
    json_number(&json, NULL, 1);
    json_line_end(&json);
    json_number(&json, NULL, 2);
    json_line_end(&json);
    expect(&json, "1\n2\n");
}

static void characters_with_a_meaning_are_escaped(void **state)
{
    (void)state;
    struct json json = {0};
    static const char text[] = "q\" b\\ n\n r\r t\t z\0 e\x1b d\x7f \xc3\xa9/";
    json_text(&json, "a\"b", bytes_of(text, sizeof(text) - 1));
    expect(&json,
           "\"a\\\"b\": \"q\\\" b\\\\ n\\n r\\r t\\t z\\u0000 e\\u001b d\\u007f \xc3\xa9/\"");
}

static void text_that_is_not_utf8_is_repaired(void **state)
{
    (void)state;
    struct json json = {0};
    json_text(&json, NULL, bytes_of("a\xff\"", 3));
    expect(&json, "\"a\xef\xbf\xbd\\\"\"");
}

static void bytes_become_base64(void **state)
{
    (void)state;
    struct json json = {0};
    json_base64(&json, NULL, bytes_of("", 0));
    json_base64(&json, NULL, bytes_of("f", 1));
    json_base64(&json, NULL, bytes_of("fo", 2));
    json_base64(&json, NULL, bytes_of("foo", 3));
    json_base64(&json, NULL, bytes_of("\xff\xfe\xfd\xfc", 4));
    expect(&json, "\"\", \"Zg==\", \"Zm8=\", \"Zm9v\", \"//79/A==\"");
}

static void utf8_is_what_unicode_says(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "abc",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "a\xc3\xa9z"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "a\xe2\x82z",
                                      "\xf0\x90\x80"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(text_is_utf8(bytes_of_string(good[i])));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(text_is_utf8(bytes_of_string(bad[i])));
    }
}

static void times_are_read_in_two_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {
        {"0",                       0            },
        {"1700000000",              1700000000000},
        {"1700000000.5",            1700000000500},
        {"1700000000.1239",         1700000000123},
        {"2023-11-14T22:13:20Z",    1700000000000},
        {"2023-11-14T22:13:20.25Z", 1700000000250},
        {"2023-11-14T22:13:20",     1700000000000},
        {"2023-11-14",              1699920000000}
    };
    static const char *const bad[] = {"",
                                      "x",
                                      "-1",
                                      "1700000000x",
                                      "1700000000123",
                                      "2023-13-01",
                                      "2023-11-14T",
                                      "2023-11-14T22:13:20+01:00",
                                      "1969-01-01"};
    uint64_t ms;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(text_parse_time(good[i].text, &ms), STATUS_OK);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(text_parse_time(bad[i], &ms), STATUS_INVALID);
    }
    char text[TEXT_TIME_BYTES];
    text_time(1700000000007, text);
    assert_string_equal(text, "2023-11-14T22:13:20.007Z");
}

static void sizes_are_short(void **state)
{
    (void)state;
    char text[TEXT_SIZE_BYTES];
    text_size(1023, text);
    assert_string_equal(text, "1023 B");
    text_size(1536, text);
    assert_string_equal(text, "1.5 KiB");
    text_size(UINT64_MAX, text);
    assert_string_equal(text, "16.0 EiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_and_arrays_get_their_commas),
        cmocka_unit_test(each_line_begins_afresh),
        cmocka_unit_test(characters_with_a_meaning_are_escaped),
        cmocka_unit_test(text_that_is_not_utf8_is_repaired),
        cmocka_unit_test(bytes_become_base64),
        cmocka_unit_test(utf8_is_what_unicode_says),
        cmocka_unit_test(times_are_read_in_two_forms),
        cmocka_unit_test(sizes_are_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
