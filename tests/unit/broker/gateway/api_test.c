/* Both encodings against each other, for every shape of the interface, and against bytes that are
 * neither. */
#include "broker/gateway/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "broker/gateway/cbor.h"
#include "broker/gateway/json.h"

static const enum api_encoding encodings[] = {API_JSON, API_CBOR};

/* ---- random values of a shape ---- */

static struct bytes random_text(struct rng *rng, struct arena *arena)
{
    static const char *const characters[] = {
        "a", "Z",  "0",    "-",    " ",        "\"",           "\\",
        "/", "\n", "\x01", "\x7f", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x94\x91"};
    uint8_t *data = arena_take_bytes(arena, 256);
    size_t size = 0;
    for (uint64_t left = rng_below(rng, 60); left > 0; left--) {
        const char *c = characters[rng_below(rng, sizeof characters / sizeof *characters)];
        memcpy(data + size, c, strlen(c));
        size += strlen(c);
    }
    if (rng_once_in(rng, 8)) {
        data[size++] = 0;
    }
    return bytes_of(data, size);
}

static struct bytes random_blob(struct rng *rng, struct arena *arena)
{
    size_t size = rng_below(rng, 300);
    uint8_t *data = arena_take_bytes(arena, size + 1);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)rng_next(rng);
    }
    return bytes_of(data, size);
}

static int64_t random_number(struct rng *rng, unsigned bits)
{
    int64_t number = (int64_t)(rng_next(rng) >> (64 - bits)) >> rng_below(rng, bits);
    return rng_once_in(rng, 2) ? number : -number - 1;
}

static struct value *random_value(struct rng *rng, struct arena *arena, const struct shape *shape)
{
    struct value *value = value_new(arena, VALUE_NULL);
    switch (shape->type) {
    case SHAPE_STRING:
        value->kind = VALUE_STRING;
        value->bytes = random_text(rng, arena);
        break;
    case SHAPE_BLOB:
        value->kind = VALUE_BLOB;
        value->bytes = random_blob(rng, arena);
        break;
    case SHAPE_INTEGER:
        value->kind = VALUE_INT;
        value->number = random_number(rng, 31);
        break;
    case SHAPE_LONG:
        value->kind = VALUE_INT;
        value->number = random_number(rng, 63);
        break;
    case SHAPE_TIMESTAMP:
        value->kind = VALUE_TIME;
        value->number = random_number(rng, 50);
        break;
    case SHAPE_BOOLEAN:
        value->kind = VALUE_BOOL;
        value->truth = rng_once_in(rng, 2);
        break;
    case SHAPE_LIST:
    case SHAPE_MAP:
        value->kind = shape->type == SHAPE_LIST ? VALUE_LIST : VALUE_MAP;
        for (uint64_t left = rng_below(rng, 4); left > 0; left--) {
            struct value *item = random_value(rng, arena, shape->element);
            if (shape->type == SHAPE_LIST) {
                value_append(value, bytes_of(NULL, 0), item);
            } else {
                (void)value_put(value, random_text(rng, arena), item);
            }
        }
        break;
    case SHAPE_STRUCTURE:
        value->kind = VALUE_STRUCT;
        for (uint32_t i = 0; i < shape->member_count; i++) {
            if (!rng_once_in(rng, 5)) {
                (void)value_put(value, bytes_of_string(shape->members[i].name),
                                random_value(rng, arena, shape->members[i].shape));
            }
        }
        break;
    }
    return value;
}

/* CBOR with every length left open: strings in two chunks, containers with a break. */
static void put_indefinite(const struct value *value, struct buf *out)
{
    const uint8_t null_byte = 0xf6, end = 0xff;
    uint8_t open = 0;
    if (value->kind == VALUE_STRING || value->kind == VALUE_BLOB) {
        size_t half = value->bytes.size / 2;
        while (half < value->bytes.size && (value->bytes.data[half] & 0xc0) == 0x80) {
            half++; /* a text's chunks are whole characters */
        }
        open = value->kind == VALUE_STRING ? 0x7f : 0x5f;
        assert_int_equal(buf_append(out, &open, 1), STATUS_OK);
        struct value part = *value;
        part.bytes.size = half;
        assert_int_equal(cbor_encode(&part, out), STATUS_OK);
        part.bytes = bytes_of(value->bytes.data + half, value->bytes.size - half);
        assert_int_equal(cbor_encode(&part, out), STATUS_OK);
        assert_int_equal(buf_append(out, &end, 1), STATUS_OK);
        return;
    }
    if (value->kind != VALUE_LIST && value->kind != VALUE_MAP && value->kind != VALUE_STRUCT) {
        assert_int_equal(cbor_encode(value, out), STATUS_OK);
        return;
    }
    open = value->kind == VALUE_LIST ? 0x9f : 0xbf;
    assert_int_equal(buf_append(out, &open, 1), STATUS_OK);
    VALUE_FOR_EACH(item, value)
    {
        if (value->kind != VALUE_LIST) {
            struct value name = {.kind = VALUE_STRING, .bytes = item->name};
            put_indefinite(&name, out);
        }
        put_indefinite(item, out);
    }
    if (value->kind == VALUE_STRUCT) {
        struct value name = {.kind = VALUE_STRING, .bytes = bytes_of_string("Unknown")};
        put_indefinite(&name, out);
        assert_int_equal(buf_append(out, &null_byte, 1), STATUS_OK);
    }
    assert_int_equal(buf_append(out, &end, 1), STATUS_OK);
}

static const struct shape *shape_number(unsigned number)
{
    const struct api_operation *operation = &api_operations[number / 2];
    return number % 2 ? operation->output : operation->input;
}

/* ---- what is written is what is read ---- */

static void expect_same(const struct shape *shape, enum api_encoding encoding, struct bytes body,
                        const struct value *want)
{
    struct arena arena = {0};
    struct api_error error = {0};
    const struct value *got = NULL;
    enum status status = api_decode(shape, encoding, body, &arena, &got, &error);
    if (status != STATUS_OK || !value_equal(got, want)) {
        fail_msg("%s in encoding %d: status %d, %.*s\n%.*s", shape->name, (int)encoding,
                 (int)status, PRINT_BYTES(error.text), PRINT_BYTES(body));
    }
    arena_release(&arena);
}

static void every_shape_comes_back_from_both_encodings(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 7);
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < 2 * API_OPERATIONS; i++) {
            const struct shape *shape = shape_number(i);
            struct arena arena = {0};
            const struct value *value = random_value(&rng, &arena, shape);
            for (size_t e = 0; e < 2; e++) {
                struct buf body = {0};
                assert_int_equal(api_encode(encodings[e], value, &body), STATUS_OK);
                expect_same(shape, encodings[e], buf_bytes(&body), value);
                buf_release(&body);
            }
            struct buf body = {0};
            put_indefinite(value, &body);
            expect_same(shape, API_CBOR, buf_bytes(&body), value);
            buf_release(&body);
            arena_release(&arena);
        }
    }
}

/* Whatever becomes of a body, it is decoded or refused, and validation takes what was decoded. */
static void try_body(const struct shape *shape, enum api_encoding encoding, struct bytes body)
{
    struct arena arena = {.limit = ARENA_REQUEST_LIMIT};
    struct api_error error = {0};
    const struct value *value = NULL;
    uint8_t *exact = malloc(body.size + 1); /* the sanitizer sees what is read behind it */
    assert_non_null(exact);
    memcpy(exact, body.data, body.size);
    exact = realloc(exact, body.size ? body.size : 1);
    enum status status =
        api_parse(shape, encoding, bytes_of(exact, body.size), &arena, &value, &error);
    if (status == STATUS_OK) {
        assert_non_null(value);
    } else {
        assert_true(error.exception == EXCEPTION_SERIALIZATION ||
                    error.exception == EXCEPTION_VALIDATION);
    }
    free(exact);
    arena_release(&arena);
}

static void damaged_bodies_do_no_harm(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 11);
    for (unsigned round = 0; round < 6; round++) {
        for (unsigned i = 0; i < 2 * API_OPERATIONS; i++) {
            const struct shape *shape = shape_number(i);
            struct arena arena = {0};
            const struct value *value = random_value(&rng, &arena, shape);
            for (size_t e = 0; e < 2; e++) {
                struct buf body = {0};
                assert_int_equal(api_encode(encodings[e], value, &body), STATUS_OK);
                for (unsigned k = 0; k < 30; k++) {
                    size_t at = rng_below(&rng, body.size);
                    uint8_t old = body.data[at];
                    body.data[at] = (uint8_t)rng_next(&rng);
                    try_body(shape, encodings[e], buf_bytes(&body));
                    body.data[at] = old;
                    try_body(shape, encodings[e], bytes_of(body.data, at));
                }
                buf_release(&body);
            }
            arena_release(&arena);
        }
    }
}

static void a_body_that_is_cut_anywhere_is_refused(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    const struct shape *shape = api_operations[API_PutRecords].input;
    struct arena arena = {0};
    const struct value *value = random_value(&rng, &arena, shape);
    for (size_t e = 0; e < 2; e++) {
        struct buf body = {0};
        assert_int_equal(api_encode(encodings[e], value, &body), STATUS_OK);
        for (size_t size = 0; size < body.size; size++) {
            struct arena scratch = {0};
            struct api_error error;
            const struct value *got = NULL;
            assert_int_equal(
                api_decode(shape, encodings[e], bytes_of(body.data, size), &scratch, &got, &error),
                STATUS_INVALID);
            assert_int_equal(error.exception, EXCEPTION_SERIALIZATION);
            arena_release(&scratch);
        }
        buf_release(&body);
    }
    arena_release(&arena);
}

/* ---- what is left ---- */

static void strings_from_another_door_are_written_as_valid_text(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct value *answer = value_new(&arena, VALUE_STRUCT);
    value_add_bytes(&arena, answer, "K", bytes_of("a\xff\xc3z\xed\xa0\x80", 7));
    struct buf out = {0};
    assert_int_equal(json_encode(answer, &out), STATUS_OK);
    assert_true(bytes_equal(buf_bytes(&out),
                            bytes_of_string("{\"K\":\"a\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd"
                                            "\xef\xbf\xbd\xef\xbf\xbd\"}")));
    out.size = 0;
    assert_int_equal(cbor_encode(answer, &out), STATUS_OK);
    assert_true(bytes_equal(buf_bytes(&out),
                            bytes_of_string("\xa1\x61K\x71"
                                            "a\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd"
                                            "\xef\xbf\xbd")));
    buf_release(&out);
    arena_release(&arena);
}

static void expect_error(enum api_encoding encoding, const struct api_error *error,
                         struct bytes want)
{
    struct buf out = {0};
    assert_int_equal(api_encode_error(encoding, error, &out), STATUS_OK);
    assert_true(bytes_equal(buf_bytes(&out), want));
    buf_release(&out);
}

static void errors_have_aws_members(void **state)
{
    (void)state;
    struct api_error error = {EXCEPTION_RESOURCE_NOT_FOUND, bytes_of_string("no \"x\"")};
    expect_error(API_JSON, &error,
                 bytes_of_string("{\"__type\":\"ResourceNotFoundException\","
                                 "\"message\":\"no \\\"x\\\"\"}"));
    expect_error(API_CBOR, &error,
                 bytes_of_string("\xa2\x66__type\x78\x19ResourceNotFoundException"
                                 "\x67message\x66no \"x\""));
    error = (struct api_error){EXCEPTION_SERIALIZATION, bytes_of_string("m")};
    expect_error(API_JSON, &error,
                 bytes_of_string("{\"__type\":\"SerializationException\",\"Message\":\"m\"}"));
    error = (struct api_error){.exception = EXCEPTION_UNKNOWN_OPERATION};
    expect_error(API_JSON, &error, bytes_of_string("{\"__type\":\"UnknownOperationException\"}"));
    assert_int_equal(exception_http(EXCEPTION_INTERNAL_FAILURE), 500);
    assert_int_equal(exception_http(EXCEPTION_FORBIDDEN), 403);
}

static void error_texts_are_cut_and_cleaned(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct api_error error;
    char text[20000];
    memset(text, 'x', sizeof text);
    memcpy(text, "\xff\xc3\xa9\xc3", 4);
    assert_int_equal(
        api_error_set(&error, &arena, EXCEPTION_VALIDATION, "%.*s", (int)sizeof text, text),
        STATUS_INVALID);
    assert_int_equal(error.text.size, 16 * 1024);
    assert_memory_equal(error.text.data, "?\xc3\xa9?xx", 6);
    arena_release(&arena);
}

static void content_types_name_the_encoding(void **state)
{
    (void)state;
    enum api_encoding encoding;
    assert_true(api_encoding_of(bytes_of_string("application/x-amz-json-1.1"), &encoding));
    assert_int_equal(encoding, API_JSON);
    assert_true(
        api_encoding_of(bytes_of_string("Application/X-AMZ-cbor-1.1 ; charset=utf-8"), &encoding));
    assert_int_equal(encoding, API_CBOR);
    assert_false(api_encoding_of(bytes_of_string("application/json"), &encoding));
    assert_false(api_encoding_of(bytes_of_string("application/x-amz-json-1.10"), &encoding));
    assert_false(api_encoding_of(bytes_of(NULL, 0), &encoding));
}

static void targets_name_operations(void **state)
{
    (void)state;
    for (unsigned i = 0; i < API_OPERATIONS; i++) {
        char target[80];
        (void)snprintf(target, sizeof target, "Kinesis_20131202.%s", api_operations[i].name);
        assert_int_equal(api_operation_find(bytes_of_string(target)), i);
    }
    static const char *const unknown[] = {"",
                                          "Kinesis_20131202.",
                                          "Kinesis_20131202.MakeCoffee",
                                          "Kinesis_20131202.PutRecordX",
                                          "PutRecord",
                                          "DynamoDB_20120810.ListTables"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        assert_int_equal(api_operation_find(bytes_of_string(unknown[i])), API_OPERATIONS);
    }
    assert_int_equal(API_OPERATIONS, 39);
    assert_string_equal(api_operations[API_PutRecord].action, "kinesis:PutRecord");
}

static void answers_are_held_against_their_shape(void **state)
{
    (void)state;
    struct arena arena = {0};
    char where[80];
    const struct shape *shape = api_operations[API_PutRecord].output;
    struct value *answer = value_new(&arena, VALUE_STRUCT);
    value_add_text(&arena, answer, "ShardId", "shardId-000000000000");
    assert_false(api_conforms(shape, answer, where, sizeof where));
    assert_string_equal(where, "missing member SequenceNumber");
    value_add_text(&arena, answer, "SequenceNumber", "1");
    assert_true(api_conforms(shape, answer, where, sizeof where));
    value_add_int(&arena, answer, "EncryptionType", 1);
    assert_false(api_conforms(shape, answer, where, sizeof where));
    value_add_text(&arena, answer, "EncryptionType", "KMS");
    assert_true(api_conforms(shape, answer, where, sizeof where));
    value_add_bool(&arena, answer, "Extra", true);
    assert_false(api_conforms(shape, answer, where, sizeof where));
    assert_string_equal(where, "unknown member Extra");
    arena_release(&arena);
}

static void a_full_arena_is_an_error_not_a_crash(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    const struct shape *shape = api_operations[API_PutRecords].input;
    struct arena arena = {0};
    const struct value *value = random_value(&rng, &arena, shape);
    for (size_t e = 0; e < 2; e++) {
        struct buf body = {0};
        assert_int_equal(api_encode(encodings[e], value, &body), STATUS_OK);
        struct arena small = {.limit = 64};
        struct api_error error;
        const struct value *got = NULL;
        assert_int_equal(api_parse(shape, encodings[e], buf_bytes(&body), &small, &got, &error),
                         STATUS_NO_MEMORY);
        assert_int_equal(error.exception, EXCEPTION_INTERNAL_FAILURE);
        struct value *answer = value_new(&small, VALUE_STRUCT);
        value_add_format(&small, value_add_list(&small, answer, "L"), NULL, "%d", 1);
        assert_null(answer);
        assert_true(small.failed);
        assert_int_equal(api_encode(encodings[e], answer, &body), STATUS_NO_MEMORY);
        arena_release(&small);
        buf_release(&body);
    }
    arena_release(&arena);
}

static void the_tree_is_read_by_name(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct value *root = value_new(&arena, VALUE_STRUCT);
    struct value *list = value_add_list(&arena, root, "List");
    value_add_text(&arena, list, NULL, "one");
    value_add_format(&arena, list, NULL, "%s-%d", "two", 2);
    value_add_int(&arena, root, "Int", 4);
    value_add_time(&arena, root, "Time", 5);
    value_add_bool(&arena, root, "Bool", true);
    value_add_blob(&arena, root, "Blob", bytes_of("\0x", 2));
    value_add_text(&arena, root, "None", NULL);
    struct value *map = value_add_map(&arena, root, "Map");
    value_add_text(&arena, map, "k", "v");
    assert_int_equal(value_count(value_get(root, "List")), 2);
    assert_int_equal(value_int(root, "Int", 0), 4);
    assert_int_equal(value_int(root, "Time", 0), 5);
    assert_int_equal(value_int(root, "Absent", -1), -1);
    assert_true(value_bool(root, "Bool", false));
    assert_false(value_has(root, "None"));
    assert_true(value_is(value_get(root, "Map"), "k", "v"));
    assert_int_equal(value_bytes(root, "Blob").size, 2);
    assert_null(value_text(&arena, root, "Blob"));
    assert_string_equal(value_text(&arena, value_get(root, "Map"), "k"), "v");
    assert_null(value_get(value_get(root, "Absent"), "below"));
    unsigned count = 0;
    VALUE_FOR_EACH(item, value_get(root, "List"))
    {
        assert_true(bytes_equal(value_own_bytes(item), bytes_of_string(count++ ? "two-2" : "one")));
    }
    assert_int_equal(count, 2);
    value_add_int(&arena, root, "List", 9);
    assert_int_equal(value_count(root), 6);
    assert_int_equal(value_int(root, "List", 0), 9);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_comes_back_from_both_encodings),
        cmocka_unit_test(damaged_bodies_do_no_harm),
        cmocka_unit_test(a_body_that_is_cut_anywhere_is_refused),
        cmocka_unit_test(strings_from_another_door_are_written_as_valid_text),
        cmocka_unit_test(errors_have_aws_members),
        cmocka_unit_test(error_texts_are_cut_and_cleaned),
        cmocka_unit_test(content_types_name_the_encoding),
        cmocka_unit_test(targets_name_operations),
        cmocka_unit_test(answers_are_held_against_their_shape),
        cmocka_unit_test(a_full_arena_is_an_error_not_a_crash),
        cmocka_unit_test(the_tree_is_read_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
