#include "broker/gateway/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/gateway/api.h"

static struct arena arena;

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

#define FAILED "' failed to satisfy constraint: Member must "

/* The message that a JSON body gets, NULL when it is valid. */
static const char *message(enum api_operation_id operation, const char *body)
{
    struct api_error error = {0};
    const struct value *value = NULL;
    enum status status = api_parse(api_operations[operation].input, API_JSON, bytes_of_string(body),
                                   &arena, &value, &error);
    if (status == STATUS_OK) {
        return NULL;
    }
    assert_int_equal(error.exception, EXCEPTION_VALIDATION);
    return (const char *)arena_copy(&arena, error.text).data;
}

static void each_constraint_has_aws_text(void **state)
{
    (void)state;
    static const struct {
        enum api_operation_id operation;
        const char *body, *text;
    } cases[] = {
        {API_CreateStream,             "{\"StreamName\":\"bad\",\"ShardCount\":0}",
         "Value '0' at 'shardCount" FAILED "have value greater than or equal to 1"                                                                                  },
        {API_GetRecords,               "{}",                                                              "Value null at 'shardIterator" FAILED "not be null"       },
        {API_DescribeStream,           "{\"StreamName\":\"no/slash\"}",
         "Value 'no/slash' at 'streamName" FAILED
         "satisfy regular expression pattern: [a-zA-Z0-9_.-]+"                                                                                                      },
        {API_ListStreams,              "{\"Limit\":10001}",
         "Value '10001' at 'limit" FAILED "have value less than or equal to 10000"                                                                                  },
        {API_GetShardIterator,
         "{\"ShardId\":\"s\",\"ShardIteratorType\":\"LATEST\",\"StartingSequenceNumber\":\"01\"}",        "Value '01' at 'startingSequenceNumber" FAILED
         "satisfy regular expression pattern: 0|([1-9]\\d{0,128})"},
        {API_PutRecord,                "{\"PartitionKey\":\"\",\"Data\":\"\"}",
         "Value '' at 'partitionKey" FAILED "have length greater than or equal to 1"                                                                                },
        {API_PutRecord,                "{\"PartitionKey\":\"k\",\"Data\":\"\",\"ExplicitHashKey\":\"\"}",
         "Value '' at 'explicitHashKey" FAILED
         "satisfy regular expression pattern: 0|([1-9]\\d{0,38})"                                                                                                   },
        {API_PutRecords,               "{\"Records\":[]}",
         "Value '[]' at 'records" FAILED "have length greater than or equal to 1"                                                                                   },
        {API_PutRecords,
         "{\"Records\":[{\"Data\":\"\",\"PartitionKey\":\"k\"},{\"Data\":\"\",\"PartitionKey\":"
         "\"\"}]}",                                                                                       "Value '' at 'records.2.member.partitionKey" FAILED
         "have length greater than or equal to 1"                                                                                                },
        {API_PutRecords,               "{\"Records\":[null]}",
         "Value null at 'records.1.member" FAILED "not be null"                                                                                                     },
        {API_AddTagsToStream,          "{\"Tags\":{}}",
         "Value '{}' at 'tags" FAILED "have length greater than or equal to 1"                                                                                      },
        {API_AddTagsToStream,          "{\"Tags\":{\"\":\"v\",\"b\":\"w\"}}",
         "Value '{=v, b=w}' at 'tags' failed to satisfy constraint: Map keys must satisfy "
         "constraint: [Member must have length less than or equal to 128, Member must have length "
         "greater than or equal to 1]"                                                                                                                              },
        {API_AddTagsToStream,          "{\"Tags\":{\"a\":null}}",
         "Value '{a=null}' at 'tags' failed to satisfy constraint: Map value must satisfy "
         "constraint: [Member must have length less than or equal to 256, Member must have length "
         "greater than or equal to 0]"                                                                                                                              },
        {API_UntagResource,
         "{\"ResourceARN\":\"arn:aws:kinesis:eu:123456789012:stream/x\",\"TagKeys\":[\"a\",\"\"]}",       "Value '[a, ]' at 'tagKeys" FAILED
         "satisfy constraint: [Member must have length less than or equal to 128, Member must "
         "have length greater than or equal to 1]"               },
        {API_EnableEnhancedMonitoring, "{\"ShardLevelMetrics\":[\"Mood\"]}",
         "Value '[Mood]' at 'shardLevelMetrics" FAILED
         "satisfy constraint: [Member must satisfy enum value set: [IncomingBytes, "
         "IncomingRecords, OutgoingBytes, OutgoingRecords, WriteProvisionedThroughputExceeded, "
         "ReadProvisionedThroughputExceeded, IteratorAgeMilliseconds, ALL]]"                                                                                        },
        {API_GetShardIterator,         "{\"ShardId\":\"s\",\"ShardIteratorType\":\"NEWEST\"}",
         "Value 'NEWEST' at 'shardIteratorType" FAILED
         "satisfy enum value set: [AT_SEQUENCE_NUMBER, AFTER_SEQUENCE_NUMBER, TRIM_HORIZON, "
         "LATEST, AT_TIMESTAMP]"                                                                                                                                    },
        {API_ListShards,               "{\"ShardFilter\":{\"Type\":\"ALL\"}}",
         "Value 'ALL' at 'shardFilter.type" FAILED
         "satisfy enum value set: [AFTER_SHARD_ID, AT_TRIM_HORIZON, FROM_TRIM_HORIZON, AT_LATEST, "
         "AT_TIMESTAMP, FROM_TIMESTAMP]"                                                                                                                            },
        {API_ListShards,               "{\"ShardFilter\":{}}",
         "Value null at 'shardFilter.type" FAILED "not be null"                                                                                                     },
        {API_UpdateMaxRecordSize,      "{\"MaxRecordSizeInKiB\":1023}",
         "Value '1023' at 'maxRecordSizeInKiB" FAILED "have value greater than or equal to 1024"                                                                    },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char want[1024];
        (void)snprintf(want, sizeof want, "1 validation error detected: %s", cases[i].text);
        const char *got = message(cases[i].operation, cases[i].body);
        assert_non_null(got);
        assert_string_equal(got, want);
    }
}

static void faults_are_counted_and_joined(void **state)
{
    (void)state;
    assert_string_equal(
        message(API_PutRecord, "{\"StreamName\":\"bad name\",\"PartitionKey\":\"\",\"Data\":\"\"}"),
        "2 validation errors detected: Value 'bad name' at 'streamName" FAILED
        "satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value '' at 'partitionKey" FAILED
        "have length greater than or equal to 1");
}

static void ten_faults_are_enough(void **state)
{
    (void)state;
    const char *got = message(API_PutRecords, "{\"Records\":[{},{},{},{},{},{},{},{},{}]}");
    assert_memory_equal(got, "10 validation errors detected: ", 31);
    assert_non_null(strstr(got, "'records.5.member.partitionKey'"));
    assert_null(strstr(got, "'records.6.member"));
}

static void lengths_are_counted_in_characters(void **state)
{
    (void)state;
    char body[1200];
    for (unsigned length = 255; length <= 257; length++) {
        int size = snprintf(body, sizeof body, "{\"Data\":\"\",\"PartitionKey\":\"");
        for (unsigned i = 0; i < length; i++) {
            memcpy(body + size, "\xf0\x9f\x94\x91", 4);
            size += 4;
        }
        (void)snprintf(body + size, sizeof body - (size_t)size, "\"}");
        const char *got = message(API_PutRecord, body);
        if (length <= 256) {
            assert_null(got);
        } else {
            assert_non_null(strstr(got, "Member must have length less than or equal to 256"));
        }
    }
}

static void blobs_are_shown_by_their_size_and_lists_cut(void **state)
{
    (void)state;
    struct api_error error;
    struct value *input = value_new(&arena, VALUE_STRUCT);
    size_t size = 10 * 1024 * 1024 + 1;
    uint8_t *data = calloc(1, size);
    assert_non_null(data);
    value_add_text(&arena, input, "PartitionKey", "k");
    value_add_blob(&arena, input, "Data", bytes_of(data, size));
    assert_int_equal(validate(api_operations[API_PutRecord].input, input, &arena, &error),
                     STATUS_INVALID);
    static const char want[] =
        "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=10485761 "
        "cap=10485761]' at 'data" FAILED "have length less than or equal to 10485760";
    assert_true(bytes_equal(error.text, bytes_of_string(want)));
    free(data);
    struct value *many = value_new(&arena, VALUE_STRUCT);
    struct value *records = value_add_list(&arena, many, "Records");
    for (unsigned i = 0; i < 501; i++) {
        (void)value_add_struct(&arena, records, NULL);
    }
    assert_int_equal(validate(api_operations[API_PutRecords].input, many, &arena, &error),
                     STATUS_INVALID);
    static const char start[] = "1 validation error detected: Value '[";
    static const char end[] = "' at 'records" FAILED "have length less than or equal to 500";
    assert_memory_equal(error.text.data, start, sizeof start - 1);
    assert_memory_equal(error.text.data + error.text.size - (sizeof end - 1), end, sizeof end - 1);
    assert_in_range(error.text.size, 100, 5000);
}

static void long_values_are_cut_between_characters(void **state)
{
    (void)state;
    struct api_error error;
    struct value *input = value_new(&arena, VALUE_STRUCT);
    struct buf name = {0};
    for (unsigned i = 0; i < 5000; i++) {
        assert_int_equal(buf_append(&name, "\xe2\x82\xac", 3), STATUS_OK);
    }
    value_add_bytes(&arena, input, "StreamName", buf_bytes(&name));
    assert_int_equal(validate(api_operations[API_DescribeStream].input, input, &arena, &error),
                     STATUS_INVALID);
    assert_in_range(error.text.size, 8000, 9000); /* the pattern and the length */
    assert_null(memchr(error.text.data, '?', error.text.size));
    buf_release(&name);
}

static void patterns_match_all_or_nothing(void **state)
{
    (void)state;
    static const struct {
        enum pattern pattern;
        bool matches;
        const char *text;
    } cases[] = {
        {PATTERN_NAME,         true,  "aZ0_.-"                                                      },
        {PATTERN_NAME,         false, ""                                                            },
        {PATTERN_NAME,         false, "a\n"                                                         },
        {PATTERN_NAME,         false, "\xc3\xa9"                                                    },
        {PATTERN_HASH_KEY,     true,  "0"                                                           },
        {PATTERN_HASH_KEY,     false, "00"                                                          },
        {PATTERN_HASH_KEY,     true,  "340282366920938463463374607431768211456"                     },
        {PATTERN_HASH_KEY,     false, "1000000000000000000000000000000000000000"                    },
        {PATTERN_HASH_KEY,     false, "-1"                                                          },
        {PATTERN_HASH_KEY,     false, " 1"                                                          },
        {PATTERN_STREAM_ID,    true,  "abcdefghij0123456789-xyz"                                    },
        {PATTERN_STREAM_ID,    false, "abcdefghij0123456789-xyZ"                                    },
        {PATTERN_STREAM_ID,    false, "abcdefghij01234567890xyz"                                    },
        {PATTERN_STREAM_ARN,   true,  "arn:aws:kinesis:us-east-1:123456789012:stream/s"             },
        {PATTERN_STREAM_ARN,   true,  "arn:aws-cn:kinesis::123456789012:stream/s:odd/name"          },
        {PATTERN_STREAM_ARN,   true,  "arn:aws:kinesis:x:kinesis:1:123456789012:stream/s"           },
        {PATTERN_STREAM_ARN,   true,  "arn:aws:kinesis:r:111111111111:stream :222222222222:stream/s"},
        {PATTERN_STREAM_ARN,   false, "arn:aws:kinesis:us-east-1:123456789012:stream/"              },
        {PATTERN_STREAM_ARN,   false, "arn:aws:kinesis:us-east-1:12345678901:stream/s"              },
        {PATTERN_STREAM_ARN,   false, "arn:aws:kinesis:us-east-1:1234567890123:stream/s"            },
        {PATTERN_STREAM_ARN,   false, "arn:aws:kinesis:us-east-1:123456789012:table/s"              },
        {PATTERN_STREAM_ARN,   false, "arn:aws:kinesis:us-east-1:123456789012:stream/s s"           },
        {PATTERN_STREAM_ARN,   false, "arn:aws:kinesis:123456789012:stream/s"                       },
        {PATTERN_STREAM_ARN,   false, "arn:aws:kinesis:us\n:123456789012:stream/s"                  },
        {PATTERN_STREAM_ARN,   false, "rn:aws:kinesis:us-east-1:123456789012:stream/s"              },
        {PATTERN_RESOURCE_ARN, true,
         "arn:aws:kinesis:r:123456789012:stream/s/consumer/c:1700000000"                            },
        {PATTERN_RESOURCE_ARN, true,  "arn:aws:kinesis:r:123456789012:any thing/stream/s"           },
        {PATTERN_RESOURCE_ARN, true,  "arn:aws:kinesis:r:123456789012:stream/ stream/s"             },
        {PATTERN_RESOURCE_ARN, false, "arn:aws:kinesis:r:123456789012:stream/"                      },
        {PATTERN_CONSUMER_ARN, true,
         "arn:aws:kinesis:r:123456789012:stream/s/consumer/c:1700000000"                            },
        {PATTERN_CONSUMER_ARN, true,  "arn:aws:kinesis:r:123456789012:stream/stream/s/consumer/c:1" },
        {PATTERN_CONSUMER_ARN, false, "arn:aws:kinesis:r:123456789012:stream/s/consumer/c"          },
        {PATTERN_CONSUMER_ARN, false, "arn:aws:kinesis:r:123456789012:stream/s/consumer/c:1x"       },
        {PATTERN_CONSUMER_ARN, false, "arn:aws:kinesis:r:123456789012:stream/s/consumer/:1"         },
        {PATTERN_CONSUMER_ARN, false, "arn:aws:kinesis:r:123456789012:stream//consumer/c:1"         },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (pattern_matches(cases[i].pattern, bytes_of_string(cases[i].text)) != cases[i].matches) {
            fail_msg("%s against '%s'", pattern_text(cases[i].pattern), cases[i].text);
        }
    }
    char digits[131] = {0};
    memset(digits, '9', 129);
    assert_true(pattern_matches(PATTERN_SEQUENCE_NUMBER, bytes_of_string(digits)));
    digits[129] = '9';
    assert_false(pattern_matches(PATTERN_SEQUENCE_NUMBER, bytes_of_string(digits)));
}

static void hostile_names_take_linear_time(void **state)
{
    (void)state;
    static const char *const pieces[] = {":123456789012:stream/", "stream/",
                                         ":kinesis:", "stream/a/consumer/b:1/", "111111111111:"};
    enum { SIZE = 256 * 1024 }; /* quadratic time would still be minutes */
    char *text = malloc(SIZE);
    assert_non_null(text);
    for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
        static const char head[] = "arn:aws:kinesis:r:123456789012:";
        memcpy(text, head, sizeof head - 1);
        for (size_t i = sizeof head - 1; i < SIZE; i++) {
            text[i] = pieces[p][i % strlen(pieces[p])];
        }
        text[SIZE - 1] = ' ';
        for (unsigned pattern = PATTERN_NAME; pattern <= PATTERN_STREAM_ID; pattern++) {
            assert_false(pattern_matches((enum pattern)pattern, bytes_of(text, SIZE)));
        }
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(each_constraint_has_aws_text, teardown),
        cmocka_unit_test_teardown(faults_are_counted_and_joined, teardown),
        cmocka_unit_test_teardown(ten_faults_are_enough, teardown),
        cmocka_unit_test_teardown(lengths_are_counted_in_characters, teardown),
        cmocka_unit_test_teardown(blobs_are_shown_by_their_size_and_lists_cut, teardown),
        cmocka_unit_test_teardown(long_values_are_cut_between_characters, teardown),
        cmocka_unit_test_teardown(patterns_match_all_or_nothing, teardown),
        cmocka_unit_test_teardown(hostile_names_take_linear_time, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
