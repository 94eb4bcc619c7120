/* The messages between a consumer and record processors in other languages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "client/cli/multilang.h"

static enum status parse(const char *line, struct multilang_message *out)
{
    struct error error;
    return multilang_parse(bytes_of_string(line), out, &error);
}

static void assert_text(struct json *json, const char *expected)
{
    assert_false(json->failed);
    assert_int_equal(json->out.size, strlen(expected));
    assert_memory_equal(json->out.data, expected, strlen(expected));
    json_release(json);
}

static void records_go_out_as_base64_with_their_numbers(void **state)
{
    struct json json = {0};
    const struct weir_read_record record = {.key = (const uint8_t *)"k\"1",
                                            .key_size = 3,
                                            .data = (const uint8_t *)"hello",
                                            .data_size = 5,
                                            .aggregated = true,
                                            .sub_sequence = 4,
                                            .position = {.arrival_ms = 1700000000123}};
    char number[WEIR_SEQUENCE_NUMBER_BYTES];
    (void)state;
    weir_sequence_number(&record.position, number);
    multilang_process_records(&json, &record, 1, 77);
    char expected[512];
    (void)snprintf(
        expected, sizeof(expected),
        "{\"action\": \"processRecords\", \"records\": [{\"action\": \"record\", "
        "\"data\": \"aGVsbG8=\", \"partitionKey\": \"k\\\"1\", \"sequenceNumber\": \"%s\", "
        "\"subSequenceNumber\": 4, \"approximateArrivalTimestamp\": 1700000000123}], "
        "\"millisBehindLatest\": 77}\n",
        number);
    assert_text(&json, expected);
}

static void an_answer_to_a_checkpoint_says_what_went_wrong(void **state)
{
    struct json json = {0};
    struct multilang_message message;
    (void)state;
    assert_int_equal(
        parse("{\"action\":\"checkpoint\",\"sequenceNumber\":\"123\",\"subSequenceNumber\":5}",
              &message),
        STATUS_OK);
    multilang_checkpointed(&json, &message, "ShutdownException");
    assert_text(&json, "{\"action\": \"checkpoint\", \"sequenceNumber\": \"123\", "
                       "\"subSequenceNumber\": 5, \"error\": \"ShutdownException\"}\n");
    message = (struct multilang_message){.action = MULTILANG_CHECKPOINT};
    multilang_checkpointed(&json, &message, NULL);
    assert_text(&json, "{\"action\": \"checkpoint\", \"sequenceNumber\": null, "
                       "\"subSequenceNumber\": null, \"error\": null}\n");
}

static void answers_are_read_whatever_their_order_and_spaces(void **state)
{
    struct multilang_message message;
    (void)state;
    assert_int_equal(
        parse(" { \"responseFor\" : \"initialize\" , \"action\" : \"status\" } \r", &message),
        STATUS_OK);
    assert_int_equal(message.action, MULTILANG_STATUS);
    assert_string_equal(message.response_for, "initialize");
    assert_int_equal(
        parse("{\"action\":\"checkpoint\",\"sequenceNumber\":null,\"subSequenceNumber\":null}",
              &message),
        STATUS_OK);
    assert_int_equal(message.action, MULTILANG_CHECKPOINT);
    assert_string_equal(message.sequence, "");
    assert_false(message.has_sub_sequence);
    assert_int_equal(parse("{\"action\":\"checkpoint\",\"sequenceNumber\":49}", &message),
                     STATUS_OK);
    assert_string_equal(message.sequence, "49");
}

static void what_is_no_message_is_told_apart_from_what_is_a_wrong_one(void **state)
{
    static const char *const noise[] = {
        "",    "hello",      "{", "{}x", "{\"a\"}", "{\"a\":}", "{\"a\":\"b", "{\"a\":{\"b\":1}}",
        "[1]", "{\"a\":1,}",
    };
    struct multilang_message message;
    (void)state;
    for (size_t i = 0; i < sizeof(noise) / sizeof(noise[0]); i++) {
        assert_int_equal(parse(noise[i], &message), STATUS_INVALID);
    }
    assert_int_equal(parse("{}", &message), STATUS_UNSUPPORTED);
    assert_int_equal(parse("{\"action\":\"shout\"}", &message), STATUS_UNSUPPORTED);
    assert_int_equal(parse("{\"action\":\"status\"}", &message), STATUS_UNSUPPORTED);
}

static void long_and_escaped_strings_are_cut_and_harmless(void **state)
{
    struct multilang_message message;
    char line[4096];
    (void)state;
    memset(line, 'x', sizeof(line));
    memcpy(line, "{\"action\":\"checkpoint\",\"sequenceNumber\":\"", 41);
    memcpy(line + sizeof(line) - 3, "\"}", 3);
    assert_int_equal(parse(line, &message), STATUS_OK);
    assert_int_equal(strlen(message.sequence), sizeof(message.sequence) - 1);
    assert_int_equal(
        parse("{\"action\":\"status\",\"responseFor\":\"a\\u00e9\\n\\\"b\"}", &message), STATUS_OK);
    assert_string_equal(message.response_for, "a?\n\"b");
    assert_int_equal(parse("{\"action\":\"status\",\"responseFor\":\"a\\u0", &message),
                     STATUS_INVALID);
    assert_int_equal(parse("{\"action\":\"status\\", &message), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_go_out_as_base64_with_their_numbers),
        cmocka_unit_test(an_answer_to_a_checkpoint_says_what_went_wrong),
        cmocka_unit_test(answers_are_read_whatever_their_order_and_spaces),
        cmocka_unit_test(what_is_no_message_is_told_apart_from_what_is_a_wrong_one),
        cmocka_unit_test(long_and_escaped_strings_are_cut_and_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
