#include "broker/gateway/iterator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "broker/gateway/api_text.h"

static const struct token_key secrets[] = {
    {.id = 7, .bytes = {1, 2, 3}},
    {.id = 6, .bytes = {4, 5, 6}}
};
static const struct token_keys keys = {secrets, 2};

static const struct iterator example = {.stream = 9,
                                        .shard = 12,
                                        .position = ITERATOR_OFFSET,
                                        .at = 1234567890123,
                                        .issued_ms = 1700000000000};

static void iterators_come_back_as_they_were(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 1);
    for (unsigned i = 0; i < 200; i++) {
        struct iterator in = {.stream = (uint32_t)rng_next(&rng),
                              .shard = (uint32_t)rng_next(&rng),
                              .position = (enum iterator_position)rng_between(&rng, 1, 3),
                              .at = rng_next(&rng),
                              .issued_ms = rng_next(&rng)};
        char text[ITERATOR_TEXT_BYTES];
        struct iterator out;
        assert_int_equal(iterator_seal(&keys, &in, text), STATUS_OK);
        assert_in_range(strlen(text), 1, sizeof text - 1);
        assert_memory_equal(text, "AAAAAAAAAAE", 10);
        assert_int_equal(iterator_open(&keys, bytes_of_string(text), &out), STATUS_OK);
        assert_int_equal(out.stream, in.stream);
        assert_int_equal(out.shard, in.shard);
        assert_int_equal(out.position, in.position);
        assert_int_equal(out.at, in.at);
        assert_int_equal(out.issued_ms, in.issued_ms);
    }
}

static void every_changed_bit_is_refused(void **state)
{
    (void)state;
    char text[ITERATOR_TEXT_BYTES];
    assert_int_equal(iterator_seal(&keys, &example, text), STATUS_OK);
    uint8_t raw[ITERATOR_TEXT_BYTES];
    size_t size;
    assert_int_equal(base64_decode(bytes_of_string(text), raw, &size), BASE64_OK);
    struct iterator out;
    for (size_t bit = 0; bit < 8 * size; bit++) {
        raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
        char changed[2 * ITERATOR_TEXT_BYTES];
        base64_encode(bytes_of(raw, size), (uint8_t *)changed);
        assert_int_equal(iterator_open(&keys, bytes_of(changed, base64_encoded_size(size)), &out),
                         STATUS_INVALID);
        raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t length = 0; length < strlen(text); length++) {
        assert_int_equal(iterator_open(&keys, bytes_of(text, length), &out), STATUS_INVALID);
    }
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    char long_text[600];
    memset(long_text, 'A', sizeof long_text);
    memcpy(long_text, "AAAAAAAAAAE", 11);
    struct iterator out;
    static const char *const texts[] = {
        "", "\"", "\"\"", "nonsense", "AAAAAAAAAAE=", "%%%", "===="};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(iterator_open(&keys, bytes_of_string(texts[i]), &out), STATUS_INVALID);
    }
    for (size_t size = 0; size <= sizeof long_text; size++) {
        assert_int_equal(iterator_open(&keys, bytes_of(long_text, size), &out), STATUS_INVALID);
    }
}

static void a_pair_of_quotes_is_taken_off(void **state)
{
    (void)state;
    char text[ITERATOR_TEXT_BYTES];
    char quoted[ITERATOR_TEXT_BYTES + 4];
    struct iterator out;
    assert_int_equal(iterator_seal(&keys, &example, text), STATUS_OK);
    (void)snprintf(quoted, sizeof quoted, "\"%s\"", text);
    assert_int_equal(iterator_open(&keys, bytes_of_string(quoted), &out), STATUS_OK);
    assert_int_equal(out.at, example.at);
    assert_int_equal(iterator_open(&keys, bytes_of(quoted, strlen(quoted) - 1), &out),
                     STATUS_INVALID);
    assert_int_equal(iterator_open(&keys, bytes_of_string(quoted + 1), &out), STATUS_INVALID);
    (void)snprintf(quoted, sizeof quoted, "'%s'", text);
    assert_int_equal(iterator_open(&keys, bytes_of_string(quoted), &out), STATUS_INVALID);
    (void)snprintf(quoted, sizeof quoted, " %s", text);
    assert_int_equal(iterator_open(&keys, bytes_of_string(quoted), &out), STATUS_INVALID);
}

static void keys_change_while_iterators_live(void **state)
{
    (void)state;
    char text[ITERATOR_TEXT_BYTES];
    struct iterator out;
    const struct token_keys older = {secrets + 1, 1};
    assert_int_equal(iterator_seal(&older, &example, text), STATUS_OK);
    assert_int_equal(iterator_open(&keys, bytes_of_string(text), &out), STATUS_OK);
    assert_int_equal(iterator_seal(&keys, &example, text), STATUS_OK);
    assert_int_equal(iterator_open(&older, bytes_of_string(text), &out), STATUS_INVALID);
    const struct token_key same_id = {.id = 7, .bytes = {9}};
    const struct token_keys others = {&same_id, 1};
    assert_int_equal(iterator_open(&others, bytes_of_string(text), &out), STATUS_INVALID);
}

static void iterators_live_five_minutes(void **state)
{
    (void)state;
    assert_false(iterator_expired(&example, example.issued_ms - 5000));
    assert_false(iterator_expired(&example, example.issued_ms + 300000));
    assert_true(iterator_expired(&example, example.issued_ms + 300001));
    char text[ITERATOR_TIME_BYTES];
    iterator_time(1700000000000, text);
    assert_string_equal(text, "Tue Nov 14 22:13:20 UTC 2023");
    iterator_time(0, text);
    assert_string_equal(text, "Thu Jan 01 00:00:00 UTC 1970");
}

static void tokens_are_good_for_one_purpose_and_a_while(void **state)
{
    (void)state;
    char text[TOKEN_TEXT_BYTES];
    uint8_t payload[TOKEN_PAYLOAD_MAX];
    uint8_t out[TOKEN_PAYLOAD_MAX];
    size_t size = 0;
    memset(payload, 0x5a, sizeof payload);
    assert_int_equal(token_seal(&keys, "ListShards", 1000, bytes_of(payload, sizeof payload), text),
                     STATUS_OK);
    assert_true(strlen(text) < TOKEN_TEXT_BYTES);
    struct bytes token = bytes_of_string(text);
    assert_int_equal(token_open(&keys, "ListShards", token, 301000, 300000, out, &size), STATUS_OK);
    assert_int_equal(size, sizeof payload);
    assert_memory_equal(out, payload, sizeof payload);
    assert_int_equal(token_open(&keys, "ListShards", token, 301001, 300000, out, &size),
                     STATUS_EXPIRED);
    assert_int_equal(token_open(&keys, "ListShards", token, UINT64_MAX, 0, out, &size), STATUS_OK);
    assert_int_equal(token_open(&keys, "ListStreams", token, 1000, 0, out, &size), STATUS_INVALID);
    assert_int_equal(token_open(&keys, "ListShard", token, 1000, 0, out, &size), STATUS_INVALID);
    struct iterator iterator;
    assert_int_equal(iterator_open(&keys, token, &iterator), STATUS_INVALID);
    assert_int_equal(token_seal(&keys, "x", 0, bytes_of(payload, sizeof payload + 1), text),
                     STATUS_TOO_LARGE);
    assert_int_equal(token_seal(&keys, "x", 0, bytes_of(NULL, 0), text), STATUS_OK);
    assert_int_equal(token_open(&keys, "x", bytes_of_string(text), 0, 0, out, &size), STATUS_OK);
    assert_int_equal(size, 0);
    assert_int_equal(token_open(&keys, "x", bytes_of_string("bm9uc2Vuc2U="), 0, 0, out, &size),
                     STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(iterators_come_back_as_they_were),
        cmocka_unit_test(every_changed_bit_is_refused),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(a_pair_of_quotes_is_taken_off),
        cmocka_unit_test(keys_change_while_iterators_live),
        cmocka_unit_test(iterators_live_five_minutes),
        cmocka_unit_test(tokens_are_good_for_one_purpose_and_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
